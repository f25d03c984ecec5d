"""`.apr` version 2: damaged and impossible files are refused, and the message names the damaged part."""

import json
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apr_files import described_checkpoint
from models import ODD, random_checkpoint
from whisper_apr import load_model
from whisper_apr.checkpoint import Checkpoint
from whisper_apr.errors import FormatError
from whisper_apr.formats.apr.reader import parse_apr, read_apr, verify_apr, write_apr
from whisper_apr.simd import PackedMatrix


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return described_checkpoint()


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
