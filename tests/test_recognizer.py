"""The bundled model on the committed recordings, opening models, and invalid input."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
import whisper_apr
from recordings import DATA, RECORDINGS, speech
from whisper_apr import Segment, load_model, simd
from whisper_apr.errors import AudioError, AudioWarning, FormatError, ModelNotFoundError, OptionError

pytestmark = pytest.mark.usefixtures("encoded_once")

TRUTH = {entry["file"]: entry for entry in json.loads((DATA / "words.json").read_text())}

# Recordings of which every word is recognized; assets/digits.md lists the others.
RIGHT = (
    *("en.wav", "de.wav", "es.wav", "fr.wav", "en_three.flac", "en_8k_telephone.wav", "en_stereo_44k.flac"),
    *("en_noise.flac", "en_clipped.flac", "en_late.flac", "silence.flac"),
)


def words(file: str) -> list[str]:
    return [word["word"] for phrase in TRUTH[file]["phrases"] for word in phrase["words"]]


def errors(heard: list[str], said: list[str]) -> int:
    """Return the number of substitutions, deletions and insertions (Levenshtein distance)."""
    row = list(range(len(said) + 1))
    for i, a in enumerate(heard):
        diagonal, row[0] = row[0], i + 1
        for j, b in enumerate(said):
            diagonal, row[j + 1] = row[j + 1], min(row[j] + 1, row[j + 1] + 1, diagonal + (a != b))
    return row[-1]


def test_every_recording_is_listed() -> None:
    files = {path.name for path in DATA.iterdir() if path.suffix in (".wav", ".flac")}
    assert files == set(TRUTH)


@pytest.mark.parametrize("file", RIGHT)
def test_all_words_are_recognized(model: whisper_apr.Recognizer, file: str) -> None:
    result = model.transcribe(DATA / file, temperature=0.0, condition_on_previous_text=False)
    assert result.text.split() == words(file)
    if words(file):
        assert result.language == TRUTH[file]["phrases"][0]["language"]


@pytest.mark.parametrize(("file", "most"), [("en_long.flac", 3), ("de_then_fr.flac", 2)])
def test_recordings_of_several_windows(model: whisper_apr.Recognizer, file: str, most: int) -> None:
    """No word is lost between windows: at most as many errors as openai-whisper makes without word times."""
    result = model.transcribe(DATA / file, temperature=0.0, condition_on_previous_text=False)
    assert errors(result.text.split(), words(file)) <= most
    seeks = sorted({segment.seek for segment in result.segments})
    assert len(seeks) >= 2
    assert all(b - a <= 3000 for a, b in pairwise(seeks))
    assert any((b - a) % 3000 for a, b in pairwise(seeks))  # by timestamps, not by 30 s


@pytest.mark.parametrize("file", ["en.wav", "en_three.flac", "en_long.flac", "en_late.flac"])
def test_times_are_near_the_truth(model: whisper_apr.Recognizer, file: str) -> None:
    result = model.transcribe(DATA / file, temperature=0.0, condition_on_previous_text=False)
    ends = [phrase["words"][-1]["end"] for phrase in TRUTH[file]["phrases"]]
    for segment in result.segments:
        assert 0 <= segment.start < segment.end <= TRUTH[file]["seconds"] + 0.1
        assert min(abs(segment.end - end) for end in ends) < 0.5  # it ends with a phrase
    for a, b in pairwise(result.segments):
        assert a.end <= b.start
        assert b.id == a.id + 1


@pytest.mark.usefixtures("encoded_anew")
def test_every_backend_gives_the_same_text(backend: str) -> None:
    result = load_model("digits").transcribe(DATA / "de.wav", temperature=0.0)
    assert (result.text, result.language) == (" null sieben drei null zwei", "de")


def test_translation(model: whisper_apr.Recognizer) -> None:
    result = model.transcribe(DATA / "de.wav", task="translate", temperature=0.0)
    assert result.text == " zero seven three zero two"
    assert result.language == "de"


def test_results_by_attribute_and_by_key(model: whisper_apr.Recognizer) -> None:
    result = model.transcribe(DATA / "en.wav")
    assert result["text"] == result.text == " three one four one five"
    assert result["language"] == result.language == "en"
    segment = result["segments"][0]
    assert isinstance(segment, Segment)
    assert segment["text"] == segment.text == result.text
    assert segment["tokens"][-1] == 50364 + round(segment["end"] / 0.02)
    assert json.loads(json.dumps(result.to_dict()))["segments"][0]["text"] == result.text


def test_duration_and_language_probability_by_every_function(model: whisper_apr.Recognizer) -> None:
    samples = speech("en")
    seconds = len(samples) / 16000
    quick: dict[str, Any] = {"temperature": 0.0, "sample_len": 4}
    stereo = np.stack([samples, np.zeros_like(samples)], axis=1)
    silent = np.zeros(len(samples), np.float32)
    padded = np.concatenate([silent, samples])
    results = {
        "transcribe": (model.transcribe(samples, **quick), seconds),
        "transcribe_many": (next(model.transcribe_many([samples], **quick)), seconds),
        "independent windows": (next(model.transcribe_many([samples], independent_windows=True, **quick)), seconds),
        "batch": (model.transcribe(samples, batch_size=2, **quick), seconds),
        "words": (model.transcribe(samples, word_timestamps=True, **quick), seconds),
        "each channel": (model.transcribe(stereo, channel="each", **quick), seconds),
        "clips": (model.transcribe(samples, clip_timestamps="1,2", **quick), seconds),
        "speech only": (model.transcribe(padded, vad_filter=True, **quick), 2 * seconds),
    }
    _, info = whisper_apr.WhisperModel("digits").transcribe(samples, temperature=0.0)
    for name, (result, expected) in results.items():
        assert result.duration == pytest.approx(expected, abs=1e-9), name
        assert result.language == "en", name
        assert 0.5 < result.language_probability < 1, name
    for name in ("transcribe", "transcribe_many", "words", "clips"):
        assert results[name][0].language_probability == info.language_probability, name
    for name in ("independent windows", "batch"):  # the language is detected by the first slice
        assert results[name][0].language_probability == pytest.approx(info.language_probability, abs=1e-3), name
    assert info.duration == results["transcribe"][0].duration
    assert model.transcribe(samples, language="en", **quick).language_probability == 1.0
    assert model.transcribe(samples, word_timestamps=True, temperature=0.0).words[0].word == " three"


def test_path_bytes_file_and_array_give_equal_results(model: whisper_apr.Recognizer) -> None:
    path = DATA / "es.wav"
    expected = model.transcribe(path)
    samples = speech("es")
    with open(path, "rb") as file:
        assert model.transcribe(file) == expected
    assert model.transcribe(str(path)) == expected
    assert model.transcribe(path.read_bytes()) == expected
    assert model.transcribe(samples) == expected


def test_array_at_another_sampling_rate(model: whisper_apr.Recognizer) -> None:
    doubled = np.repeat(speech("en"), 3)  # 48 kHz
    assert model.transcribe(doubled, sampling_rate=48_000).text == " three one four one five"


@pytest.mark.usefixtures("encoded_anew")
def test_results_are_reproducible(model: whisper_apr.Recognizer) -> None:
    assert model.transcribe(DATA / "fr.wav") == model.transcribe(DATA / "fr.wav")


@pytest.mark.usefixtures("encoded_anew")
def test_results_do_not_depend_on_the_number_of_threads(model: whisper_apr.Recognizer) -> None:
    before = simd.get_num_threads()
    results = []
    for n in (1, 2, 3):
        simd.set_num_threads(n)
        results.append(model.transcribe(DATA / "en_three.flac", temperature=0.0))
    simd.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_low_level_functions(model: whisper_apr.Recognizer) -> None:
    """The example in openai-whisper's README with its import changed."""
    audio = whisper_apr.pad_or_trim(whisper_apr.load_audio(DATA / "fr.wav"))
    mel = whisper_apr.log_mel_spectrogram(audio, n_mels=model.dims.n_mels)
    _, probabilities = model.detect_language(mel)
    assert isinstance(probabilities, dict)
    assert max(probabilities, key=probabilities.get) == "fr"  # type: ignore[arg-type]
    assert sum(probabilities.values()) == pytest.approx(1)
    result = whisper_apr.decode(model, mel, whisper_apr.DecodingOptions())
    assert isinstance(result, whisper_apr.DecodingResult)
    assert result.text == "zéro trois trois deux deux"
    assert result.language == "fr"


