"""Slices of a recording for a batch: where they end, and that each is encoded once."""

import numpy as np
import pytest

from recordings import join, silence, speech
from whisper_apr.inference.slices import slice_frames
from whisper_apr.model.encoder import AudioEncoder


def mel(*pauses: tuple[int, int, float], n: int = 3000) -> np.ndarray:
    """Return a spectrogram of even loudness 1 with pauses: first frame, end frame, loudness."""
    loudness = np.ones(n, np.float32)
    for start, end, value in pauses:
        loudness[start:end] = value
    return np.tile(loudness, (80, 1))


@pytest.mark.parametrize(
    ("pauses", "first", "last"),
    [
        ([(2000, 2100, 0), (2600, 2640, 0)], 2600, 2640),  # the last one
        ([(2550, 2590, 0), (2900, 2940, 0.2)], 2900, 2940),  # not the quietest one
        ([(2550, 2590, 0), (2900, 2940, 0.6)], 2550, 2590),  # which is no pause
        ([(2400, 2440, 0), (2600, 2640, 0.9)], 2600, 2640),  # the quietest one of those that are late enough
        ([(2000, 2100, 0)], 2500, 3000),
    ],
)
def test_a_slice_ends_at_the_last_pause(pauses, first, last):
    assert first <= slice_frames(mel(*pauses)) <= last


@pytest.mark.parametrize("n", [100, 101, 300, 359, 3000])
def test_a_slice_is_at_most_a_window(n):
    for seed in range(20):
        noise = np.random.default_rng(seed).random((80, n), np.float32)
        assert n // 3 <= slice_frames(noise) <= n


def test_each_slice_is_encoded_once(model, monkeypatch):
    """Also the first one, by which the language is detected."""
    encode, sizes = AudioEncoder.__call__, []

    def counted(self, mel, *rest):
        sizes.append(len(mel))
        return encode(self, mel, *rest)

    monkeypatch.setattr(AudioEncoder, "__call__", counted)
    audio = join(speech("en"), silence(24), speech("en_three"), silence(24), speech("de"))
    result = model.transcribe(audio, batch_size=2, temperature=0.0)
    assert result.language == "en"
    assert sum(sizes) == -(-len(audio) // (30 * 16_000))
