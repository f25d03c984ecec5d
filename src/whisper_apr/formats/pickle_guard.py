"""Look a pickle over before it is loaded: only what `torch.save` writes of a checkpoint, and nothing that takes memory or stack beyond its size.

The unpickler trusts numbers in the pickle: one memo index of 2^32 makes it ask for 64 GB, and the hash of a tuple nested a hundred thousand
deep overruns the stack.
"""

from typing import Any

from ..errors import FormatError

MAX_DEPTH = 20  # of tuples within tuples; a checkpoint's are 3 deep

_PUSH = frozenset({
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "SHORT_BINSTRING", "BINSTRING", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "GLOBAL",
})  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DROP = {
    "APPEND": 1,
    "SETITEM": 2,
    "BUILD": 1,
    "BINPERSID": 0,
}  # items that a step takes from the top and puts into what is below
_NOTHING = frozenset({"PROTO", "FRAME", "STOP"})
_MARK = -1


def check_pickle(data: bytes, where: str) -> None:
    """Raises FormatError for a pickle that holds a step which no checkpoint needs, that is cut off, or that nests too deep."""
    import pickletools

    stack: list[
        int
    ] = []  # how deep tuples are nested in each item; lists and dicts cannot be hashed, so they count as 0
    memo: dict[int, int] = {}

    def to_mark() -> list[int]:
        begin = len(stack) - 1 - stack[::-1].index(_MARK)
        items = stack[begin + 1 :]
        del stack[begin:]
        return items

    def step(name: str, argument: Any) -> None:
        if name in _PUSH:
            stack.append(0)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES or name == "TUPLE":
            items = [stack.pop() for _ in range(_TUPLES[name])] if name in _TUPLES else to_mark()
            stack.append(1 + max(items, default=0))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(memo) if name == "MEMOIZE" else argument
            if index > len(data):
                raise ValueError(f"it refers to item {index}, and has {len(data)} bytes")
            memo[index] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("APPENDS", "SETITEMS"):
            to_mark()
        elif name in ("REDUCE", "STACK_GLOBAL"):
            stack.append(1 + max(stack.pop(), stack.pop()))
        elif name in _DROP:
            for _ in range(_DROP[name]):
                stack.pop()
        elif name not in _NOTHING:
            raise ValueError(f"it does {name}, which no checkpoint needs")
        if stack and stack[-1] > MAX_DEPTH:
            raise ValueError(f"it nests tuples more than {MAX_DEPTH} deep")

    try:
        for opcode, argument, _ in pickletools.genops(data):
            step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise FormatError(f"{where}: its pickle cannot be read ({error}); nothing of it was run") from error
