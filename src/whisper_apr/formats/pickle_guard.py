"""Validate a pickle before it is loaded: only opcodes that a checkpoint needs, and bounded memory and recursion.

The unpickler itself has no such bounds: one memo index of 2^32 makes it allocate 64 GB, and hashing a tuple that is
nested a hundred thousand deep overflows the stack.
"""

from typing import Any

from ..errors import FormatError

MAX_DEPTH = 20  # nesting of tuples; a checkpoint's are nested 3 deep

_PUSH = frozenset({
    "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT",
    "GLOBAL",
})  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# opcode -> how many items it removes from the top of the stack, to put them into the item below
_DROP = {
    "APPEND": 1,
    "SETITEM": 2,
    "BUILD": 1,
    "BINPERSID": 0,
}
_NO_EFFECT = frozenset({"PROTO", "FRAME", "STOP"})
_MARK = -1


def check_pickle(data: bytes, where: str) -> None:
    """Raise FormatError for a pickle that could not be part of a checkpoint, without executing any of it.

    Args:
        data: The pickle.
        where: Names the file in error messages.

    Raises:
        FormatError: The pickle is cut off, has an opcode that no checkpoint needs, or nests tuples too deep.
    """
    import pickletools

    # The nesting depth of each item on the unpickler's stack. Lists and dicts cannot be hashed, so they count as 0.
    stack: list[int] = []
    memo: dict[int, int] = {}

    def pop_to_mark() -> list[int]:
        begin = len(stack) - 1 - stack[::-1].index(_MARK)
        items = stack[begin + 1 :]
        del stack[begin:]
        return items

    def simulate(name: str, argument: Any) -> None:
        if name in _PUSH:
            stack.append(0)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES or name == "TUPLE":
            items = [stack.pop() for _ in range(_TUPLES[name])] if name in _TUPLES else pop_to_mark()
            stack.append(1 + max(items, default=0))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(memo) if name == "MEMOIZE" else argument
            if index > len(data):
                raise ValueError(f"it refers to item {index}, and has {len(data)} bytes")
            memo[index] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("APPENDS", "SETITEMS"):
            pop_to_mark()
        elif name in ("REDUCE", "STACK_GLOBAL", "NEWOBJ"):
            stack.append(1 + max(stack.pop(), stack.pop()))
        elif name in _DROP:
            for _ in range(_DROP[name]):
                stack.pop()
        elif name not in _NO_EFFECT:
            raise ValueError(f"it has the opcode {name}, which no checkpoint needs")
        if stack and stack[-1] > MAX_DEPTH:
            raise ValueError(f"it nests tuples more than {MAX_DEPTH} deep")

    try:
        for opcode, argument, _ in pickletools.genops(data):
            simulate(opcode.name, argument)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise FormatError(f"{where}: its pickle cannot be read ({error}); it was not run") from error