def test_recordings_without_speech_have_no_text(model: whisper_apr.Recognizer) -> None:
    for name in ("silence", "silence_65_s", "one_second_of_silence", "noise", "faint_noise_40_s", "clicks"):
        assert model.transcribe(RECORDINGS[name](), temperature=0.0).text == "", name


# ---- opening a model ------------------------------------------------------------------------------------------------


def test_models_in_several_formats(tmp_path: Path) -> None:
    tensors = models.random_tensors(models.SMALLEST, 0)
    pt = load_model(models.write_pt(tmp_path / "model.pt", models.SMALLEST, tensors))
    folder = load_model(str(models.write_huggingface(tmp_path / "model", models.SMALLEST, tensors)))
    assert pt.dims == folder.dims == models.SMALLEST
    mel = np.random.default_rng(0).standard_normal((4, 12), np.float32)
    np.testing.assert_array_equal(pt.embed_audio(mel), folder.embed_audio(mel))


@pytest.mark.parametrize("name", ["nowhere.pt", "digit", "", "/nowhere/model.pt"])
def test_missing_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ModelNotFoundError, FormatError)):
        load_model(name)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ModelNotFoundError, match=r"'no such model'.*digits"):
        load_model("no such model")


def test_recording_passed_as_a_model() -> None:
    with pytest.raises(FormatError, match=r"en\.wav"):
        load_model(DATA / "en.wav")


