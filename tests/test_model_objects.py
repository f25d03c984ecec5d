"""A model as a Python object: its repr, pickling by name or path, and copies."""

import copy
import io
import pickle
from pathlib import Path

import numpy as np
import pytest

import models
import whisper_apr
from recordings import DATA, speech
from whisper_apr import OptionError, Recognizer, WhisperModel, load_model, recognizer
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.apr import write_apr


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return models.write_pt(tmp_path / "small.pt", models.SMALLEST, models.random_tensors(models.SMALLEST, 0))


def test_repr_is_one_line_with_name_languages_size_and_type(model: Recognizer, small: Path) -> None:
    assert repr(model) == "Recognizer('digits', multilingual, 9M parameters, float32)"
    assert repr(load_model(small, compute_type="int8")).startswith(f"Recognizer({str(small)!r}, ")


def test_repr_of_a_model_from_a_url_hides_the_query(small: Path) -> None:
    model = Recognizer(open_checkpoint(small))
    model._origin = recognizer._Origin("https://example.org/small.apr?token=secret", "default", None)
    assert repr(model).startswith("Recognizer('https://example.org/small.apr', ")


def test_reprs_are_short(model: Recognizer) -> None:
    faster = WhisperModel("digits")
    assert repr(faster) == f"WhisperModel({model!r})"
    assert repr(whisper_apr.BatchedInferencePipeline(faster)) == f"BatchedInferencePipeline({faster!r})"
    _, info = faster.transcribe(DATA / "en.wav")
    decoded = model.decode(whisper_apr.log_mel_spectrogram(whisper_apr.pad_or_trim(speech("en"))))
    for value in (info, decoded, whisper_apr.simd.pack(np.zeros((500, 500)))):
        assert "\n" not in repr(value)
        assert len(repr(value)) < 500


def test_a_named_model_pickles_by_its_name(model: Recognizer) -> None:
    data = pickle.dumps(model)
    assert len(data) < 500
    again = pickle.loads(data)
    assert repr(again) == repr(model)
    assert again.transcribe(speech("en"), temperature=0.0) == model.transcribe(speech("en"), temperature=0.0)


def test_the_compute_type_and_the_folder_of_downloads_are_pickled(tmp_path: Path) -> None:
    model = load_model("digits", compute_type="int8", download_root=tmp_path)
    again = pickle.loads(pickle.dumps(model))
    assert (repr(again), again._origin) == (repr(model), model._origin)


def test_a_path_is_pickled_absolute(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small.parent)
    pickled = [pickle.dumps(load_model(name)) for name in (small.name, Path(small.name))]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    mel = np.random.default_rng(0).standard_normal((4, 12), np.float32)
    expected = load_model(small).embed_audio(mel)
    for data in pickled:
        np.testing.assert_array_equal(pickle.loads(data).embed_audio(mel), expected)


def test_a_model_whose_file_is_gone_says_so(small: Path) -> None:
    data = pickle.dumps(load_model(small))
    small.unlink()
    with pytest.raises(whisper_apr.ModelNotFoundError, match=r"small\.pt"):
        pickle.loads(data)


def test_a_model_without_a_name_cannot_be_pickled(small: Path, tmp_path: Path) -> None:
    write_apr(open_checkpoint(small), tmp_path / "small.apr")
    file = io.BytesIO((tmp_path / "small.apr").read_bytes())
    for model in (load_model(file), Recognizer(open_checkpoint(small))):
        assert repr(model).startswith("Recognizer(")
        with pytest.raises(TypeError, match=r"cannot pickle a model .* load it by its name"):
            pickle.dumps(model)


def test_faster_whispers_models_pickle_too() -> None:
    batched = whisper_apr.BatchedInferencePipeline(WhisperModel("digits"))
    segments, _ = pickle.loads(pickle.dumps(batched)).transcribe(DATA / "en.wav", temperature=0.0, beam_size=1)
    assert "".join(segment.text for segment in segments) == " three one four one five"


def test_copies_share_the_weights(model: Recognizer) -> None:
    assert copy.copy(model) is model
    assert copy.deepcopy({"model": model})["model"] is model


@pytest.mark.parametrize("wrong", ["digits", None, 5, WhisperModel])
def test_what_is_no_model_is_refused(wrong: object) -> None:
    audio, mel = np.zeros(16_000, np.float32), np.zeros((80, 3000), np.float32)
    for call in (
        lambda: whisper_apr.transcribe(wrong, audio),  # type: ignore[arg-type]
        lambda: whisper_apr.transcribe_many(wrong, [audio]),  # type: ignore[call-overload]
        lambda: whisper_apr.decode(wrong, mel),  # type: ignore[call-overload]
        lambda: whisper_apr.detect_language(wrong, mel),  # type: ignore[call-overload]
        lambda: whisper_apr.LiveTranscriber(wrong),  # type: ignore[arg-type]
        lambda: whisper_apr.BatchedInferencePipeline(wrong),  # type: ignore[arg-type]
    ):
        with pytest.raises(OptionError, match="model must be"):
            call()
