"""Sounds in which nobody speaks."""

import numpy as np
import numpy.typing as npt

RATE = 16_000  # Hz
FloatArray = npt.NDArray[np.float32]


def _colored(n: int, random: np.random.Generator, exponent: float) -> npt.NDArray[np.float64]:
    """Return noise whose amplitude falls with frequency^exponent above 20 Hz: 0.5 is pink, 1 brown."""
    frequencies = np.fft.rfftfreq(n, 1 / RATE)
    spectrum = random.standard_normal(len(frequencies)) + 1j * random.standard_normal(len(frequencies))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum / np.maximum(frequencies, 20) ** exponent, n)
    return noise / np.abs(noise).max()


KINDS = ("silence", "dither", "white", "faint", "pink", "brown", "hum", "tone", "beeps", "clicks", "sweep", "chords")


def sound(kind: str, seconds: float, seed: int = 0) -> FloatArray:
    """Return samples `(n,)` at 16 kHz of one of `KINDS`."""
    n, random = round(seconds * RATE), np.random.default_rng(seed)
    t = np.arange(n) / RATE
    match kind:
        case "silence":
            samples = np.zeros(n)
        case "dither":
            samples = random.uniform(-1, 1, n) / 32768
        case "white" | "faint":
            samples = (0.1 if kind == "white" else 0.001) * random.standard_normal(n)
        case "pink" | "brown":
            samples = 0.4 * _colored(n, random, 0.5 if kind == "pink" else 1.0)
        case "hum":  # of the mains
            samples = np.sum([0.1 / k * np.sin(2 * np.pi * 50 * k * t) for k in (1, 2, 3, 5)], axis=0)
        case "tone":
            samples = 0.3 * np.sin(2 * np.pi * 440 * t)
        case "beeps":
            samples = 0.3 * np.sin(2 * np.pi * 1000 * t) * (t % 1 < 0.2)
        case "clicks":
            samples = np.where(random.random(n) < 3 / RATE, 0.8, 0) + 0.002 * random.standard_normal(n)
        case "sweep":
            samples = 0.2 * np.sin(2 * np.pi * (100 + 70 * (t % 10)) * t)
        case "chords":
            samples = np.sum([0.08 * np.sin(2 * np.pi * f * t) for f in (262, 330, 392)], axis=0) * np.exp(
                -2 * (t % 0.5)
            )
        case _:
            raise ValueError(f"unknown kind {kind!r}")
    return samples.astype(np.float32)
