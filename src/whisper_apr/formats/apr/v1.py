"""`.apr` version 1, as the Rust engine writes it: a fixed head, an index, float32 or int8 tensors, a checksum at the end.

Little-endian, no padding anywhere:

    head 52 B | index 96 B a tensor | scales 4 B a tensor (int8 only) | data | [vocabulary] | [filterbank] | CRC32

Tensors carry Hugging Face's names without `model.`, cut off after 47 bytes. int8 has one scale for each tensor, norms and biases too.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ...atomic import write_atomically
from ...checkpoint import (
    VOCABULARY_FIRST,
    Checkpoint,
    ModelDimensions,
    expected_shapes,
    make_checkpoint,
    make_dimensions,
)
from ...errors import FormatError
from ...tokenizer.kind import MULTILINGUAL_SIZE
from ..vocabulary import vocabulary_of
from .schema import plain_tensor

MAGIC = b"APR1"
MAX_VERSION = 1  # 0 and 1 are one layout
NAME_BYTES = 47  # what the writer keeps of a name; one more byte of the field is its NUL
N_FREQUENCIES = 201  # of the filterbank: n_fft // 2 + 1

_HEAD = struct.Struct("<4sHBBBHB10I")  # magic, version, model type, dtype, compressed, n_tensors, flags, dims
_ENTRY = struct.Struct("<48sQQQ4IB7x")  # name, offset, size in bytes, elements, shape, n_dims
# openai-whisper's name of a part -> what version 1 calls it, one after the other
_PARTS = (
    (".blocks.", ".layers."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".mlp_ln.", ".final_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    ("token_embedding.weight", "token_embedding"),
)
# What one of the two writers calls these three; the other's names follow from _PARTS.
_OTHER_NAMES = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
}
_FLOAT32, _INT8 = 0, 2
_DTYPES = {_FLOAT32: "float32", 1: "float16", _INT8: "int8", 3: "int4"}
_VOCABULARY, _FILTERBANK = 1, 2  # flags
_CRC_BYTES = 4
_LARGEST = float(np.finfo(np.float32).max)

# (n_audio_state, n_audio_layer) -> the model type of the multilingual model; the English-only one is the next number.
_MODEL_TYPES = {(384, 4): 0, (512, 6): 2, (768, 12): 4, (1024, 24): 6}
_LARGE, _LARGE_V3 = 8, 11

Merge = tuple[bytes, bytes]


class _Tensors(Mapping[str, npt.NDArray[Any]]):
    """float32 tensors by name, mapped; int8 ones become float32 when they are asked for."""

    def __init__(self, values: dict[str, npt.NDArray[Any]], scales: dict[str, float]) -> None:
        self._values = values
        self._scales = scales

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        value = self._values[name]
        return value * np.float32(self._scales[name]) if name in self._scales else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True)
class AprV1:
    """All that a version 1 file holds."""

    dims: ModelDimensions
    dtype: str  # "float32" or "int8"
    tensors: Mapping[str, npt.NDArray[Any]] = field(repr=False)  # openai-whisper's names, float32
    vocabulary: tuple[bytes, ...] = field(
        default=(), repr=False
    )  # the tokens' bytes, in order; empty where the file has none
    merges: tuple[Merge, ...] = field(default=(), repr=False)
    filterbank: npt.NDArray[np.float32] | None = field(default=None, repr=False)  # (n_mels, 201)


def _fail(where: str, what: str) -> NoReturn:
    raise FormatError(f"{where}: {what}")


def parse_apr_v1(data: npt.NDArray[np.uint8], where: str) -> AprV1:
    """Read a whole file's bytes. `where` names it in errors. Raises FormatError."""
    if len(data) < _HEAD.size + _CRC_BYTES:
        _fail(where, f"cut off: {len(data)} bytes are fewer than a version 1 head")
    magic, version, _, dtype, _, n_tensor, flags, *sizes = _HEAD.unpack_from(data.data)
    if magic != MAGIC:
        _fail(where, "not an .apr file: it does not begin with APR1")
    if data[8] == ord("{"):
        _fail(
            where,
            "an .apr file with a JSON head, which another program wrote; only whisper_apr's versions 1 and 2 can be read",
        )
    if version > MAX_VERSION:
        _fail(where, f".apr version {version}; versions 1 and 2 can be read")
    if dtype not in (_FLOAT32, _INT8):
        _fail(where, f"dtype {_DTYPES.get(dtype, dtype)}; version 1 files hold float32 or int8")
    (crc,) = struct.unpack("<I", data[-_CRC_BYTES:].tobytes())
    if zlib.crc32(data[:-_CRC_BYTES].data) != crc:
        _fail(where, "damaged: its checksum does not fit its content; load it again from where it came")
    dims = make_dimensions(dict(zip(VOCABULARY_FIRST, sizes, strict=True)), where)
    reader = _Reader(data[:-_CRC_BYTES], where)
    reader.at = _HEAD.size
    values, scales = _read_tensors(reader, n_tensor, dtype == _INT8, dims)
    vocabulary, merges = _read_vocabulary(reader) if flags & _VOCABULARY else ((), ())
    bank = _read_filterbank(reader, dims.n_mels) if flags & _FILTERBANK else None
    if reader.at != len(reader.data):
        _fail(where, f"{len(reader.data) - reader.at} bytes follow its last section; damaged, or not version 1")
    return AprV1(dims, _DTYPES[dtype], _Tensors(values, scales), vocabulary, merges, bank)


