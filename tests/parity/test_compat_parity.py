"""`whisper_apr.compat.whisper` compared with openai-whisper: normalizers, names, arrays, word times and writers."""

import io
import json
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_normalized import normalized, normalizers

import whisper_apr
from normalizer_texts import texts
from openai_engine import Pair, share_alignment_heads
from recordings import RECORDINGS
from whisper_apr.compat import whisper
from whisper_apr.compat.faster_whisper import WhisperModel
from whisper_apr.compat.whisper import model, timing
from whisper_apr.compat.whisper import normalizers as ours
from whisper_apr.compat.whisper.normalizers import english

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # its table of spellings
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TESTS = Path(__file__).resolve().parents[1]
N_TEXT = 100_000


@pytest.fixture(scope="module")
def theirs(openai: Any) -> dict[str, Any]:
    return normalizers(import_module("whisper.normalizers"), import_module("whisper.normalizers.english"))


def outcome(function: Any, text: str) -> Any:
    try:
        return function(text)
    except Exception as error:
        return type(error)


def test_normalizers(theirs: dict[str, Any]) -> None:
    """English text is normalized in every way; the other normalizers take turns."""
    mine = normalizers(ours, english)
    others = [name for name in mine if name != "text"]
    differing = [
        (name, text)
        for i, text in enumerate(texts(N_TEXT, seed=1))
        for name in ("text", others[i % len(others)])
        if outcome(mine[name], text) != outcome(theirs[name], text)
    ]
    assert not differing


def test_the_committed_texts(theirs: dict[str, Any]) -> None:
    assert json.loads((TESTS / "data" / "normalized.json").read_bytes()) == normalized(theirs)


def test_the_committed_names(openai: Any, tmp_path: Path) -> None:
    subprocess.run([sys.executable, TESTS / "make_names.py", "whisper", tmp_path / "names.json"], check=True)
    assert (tmp_path / "names.json").read_text() == (TESTS / "data" / "whisper_names.json").read_text()


def test_names_and_alignment_heads_of_models(openai: Any) -> None:
    assert whisper.available_models() == openai.available_models()
    for name, dump in whisper._ALIGNMENT_HEADS.items():
        shape = {"tiny": (4, 6), "base": (6, 8), "small": (12, 12), "medium": (24, 16), "turbo": (4, 20)}
        size = "turbo" if "turbo" in name else name.split(".")[0]
        dims = asdict(whisper.load_model("digits").dims)
        dims["n_text_layer"], dims["n_text_head"] = shape.get(size, (32, 20))
        mine, other = (model.Whisper(whisper.ModelDimensions(**dims)) for _ in range(2))
        mine.set_alignment_heads(dump)
        other.set_alignment_heads(openai._ALIGNMENT_HEADS[name])
        assert mine.alignment_heads == other.alignment_heads


def test_arrays(torch: Any, openai: Any) -> None:
    both = np.stack([RECORDINGS["en"]()[:32000], 1e-3 * RECORDINGS["de"]()[:32000]])
    expected = openai.log_mel_spectrogram(torch.from_numpy(both), padding=320).numpy()
    np.testing.assert_allclose(whisper.log_mel_spectrogram(both, padding=320), expected, atol=1e-4)
    np.testing.assert_allclose(model.sinusoids(50, 16), openai.model.sinusoids(50, 16).numpy(), atol=1e-5)
    x = torch.randn(2, 3, 20, requires_grad=True)
    with torch.no_grad():
        np.testing.assert_array_equal(timing.median_filter(x, 5), openai.timing.median_filter(x, 5).numpy())
    cost = x[0].detach().double()
    np.testing.assert_array_equal(timing.dtw(cost), openai.timing.dtw(cost))
    trace = np.random.default_rng(0).integers(0, 3, (9, 7)).astype(np.float32)
    np.testing.assert_array_equal(timing.backtrace(trace.copy()), openai.timing.backtrace(trace.copy()))


