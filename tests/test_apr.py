"""`.apr` version 2: lossless round trips, the layout that docs/apr-format.md specifies, and use."""

import json
import re
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

from apr_files import described_checkpoint
from models import ODD, TINY, random_checkpoint
from whisper_apr import load_model
from whisper_apr.checkpoint import Checkpoint, expected_shapes
from whisper_apr.errors import FormatError, OptionError
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.apr import write_apr_v1
from whisper_apr.formats.apr.reader import open_header, read_apr, verify_apr, write_apr
from whisper_apr.formats.apr.schema import model_parts, part_dtype, plain_tensor
from whisper_apr.formats.apr.writer import _lay_out
from whisper_apr.mixed import int8_matrices
from whisper_apr.model import Whisper
from whisper_apr.simd import PackedMatrix
from whisper_apr.tokenizer.bpe import packed_vocabulary

DTYPES = ("float32", "float16", "int8", "int4")


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return described_checkpoint()


@pytest.fixture(params=[(dtype, compress) for dtype in DTYPES for compress in (False, True)], ids=str)
def written(request: pytest.FixtureRequest, model: Checkpoint, tmp_path: Path) -> Path:
    dtype, compress = request.param
    path = tmp_path / "model.apr"
    write_apr(model, path, dtype, compress)
    return path


def logits(checkpoint: Checkpoint, compute_type: str = "float32") -> np.ndarray:
    network = Whisper(checkpoint, compute_type)
    dims = checkpoint.dims
    mel = np.random.default_rng(1).standard_normal((1, dims.n_mels, 2 * dims.n_audio_ctx), np.float32)
    return network.logits(np.array([[3, 1, 4, 1, 5]]), network.embed_audio(mel))


# ---- round trips ----------------------------------------------------------------------------------------------------


def test_rewriting_a_file_does_not_change_it(written: Path, tmp_path: Path) -> None:
    compressed = open_header(np.fromfile(written, np.uint8), "model").fixed.is_compressed
    write_apr(open_checkpoint(written), tmp_path / "again.apr", compress=compressed)
    assert (tmp_path / "again.apr").read_bytes() == written.read_bytes()


def test_metadata_round_trip(written: Path, model: Checkpoint) -> None:
    back = read_apr(written)
    for name in ("dims", "alignment_heads", "license", "provenance", "vocabulary"):
        assert getattr(back, name) == getattr(model, name)