def checkpoint_of(content: AprV1, where: str) -> Checkpoint:
    """The model in a version 1 file. Raises FormatError where tensors are missing or of a wrong shape."""
    checkpoint = make_checkpoint(content.dims, content.tensors, where)
    return replace(checkpoint, vocabulary=vocabulary_of(content.vocabulary, content.dims, where))


class _Reader:
    """Bytes taken one after the other, never beyond the end."""

    def __init__(self, data: npt.NDArray[np.uint8], where: str) -> None:
        self.data = data
        self.where = where
        self.at = 0

    def take(self, n: int, what: str) -> npt.NDArray[np.uint8]:
        if n > len(self.data) - self.at:
            _fail(self.where, f"cut off or damaged: {what} takes {n} bytes at {self.at} of {len(self.data)}")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what).tobytes(), "little")


def _written_name(name: str) -> str:
    for ours, theirs in _PARTS:
        name = name.replace(ours, theirs)
    return name[:NAME_BYTES]


def _known_names(dims: ModelDimensions) -> dict[str, str]:
    """openai-whisper's name of every tensor of the model, by the names that version 1 files give it."""
    return _OTHER_NAMES | {_written_name(name): name for name in expected_shapes(dims)}


def _read_tensors(
    reader: _Reader, n_tensor: int, quantized: bool, dims: ModelDimensions
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, float]]:
    where = reader.where
    index = reader.take(n_tensor * _ENTRY.size, f"the index of {n_tensor} tensors")
    all_scales = reader.take(4 * n_tensor if quantized else 0, "the scales").view("<f4") if quantized else None
    begin, end = reader.at, reader.at
    kind = np.dtype("i1" if quantized else "<f4")
    known = _known_names(dims)
    values: dict[str, npt.NDArray[Any]] = {}
    scales: dict[str, float] = {}
    for i, (raw, offset, size, count, *shape, n_dims) in enumerate(_ENTRY.iter_unpack(index.tobytes())):
        written = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
        if n_dims > 4:
            _fail(where, f"tensor {written!r} has {n_dims} dimensions; 4 are possible")
        extents = shape[:n_dims]
        expected = 1
        for n in extents:
            expected *= n
        if count != expected or size != count * kind.itemsize:
            _fail(where, f"tensor {written!r} of shape {tuple(extents)} cannot have {count} elements in {size} bytes")
        if offset > len(reader.data) - begin or size > len(reader.data) - begin - offset:
            _fail(where, f"tensor {written!r} reaches beyond the file's end; it is cut off or damaged")
        name = known.get(written, written)
        if name in values:
            _fail(where, f"two tensors are {name!r}")
        flat = reader.data[begin + offset : begin + offset + size]
        # data follows the head without alignment: NumPy reads such views, kernels get packed copies
        values[name] = flat.view(kind).reshape(extents)
        if all_scales is not None:
            scale = float(all_scales[i])
            if not abs(scale) * 128 <= _LARGEST:
                _fail(where, f"tensor {written!r} has the scale {scale}")
            scales[name] = scale
        end = max(end, begin + offset + size)
    reader.at = end
    return values, scales


