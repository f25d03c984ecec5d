"""Writing `.apr` version 2. The same checkpoint gives the same bytes, and what was read from such a file is written back as it was."""

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from ...atomic import write_atomically
from ...checkpoint import Checkpoint
from ...errors import OptionError
from ...tokenizer.bpe import packed_vocabulary
from ...tokenizer.kind import tokenizer_kind
from .header import (
    BLOCK,
    MAX_INFLATION,
    MAX_INFLATION_BYTES,
    MAX_JSON,
    PREFIX,
    VOCABULARY,
    Entry,
    Sizes,
    Stored,
    aligned,
    part_entry,
    table_entry,
)
from .schema import MATRIX_DTYPES, Part, make_matrix, make_vector, model_parts, part_dtype

_HC_LEVEL = 9  # of lz4's slow compressor; higher gains nothing on weights


def write_apr(
    checkpoint: Checkpoint,
    path: str | PathLike[str],
    dtype: str | None = None,
    compress: bool = False,
    provenance: Mapping[str, str] | None = None,
    license: str | None = None,
) -> None:
    """Write a model as an `.apr` version 2 file, which appears whole or not at all.

    dtype: of the matrices, "float32", "float16", "int8" or "int4"; None keeps each as it is. Biases and norms are float32, tables of positions float16
    unless dtype is float32. compress: LZ4 (needs the `lz4` package); such a file is smaller, but is unpacked when it is opened instead of
    mapped. provenance, license: texts to keep in the file; None takes the checkpoint's.

    Raises OptionError for an unknown dtype or a missing package, FormatError for numbers that the dtype cannot hold.
    """
    if dtype is not None and dtype not in MATRIX_DTYPES:
        raise OptionError(f"dtype must be {', '.join(MATRIX_DTYPES)}, not {dtype!r}")
    packer = _packer() if compress else None
    tensors, dims = checkpoint.tensors, checkpoint.dims
    kind, languages = tokenizer_kind(dims.n_vocab, checkpoint.vocabulary)
    own = b"" if kind == "unknown" else packed_vocabulary(kind)
    vocabulary = np.frombuffer(checkpoint.vocabulary or own, np.uint8)
    parts = [(part, part_dtype(tensors, part, dtype)) for part in model_parts(dims)]
    entries = _lay_out(parts, len(vocabulary))
    content: dict[str, Any] = {
        "dims": asdict(dims),
        "tokenizer": {"kind": kind, "languages": languages},
        "alignment_heads": checkpoint.alignment_heads,
        "license": checkpoint.license if license is None else license,
        "provenance": dict(checkpoint.provenance if provenance is None else provenance),
        "tensors": [_description(entry) for entry in entries],
    }
    if checkpoint.suppress_tokens is not None:
        content["suppress_tokens"] = checkpoint.suppress_tokens
    text = json.dumps(content, separators=(",", ":")).encode()
    if len(text) > MAX_JSON:
        raise OptionError(
            f"provenance and license are too long: the head would have {len(text)} bytes, {MAX_JSON} are possible"
        )
    data_length = entries[-1].end
    n_block = -(-data_length // BLOCK)
    begin = aligned(PREFIX + len(text) + 8 * n_block)
    with write_atomically(path) as file:
        for pack_block in (packer, None):
            file.seek(0)
            file.truncate()
            file.write(bytes(begin))
            table, lengths = bytearray(), 0
            for block in _blocks(entries, parts, checkpoint, vocabulary):
                packed = pack_block(block) if pack_block else block
                is_lz4 = len(packed) < len(block)
                stored = packed if is_lz4 else block
                file.write(stored)
                table += table_entry(len(stored), is_lz4, zlib.crc32(block))
                lengths += len(stored)
            # what packs better than this is nearly all zeros: readers would take it for an attack, so it is stored
            if data_length <= MAX_INFLATION * (begin + lengths) + MAX_INFLATION_BYTES:
                break
        sizes = Sizes(
            pack_block is not None,
            n_block,
            len(text),
            data_length,
            begin,
            begin + lengths,
            zlib.crc32(text),
            zlib.crc32(table),
        )
        file.seek(0)
        file.write(sizes.pack() + text + table)


def _packer() -> Callable[[bytes], bytes]:
    try:
        import lz4.block
    except ImportError as error:
        raise OptionError("to compress, the package lz4 is needed: pip install 'whisper-apr[lz4]'") from error

    def pack_block(block: bytes) -> bytes:
        packed: bytes = lz4.block.compress(block, mode="high_compression", compression=_HC_LEVEL, store_size=False)
        return packed

    return pack_block


def _lay_out(parts: list[tuple[Part, str]], vocabulary_length: int) -> list[Entry]:
    """Where each array comes to lie: the vocabulary first, which any use begins with, then the model's parts in order."""
    forms: list[tuple[str, str, tuple[int, ...], str, dict[str, tuple[str, tuple[int, ...]]]]] = []
    if vocabulary_length:
        forms.append((VOCABULARY, "uint8", (vocabulary_length,), "zlib", {"values": ("uint8", (vocabulary_length,))}))
    for part, dtype in parts:
        forms.append(
            (part.name, dtype, part.shape, *part_entry(part.name, dtype, part.shape, part.is_matrix, part.name))
        )
    entries, end = [], 0
    for name, dtype, shape, layout, arrays in forms:
        stored = {}
        for array, (kind, extents) in arrays.items():
            stored[array] = Stored(kind, extents, aligned(end))
            end = stored[array].end
        entries.append(Entry(name, dtype, shape, layout, stored))
    return entries


def _description(entry: Entry) -> dict[str, Any]:
    arrays = {name: {"dtype": a.dtype, "shape": a.shape, "offset": a.offset} for name, a in entry.arrays.items()}
    return {"name": entry.name, "dtype": entry.dtype, "shape": entry.shape, "layout": entry.layout, "arrays": arrays}


def _pieces(
    entries: list[Entry], parts: list[tuple[Part, str]], checkpoint: Checkpoint, vocabulary: npt.NDArray[np.uint8]
) -> Iterator[memoryview]:
    """The data in order, zeros between the arrays, one tensor in memory at a time."""
    made = {part.name: (part, dtype) for part, dtype in parts}
    end = 0
    for entry in entries:
        if entry.name == VOCABULARY:
            arrays: Mapping[str, npt.NDArray[Any]] = {"values": vocabulary}
        else:
            part, dtype = made[entry.name]
            if part.is_matrix:
                arrays = make_matrix(checkpoint.tensors, part, dtype).arrays()
            else:
                arrays = {"values": make_vector(checkpoint.tensors, part, dtype)}
        for name, place in entry.arrays.items():
            yield memoryview(bytes(place.offset - end))
            array = np.ascontiguousarray(arrays[name], np.dtype(place.dtype).newbyteorder("<"))
            yield array.reshape(-1).view(np.uint8).data
            end = place.end


def _blocks(*args: Any) -> Iterator[bytes]:
    """`_pieces` cut into blocks of 64 KiB, the last one shorter."""
    block = bytearray()
    for piece in _pieces(*args):
        while len(piece):
            room = BLOCK - len(block)
            block += piece[:room]
            piece = piece[room:]
            if len(block) == BLOCK:
                yield bytes(block)
                block.clear()
    if block:
        yield bytes(block)
