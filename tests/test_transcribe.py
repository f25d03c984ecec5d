"""Transcription of whole recordings: any source, batch size, thread or cancellation gives the same segments."""

import gc
import io
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from recordings import noise, silence, speech, triangle
from whisper_apr.audio import ReadingOptions, log_mel_spectrogram
from whisper_apr.errors import AudioError, OptionError
from whisper_apr.inference.audio_source import open_channels
from whisper_apr.inference.spectrogram import Spectrogram
from whisper_apr.inference.transcribe import transcriber

pytestmark = pytest.mark.usefixtures("encoded_once")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def long():
    """Return 52 s of digits, pauses and faint noise."""
    parts = [speech("en_three"), silence(3), speech("es"), speech("en_late"), noise(4, 0.001), speech("en")]
    return np.concatenate(parts)


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self, data):
        self.file = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.file.readinto(buffer)


def wav(samples):
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format="WAV", subtype="FLOAT")
    return file.getvalue()


# ---- reading --------------------------------------------------------------------------------------------------------


def test_every_source_gives_the_same_result(model, long):
    expected = model.transcribe(long)
    assert len(expected.segments) > 3
    data = wav(long)
    ways = (data, io.BytesIO(data), Pipe(data), iter(np.array_split(long, 50)))
    for source in ways:
        assert model.transcribe(source) == expected


