"""`.apr` version 2: lossless round trips, the layout that docs/apr-format.md specifies, and damage."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from models import ODD, TINY, random_checkpoint
from whisper_apr import load_model
from whisper_apr.checkpoint import Checkpoint, expected_shapes
from whisper_apr.errors import FormatError, OptionError
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.apr import write_apr_v1
from whisper_apr.formats.apr.reader import open_header, parse_apr, read_apr, verify_apr, write_apr
from whisper_apr.formats.apr.schema import model_parts, part_dtype, plain_tensor
from whisper_apr.formats.apr.writer import _lay_out
from whisper_apr.model import Whisper
from whisper_apr.simd import PackedMatrix
from whisper_apr.tokenizer.bpe import packed_vocabulary

DTYPES = ("float32", "float16", "int8", "int4")


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return replace(
        random_checkpoint(ODD),
        alignment_heads=((1, 2),),
        license="MIT",
        provenance={"source": "random", "converter": "tests"},
    )


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
    half = dict(model.tensors)
    for name in half:
        if "positional" in name:  # float16 in the file
            half[name] = half[name].astype(np.float16)  # type: ignore[union-attr]
    np.testing.assert_array_equal(
        logits(read_apr(path), "int8"), logits(replace(model, tensors=half), dtype), strict=True
    )


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
    matrix = read_apr(tmp_path / "4.apr").tensors["encoder.conv2.weight"]
    assert isinstance(matrix, PackedMatrix)
    assert matrix.dtype == "int4"


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
            assert flags == 1
        else:
            stored += 1
            assert word == min(65536, n_data - 65536 * i)
            assert zlib.crc32(raw[at : at + word]) == block_crc
        at += word & 0x7FFFFFFF
    assert at == length
    content = json.loads(text)
    assert [tensor["name"] for tensor in content["tensors"]] == [part.name for part in model_parts(ODD)]
    end = 0
    for tensor in content["tensors"]:
        for array in tensor["arrays"].values():
            assert array["offset"] == -(-end // 64) * 64
            end = array["offset"] + int(np.prod(array["shape"])) * np.dtype(array["dtype"]).itemsize
    assert end == n_data
    if flags == 0:
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


# ---- damage ---------------------------------------------------------------------------------------------------------


def rewrite_json(raw: bytes, change, tmp_path: Path) -> Path:
    """Write the file with a changed JSON header and matching lengths and checksums."""
    sizes = list(struct.unpack("<4sHHIIIIQQQIIII", raw[:64]))
    text, table = raw[64 : 64 + sizes[6]], raw[64 + sizes[6] :][: 8 * sizes[5]]
    content = json.loads(text)
    change(content)
    text = json.dumps(content).encode()
    begin = -(-(64 + len(text) + len(table)) // 64) * 64
    sizes[6], sizes[10] = len(text), zlib.crc32(text)
    sizes[9] += begin - sizes[8]
    data, sizes[8] = raw[sizes[8] :], begin
    head = struct.pack("<4sHHIIIIQQQIII", *sizes[:-1])
    path = tmp_path / "changed.apr"
    path.write_bytes((head + struct.pack("<I", zlib.crc32(head)) + text + table).ljust(begin, b"\0") + data)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["dims"].update(n_mels=0), "n_mels must be"),
        (lambda c: c["dims"].update(n_text_head=True), "n_text_head must be"),
        (lambda c: c.pop("license"), "missing or invalid"),
        (lambda c: c["tokenizer"].update(languages=["xx"]), "languages"),
        (lambda c: c.update(alignment_heads=[[2, 0]]), "alignment heads"),
        (lambda c: c.update(alignment_heads=[[1]]), "missing or invalid"),
        (lambda c: c.update(tensors=5), "missing or invalid"),
        (lambda c: c["tensors"].pop(), "its tensors end at"),
        (lambda c: c["tensors"].append(c["tensors"][0]), "two tensors are named"),
        (lambda c: c["tensors"][0].update(name="x"), "'encoder.conv1.weight' is missing"),
        (lambda c: c["tensors"][0].update(shape=[36, 16]), "is float32"),
        (lambda c: c["tensors"][0].update(layout="rows"), "is float32"),
        (lambda c: c["tensors"][0].update(dtype="int8"), "is int8"),
        (lambda c: c["tensors"][0].update(dtype="int32"), "is int32; it must be"),
        (lambda c: c["tensors"][1].update(dtype="int8"), "is int8; it must be"),
        (lambda c: c["tensors"][0]["arrays"]["panels"].update(offset=64), "has the offset 64, not 0"),
        (lambda c: c["tensors"][0]["arrays"]["panels"].update(offset=-64), "not an integer"),
        (lambda c: c["tensors"][0]["arrays"]["panels"].update(offset=0.0), "not an integer"),
        (lambda c: c["tensors"][0]["arrays"]["panels"].update(shape=[2**40, 2**40]), "reaches beyond"),
        (lambda c: c["tensors"][0]["arrays"]["panels"].update(dtype="float64"), "arrays of an unknown type"),
        (lambda c: c["tensors"][0]["arrays"].clear(), "has no arrays"),
    ],
)
def test_invalid_header(model: Checkpoint, tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "model.apr"
    write_apr(model, path)
    with pytest.raises(FormatError, match=re.escape(message)) as raised:
        read_apr(rewrite_json(path.read_bytes(), change, tmp_path))
    assert str(raised.value).startswith(str(tmp_path / "changed.apr"))


def read_all_tensors(raw: bytes) -> None:
    tensors = parse_apr(np.frombuffer(raw, np.uint8), "model").tensors
    for name in tensors:
        tensors[name]


@pytest.fixture(scope="module", params=[False, True], ids=["stored", "LZ4"])
def sealed(request: pytest.FixtureRequest, model: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sealed") / "model.apr"
    write_apr(model, path, "int8", request.param)
    return path.read_bytes()


@pytest.mark.parametrize("scale", [np.nan, np.inf, 3e38])
def test_infinite_scales(model: Checkpoint, tmp_path: Path, scale: float) -> None:
    write_apr(model, tmp_path / "good.apr", "int8")
    matrix = read_apr(tmp_path / "good.apr").tensors["encoder.conv1.weight"]
    assert isinstance(matrix, PackedMatrix)
    assert matrix.scales is not None
    scales = matrix.scales.copy()
    scales[1, 2] = scale
    bad = replace(matrix, scales=scales)
    write_apr(replace(model, tensors={**model.tensors, "encoder.conv1.weight": bad}), tmp_path / "bad.apr", "int8")
    with pytest.raises(FormatError, match=r"bad\.apr: tensor 'encoder.conv1.weight' has a scale that is not finite"):
        read_apr(tmp_path / "bad.apr").tensors["encoder.conv1.weight"]


@settings(max_examples=60)
@given(data=st.data())
def test_every_flipped_bit_is_detected(sealed: bytes, data: st.DataObject) -> None:
    raw = bytearray(sealed)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(FormatError, match=r"^model: "):
        read_all_tensors(bytes(raw))


@settings(max_examples=40)
@given(data=st.data())
def test_every_truncation_is_detected(sealed: bytes, data: st.DataObject) -> None:
    with pytest.raises(FormatError, match=r"^model: "):
        read_all_tensors(sealed[: data.draw(st.integers(0, len(sealed) - 1))])


def test_trailing_bytes_are_detected(sealed: bytes) -> None:
    with pytest.raises(FormatError, match=f"has {len(sealed) + 1} bytes instead of {len(sealed)}"):
        read_all_tensors(sealed + b"\0")


def test_damaged_block_is_named(model: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.apr"
    write_apr(model, path)
    raw = bytearray(path.read_bytes())
    begin = struct.unpack_from("<Q", raw, 0x20)[0]
    assert len(raw) > begin + 2 * 65536
    raw[begin + 65536] ^= 1
    path.write_bytes(raw)
    back = read_apr(path)
    assert isinstance(back.tensors["encoder.conv1.weight"], PackedMatrix)  # in the first block, which is undamaged
    with pytest.raises(FormatError, match="block 1"):
        verify_apr(path)
    with pytest.raises(FormatError, match="block 1"):
        read_all_tensors(bytes(raw))
    for name in read_apr(path, verify=False).tensors:
        assert read_apr(path, verify=False).tensors[name] is not None


def test_decompression_bomb_is_refused() -> None:
    head = struct.pack(
        "<4sHHIIIIQQQIII", b"APR1", 2, 64, 1, 65536, 1 << 14, 0, 1 << 30, 64 + (8 << 14), 1 << 20, 0, 0, 0
    )
    with pytest.raises(FormatError, match="would unpack to 1073741824 bytes"):
        read_all_tensors(head + struct.pack("<I", zlib.crc32(head)))


def test_zeros_are_stored_uncompressed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("whisper_apr.formats.apr.writer.MAX_INFLATION_BYTES", 0)
    model = random_checkpoint(ODD)
    zeros = replace(model, tensors={name: np.zeros_like(value) for name, value in model.tensors.items()})
    write_apr(zeros, tmp_path / "zeros.apr", compress=True)
    head = verify_apr(tmp_path / "zeros.apr")
    assert not head.fixed.is_compressed
    assert not head.is_lz4.any()


def test_loading_a_model_verifies_every_block(model: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.apr"
    write_apr(model, path)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # in the decoder's last bias, which only decoding reads
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=r"model\.apr: damaged"):
        load_model(path)


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


@pytest.mark.parametrize(("dtype", "megabytes"), [("int8", 41), ("int4", 25)])
def test_sizes_of_tiny(dtype: str, megabytes: int) -> None:
    zeros = np.zeros(1, np.float32)
    parts = [(part, part_dtype(dict.fromkeys(part.sources, zeros), part, dtype)) for part in model_parts(TINY)]
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