def _read_vocabulary(reader: _Reader) -> tuple[tuple[bytes, ...], tuple[Merge, ...]]:
    length = reader.number(4, "the vocabulary's length")
    part = _Reader(reader.take(length, "the vocabulary"), f"{reader.where}: vocabulary")
    n_token, n_merge = part.number(4, "its number of tokens"), part.number(4, "its number of merges")
    if 2 * n_token + 4 * n_merge > length - 8:
        _fail(part.where, f"{n_token} tokens and {n_merge} merges do not fit in {length} bytes")
    words = _words(part, n_token + 2 * n_merge)
    if part.at != length:
        _fail(part.where, f"{length - part.at} bytes are left over after its last merge")
    merges = words[n_token:]
    return tuple(words[:n_token]), tuple(zip(merges[::2], merges[1::2], strict=True))


def _words(reader: _Reader, count: int) -> list[bytes]:
    data, at = reader.data.tobytes(), reader.at
    words = []
    for _ in range(count):
        size = int.from_bytes(data[at : at + 2], "little")
        at += 2 + size
        if at > len(data):
            _fail(reader.where, "cut off or damaged: a token reaches beyond its end")
        words.append(data[at - size : at])
    reader.at = at
    return words


def _read_filterbank(reader: _Reader, n_mels: int) -> npt.NDArray[np.float32]:
    length = reader.number(4, "the filterbank's length")
    part = _Reader(reader.take(length, "the filterbank"), f"{reader.where}: filterbank")
    rows, columns = part.number(4, "its rows"), part.number(4, "its columns")
    if (rows, columns) != (n_mels, N_FREQUENCIES) or length != 8 + 4 * rows * columns:
        _fail(part.where, f"{rows} x {columns} numbers in {length} bytes; {n_mels} x {N_FREQUENCIES} are expected")
    return np.frombuffer(part.take(4 * rows * columns, "its numbers").tobytes(), "<f4").reshape(rows, columns)


# ---- writing --------------------------------------------------------------------------------------------------------


def _model_type(dims: ModelDimensions) -> int:
    """The number that names a model by its size; those that are none of openai's get the number of the next larger one."""
    multilingual = dims.n_vocab >= MULTILINGUAL_SIZE
    for (width, layers), number in _MODEL_TYPES.items():
        if dims.n_audio_state <= width and dims.n_audio_layer <= layers:
            return number + (not multilingual)
    return _LARGE_V3 if dims.n_mels == 128 else _LARGE


def _counted(word: bytes) -> bytes:
    return struct.pack("<H", len(word)) + word


def write_apr_v1(
    checkpoint: Checkpoint,
    path: str | PathLike[str],
    *,
    vocabulary: Sequence[bytes] = (),
    merges: Sequence[Merge] = (),
    filterbank: npt.NDArray[np.float32] | None = None,
) -> None:
    """Write a model as a version 1 file of float32, under the names that the Rust engine's converter gives.

    vocabulary: the tokens' bytes in order, left out where empty, and with it the merges, in order of rank. filterbank: `(n_mels, 201)`.
    The file appears whole or not at all.
    """
    dims = checkpoint.dims
    shapes = expected_shapes(dims)
    flags = (_VOCABULARY if vocabulary else 0) | (_FILTERBANK if filterbank is not None else 0)
    sizes = [getattr(dims, name) for name in VOCABULARY_FIRST]

    def pieces() -> Iterator[bytes]:
        yield _HEAD.pack(MAGIC, MAX_VERSION, _model_type(dims), _FLOAT32, 0, len(shapes), flags, *sizes)
        offset = 0
        for name, shape in shapes.items():
            count = int(np.prod(shape))
            yield _ENTRY.pack(
                _written_name(name).encode(), offset, 4 * count, count, *shape, *[0] * (4 - len(shape)), len(shape)
            )
            offset += 4 * count
        for name in shapes:
            yield np.ascontiguousarray(plain_tensor(dims, checkpoint.tensors, name), "<f4").tobytes()
        if vocabulary:
            section = struct.pack("<II", len(vocabulary), len(merges)) + b"".join(map(_counted, vocabulary))
            section += b"".join(_counted(left) + _counted(right) for left, right in merges)
            yield struct.pack("<I", len(section)) + section
        if filterbank is not None:
            bank = np.ascontiguousarray(filterbank, "<f4")
            yield struct.pack("<III", 8 + bank.nbytes, *bank.shape) + bank.tobytes()

    with write_atomically(path) as file:
        crc = 0
        for piece in pieces():
            file.write(piece)
            crc = zlib.crc32(piece, crc)
        file.write(struct.pack("<I", crc))
