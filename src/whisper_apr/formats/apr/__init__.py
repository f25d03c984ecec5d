"""The `.apr` model file: version 2, specified in docs/apr-format.md, and the older version 1."""

from .reader import is_version_2, parse_apr, read_apr, verify_apr
from .stream import AprStream
from .v1 import write_apr_v1
from .writer import write_apr

__all__ = ["AprStream", "is_version_2", "parse_apr", "read_apr", "verify_apr", "write_apr", "write_apr_v1"]
