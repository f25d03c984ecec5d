"""Pickles that need too much memory or stack, or opcodes that no checkpoint needs, are refused before loading."""

import pickle
import pickletools
import re

import pytest

from models import Made, Name, pickled
from whisper_apr.errors import FormatError
from whisper_apr.formats.pickle_guard import MAX_DEPTH, check_pickle


def nested(depth: int) -> bytes:
    return b"\x80\x02}N" + b"\x85" * depth + b"NsN."  # {((((None,),),),): None}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_of_a_checkpoint(protocol: int) -> None:
    content = {
        "dims": {"n": 80, "f": 0.5, "b": True},
        "list": [1, [2, None]],
        "tuple": ((1, 2), (3, 300, 70000, 1 << 40), ()),
        "x" * 300: "é",
    }
    check_pickle(pickle.dumps(content, protocol), "model")
    check_pickle(pickletools.optimize(pickle.dumps(content, protocol)), "model")
    check_pickle(pickled({"state": Made(Name("collections", "OrderedDict"))}), "model")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02Nr\xff\xff\xff\xff.", "item 4294967295"),  # would allocate a memo of 64 GB
        (nested(200_000), "nests tuples more than"),  # hashing it would overflow the stack
        (b"\x80\x02}N" + b"q\x00\x85" * 200_000 + b"NsN.", "nests tuples more than"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "bytearray"),
        (b"\x80\x02X\xff\xff\xff\x7f.", "unicode"),
        (pickle.dumps({1, 2}, 4), "EMPTY_SET"),
        (b"\x80\x02N2.", "DUP"),
        (b"cos\nsystem\n(S'true'\ntR.", "STRING"),
        (b"", "pickle exhausted"),
        (b"\x80\x02N", "pickle exhausted"),
        (b"\x80\x02\x85.", "pop from empty"),
        (b"\x80\x02h\x07.", "7"),
        (b"\x80\x02Nt.", "is not in list"),
        (b"\xff", "unknown"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=f"^model: its pickle cannot be read .*{re.escape(message)}"):
        check_pickle(data, "model")


def test_depth() -> None:
    check_pickle(nested(MAX_DEPTH), "model")
    with pytest.raises(FormatError):
        check_pickle(nested(MAX_DEPTH + 1), "model")
