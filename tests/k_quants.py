"""Quantize floats to ggml's K-quants, for tests: round to nearest with the range of each group.

The layouts are those of the published `ggml-common.h`; ggml's own quantizer searches for better scales.
"""

import numpy as np


def _pack(values: np.ndarray, bits: int) -> np.ndarray:
    """Pack numbers `(n_block, n_part, 8 / bits, n)` to bytes `(n_block, n_part * n)`, the first in the lowest bits."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    return np.bitwise_or.reduce(values.astype(np.uint8) << shifts, axis=2).reshape(len(values), -1)


def _halves(*values: np.ndarray) -> np.ndarray:
    return np.stack(values, axis=1).astype("<f2").view(np.uint8)


def _steps(scales: np.ndarray, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor of each block and the integers that its groups' scales become."""
    factor = (np.abs(scales).max(axis=1) / largest).astype(np.float16).astype(np.float64)
    return factor, np.clip(np.rint(scales / np.maximum(factor, 1e-12)[:, None]), -largest, largest)


def _asymmetric(groups: np.ndarray, bits: int, scale_bits: int) -> tuple[np.ndarray, ...]:
    """Return d, dmin, the scales and minimums of the groups, and the codes."""
    low = np.minimum(groups.min(axis=2), 0)
    top = (1 << bits) - 1
    d, scales = _steps((np.maximum(groups.max(axis=2), 0) - low) / top, (1 << scale_bits) - 1)
    dmin, minimums = _steps(-low, (1 << scale_bits) - 1)
    step, offset = (scales * d[:, None])[:, :, None], (minimums * dmin[:, None])[:, :, None]
    codes = np.clip(np.rint((groups + offset) / np.maximum(step, 1e-12)), 0, top)
    return d, dmin, scales.astype(np.uint8), minimums.astype(np.uint8), codes.astype(np.uint8).reshape(-1, 256)


def _symmetric(groups: np.ndarray, bits: int, scale_bits: int) -> tuple[np.ndarray, ...]:
    """Return d, the scales of the groups, and the codes, from minus half of their range on."""
    half = 1 << (bits - 1)
    d, scales = _steps(np.abs(groups).max(axis=2) / (half - 1), (1 << (scale_bits - 1)) - 1)
    step = np.maximum(scales * d[:, None], 1e-12)[:, :, None]
    codes = np.clip(np.rint(groups / step), -half, half - 1)
    return d, scales.astype(np.int8), (codes + half).astype(np.uint8).reshape(-1, 256)


def _six_bits(scales: np.ndarray, minimums: np.ndarray) -> np.ndarray:
    first = scales[:, :4] | (scales[:, 4:] >> 4) << 6
    second = minimums[:, :4] | (minimums[:, 4:] >> 4) << 6
    third = (scales[:, 4:] & 15) | (minimums[:, 4:] & 15) << 4
    return np.concatenate([first, second, third], axis=1)


def quantize(values: np.ndarray, kind: str) -> np.ndarray:
    """Return the blocks `(n_block, size)` of values, whose number is a multiple of 256."""
    blocks = values.astype(np.float64).reshape(-1, 256)
    size = 32 if kind in ("q4_k", "q5_k") else 16
    groups = blocks.reshape(len(blocks), -1, size)
    if kind == "q2_k":
        d, dmin, scales, minimums, codes = _asymmetric(groups, 2, 4)
        parts = [scales | minimums << 4, _pack(codes.reshape(-1, 2, 4, 32), 2), _halves(d, dmin)]
    elif kind == "q3_k":
        d, scales, codes = _symmetric(groups, 3, 6)
        shifted = (scales + 32).astype(np.uint8)
        parts = [
            _pack((codes >> 2).reshape(-1, 1, 8, 32), 1),
            _pack((codes & 3).reshape(-1, 2, 4, 32), 2),
            _pack((shifted & 15).reshape(-1, 1, 2, 8), 4),
            _pack((shifted >> 4).reshape(-1, 1, 4, 4), 2),
            _halves(d),
        ]
    elif kind == "q6_k":
        d, scales, codes = _symmetric(groups, 6, 8)
        low, high = _pack((codes & 15).reshape(-1, 2, 2, 64), 4), _pack((codes >> 4).reshape(-1, 2, 4, 32), 2)
        parts = [low, high, scales.view(np.uint8), _halves(d)]
    else:
        bits = int(kind[1])
        d, dmin, scales, minimums, codes = _asymmetric(groups, bits, 6)
        parts = [_halves(d, dmin), _six_bits(scales, minimums)]
        if bits == 5:
            parts.append(_pack((codes >> 4).reshape(-1, 1, 8, 32), 1))
        parts.append(_pack((codes & 15).reshape(-1, 4, 2, 32), 4))
    return np.concatenate(parts, axis=1)
