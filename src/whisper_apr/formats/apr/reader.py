"""`.apr` version 2: this package's own file, mapped, verified block by block, packed for the kernels. docs/apr-format.md specifies it."""

from os import PathLike

from ...checkpoint import Checkpoint
from ...tokenizer.kind import tokenizer_kind
from ..files import map_bytes
from ..vocabulary import check_vocabulary
from .blocks import Bytes, Data, FileData, Tensors, read_arrays
from .header import PREFIX, VERSION, VOCABULARY, Head, fail, read_head, read_sizes
from .v1 import checkpoint_of, parse_apr_v1
from .writer import write_apr

__all__ = ["check_apr", "checkpoint_from", "open_head", "parse_apr", "read_apr", "write_apr"]


def is_version_2(head: bytes) -> bool:
    """Whether a file that begins with APR1 is of version 2, going by its first 9 bytes."""
    return len(head) >= 9 and int.from_bytes(head[4:6], "little") == VERSION and head[8] != ord("{")


def read_apr(path: str | PathLike[str], *, verify: bool = True) -> Checkpoint:
    """Read an `.apr` file of either version. Raises FormatError.

    Version 2's tensors are mapped, and verified when they are first asked for; `verify=False` leaves their checksums out, for a file that
    was just written or verified.
    """
    return parse_apr(map_bytes(path), str(path), verify=verify)


def parse_apr(raw: Bytes, where: str, *, verify: bool = True) -> Checkpoint:
    """As `read_apr`, from a whole file's bytes; `where` names them in errors. Kernels read fastest where they begin at a multiple of 64."""
    if not is_version_2(raw[:9].tobytes()):
        return checkpoint_of(parse_apr_v1(raw, where), where)
    head = open_head(raw, where)
    return checkpoint_from(head, FileData(head, raw, where, verify), where)


def open_head(raw: Bytes, where: str) -> Head:
    """The head of a whole file. Raises FormatError, also where the file is longer or shorter than its head says."""
    sizes = read_sizes(raw[:PREFIX].tobytes(), where)
    if len(raw) != sizes.file_length:
        fail(where, f"has {len(raw)} bytes instead of {sizes.file_length}; load it again from where it came")
    return read_head(sizes, raw[: sizes.data_begin].tobytes(), where)


def check_apr(path: str | PathLike[str]) -> Head:
    """Verify every block of a version 2 file. Returns its head. Raises FormatError that names the first damaged block."""
    where, raw = str(path), map_bytes(path)
    head = open_head(raw, where)
    FileData(head, raw, where).take(0, head.sizes.data_length)
    return head


def checkpoint_from(head: Head, data: Data, where: str) -> Checkpoint:
    """The checkpoint of a head and its data. Raises FormatError where the tokens are not those that this package knows how to use."""
    vocabulary = b""
    entry = head.entries.get(VOCABULARY)
    if entry is not None:
        if entry.layout != "zlib" or [array.dtype for array in entry.arrays.values()] != ["uint8"]:
            fail(where, f"tensor {VOCABULARY!r} must be bytes that zlib packed")
        (values,) = read_arrays(entry, data).values()
        vocabulary = check_vocabulary(values.tobytes(), head.dims, where)
    languages = tokenizer_kind(head.dims.n_vocab, vocabulary)[1]
    if head.languages != languages:
        fail(
            where,
            f"its {len(head.languages)} languages are not the {len(languages)} that a model of {head.dims.n_vocab} tokens has",
        )
    return Checkpoint(
        head.dims,
        Tensors(head, data, where),
        head.alignment_heads,
        head.suppress_tokens,
        vocabulary=vocabulary,
        license=head.license,
        provenance=head.provenance,
    )
