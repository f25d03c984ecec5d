"""Weights with infinity or NaN: an error that names the tensor in every format; and non-finite logits."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ct2_files
import ggml_files
from models import ODD, random_checkpoint, random_tensors, write_huggingface, write_pt
from whisper_apr import load_model, log_mel_spectrogram, pad_or_trim
from whisper_apr.checkpoint import Checkpoint
from whisper_apr.errors import FormatError, OptionError
from whisper_apr.finite import FiniteTensors, check_finite
from whisper_apr.formats import open_checkpoint, read_apr, write_apr, write_apr_v1
from whisper_apr.formats.apr.http import open_stream
from whisper_apr.hub import find_checkpoint
from whisper_apr.inference.search import BeamSearch, GreedySearch
from whisper_apr.recognizer import Recognizer
from whisper_apr.simd import PackedMatrix, pack, quantize_int4, quantize_int8

pytestmark = pytest.mark.usefixtures("encoded_once")

BAD = [np.nan, -np.nan, np.inf, -np.inf]
TENSORS = random_tensors(ODD, 0)
MATRIX, KERNEL, VECTOR, TABLE = (
    "decoder.blocks.0.mlp.0.weight",
    "encoder.conv1.weight",
    "decoder.blocks.1.cross_attn.query.bias",
    "encoder.positional_embedding",
)


def with_one(name: str, value: float, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Return the tensors, with one value replaced."""
    tensors = {key: tensor.astype(dtype) for key, tensor in TENSORS.items()}
    tensors[name].reshape(-1)[tensors[name].size // 3] = value
    return tensors


# ---- one tensor -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (70_000,), (33, 2, 1001)])
def test_every_element_is_checked(dtype, shape):
    largest, least = float(np.finfo(dtype).max), float(np.finfo(dtype).smallest_subnormal)
    edge = np.resize([0.0, -0.0, 1, -1, min(largest, 3.4e38), -min(largest, 3.4e38), least, -least], shape).astype(
        dtype
    )
    check_finite(edge, "w", "here")
    for view in (edge[::2], edge[..., ::-1], edge.T, edge[:0]):
        check_finite(view, "w", "here")
    for at in {0, 1, edge.size // 2, 65_535, 65_536, edge.size - 1} & set(range(edge.size)):
        for bad in BAD if dtype[1:] != "f8" else [*BAD, 3.5e38, -3.5e38]:  # infinite in float32
            array = edge.copy()
            array.reshape(-1)[at] = bad
            for view in (array, array.T, np.asfortranarray(array), np.repeat(array, 2, axis=-1)[..., ::2]):
                with pytest.raises(FormatError, match=r"^here: tensor 'w' contains infinity or NaN"):
                    check_finite(view, "w", "here")


def test_every_bit_pattern_of_float16():
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    check_finite(values[np.isfinite(values)], "w", "here")
    for value in values[~np.isfinite(values)][::37]:
        with pytest.raises(FormatError):
            check_finite(np.array([0, value], np.float16), "w", "here")


def test_scales_are_checked():
    w = np.random.default_rng(0).standard_normal((20, 40)).astype(np.float32)
    for quantized in (quantize_int8(w), quantize_int4(w)):
        check_finite(quantized, "w", "here")
        check_finite(pack(quantized), "w", "here")
        for bad in BAD:
            scales = quantized.scales.copy()
            scales.reshape(-1)[-1] = bad
            broken = replace(quantized, scales=scales)
            for weight in (broken, pack(broken)):
                with pytest.raises(FormatError, match="'w'"):
                    check_finite(weight, "w", "here")
    for dtype in (np.float32, np.float16):
        w[-1, -1] = np.nan
        with pytest.raises(FormatError, match="'w'"):
            check_finite(pack(w.astype(dtype)), "w", "here")


def test_unused_tensors_are_not_read():
    class Unread(dict):
        def __getitem__(self, name):
            raise AssertionError(name)

    tensors = FiniteTensors(Unread(a=np.ones(3), b=np.ones(3)), "here")
    assert list(tensors) == ["a", "b"]
    assert "a" in tensors
    assert "c" not in tensors
    assert len(tensors) == 2


# ---- every format ---------------------------------------------------------------------------------------------------


def apr(path: Path, tensors: dict[str, np.ndarray], dtype: str | None = None, compress: bool = False) -> Path:
    """Write the file without the writer's check for finite values."""
    write_apr(Checkpoint(ODD, tensors), path / "model.apr", dtype, compress)
    return path / "model.apr"


def apr_v1(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    write_apr_v1(Checkpoint(ODD, tensors), path / "model.apr")
    return path / "model.apr"


def ggml(path: Path, tensors: dict[str, np.ndarray], kind: str) -> Path:
    ggml_files.write_ggml(path / "model.bin", ODD, tensors, kind)
    return path / "model.bin"


def ct2(path: Path, tensors: dict[str, np.ndarray], kind: str) -> Path:
    ct2_files.write_ct2(path, ODD, tensors, kind)
    return path


FORMATS: dict[str, tuple[Callable[[Path, dict[str, np.ndarray]], Path], type]] = {
    "pt float32": (lambda path, tensors: write_pt(path / "m.pt", ODD, tensors), np.float32),
    "pt float16": (lambda path, tensors: write_pt(path / "m.pt", ODD, tensors), np.float16),
    "pt bfloat16": (lambda path, tensors: write_pt(path / "m.pt", ODD, tensors, bfloat16=True), np.float32),
    "pt float64": (lambda path, tensors: write_pt(path / "m.pt", ODD, tensors), np.float64),
    "pt deflated": (lambda path, tensors: write_pt(path / "m.pt", ODD, tensors, compressed=True), np.float32),
    "safetensors float32": (lambda path, tensors: write_huggingface(path, ODD, tensors), np.float32),
    "safetensors float16": (lambda path, tensors: write_huggingface(path, ODD, tensors), np.float16),
    "safetensors in shards": (lambda path, tensors: write_huggingface(path, ODD, tensors, shards=3), np.float32),
    "ggml float32": (lambda path, tensors: ggml(path, tensors, "float32"), np.float32),
    "ggml float16": (lambda path, tensors: ggml(path, tensors, "float16"), np.float32),
    "ct2 float32": (lambda path, tensors: ct2(path, tensors, "float32"), np.float32),
    "ct2 float16": (lambda path, tensors: ct2(path, tensors, "float16"), np.float32),
    "ct2 bfloat16": (lambda path, tensors: ct2(path, tensors, "bfloat16"), np.float32),
    "apr version 1": (apr_v1, np.float32),
    "apr float32": (lambda path, tensors: apr(path, tensors, "float32"), np.float32),
    "apr float16": (lambda path, tensors: apr(path, tensors, "float16"), np.float32),
    "apr LZ4": (lambda path, tensors: apr(path, tensors, "float32", True), np.float32),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_model_with_one_non_finite_value(tmp_path, kind):
    """Loading it raises an error that names the tensor; the original model loads."""
    write, dtype = FORMATS[kind]
    for i, (name, value) in enumerate(zip((MATRIX, KERNEL, VECTOR, TABLE), BAD, strict=True)):
        folder = tmp_path / str(i)
        folder.mkdir()
        path = write(folder, with_one(name, value, dtype))
        stem = name.rpartition(".")[0] if "attn" not in name else "decoder.blocks.1.cross_attn."
        with pytest.raises(FormatError, match=rf"tensor '{stem}.*' contains infinity or NaN") as caught:
            load_model(path)
        assert str(tmp_path) in str(caught.value)
    whole = tmp_path / "whole"
    whole.mkdir()
    load_model(write(whole, {key: tensor.astype(dtype) for key, tensor in TENSORS.items()}))


def test_stream_with_one_non_finite_value(tmp_path):
    for name in (KERNEL, "decoder.ln.bias"):
        data = apr(tmp_path, with_one(name, np.nan), "float32").read_bytes()
        with pytest.raises(FormatError, match=f"tensor '{name}' contains infinity or NaN"):
            _ = load_model(io.BytesIO(data)).decoder
        tensors = open_stream(io.BytesIO(data)).checkpoint.tensors
        with pytest.raises(FormatError, match=f"tensor '{name}' contains infinity or NaN"):
            tensors[name]


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_apr_with_a_non_finite_scale(tmp_path, dtype):
    write_apr(random_checkpoint(ODD), tmp_path / "good.apr", dtype)
    good = read_apr(tmp_path / "good.apr")
    matrix = good.tensors[MATRIX]
    assert isinstance(matrix, PackedMatrix)
    assert matrix.scales is not None
    scales = matrix.scales.copy()
    scales.reshape(-1)[3] = np.inf
    tensors = {**good.tensors, MATRIX: replace(matrix, scales=scales)}
    write_apr(Checkpoint(ODD, tensors), tmp_path / "bad.apr", dtype)
    with pytest.raises(FormatError, match=f"tensor '{MATRIX}'"):
        load_model(tmp_path / "bad.apr")


def test_ctranslate2_with_a_non_finite_scale(tmp_path):
    ct2_files.write_ct2(tmp_path, ODD, TENSORS, "int8")
    raw = bytearray((tmp_path / "model.bin").read_bytes())
    name = b"decoder/layer_0/ffn/linear_0/weight_scale\0"
    at = raw.index(name) + len(name) + 1 + 4 + 1 + 4
    raw[at : at + 4] = struct.pack("<f", np.nan)
    (tmp_path / "model.bin").write_bytes(raw)
    with pytest.raises(FormatError, match=r"decoder\.blocks\.0\.mlp\.0\.weight"):
        load_model(tmp_path)


def test_conversion_checks_values(tmp_path):
    source = write_pt(tmp_path / "m.pt", ODD, with_one(MATRIX, np.nan))
    with pytest.raises(FormatError, match=f"tensor '{MATRIX}'"):
        write_apr(open_checkpoint(source), tmp_path / "m.apr")
    assert not (tmp_path / "m.apr").exists()


# ---- non-finite logits ----------------------------------------------------------------------------------------------


class NoCache:
    def reorder(self, source):
        pass


def searches():
    return [GreedySearch(1, 2, 4, 0.0), GreedySearch(1, 2, 4, 0.7, 0), BeamSearch(1, 2, 4)]


@pytest.mark.parametrize("bad", BAD[:3])
def test_non_finite_logits_are_refused(bad):
    """For any token, also if others are suppressed."""
    for at in range(6):
        for others in (0.0, -np.inf):
            for search in searches():
                logits = np.full((2, 6), others, np.float32)
                logits[0] = 1
                logits[1, at] = bad
                with pytest.raises(FormatError, match="logits that are infinite or NaN"):
                    search.update(np.zeros((2, 1), np.int64), logits, NoCache())


def test_every_token_suppressed():
    for search in searches():
        with pytest.raises(OptionError, match="leave no token to choose"):
            search.update(np.zeros((2, 1), np.int64), np.full((2, 6), -np.inf, np.float32), NoCache())
    # a finished row chooses no token
    logits = np.stack([np.full(6, -np.inf), np.ones(6)]).astype(np.float32)
    GreedySearch(1, 2, 4, 0.0).update(np.array([[4], [1]]), logits, NoCache())


@pytest.mark.parametrize("name", ["decoder.ln.weight", "encoder.ln_post.weight", "decoder.blocks.0.mlp.2.weight"])
@pytest.mark.parametrize("compute_type", ["float32", "int8"])
def test_finite_weights_with_infinite_sums(name, compute_type):
    """Sums of the largest floats are infinite, so computing logits raises an error."""
    whole = find_checkpoint("digits")
    tensors = {key: np.array(tensor) for key, tensor in whole.tensors.items()}
    tensors[name] = np.where(tensors[name] < 0, np.float32(-3e38), np.float32(3e38))
    broken = Recognizer(replace(whole, tensors=tensors), compute_type)
    sound = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * np.float32(0.1)
    mel = log_mel_spectrogram(pad_or_trim(sound))
    for ask in (
        lambda: broken.transcribe(sound),
        lambda: broken.transcribe(sound, beam_size=3, temperature=0),
        lambda: broken.transcribe(sound, temperature=0.5),
        lambda: list(broken.transcribe_many([sound, sound])),
        lambda: broken.decode(mel),
        lambda: broken.detect_language(mel),
    ):
        with pytest.raises(FormatError, match="logits that are infinite or NaN"):
            ask()