@pytest.mark.parametrize("n", [1, 150, 201, 1000, 16000, 77_777])
def test_spectrogram_in_blocks_equals_the_whole(n):
    x = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    whole = log_mel_spectrogram(x, 80, padding=480_000)
    blocks = Spectrogram(*open_channels(iter(np.array_split(x, max(1, n // 777))), ReadingOptions()), 80)
    assert blocks.content_frames == n // 160
    np.testing.assert_array_equal(blocks.read(0, whole.shape[1]), whole)


def test_spectrogram_of_a_long_recording_keeps_few_frames_and_can_go_back():
    x = (np.random.default_rng(0).standard_normal(200 * 16000) * 0.1).astype(np.float32)
    whole = log_mel_spectrogram(x, 80, padding=480_000)
    blocks = Spectrogram(*open_channels(x, ReadingOptions()), 80)
    for start in (0, 2990, 15_000, 14_000, 100, 19_990, 22_000):
        got = blocks.read(start, 3000)
        np.testing.assert_array_equal(got, whole[:, start : start + 3000])
        assert sum(block.shape[1] for block in blocks._kept) < 8000


@pytest.mark.parametrize(
    "blocks", [[], [np.zeros(0, np.float32)], [np.array([np.nan], np.float32)], [np.zeros((2, 2, 2))]]
)
def test_unreadable_streams(model, blocks):
    with pytest.raises(AudioError):
        model.transcribe(iter(blocks))


# ---- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("encoded_anew")
def test_batched_windows_equal_single_ones(model, long):
    options = {"word_timestamps": True, "seed": 1, "initial_prompt": "nine"}
    single = model.transcribe(long, batch_size=1, **options)
    assert model.transcribe(long, batch_size=4, **options) == single
    assert model.transcribe(long, batch_size=2, **options) == single
    assert len(single.segments) > 3


def test_batched_clips_equal_the_sequential_ones(model, long):
    clips = [0, 12, 14, 26.5, 30, 55]
    options = {"clip_timestamps": clips, "condition_on_previous_text": False, "temperature": 0.0}
    plain = model.transcribe(long, **options)
    assert model.transcribe(long, batch_size=3, **options) == plain
    assert plain.segments


# ---- segments, progress and language --------------------------------------------------------------------------------


def test_callbacks_and_generator_agree(model, long):
    seen, progress = [], []
    result = model.transcribe(long, on_segment=seen.append, on_progress=progress.append)
    assert seen == result.segments
    assert [s.id for s in seen] == list(range(len(seen)))
    seconds = len(long) / 16000
    assert progress[-1].total == seconds
    assert progress[-1].done == seconds
    assert [p.done for p in progress] == sorted(p.done for p in progress)
    job = transcriber(model, long)
    assert (job.language, job.duration) == (result.language, seconds)
    assert 0 < job.language_probability <= 1
    assert list(job.segments()) == result.segments


def test_times_with_vad_filter_are_those_of_the_recording(model):
    samples = np.concatenate([silence(20), speech("en"), silence(25), speech("en")])
    result = model.transcribe(samples, vad_filter=True, word_timestamps=True, temperature=0.0)
    words = [word for segment in result.segments for word in segment.words]
    assert [w.word for w in words] == 2 * [" three", " one", " four", " one", " five"]
    second = 20 + len(speech("en")) / 16000 + 25
    for begin, part in ((20, words[:5]), (second, words[5:])):
        assert part[0].start == pytest.approx(begin + 0.4, abs=0.1)
        assert part[-1].end == pytest.approx(begin + 3.16, abs=0.1)
    points = [t for w in words for t in (w.start, w.end)]
    assert points == sorted(points)


@pytest.mark.parametrize(
    "sound", [silence(40), noise(40, 0.05), triangle(40, 220, 0.2)], ids=["silence", "noise", "tone"]
)
def test_vad_filter_gives_no_text_without_speech(model, sound):
    assert model.transcribe(sound, vad_filter=True).text == ""


def test_language_among_candidates_and_of_each_window(model):
    samples = np.concatenate([speech("de"), silence(30 - len(speech("de")) / 16000), speech("es")])
    assert model.transcribe(samples).language == "de"
    assert model.transcribe(samples, languages=["en", "es"]).language in ("en", "es")
    result = model.transcribe(samples, multilingual=True, condition_on_previous_text=False)
    assert {s.language for s in result.segments if s.text} == {"de", "es"}
    assert all(s.language is None for s in model.transcribe(samples).segments)


def test_language_from_several_windows(model):
    samples = np.concatenate([silence(30), speech("fr")])
    job = transcriber(model, samples, language_detection_segments=3)
    assert job.language == "fr"
    assert sum(job.language_probabilities.values()) == pytest.approx(1, abs=1e-4)


# ---- threads and cancellation -------------------------------------------------------------------------------


@pytest.mark.usefixtures("encoded_anew")
def test_two_threads_share_a_model(model, long):
    jobs = {"a": (long, {"beam_size": 2, "temperature": 0.0}), "b": (speech("en_three"), {"word_timestamps": True})}
    expected = {name: model.transcribe(samples, **options) for name, (samples, options) in jobs.items()}
    found = {}

    def work(name):
        samples, options = jobs[name]
        found[name] = model.transcribe(samples, **options)

    threads = [threading.Thread(target=work, args=(name,)) for name in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


class Cancelled(Exception):
    pass


@pytest.mark.parametrize("n", [0, 1, 2, 5, 6, 7, 20])
def test_cancelling_stops_at_the_next_token_and_leaves_the_model_usable(model, n):
    expected = model.transcribe(speech("en"))
    calls = 0

    def check_cancelled():
        nonlocal calls
        calls += 1
        if calls > n:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.transcribe(speech("en_three"), check_cancelled=check_cancelled)
    assert calls == n + 1
    assert model.transcribe(speech("en")) == expected


@pytest.mark.usefixtures("encoded_anew")
def test_memory_does_not_grow(model):
    samples = speech("en")[:16000]

    def run(n):
        for _ in range(n):
            model.transcribe(samples, temperature=0.0, language="en", sample_len=3)

    def kept():
        """Return the bytes in blocks of at least 1 KiB, and in smaller ones."""
        gc.collect()
        sizes = [trace.size for trace in tracemalloc.take_snapshot().traces]
        return sum(size for size in sizes if size >= 1024), sum(size for size in sizes if size < 1024)

    run(3)
    tracemalloc.start()
    try:
        run(3)
        large, small = kept()
        run(15)
        large_after, small_after = kept()
    finally:
        tracemalloc.stop()
    assert large_after - large < 20_000  # an array of a window is more
    # NumPy keeps small blocks for its next arrays: 75 kB in all, after hundreds of runs
    assert small_after - small < 100_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"prompt": "x"}, "prompt"),
        ({"clip_timestamps": "3,1"}, "no end before its start"),
        ({"clip_timestamps": "3,4,1,2"}, "must be in order"),
        ({"clip_timestamps": "a"}, "comma-separated"),
        ({"clip_timestamps": [-1]}, "negative"),
        ({"batch_size": 0}, "at least 1"),
        ({"temperature": ()}, "at least one"),
        ({"languages": []}, "at least one"),
        ({"languages": ["klingon"]}, "klingon"),
        ({"hallucination_silence_threshold": 1.0}, "word_timestamps"),
        ({"vad_filter": True, "vad_parameters": {"volume": 1}}, "volume"),
    ],
)
def test_invalid_options(model, options, message):
    with pytest.raises(OptionError, match=message):
        model.transcribe(silence(1), **options)
