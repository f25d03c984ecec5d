"""Invalid values for arguments of `whisper_apr.simd`: other types, dtypes, shapes and memory layouts."""

from typing import Any

import numpy as np

HUGE = 2**70  # beyond 64 bits


NO_ARRAYS: list[Any] = [
    None,
    "a",
    b"ab",
    object(),
    {},
    {1: 2},
    [[1, 2], [3]],
    [HUGE],
    ["a"],
    np.zeros(3, np.complex64),
    np.zeros(3, "S2"),
    np.zeros(3, "datetime64[s]"),
    np.array([None]),
    np.zeros(3, [("a", "f4")]),
]
NO_INDICES: list[Any] = [None, "3", 1.5, np.nan, np.inf, [3], np.zeros(2, int), HUGE, -HUGE, -1, 2**63, 1j]
NO_NUMBERS: list[Any] = [None, "3", [3], np.zeros(2), 1j, object()]
NO_WORDS: list[Any] = [None, "float", 3, ["float32"], b"float32"]
NO_OBJECTS: list[Any] = [None, 3, "a", [], np.zeros((3, 3), np.float32), object()]


def wrong_arrays(valid: Any) -> list[Any]:
    """Return invalid values for an operand that is converted: other types, and shapes that do not fit."""
    array = np.asarray(valid)
    return [*NO_ARRAYS, array[..., None, None, None], np.float32(1)]


def not_quantizable(valid: np.ndarray) -> list[Any]:
    """Return invalid weights for `quantize_int8` and `quantize_int4`."""
    return [
        *wrong_arrays(valid),
        valid.tolist(),
        valid.astype(int),
        valid * np.float32(np.nan),
        valid.astype(np.float64) * 1e300,
    ]


def wrong_powers(valid: np.ndarray) -> list[Any]:
    """Return invalid values for the power of the inputs of int4, which may be None."""
    wrong = [value for value in wrong_arrays(valid) if value is not None]
    return [*wrong, valid[1:], -valid, valid * np.float32(np.nan), valid * np.float32(np.inf)]


def wrong_kinds(valid: np.ndarray) -> list[Any]:
    """Return invalid values for an argument that is not converted: other dtypes, and non-contiguous memory."""
    return [
        *NO_ARRAYS,
        valid.tolist(),
        valid.astype(np.float64 if valid.dtype != np.float64 else np.float32),
        valid.astype(np.int16),
        valid.astype(valid.dtype.newbyteorder(">")),
        np.repeat(valid, 2, axis=-1)[..., ::2],
    ]


def wrong_exact_arrays(valid: np.ndarray) -> list[Any]:
    """Return the same and arrays of other shapes."""
    return [*wrong_kinds(valid), valid[..., None], valid[..., :-1].copy(), np.repeat(valid, 2, axis=-1)]


def wrong_outs(valid: np.ndarray) -> list[Any]:
    """Return invalid values of `out`."""
    wide = np.zeros((*valid.shape[:-1], 2 * valid.shape[-1]), np.float32)
    fixed = valid.copy()
    fixed.flags.writeable = False
    return [
        3,
        "a",
        [],
        valid.tolist(),
        valid.astype(np.float64),
        wide,
        wide[..., ::2],
        valid[None],
        fixed,
        valid.astype(">f4"),
    ]


def index(*more: Any) -> list[Any]:
    return [*NO_INDICES, *more]
