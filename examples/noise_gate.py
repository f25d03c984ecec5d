"""Silence everything but speech, and draw the spectrum: whisper_apr's audio and simd packages without a speech model.

python noise_gate.py INPUT OUTPUT.wav
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

from whisper_apr import simd
from whisper_apr.audio import SAMPLE_RATE, load_audio, speech_timestamps

N_FFT, HOP, BANDS = 512, 256, 60


def main(source: Path, target: Path) -> None:
    samples = load_audio(source)  # float32, mono, 16 kHz, whatever the file has

    gate = np.zeros_like(samples)
    for start, end in speech_timestamps(samples):  # in samples
        gate[start:end] = 1
    fade = np.hanning(321).astype(np.float32)  # 20 ms, so that the gate does not click
    gate = np.convolve(gate, fade / fade.sum(), mode="same").astype(np.float32)
    soundfile.write(target, samples * gate, SAMPLE_RATE)

    power = simd.power_spectrum(samples, np.hanning(N_FFT).astype(np.float32), HOP)  # (N_FFT / 2 + 1, frames)
    bands = simd.pack(np.kron(np.eye(BANDS, dtype=np.float32), np.full((1, len(power) // BANDS), BANDS / len(power))))
    mean = simd.linear(power.mean(axis=1)[None, : bands.shape[1]], bands)[0]
    levels = 10 * np.log10(np.maximum(mean, 1e-10))
    for band, level in enumerate(levels[::4]):
        print(f"{band * 4 * SAMPLE_RATE / 2 / BANDS:6.0f} Hz {'#' * int(max(0, level - levels.min()))}")
    print(f"{gate.mean():.0%} of {len(samples) / SAMPLE_RATE:.1f} s is speech")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
