"""Times of published models: in order, without overlap, within the recording; and incomplete texts."""

from pathlib import Path
from typing import Any

import pytest

from invariants import check_segments
from whisper_apr import BatchedInferencePipeline, Recognizer, load_audio
from whisper_apr.audio import SAMPLE_RATE

WORDS = {"word_timestamps": True}
OPTIONS = {  # each is tried on another third of the recordings, and on all that are longer than 40 s
    "words, hallucinations": {"word_timestamps": True, "hallucination_silence_threshold": 1.0},
    "words, without timestamps": {"word_timestamps": True, "without_timestamps": True},
    "words, VAD": {"word_timestamps": True, "vad_filter": True},
    "words, independent windows": {"word_timestamps": True, "independent_windows": True},
    "VAD, independent windows": {"vad_filter": True, "independent_windows": True},
    "clamped": {"clamp_times": True},
}


@pytest.fixture(scope="module")
def sounds(recordings: Path) -> list[tuple[Path, float]]:
    """Each recording's path and its duration in seconds."""
    kinds = (".wav", ".flac", ".mp3")
    paths = [path for path in sorted(recordings.rglob("*")) if path.suffix in kinds]
    assert len(paths) >= 30
    return [(path, len(load_audio(path)) / SAMPLE_RATE) for path in paths]


def check_times(recognizer: Recognizer, sounds: list[tuple[Path, float]], **options: Any) -> None:
    paths = [path for path, _ in sounds]
    results = recognizer.transcribe_many(paths, batch_size=4, temperature=0.0, **options)
    for (path, duration), result in zip(sounds, results, strict=True):
        try:
            check_segments(result.segments, duration)
        except AssertionError as error:
            raise AssertionError(path.name) from error


@pytest.mark.filterwarnings("ignore::whisper_apr.errors.AudioWarning")  # az_katie.wav
def test_times_of_every_recording(base, sounds):
    check_times(base, sounds, **WORDS)


@pytest.mark.filterwarnings("ignore::whisper_apr.errors.AudioWarning")
@pytest.mark.parametrize(("model", "name"), [*(("base", name) for name in OPTIONS), ("tiny_en", "words")])
def test_times_by_every_option(request, sounds, model, name):
    number = list(OPTIONS).index(name) if name in OPTIONS else 0
    chosen = [each for i, each in enumerate(sounds) if (i + number) % 3 == 0 or each[1] > 40]
    check_times(request.getfixturevalue(model), chosen, **OPTIONS.get(name, WORDS))


@pytest.mark.filterwarnings("ignore::whisper_apr.errors.AudioWarning")
def test_incomplete_text_continues_after_its_last_word(base, recordings, texts):
    """With sample_len=12, the rest of a text is lost, as in openai-whisper; with word times almost nothing is lost."""
    for name in ("jfk.flac", "LJ001-0001.flac", "az_katie.wav"):
        options = {"temperature": 0.0, "without_timestamps": True, "sample_len": 12}
        n_word = len(base.transcribe(recordings / name, temperature=0.0).text.split())
        lost = base.transcribe(recordings / name, **options)
        found = base.transcribe(recordings / name, word_timestamps=True, **options)
        assert len(lost.text.split()) <= 12
        assert abs(len(found.text.split()) - n_word) <= 2, (name, found.text)


def test_complete_text_is_not_continued(base, recordings):
    """Word times do not add text to a complete one: the sound after its last word is not speech."""
    for name in ("lp_test.wav", "lp_test_fr.wav", "jfk.flac", "sense_0880.wav", "LJ001-0004.flac"):
        plain = base.transcribe(recordings / name, temperature=0.0, without_timestamps=True)
        timed = base.transcribe(recordings / name, temperature=0.0, without_timestamps=True, word_timestamps=True)
        assert timed.text == plain.text


def test_which_functions_clamp_times(base, faster, recordings):
    """The model gives the end of a recording of 1.90 s as 2.00 s."""
    path = recordings / "LJ001-0002.flac"
    duration = len(load_audio(path)) / SAMPLE_RATE
    assert base.transcribe(path, temperature=0.0).segments[-1].end > duration
    for entry_point in (faster, BatchedInferencePipeline(faster)):
        segments = list(entry_point.transcribe(str(path), temperature=0.0, without_timestamps=False)[0])
        assert segments[-1].end <= duration
