"""Write `.apr` version 2 files, deterministically: a file that is read and written again as it is does not change."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from ...atomic import write_atomically
from ...checkpoint import OUTLIERS, OUTPUT, Checkpoint
from ...errors import OptionError
from ...mixed import Calibration, SplitOutliers, int8_matrices
from ...simd import Weight
from ...tokenizer.bpe import packed_vocabulary
from ...tokenizer.kind import packaged_name, tokenizer_kind
from .header import (
    BLOCK_SIZE,
    FIXED_SIZE,
    MAX_INFLATION,
    MAX_INFLATION_BYTES,
    MAX_JSON,
    VOCABULARY,
    FixedHeader,
    StoredArray,
    TensorEntry,
    align_up,
    pack_block_entry,
    tensor_layout,
)
from .schema import (
    MATRIX_DTYPES,
    Part,
    make_matrix,
    make_vector,
    merge_outliers,
    model_parts,
    part_dtype,
    uses_calibration,
)
from .tokens import describe_special_tokens

_HC_LEVEL = 9  # of LZ4's high-compression mode; higher levels gain nothing on weights


def write_apr(
    checkpoint: Checkpoint,
    path: str | PathLike[str],
    dtype: str | None = None,
    compress: bool = False,
    provenance: Mapping[str, str] | None = None,
    license: str | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Write a model as an `.apr` version 2 file, atomically: `path` has the complete file or its previous content.

    Args:
        checkpoint: The model.
        path: The file to write.
        dtype: Of the matrices: "float32", "float16", "int8", "int4", or None to keep each as it is. Biases and layer
            norms are float32, positional embeddings too unless float16 represents them exactly.
        compress: Compress blocks with LZ4, which needs the `lz4` package. The file is smaller, but its data is unpacked
            into memory instead of mapped.
        provenance: Texts that say where the model came from; None takes the checkpoint's.
        license: The model's license; None takes the checkpoint's.
        calibration: What `evaluation.calibrate` measured on recordings, for the least error of int4. Matrices that the
            checkpoint has in int4 already stay as they are.

    Raises:
        OptionError: The dtype is unknown, a calibration has no effect on it or on the checkpoint, the `lz4`
            package is missing, or the texts are too long.
        FormatError: The dtype cannot represent a tensor's values, or the checkpoint's tensors are damaged.
        OSError: The file cannot be written.
    """
    if dtype is not None and dtype not in MATRIX_DTYPES:
        raise OptionError(f"dtype must be {', '.join(MATRIX_DTYPES)}, not {dtype!r}")
    if calibration is not None and dtype != "int4":
        raise OptionError(f"a calibration has an effect on dtype 'int4' only, not on {dtype!r}; leave it out")
    compressor = _make_compressor() if compress else None
    dims, tensors = checkpoint.dims, checkpoint.tensors
    if dtype is not None:
        tensors = SplitOutliers(tensors) if dtype == "int4" else merge_outliers(tensors)
    special = checkpoint.special_tokens
    kind, languages = tokenizer_kind(dims.n_vocab, checkpoint.vocabulary, special=special)
    name = packaged_name(special.n_ordinary) if special else kind
    packaged = b"" if name == "unknown" else packed_vocabulary(name)
    vocabulary = np.frombuffer(checkpoint.vocabulary or packaged, np.uint8)
    untied, outliers = OUTPUT in tensors, OUTLIERS in tensors
    sensitive = int8_matrices(dims, untied) if dtype == "int4" else frozenset()
    parts = [(part, part_dtype(tensors, part, dtype, sensitive)) for part in model_parts(dims, untied, outliers)]
    if calibration is not None and not uses_calibration(tensors, [part for part, _ in parts], calibration):
        raise OptionError("the model has int4 already, which a calibration cannot change; convert the one it is from")
    entries = _lay_out(parts, len(vocabulary))
    content: dict[str, Any] = {
        "dims": asdict(dims),
        "tokenizer": {"kind": kind, "languages": languages, **describe_special_tokens(special)},
        "alignment_heads": checkpoint.alignment_heads,
        "license": checkpoint.license if license is None else license,
        "provenance": dict(checkpoint.provenance if provenance is None else provenance),
        "tensors": [_describe(entry) for entry in entries],
    }
    if checkpoint.suppress_tokens is not None:
        content["suppress_tokens"] = checkpoint.suppress_tokens
    text = json.dumps(content, separators=(",", ":")).encode()
    if len(text) > MAX_JSON:
        raise OptionError(
            f"provenance, license and added tokens are too long: the header would have {len(text)} bytes, at most "
            f"{MAX_JSON}"
        )
    data_length = entries[-1].end
    n_block = -(-data_length // BLOCK_SIZE)
    begin = align_up(FIXED_SIZE + len(text) + 8 * n_block)
    with write_atomically(path) as file:
        # Readers refuse a file that unpacks to far more than its size; if that is so, write it again uncompressed.
        for compress_block in (compressor, None):
            file.seek(0)
            file.truncate()
            file.write(bytes(begin))
            table, lengths = bytearray(), 0
            for block in _blocks(entries, parts, tensors, vocabulary, calibration):
                compressed = compress_block(block) if compress_block else block
                is_lz4 = len(compressed) < len(block)
                stored = compressed if is_lz4 else block
                file.write(stored)
                table += pack_block_entry(len(stored), is_lz4, zlib.crc32(block))
                lengths += len(stored)
            if data_length <= MAX_INFLATION * (begin + lengths) + MAX_INFLATION_BYTES:
                break
        fixed = FixedHeader(
            compress_block is not None,
            untied,
            outliers,
            n_block,
            len(text),
            data_length,
            begin,
            begin + lengths,
            zlib.crc32(text),
            zlib.crc32(table),
        )
        file.seek(0)
        file.write(fixed.pack() + text + table)


def _make_compressor() -> Callable[[bytes], bytes]:
    """Return a function that compresses a block with LZ4. Raises OptionError if the package is missing."""
    try:
        import lz4.block
    except ImportError as error:
        raise OptionError("compress needs the package lz4: pip install 'whisper-apr[lz4]'") from error

    def compress_block(block: bytes) -> bytes:
        compressed: bytes = lz4.block.compress(block, mode="high_compression", compression=_HC_LEVEL, store_size=False)
        return compressed

    return compress_block


def _lay_out(parts: list[tuple[Part, str]], vocabulary_length: int) -> list[TensorEntry]:
    """Assign an offset to each array: first the vocabulary, which a streaming reader needs first, then the parts."""
    tensors: list[tuple[str, str, tuple[int, ...], str, dict[str, tuple[str, tuple[int, ...]]]]] = []
    if vocabulary_length:
        shape: tuple[int, ...] = (vocabulary_length,)
        tensors.append((VOCABULARY, "uint8", shape, "zlib", {"values": ("uint8", shape)}))
    for part, dtype in parts:
        layout, arrays = tensor_layout(part.name, dtype, part.shape, part.is_matrix, part.name)
        tensors.append((part.name, dtype, part.shape, layout, arrays))
    entries, end = [], 0
    for name, dtype, shape, layout, arrays in tensors:
        stored = {}
        for array_name, (array_dtype, array_shape) in arrays.items():
            stored[array_name] = StoredArray(array_dtype, array_shape, align_up(end))
            end = stored[array_name].end
        entries.append(TensorEntry(name, dtype, shape, layout, stored))
    return entries


def _describe(entry: TensorEntry) -> dict[str, Any]:
    """Return a tensor's entry in the JSON header."""
    arrays = {name: {"dtype": a.dtype, "shape": a.shape, "offset": a.offset} for name, a in entry.arrays.items()}
    return {"name": entry.name, "dtype": entry.dtype, "shape": entry.shape, "layout": entry.layout, "arrays": arrays}


def _pieces(
    entries: list[TensorEntry],
    parts: list[tuple[Part, str]],
    tensors: Mapping[str, Weight],
    vocabulary: npt.NDArray[np.uint8],
    calibration: Calibration | None,
) -> Iterator[memoryview]:
    """Yield the data in order: arrays, and the zeros between them. One tensor is in memory at a time."""
    part_of = {part.name: (part, dtype) for part, dtype in parts}
    end = 0
    for entry in entries:
        if entry.name == VOCABULARY:
            arrays: Mapping[str, npt.NDArray[Any]] = {"values": vocabulary}
        else:
            part, dtype = part_of[entry.name]
            if part.is_matrix:
                arrays = make_matrix(tensors, part, dtype, calibration).arrays()
            else:
                arrays = {"values": make_vector(tensors, part, dtype)}
        for name, stored in entry.arrays.items():
            yield memoryview(bytes(stored.offset - end))
            array = np.ascontiguousarray(arrays[name], np.dtype(stored.dtype).newbyteorder("<"))
            yield array.reshape(-1).view(np.uint8).data
            end = stored.end


def _blocks(*args: Any) -> Iterator[bytes]:
    """Cut the data into blocks of 64 KiB, the last one shorter. Takes the arguments of `_pieces`."""
    block = bytearray()
    for piece in _pieces(*args):
        while len(piece):
            room = BLOCK_SIZE - len(block)
            block += piece[:room]
            piece = piece[room:]
            if len(block) == BLOCK_SIZE:
                yield bytes(block)
                block.clear()
    if block:
        yield bytes(block)