# ---- invalid input raises one of the package's exceptions -------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello, this is no recording", id="text"),
        pytest.param(DATA, id="folder"),
        pytest.param("nowhere.wav", id="nothing there"),
        pytest.param(np.zeros(0, np.float32), id="no samples"),
        pytest.param(np.full(16_000, np.nan, np.float32), id="NaN"),
        pytest.param(np.zeros((2, 3, 4), np.float32), id="three dimensions"),
        pytest.param(np.array(["a"]), id="text in an array"),
        pytest.param(None, id="None"),
        pytest.param(17, id="a number"),
    ],
)
def test_invalid_recordings(model: whisper_apr.Recognizer, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AudioError) as caught:
        model.transcribe(source)
    assert "\n" not in str(caught.value)


def test_truncated_recording(model: whisper_apr.Recognizer) -> None:
    """The part that exists is transcribed with a warning; with `strict` it is an error."""
    source = (DATA / "en.wav").read_bytes()[:70_000]
    with pytest.warns(AudioWarning, match="cut off"):
        assert model.transcribe(source).text == model.transcribe(np.frombuffer(source[44:], "<i2")).text
    with pytest.raises(AudioError, match="cut off"):
        model.transcribe(source, strict=True)


@pytest.mark.parametrize(
    "options",
    [
        {"language": "klingon"},
        {"language": "EN-us"},
        {"task": "summarise"},
        {"temperature": -1.0},
        {"temperature": ()},
        {"beam_size": 0},
        {"no_such_option": 1},
        {"clip_timestamps": "5,3"},
        {"clip_timestamps": "a"},
        {"suppress_tokens": "-1,a"},
        {"suppress_tokens": "99999"},
        {"patience": 2.0},
        {"length_penalty": 2.0},
    ],
    ids=str,
)
def test_invalid_options(model: whisper_apr.Recognizer, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as caught:
        model.transcribe(speech("en"), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_samples", [1, 2, 159, 160, 161, 199, 200, 201, 400, 1600])
def test_very_short_recordings(model: whisper_apr.Recognizer, n_samples: int) -> None:
    result = model.transcribe(speech("en")[8000 : 8000 + n_samples], temperature=0.0)
    assert all(segment.end <= 0.2 for segment in result.segments)


def test_english_only_model_refuses_other_languages(tmp_path: Path) -> None:
    dims = models.dimensions(16, 2, 1, n_vocab=51864)
    path = models.write_pt(tmp_path / "model.pt", dims, models.random_tensors(dims, 0))
    english = load_model(path)
    with pytest.raises(OptionError, match="English only"):
        english.transcribe(speech("en"), language="de")
    mel = whisper_apr.pad_or_trim(whisper_apr.log_mel_spectrogram(speech("en")), 3000)
    with pytest.raises(OptionError, match="English only"):
        english.detect_language(mel)
    result = english.transcribe(speech("en"), temperature=0.0, sample_len=5)
    assert result.language == "en"
    assert all(token < 51864 for segment in result.segments for token in segment.tokens)


@pytest.mark.usefixtures("encoded_anew")
def test_memory_does_not_grow_with_the_number_of_calls(model: whisper_apr.Recognizer) -> None:
    import tracemalloc

    samples = speech("en")
    model.transcribe(samples, temperature=0.0)
    tracemalloc.start()
    used = []
    for _ in range(4):
        model.transcribe(samples, temperature=0.0)
        used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert used[-1] - used[1] < 100_000
