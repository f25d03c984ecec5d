"""Read and write `.apr` version 1, the format of the Rust engine.

All numbers are little-endian, without padding:

    header, 52 bytes
    index, 96 bytes for each tensor
    scales, float32 for each tensor (int8 files only)
    tensor data, float32 or int8
    vocabulary (optional)
    mel filterbank (optional)
    CRC32 of all bytes before it

Tensor names are Hugging Face's without the `model.` prefix, truncated to 47 bytes. An int8 tensor has one scale, also
biases and layer norms.
"""

import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from ...atomic import write_atomically
from ...checkpoint import (
    BINARY_DIMENSION_ORDER,
    OUTPUT,
    Checkpoint,
    ModelDimensions,
    expected_shapes,
    make_checkpoint,
    make_dimensions,
)
from ...errors import FormatError
from ...tokenizer.kind import MULTILINGUAL_SIZE
from ..byte_reader import ByteReader, Bytes
from ..lazy_tensors import LazyTensors
from ..vocabulary import pack_model_vocabulary
from .schema import plain_tensor

MAGIC = b"APR1"
MAX_VERSION = 1  # versions 0 and 1 have the same layout
MAX_DIMENSIONS = 4
NAME_BYTES = 47  # to which names are truncated; the 48th byte of the field is a terminating zero
N_FREQUENCIES = 201  # columns of the filterbank: n_fft // 2 + 1

_HEADER = struct.Struct("<4sHBBBHB10I")  # magic, version, model type, dtype, compressed, n_tensors, flags, dims
_INDEX_ENTRY = struct.Struct("<48sQQQ4IB7x")  # name, offset, size in bytes, elements, shape, n_dims
# Substitutions that turn openai-whisper's tensor names into version 1's, applied in order
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
# Alternative names that some version 1 files have for three tensors
_OTHER_NAMES = {
    "encoder.embed_positions.weight": "encoder.positional_embedding",
    "decoder.embed_tokens.weight": "decoder.token_embedding.weight",
    "decoder.embed_positions.weight": "decoder.positional_embedding",
}
_FLOAT32, _INT8 = 0, 2
_DTYPES = {_FLOAT32: "float32", 1: "float16", _INT8: "int8", 3: "int4"}
_VOCABULARY, _FILTERBANK = 1, 2  # flags
_CRC_BYTES = 4
_FLOAT32_MAX = float(np.finfo(np.float32).max)

# (n_audio_state, n_audio_layer) -> model type of the multilingual model; the English-only model's is one more
_MODEL_TYPES = {(384, 4): 0, (512, 6): 2, (768, 12): 4, (1024, 24): 6}
_LARGE, _LARGE_V3 = 8, 11

Merge = tuple[bytes, bytes]


@dataclass(frozen=True)
class AprV1:
    """The content of a version 1 file."""

    dims: ModelDimensions
    dtype: str  # "float32" or "int8"
    tensors: Mapping[str, npt.NDArray[Any]] = field(repr=False)  # by openai-whisper's names, float32
    vocabulary: tuple[bytes, ...] = field(default=(), repr=False)  # the tokens' bytes, in order; may be empty
    merges: tuple[Merge, ...] = field(default=(), repr=False)  # in order of rank
    filterbank: npt.NDArray[np.float32] | None = field(default=None, repr=False)  # (n_mels, 201)


def parse_apr_v1(data: Bytes, where: str) -> AprV1:
    """Parse a version 1 file.

    Args:
        data: The whole file's bytes.
        where: Names the file in error messages.

    Returns:
        The content. float32 tensors are views of `data`; int8 tensors become float32 on access.

    Raises:
        FormatError: The file is damaged or of another version.
    """
    if len(data) < _HEADER.size + _CRC_BYTES:
        raise FormatError(f"{where}: cut off: it has {len(data)} bytes, fewer than a version 1 header")
    magic, version, _, dtype, _, n_tensor, flags, *sizes = _HEADER.unpack_from(data.data)
    if magic != MAGIC:
        raise FormatError(f"{where}: not an .apr file: it does not begin with APR1")
    if data[8] == ord("{"):
        raise FormatError(
            f"{where}: an .apr file with a JSON header, written by another program; only versions 1 and 2 are supported"
        )
    if version > MAX_VERSION:
        raise FormatError(f"{where}: .apr version {version} is not supported, only versions 1 and 2 are")
    if dtype not in (_FLOAT32, _INT8):
        raise FormatError(f"{where}: dtype {_DTYPES.get(dtype, dtype)} is not supported, only float32 and int8 are")
    (crc,) = struct.unpack("<I", data[-_CRC_BYTES:].tobytes())
    if zlib.crc32(data[:-_CRC_BYTES].data) != crc:
        raise FormatError(f"{where}: damaged: its checksum does not match; load the file again from its source")
    dims = make_dimensions(dict(zip(BINARY_DIMENSION_ORDER, sizes, strict=True)), where)
    reader = ByteReader(data[:-_CRC_BYTES], where, _HEADER.size)
    tensors = _read_tensors(reader, n_tensor, dtype == _INT8, dims)
    vocabulary, merges = _read_vocabulary(reader) if flags & _VOCABULARY else ((), ())
    filterbank = _read_filterbank(reader, dims.n_mels) if flags & _FILTERBANK else None
    if reader.remaining:
        reader.fail(f"{reader.remaining} bytes follow its last section; it is damaged or not version 1")
    return AprV1(dims, _DTYPES[dtype], tensors, vocabulary, merges, filterbank)


