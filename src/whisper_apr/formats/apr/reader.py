"""Read `.apr` files: version 2 memory-mapped and verified block by block, version 1 converted."""

from os import PathLike

from ...checkpoint import Checkpoint
from ...errors import FormatError
from ...tokenizer.kind import tokenizer_kind
from ..byte_reader import Bytes
from ..files import map_bytes
from ..vocabulary import validate_vocabulary
from .blocks import DataSource, FileData, FileTensors, read_arrays
from .header import FIXED_SIZE, VERSION, VOCABULARY, Header, read_fixed_header, read_header
from .v1 import build_v1_checkpoint, parse_apr_v1
from .writer import write_apr

__all__ = ["build_checkpoint", "open_header", "parse_apr", "read_apr", "verify_apr", "write_apr"]


def is_version_2(beginning: bytes) -> bool:
    """Return whether a file that begins with APR1 is of version 2, from its first 9 bytes or more."""
    return len(beginning) >= 9 and int.from_bytes(beginning[4:6], "little") == VERSION and beginning[8] != ord("{")


def read_apr(path: str | PathLike[str], *, verify: bool = True) -> Checkpoint:
    """Read an `.apr` file of version 1 or 2.

    Args:
        path: The file.
        verify: False skips the checksums of version 2's data, for a file that was just written or verified.

    Returns:
        The model. Version 2's tensors are memory-mapped, and verified when they are first accessed: that may raise
        FormatError too.

    Raises:
        FormatError: The file is damaged or not an `.apr` file.
    """
    return parse_apr(map_bytes(path), str(path), verify=verify)


def parse_apr(raw: Bytes, where: str, *, verify: bool = True) -> Checkpoint:
    """Parse the bytes of a whole `.apr` file, see `read_apr`.

    Args:
        raw: The bytes; the kernels are fastest if they are aligned to 64 bytes.
        where: Names the file in error messages.
        verify: As for `read_apr`.
    """
    if not is_version_2(raw[:9].tobytes()):
        return build_v1_checkpoint(parse_apr_v1(raw, where), where)
    header = open_header(raw, where)
    return build_checkpoint(header, FileData(header, raw, where, verify), where)


def open_header(raw: Bytes, where: str) -> Header:
    """Parse the header of a whole file. Raises FormatError, also if the file's size is not as the header says."""
    fixed = read_fixed_header(raw[:FIXED_SIZE].tobytes(), where)
    if len(raw) != fixed.file_length:
        raise FormatError(
            f"{where}: it has {len(raw)} bytes instead of {fixed.file_length}; load the file again from its source"
        )
    return read_header(fixed, raw[: fixed.data_begin].tobytes(), where)


def verify_apr(path: str | PathLike[str]) -> Header:
    """Verify every block of a version 2 file.

    Returns:
        The file's header.

    Raises:
        FormatError: A block is damaged; the message names the first one.
    """
    where, raw = str(path), map_bytes(path)
    header = open_header(raw, where)
    FileData(header, raw, where).read(0, header.fixed.data_length)
    return header


def build_checkpoint(header: Header, data: DataSource, where: str) -> Checkpoint:
    """Return the model in a version 2 file. Raises FormatError if its vocabulary or languages do not fit the model."""
    vocabulary = b""
    entry = header.entries.get(VOCABULARY)
    if entry is not None:
        if entry.layout != "zlib" or [array.dtype for array in entry.arrays.values()] != ["uint8"]:
            raise FormatError(f"{where}: tensor {VOCABULARY!r} must be one array of uint8 in the layout 'zlib'")
        (values,) = read_arrays(entry, data).values()
        vocabulary = validate_vocabulary(values.tobytes(), header.dims, where, header.special_tokens)
    _, languages = tokenizer_kind(header.dims.n_vocab, vocabulary, where, header.special_tokens)
    if header.languages != languages:
        raise FormatError(
            f"{where}: its header lists {len(header.languages)} languages, but the tokens of a model of "
            f"{header.dims.n_vocab} are {len(languages)} languages; convert the model again"
        )
    return Checkpoint(
        header.dims,
        FileTensors(header, data, where),
        header.alignment_heads,
        header.suppress_tokens,
        vocabulary=vocabulary,
        special_tokens=header.special_tokens,
        license=header.license,
        provenance=header.provenance,
    )