def test_float32_is_exact(model: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.apr"
    write_apr(model, path)  # in its own dtype
    back = read_apr(path)
    for name in expected_shapes(ODD):
        np.testing.assert_array_equal(
            plain_tensor(ODD, back.tensors, name), plain_tensor(ODD, model.tensors, name), strict=True
        )
    np.testing.assert_array_equal(logits(back), logits(model), strict=True)


def test_float16_is_exact(tmp_path: Path) -> None:
    path, whole = tmp_path / "model.apr", random_checkpoint(ODD)
    model = replace(whole, tensors={name: value.astype(np.float16) for name, value in whole.tensors.items()})
    write_apr(model, path)
    np.testing.assert_array_equal(logits(read_apr(path)), logits(model), strict=True)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("compress", [False, True])
def test_quantizing_to_a_file_equals_quantizing_at_load(
    model: Checkpoint, tmp_path: Path, dtype: str, compress: bool
) -> None:
    path = tmp_path / "model.apr"
    write_apr(model, path, dtype, compress)
    np.testing.assert_array_equal(logits(read_apr(path), "int8"), logits(model, dtype), strict=True)


def test_quantized_files_can_be_converted(model: Checkpoint, tmp_path: Path) -> None:
    write_apr(model, tmp_path / "8.apr", "int8")
    eight = read_apr(tmp_path / "8.apr")
    write_apr(eight, tmp_path / "32.apr", "float32")
    whole = read_apr(tmp_path / "32.apr")
    for name in expected_shapes(ODD):
        np.testing.assert_array_equal(
            plain_tensor(ODD, whole.tensors, name), plain_tensor(ODD, eight.tensors, name).astype(np.float32)
        )
    write_apr(eight, tmp_path / "4.apr", "int4")
    four = read_apr(tmp_path / "4.apr").tensors
    assert (four["encoder.conv2.weight"].dtype, four["decoder.token_embedding.weight"].dtype) == ("int8", "int4")


def test_convert_version_2_to_version_1(model: Checkpoint, tmp_path: Path) -> None:
    write_apr(model, tmp_path / "2.apr")
    write_apr_v1(read_apr(tmp_path / "2.apr"), tmp_path / "1.apr")
    back = open_checkpoint(tmp_path / "1.apr")
    for name, value in model.tensors.items():
        np.testing.assert_array_equal(back.tensors[name], value, strict=True)


@pytest.mark.parametrize("n_vocab", [51864, 51865, 51866])
def test_vocabulary_is_stored(tmp_path: Path, n_vocab: int) -> None:
    dims = replace(ODD, n_vocab=n_vocab, n_audio_state=6, n_text_state=6)
    path = tmp_path / "model.apr"
    write_apr(random_checkpoint(dims), path, "int8")
    head = verify_apr(path)
    assert len(head.languages) == (100 if n_vocab == 51866 else 99)
    assert next(iter(head.entries)) == "tokenizer.vocabulary"
    (place,) = head.entries["tokenizer.vocabulary"].arrays.values()
    data = path.read_bytes()[head.fixed.data_begin :]
    tokens = zlib.decompress(data[place.offset : place.end])
    (count,) = struct.unpack_from("<I", tokens)
    assert count == (50256 if n_vocab == 51864 else 50257)
    assert len(tokens) == 4 + count + sum(tokens[4 : 4 + count])
    assert read_apr(path).vocabulary == b""  # the packaged vocabulary


# ---- layout ---------------------------------------------------------------------------------------------------------


def test_file_layout(written: Path) -> None:
    """Parse the file with only struct, json and zlib, as docs/apr-format.md specifies."""
    raw = written.read_bytes()
    magic, version, size, flags, block, n_block, n_json, n_data, begin, length, json_crc, table_crc, zero, crc = (
        struct.unpack("<4sHHIIIIQQQIIII", raw[:64])
    )
    assert (magic, version, size, block, zero) == (b"APR1", 2, 64, 65536, 0)
    assert (begin % 64, length, zlib.crc32(raw[:60])) == (0, len(raw), crc)
    text, table = raw[64 : 64 + n_json], raw[64 + n_json : 64 + n_json + 8 * n_block]
    assert (zlib.crc32(text), zlib.crc32(table)) == (json_crc, table_crc)
    assert not any(raw[64 + n_json + 8 * n_block : begin])
    at, stored = begin, 0
    for i in range(n_block):
        word, block_crc = struct.unpack_from("<II", table, 8 * i)
        if word >> 31:
            assert flags & 1
        else:
            stored += 1
            assert word == min(65536, n_data - 65536 * i)
            assert zlib.crc32(raw[at : at + word]) == block_crc
        at += word & 0x7FFFFFFF
    assert at == length
    content = json.loads(text)
    assert [tensor["name"] for tensor in content["tensors"]] == [
        part.name for part in model_parts(ODD, outliers=bool(flags & 4))
    ]
    end = 0
    for tensor in content["tensors"]:
        for array in tensor["arrays"].values():
            assert array["offset"] == -(-end // 64) * 64
            end = array["offset"] + int(np.prod(array["shape"])) * np.dtype(array["dtype"]).itemsize
    assert end == n_data
    if not flags & 1:
        assert stored == n_block


def test_parts_contain_every_tensor_once(model: Checkpoint) -> None:
    sources = [name for part in model_parts(ODD) for name in part.sources if not name.endswith(".key.bias")]
    assert sorted(sources) == sorted(expected_shapes(ODD))


def test_uncompressed_tensors_are_views_of_the_mapped_file(model: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.apr"
    write_apr(model, path, "int8")
    matrix = read_apr(path).tensors["decoder.blocks.1.cross_attn.key_value.weight"]
    assert isinstance(matrix, PackedMatrix)
    for array in matrix.arrays().values():
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        assert isinstance(base, np.memmap)
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable


# ---- use ------------------------------------------------------------------------------------------------------------


def test_unknown_dtype(model: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'bfloat16'"):
        write_apr(model, tmp_path / "model.apr", "bfloat16")


@pytest.mark.parametrize(("dtype", "value"), [("float16", 1e6), ("int8", np.inf), ("int4", np.nan)])
def test_values_out_of_range_for_the_dtype(model: Checkpoint, tmp_path: Path, dtype: str, value: float) -> None:
    name = "decoder.blocks.0.mlp.0.weight"
    weight = model.tensors[name].copy()  # type: ignore[union-attr]
    weight[3, 2] = value
    with pytest.raises(FormatError, match=re.escape(name)):
        write_apr(replace(model, tensors={**model.tensors, name: weight}), tmp_path / "model.apr", dtype)
    assert list(tmp_path.iterdir()) == []


def test_compressing_without_the_lz4_package(
    model: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lz4.block", None)
    with pytest.raises(OptionError, match="pip install"):
        write_apr(model, tmp_path / "model.apr", compress=True)


def test_opening_a_file_maps_it(tmp_path: Path) -> None:
    """Accessing all tensors of a 20 MB file allocates little memory."""
    dims = replace(ODD, n_audio_state=768, n_text_state=768, n_mels=80)
    path = tmp_path / "model.apr"
    write_apr(random_checkpoint(dims), path, "int8")
    assert path.stat().st_size > 20 << 20
    code = """
import sys, tracemalloc
from whisper_apr.formats import open_checkpoint
tracemalloc.start()
tensors = open_checkpoint(sys.argv[1]).tensors
for name in tensors:
    tensors[name]
print(tracemalloc.get_traced_memory()[1])
"""
    peak = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert int(peak) < 4 << 20


@pytest.mark.parametrize(("dtype", "megabytes"), [("int8", 41), ("int4", 27)])
def test_sizes_of_tiny(dtype: str, megabytes: int) -> None:
    zeros = np.zeros(1, np.float32)
    parts = [
        (part, part_dtype(dict.fromkeys(part.sources, zeros), part, dtype, int8_matrices(TINY)))
        for part in model_parts(TINY)
    ]
    end = _lay_out(parts, len(packed_vocabulary("multilingual")))[-1].end
    assert end + 100_000 < megabytes * 1_000_000  # the header has about 30 kB


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_quantized_digits_transcribes_the_same(tmp_path: Path, dtype: str) -> None:
    digits = files("whisper_apr").joinpath("assets", "digits.pt")
    with as_file(digits) as path:
        write_apr(open_checkpoint(path), tmp_path / "digits.apr", dtype)
    model = load_model(tmp_path / "digits.apr")
    recording = Path(__file__).parent / "data" / "en.wav"
    assert model.transcribe(recording).text.split() == ["three", "one", "four", "one", "five"]
