"""Makes `assets/lowpass.npy`, the resampler's filter: python tests/make_lowpass.py

A linear-phase filter at twice the lower of two sampling rates, minimax-optimal (Parks and McClellan's exchange): flat to 0.91 of the lower
rate's Nyquist frequency within 0.05 dB, 109 dB down from that frequency on. A window's ripple is as small in the pass band as in the stop band;
this one's is not, and so the filter is three fifths as long.
"""

from pathlib import Path

import numpy as np

HALF = 95  # 2 * HALF + 1 numbers
PASS, STOP = 0.91 / 4, 0.25  # cycles a sample
WEIGHT = 1500  # how much smaller the stop band's ripple is to be


def minimax() -> np.ndarray:
    step = 0.5 / (16 * (HALF + 1))
    low = np.linspace(0, PASS, int(PASS / step) + 2)
    high = np.linspace(STOP, 0.5, int((0.5 - STOP) / step) + 2)
    cosines = np.cos(2 * np.pi * np.concatenate([low, high])[:, None] * np.arange(HALF + 1))
    wanted = np.repeat([1.0, 0.0], [len(low), len(high)])
    weight = np.repeat([1.0, WEIGHT], [len(low), len(high)])
    n = HALF + 2
    extremes = np.round(np.linspace(0, len(wanted) - 1, n)).astype(int)
    for _ in range(50):
        system = np.column_stack([cosines[extremes], (-1.0) ** np.arange(n) / weight[extremes]])
        *series, ripple = np.linalg.solve(system, wanted[extremes])
        error = weight * (cosines @ np.array(series) - wanted)
        if np.abs(error).max() <= abs(ripple) * 1.001:
            return np.array([*series[:0:-1], 2 * series[0], *series[1:]]) / 2
        padded = np.concatenate([[0], error, [0]])
        padded = np.insert(padded, len(low) + 1, 0)  # the bands do not touch
        at = np.arange(1, len(error) + 1) + (np.arange(len(error)) >= len(low))
        sign = np.sign(error)
        peaks = np.flatnonzero((sign * padded[at - 1] <= sign * error) & (sign * padded[at + 1] < sign * error))
        kept: list[int] = []
        for peak in peaks:
            if not kept or sign[kept[-1]] != sign[peak]:
                kept.append(peak)
            elif abs(error[peak]) > abs(error[kept[-1]]):
                kept[-1] = peak
        while len(kept) > n:
            kept.pop(0 if abs(error[kept[0]]) < abs(error[kept[-1]]) else -1)
        extremes = np.array(kept)
    raise SystemExit("the exchange did not converge")


if __name__ == "__main__":
    np.save(Path(__file__).parents[1] / "src" / "whisper_apr" / "assets" / "lowpass.npy", minimax())
