"""The `.apr` model file: version 2 (docs/apr-format.md specifies it), and version 1, which is read and can be written."""

from .reader import check_apr, is_version_2, parse_apr, read_apr
from .stream import AprStream
from .v1 import write_apr_v1
from .writer import write_apr

__all__ = ["AprStream", "check_apr", "is_version_2", "parse_apr", "read_apr", "write_apr", "write_apr_v1"]