def build_v1_checkpoint(content: AprV1, where: str) -> Checkpoint:
    """Return the model in a version 1 file. Raises FormatError if tensors are missing or have the wrong shape."""
    checkpoint = make_checkpoint(content.dims, content.tensors, where)
    return replace(checkpoint, vocabulary=pack_model_vocabulary(content.vocabulary, content.dims, where))


def _stored_name(name: str) -> str:
    """Return version 1's name of a tensor."""
    for ours, theirs in _PARTS:
        name = name.replace(ours, theirs)
    return name[:NAME_BYTES]


def _known_names(dims: ModelDimensions) -> dict[str, str]:
    """Return openai-whisper's names of the model's tensors, by the names that version 1 files have for them."""
    return _OTHER_NAMES | {_stored_name(name): name for name in expected_shapes(dims)}


def _decode(values: npt.NDArray[Any], scale: np.float32 | None) -> npt.NDArray[Any]:
    return values if scale is None else values * scale


def _read_tensors(
    reader: ByteReader, n_tensor: int, is_quantized: bool, dims: ModelDimensions
) -> LazyTensors[npt.NDArray[Any]]:
    """Read the index, the scales and the data; the reader then is at the end of the data."""
    where = reader.where
    index = reader.read(n_tensor * _INDEX_ENTRY.size, f"the index of {n_tensor} tensors")
    scales = reader.read(4 * n_tensor, "the scales").view("<f4") if is_quantized else None
    begin, end = reader.position, reader.position
    kind = np.dtype("i1" if is_quantized else "<f4")
    known = _known_names(dims)
    decoders: dict[str, Callable[[], npt.NDArray[Any]]] = {}
    for i, (raw_name, offset, size, count, *extents, n_dims) in enumerate(_INDEX_ENTRY.iter_unpack(index.tobytes())):
        stored_name = raw_name.split(b"\0", 1)[0].decode("utf-8", "replace")
        if n_dims > MAX_DIMENSIONS:
            reader.fail(f"tensor {stored_name!r} has {n_dims} dimensions, at most {MAX_DIMENSIONS} are possible")
        shape = tuple(extents[:n_dims])
        if count != math.prod(shape) or size != count * kind.itemsize:
            reader.fail(f"tensor {stored_name!r} of shape {shape} cannot have {count} elements in {size} bytes")
        if offset > len(reader.data) - begin or size > len(reader.data) - begin - offset:
            reader.fail(f"tensor {stored_name!r} reaches beyond the file's end; the file is cut off or damaged")
        name = known.get(stored_name, stored_name)
        if name in decoders:
            reader.fail(f"two tensors are named {name!r}")
        # the data is not aligned; NumPy can read such views, and the kernels get packed copies
        values = reader.data[begin + offset : begin + offset + size].view(kind).reshape(shape)
        scale = None if scales is None else np.float32(scales[i])
        if scale is not None and not abs(float(scale)) * 128 <= _FLOAT32_MAX:
            reader.fail(f"tensor {stored_name!r} has the scale {scale}, which is not finite or too large")
        decoders[name] = partial(_decode, values, scale)
        end = max(end, begin + offset + size)
    reader.position = end
    return LazyTensors(decoders, where)