def test_torch_takes_our_device(torch: Any) -> None:
    device = whisper.load_model("digits", device=torch.device("cpu")).device
    assert torch.zeros(2).to(device).device.type == device.type
    assert (
        whisper.log_mel_spectrogram(torch.zeros(1600), device=torch.device("cpu")).to(torch.float16).dtype == np.float16
    )
    with pytest.raises(ValueError, match="device must be 'cpu'"):
        whisper.load_model("digits", device=torch.device("cuda"))


def test_tensors_as_audio(torch: Any) -> None:
    """In every type, with and without gradients, by all interfaces; beyond float32 the text may differ."""
    samples = RECORDINGS["en"]()
    options = {"temperature": 0.0, "language": "en"}
    doors = [
        lambda audio: whisper_apr.load_model("digits").transcribe(audio, **options)["text"],
        lambda audio: whisper.load_model("digits").transcribe(audio, **options)["text"],
        lambda audio: "".join(s.text for s in whisper_apr.WhisperModel("digits").transcribe(audio, **options)[0]),
        lambda audio: "".join(s.text for s in WhisperModel("digits").transcribe(audio, **options)[0]),
    ]
    with torch.inference_mode(False):
        tensor = torch.tensor(samples)
        for given in (tensor, tensor.clone().requires_grad_(), tensor.half(), tensor.bfloat16(), tensor[None].T):
            assert {door(given) for door in doors} == {" three one four one five"}
        given = tensor.clone().requires_grad_()
        assert doors[0]([given]) == doors[0](iter([given])) == " three one four one five"


@pytest.mark.parametrize("name", ["en", "de"])
def test_word_times(digits: Pair, torch: Any, openai: Any, name: str) -> None:
    share_alignment_heads(digits)
    samples, options = RECORDINGS[name](), {"temperature": 0.0, "language": name, "fp16": False}
    expected = digits.theirs.transcribe(samples, word_timestamps=True, **options)
    mine = whisper.transcribe(digits.ours, torch.from_numpy(samples), word_timestamps=True, **options)
    assert list(mine) == list(expected)
    assert [list(segment) for segment in mine["segments"]] == [list(segment) for segment in expected["segments"]]
    for a, b in zip(mine["segments"], expected["segments"], strict=True):
        assert [word["word"] for word in a["words"]] == [word["word"] for word in b["words"]]
        assert [(w["start"], w["end"]) for w in a["words"]] == [(w["start"], w["end"]) for w in b["words"]]


@pytest.mark.parametrize("merge", [("\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"), ("(", ",")])  # noqa: RUF001
def test_punctuation(openai: Any, merge: tuple[str, str]) -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        words = rng.choice([" one", " (", "(", ",", ".", " -", "-", " ", "two ", " 'tis"], 8).tolist()
        lists = [
            [kind(word, [i], 0.0, 1.0, 1.0) for i, word in enumerate(words)]
            for kind in (timing.WordTiming, openai.timing.WordTiming)
        ]
        timing.merge_punctuations(lists[0], *merge)
        openai.timing.merge_punctuations(lists[1], *merge)
        assert list(map(asdict, lists[0])) == list(map(asdict, lists[1]))


def test_subtitles(digits: Pair) -> None:
    theirs = import_module("whisper.utils")
    result = digits.theirs.transcribe(RECORDINGS["en"](), word_timestamps=True, temperature=0.0, fp16=False)
    for name in ("txt", "srt", "vtt", "tsv", "json"):
        for layout in ({}, {"max_words_per_line": 2}, {"highlight_words": True}):
            files = [io.StringIO(), io.StringIO()]
            for module, file in zip((import_module("whisper_apr.compat.whisper.utils"), theirs), files, strict=True):
                module.get_writer(name, "").write_result(result, file, {"max_line_width": None}, **layout)
            assert files[0].getvalue() == files[1].getvalue()
