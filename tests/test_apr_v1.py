"""`.apr` version 1: a worked example, both naming schemes, truncated names, and damage."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.checkpoint import Checkpoint, ModelDimensions, expected_shapes
from whisper_apr.errors import FormatError
from whisper_apr.formats import open_checkpoint, read_apr, write_apr_v1
from whisper_apr.formats.apr.v1 import parse_apr_v1

# int8; tiny's header; one tensor t = [[1, -2], [0.5, 2]]; the tokens a and b; one merge (a, b)
EXAMPLE = bytes.fromhex(
    "41505231010000020001000199ca0000dc05000080010000060000000400000"
    "0c00100008001000006000000040000005000000074" + "00" * 47 + "0000000000000000"
    "0400000000000000" + "0400000000000000" + "02000000020000000000000000000000" + "02" + "00" * 7 + "0402813c"
    "4081207f" + "140000000200000001000000" + "010061010062010061010062" + "fcf7ce96"
)

DIMS = ModelDimensions(80, 12, 4, 2, 11, 51865, 8, 4, 2, 11)


def named(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def sealed(body: bytes) -> np.ndarray:
    """Return the bytes of a file with this content and a valid checksum."""
    return named(body + struct.pack("<I", zlib.crc32(body)))


def checkpoint() -> Checkpoint:
    rng = np.random.default_rng(5)
    shapes = expected_shapes(DIMS)
    return Checkpoint(DIMS, {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return checkpoint()


@pytest.fixture(scope="module")
def written(model: Checkpoint, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("v1") / "model.apr"
    write_apr_v1(model, path)
    return path


def test_worked_example() -> None:
    assert len(EXAMPLE) == 184
    content = parse_apr_v1(named(EXAMPLE), "example")
    assert content.dtype == "int8"
    assert (content.dims.n_vocab, content.dims.n_audio_state, content.dims.n_mels) == (51865, 384, 80)
    np.testing.assert_array_equal(
        content.tensors["t"], np.float32([[64, -127], [32, 127]]) * np.float32(2 / 127), strict=True
    )
    assert content.vocabulary == (b"a", b"b")
    assert content.merges == ((b"a", b"b"),)
    assert content.filterbank is None


def test_example_is_not_a_complete_model(tmp_path) -> None:
    path = tmp_path / "t.apr"
    path.write_bytes(EXAMPLE)
    with pytest.raises(FormatError, match=r"tensors are missing: encoder\.conv1\.weight"):
        read_apr(path)


def test_round_trip(model: Checkpoint, written) -> None:
    back = open_checkpoint(written)
    assert back.dims == model.dims
    for name, value in model.tensors.items():
        np.testing.assert_array_equal(back.tensors[name], value, strict=True)


def test_names_are_those_of_the_rust_engine(written) -> None:
    data = written.read_bytes()
    names = [data[52 + 96 * i :][:48].rstrip(b"\0").decode() for i in range(len(expected_shapes(DIMS)))]
    assert {
        "encoder.conv1.weight",
        "encoder.positional_embedding",
        "encoder.layers.0.self_attn_layer_norm.weight",
        "encoder.layers.0.self_attn.q_proj.weight",
        "encoder.layers.0.fc1.bias",
        "encoder.layers.0.final_layer_norm.bias",
        "encoder.layer_norm.weight",
        "decoder.token_embedding",
        "decoder.positional_embedding",
        "decoder.layers.9.encoder_attn.out_proj.weight",
        "decoder.layers.10.encoder_attn_layer_norm.weigh",  # 48 characters, truncated
        "decoder.layers.10.encoder_attn_layer_norm.bias",
        "decoder.layer_norm.bias",
    } <= set(names)
    assert max(map(len, names)) == 47


def test_alternative_names(model: Checkpoint, written, tmp_path) -> None:
    data = written.read_bytes()[:-4]
    for old, new in (
        (b"encoder.positional_embedding", b"encoder.embed_positions.weight"),
        (b"decoder.token_embedding", b"decoder.embed_tokens.weight"),
        (b"decoder.positional_embedding", b"decoder.embed_positions.weight"),
    ):
        assert data.count(old.ljust(48, b"\0")) == 1
        data = data.replace(old.ljust(48, b"\0"), new.ljust(48, b"\0"))
    path = tmp_path / "other.apr"
    path.write_bytes(sealed(data).tobytes())
    back = read_apr(path)
    for name in ("encoder.positional_embedding", "decoder.token_embedding.weight", "decoder.positional_embedding"):
        np.testing.assert_array_equal(back.tensors[name], model.tensors[name])


def test_vocabulary_and_filterbank(model: Checkpoint, tmp_path) -> None:
    path = tmp_path / "all.apr"
    words, merges = (b"\xff", b"", b"long" * 9), ((b"a", b"bc"), (b"", b"x"))
    bank = np.arange(80 * 201, dtype=np.float32).reshape(80, 201)
    write_apr_v1(model, path, vocabulary=words, merges=merges, filterbank=bank)
    content = parse_apr_v1(named(path.read_bytes()), "all")
    assert content.dtype == "float32"
    assert content.vocabulary == words
    assert content.merges == merges
    np.testing.assert_array_equal(content.filterbank, bank)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"APR2", "begin with APR1"),
        (4, b"\x03\x00", "version 3"),
        (7, b"\x01", "dtype float16"),
        (7, b"\x03", "dtype int4"),
        (8, b"{", "JSON head"),
        (9, b"\xff\xff", "cut off or damaged: the index of 65535 tensors"),
        (12, b"\0\0\0\0", "n_vocab must be"),
        (0x64, b"\xff" * 8, "beyond the file's end"),
        (0x6C, b"\x05", "cannot have 4 elements in 5 bytes"),
        (0x7C, b"\xff\xff\xff\xff\xff\xff\xff\xff", "cannot have 4 elements"),
        (0x8C, b"\x05", "5 dimensions"),
        (0x94, struct.pack("<f", np.nan), "the scale nan"),
        (0x9C, b"\xff\xff\xff\xff", "the vocabulary takes 4294967295 bytes"),
        (0xA0, b"\xff\xff\xff\xff", "do not fit in 20 bytes"),
        (0xA8, b"\xff\xff", "a token reaches beyond the end"),
        (0x0B, b"\x00", "follow its last section"),
        (0x0B, b"\x03", "the filterbank's length takes 4 bytes"),
    ],
)
def test_damage(offset: int, value: bytes, message: str) -> None:
    body = bytearray(EXAMPLE[:-4])
    body[offset : offset + len(value)] = value
    with pytest.raises(FormatError, match=f"^example: .*{message}"):
        parse_apr_v1(sealed(bytes(body)), "example")


def test_duplicate_tensor_names() -> None:
    body = (
        EXAMPLE[:0x09]
        + b"\x02\x00"
        + EXAMPLE[0x0B:0x94]
        + EXAMPLE[0x34:0x94]
        + EXAMPLE[0x94:0x98] * 2
        + EXAMPLE[0x98:-4]
    )
    with pytest.raises(FormatError, match="two tensors are named 't'"):
        parse_apr_v1(sealed(body), "example")


@given(st.integers(0, 183), st.integers(1, 255))
def test_every_flipped_bit_is_detected(offset: int, flip: int) -> None:
    data = bytearray(EXAMPLE)
    data[offset] ^= flip
    with pytest.raises(FormatError):
        parse_apr_v1(named(bytes(data)), "example")


@given(st.integers(0, 183))
def test_every_truncation_is_detected(length: int) -> None:
    with pytest.raises(FormatError):
        parse_apr_v1(named(EXAMPLE[:length]), "example")


def test_failed_write_leaves_the_file_unchanged(model: Checkpoint, tmp_path) -> None:
    path = tmp_path / "kept.apr"
    path.write_bytes(b"as it was")
    broken = Checkpoint(model.dims, {name: value for name, value in model.tensors.items() if name != "decoder.ln.bias"})
    with pytest.raises(KeyError):
        write_apr_v1(broken, path)
    assert path.read_bytes() == b"as it was"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.apr"]