def _read_vocabulary(reader: ByteReader) -> tuple[tuple[bytes, ...], tuple[Merge, ...]]:
    """Read the tokens and the merges."""
    length = reader.uint32("the vocabulary's length")
    section = ByteReader(reader.read(length, "the vocabulary"), f"{reader.where}: vocabulary")
    n_token, n_merge = section.uint32("its number of tokens"), section.uint32("its number of merges")
    # each string has a length of 2 bytes; a merge is two strings
    if 2 * n_token + 4 * n_merge > section.remaining:
        section.fail(f"{n_token} tokens and {n_merge} merges do not fit in {length} bytes")
    strings = section.strings(n_token + 2 * n_merge, 2, "a token")
    if section.remaining:
        section.fail(f"{section.remaining} bytes are left over after its last merge")
    merges = strings[n_token:]
    return tuple(strings[:n_token]), tuple(zip(merges[::2], merges[1::2], strict=True))


def _read_filterbank(reader: ByteReader, n_mels: int) -> npt.NDArray[np.float32]:
    """Read the mel filterbank, `(n_mels, 201)`."""
    length = reader.uint32("the filterbank's length")
    section = ByteReader(reader.read(length, "the filterbank"), f"{reader.where}: filterbank")
    rows, columns = section.uint32("its rows"), section.uint32("its columns")
    if (rows, columns) != (n_mels, N_FREQUENCIES) or length != 8 + 4 * rows * columns:
        section.fail(f"it is {rows} x {columns} in {length} bytes; {n_mels} x {N_FREQUENCIES} is expected")
    return np.frombuffer(section.read(4 * rows * columns, "its values").tobytes(), "<f4").reshape(rows, columns)


# ---- writing --------------------------------------------------------------------------------------------------------


def _model_type(dims: ModelDimensions) -> int:
    """Return the number that identifies OpenAI's model of this size, or else of the next larger size."""
    multilingual = dims.n_vocab >= MULTILINGUAL_SIZE
    for (width, layers), number in _MODEL_TYPES.items():
        if dims.n_audio_state <= width and dims.n_audio_layer <= layers:
            return number + (not multilingual)
    return _LARGE_V3 if dims.n_mels == 128 else _LARGE


def _pack_string(string: bytes) -> bytes:
    return struct.pack("<H", len(string)) + string


def write_apr_v1(
    checkpoint: Checkpoint,
    path: str | PathLike[str],
    *,
    vocabulary: Sequence[bytes] = (),
    merges: Sequence[Merge] = (),
    filterbank: npt.NDArray[np.float32] | None = None,
) -> None:
    """Write a model as a version 1 file in float32, atomically: `path` has the complete file or its previous content.

    Args:
        checkpoint: The model.
        path: The file to write.
        vocabulary: The tokens' bytes, in order; if it is empty, the file has neither vocabulary nor merges.
        merges: The merges of byte-pair encoding, in order of rank.
        filterbank: The mel filterbank, `(n_mels, 201)`.

    Raises:
        FormatError: The model has special tokens or an output projection of its own; the format has no place for them.
        KeyError: The checkpoint lacks a tensor.
        OSError: The file cannot be written.
    """
    if checkpoint.special_tokens is not None:
        raise FormatError("version 1 files cannot hold special tokens that are not in OpenAI's order; write version 2")
    if OUTPUT in checkpoint.tensors:
        raise FormatError("version 1 files cannot hold an output projection of their own; write version 2")
    dims = checkpoint.dims
    shapes = expected_shapes(dims)
    flags = (_VOCABULARY if vocabulary else 0) | (_FILTERBANK if filterbank is not None else 0)
    sizes = [getattr(dims, name) for name in BINARY_DIMENSION_ORDER]

    def sections() -> Iterator[bytes]:
        yield _HEADER.pack(MAGIC, MAX_VERSION, _model_type(dims), _FLOAT32, 0, len(shapes), flags, *sizes)
        offset = 0
        for name, shape in shapes.items():
            count = math.prod(shape)
            extents = (*shape, *[0] * (MAX_DIMENSIONS - len(shape)))
            yield _INDEX_ENTRY.pack(_stored_name(name).encode(), offset, 4 * count, count, *extents, len(shape))
            offset += 4 * count
        for name in shapes:
            yield np.ascontiguousarray(plain_tensor(dims, checkpoint.tensors, name), "<f4").tobytes()
        if vocabulary:
            section = struct.pack("<II", len(vocabulary), len(merges)) + b"".join(map(_pack_string, vocabulary))
            section += b"".join(_pack_string(left) + _pack_string(right) for left, right in merges)
            yield struct.pack("<I", len(section)) + section
        if filterbank is not None:
            values = np.ascontiguousarray(filterbank, "<f4")
            yield struct.pack("<III", 8 + values.nbytes, *values.shape) + values.tobytes()

    with write_atomically(path) as file:
        crc = 0
        for section in sections():
            file.write(section)
            crc = zlib.crc32(section, crc)
        file.write(struct.pack("<I", crc))
