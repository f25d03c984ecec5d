"""Design the resampler's low-pass filter and write `assets/lowpass.npy`: python tests/make_lowpass.py

The impulse response is a function of continuous time that is zero outside [-LENGTH / 2, LENGTH / 2], in samples of the
lower of the two rates. The file stores its coefficients `c`: `h(t) = sum_k c[k] * cos(2 pi k t / LENGTH)`. They are
minimax-optimal under a frequency-dependent tolerance, found by the Remez exchange algorithm (McClellan and Parks 1973,
for sums of cosines in frequency; here the basis functions are the Fourier transforms of cosines in time).
"""

from pathlib import Path

import numpy as np

LENGTH = 124  # samples of the lower rate
N_BASIS = 78
# Frequencies in cycles per sample of the lower rate: its Nyquist frequency is 0.5.
EXACT, PASS, STOP = 0.18, 0.455, 0.5
EXACT_TOLERANCE = 4e-7  # gain error up to EXACT, 2.9 kHz at 16 kHz: 128 dB below the signal
PASS_TOLERANCE = 1.12e-4  # gain error up to PASS: 0.00097 dB
# At STOP: 103 dB, of which 3 dB are for the Nyquist frequency itself, where a tone and its image add up.
STOP_TOLERANCE = 6.9e-6
STOP_SLOPE = 1.0  # decades by which the tolerance decreases per unit of frequency
DENSITY = 24  # grid frequencies per 1 / LENGTH


def basis(frequency: np.ndarray) -> np.ndarray:
    """Return the Fourier transforms of sums of neighboring cosines on the support, `(n, N_BASIS)`.

    They are `cos(2 pi k t / LENGTH) + cos(2 pi (k + 1) t / LENGTH)`, each zero at both ends of the support: without a
    step there, the response falls with the square of the frequency at least.
    """
    k = np.arange(N_BASIS + 1)
    x = LENGTH * frequency[:, None]
    cosines = LENGTH / 2 * (np.sinc(x - k) + np.sinc(x + k))
    return cosines[:, 1:] + cosines[:, :-1]


def minimax() -> np.ndarray:
    """Return the coefficients `(N_BASIS + 1,)`."""
    high_end = (N_BASIS + 1) / LENGTH  # the response only decreases above
    low = np.linspace(0, PASS, int(PASS * LENGTH * DENSITY) + 2)
    high = np.linspace(STOP, high_end, int((high_end - STOP) * LENGTH * DENSITY) + 2)
    transforms = basis(np.concatenate([low, high]))
    wanted = np.repeat([1.0, 0.0], [len(low), len(high)])
    weight = 1 / np.concatenate(
        [
            np.where(low < EXACT, EXACT_TOLERANCE, PASS_TOLERANCE),
            STOP_TOLERANCE * 10 ** (-STOP_SLOPE * (high - STOP)),
        ]
    )
    n = N_BASIS + 1
    extremes = np.round(np.linspace(0, len(wanted) - 1, n)).astype(int)
    for _ in range(50):
        system = np.column_stack([transforms[extremes], (-1.0) ** np.arange(n) / weight[extremes]])
        *series, ripple = np.linalg.solve(system, wanted[extremes])
        error = weight * (transforms @ np.array(series) - wanted)
        if np.abs(error).max() <= abs(ripple) * 1.001:
            if abs(ripple) > 1:
                raise SystemExit(f"the tolerances cannot be met: the error is {abs(ripple):.2f} times the tolerance")
            return np.concatenate([series, [0]]) + np.concatenate([[0], series])
        extremes = _alternating(error, len(low), n)
    raise SystemExit("the exchange did not converge")


def _alternating(error: np.ndarray, n_low: int, n: int) -> np.ndarray:
    """Return n local extremes of the error, whose signs alternate; its first n_low values are the passband's."""
    kept: list[int] = []
    for begin, end in ((0, n_low), (n_low, len(error))):
        band = error[begin:end]
        sign, padded = np.sign(band), np.concatenate([[0], band, [0]])
        for peak in begin + np.flatnonzero((sign * padded[:-2] <= sign * band) & (sign * padded[2:] < sign * band)):
            if not kept or error[kept[-1]] * error[peak] < 0:
                kept.append(int(peak))
            elif abs(error[peak]) > abs(error[kept[-1]]):
                kept[-1] = int(peak)
    while len(kept) > n:
        kept.pop(0 if abs(error[kept[0]]) < abs(error[kept[-1]]) else -1)
    return np.array(kept)


if __name__ == "__main__":
    np.save(Path(__file__).parents[1] / "src" / "whisper_apr" / "assets" / "lowpass.npy", minimax())
