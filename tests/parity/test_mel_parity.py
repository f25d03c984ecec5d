"""The log-mel spectrogram compared with openai-whisper's: equal within 1e-4."""

from typing import Any

import numpy as np
import pytest

from recordings import RECORDINGS
from whisper_apr.audio import log_mel_spectrogram, mel_filters, pad_or_trim

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("n_mels", [80, 128])
def test_filters(openai: Any, n_mels: int) -> None:
    theirs = openai.audio.mel_filters("cpu", n_mels).numpy()
    np.testing.assert_allclose(mel_filters(n_mels), theirs, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings(openai: Any, name: str) -> None:
    samples = RECORDINGS[name]()
    for n_mels, padding in ((80, 480_000), (128, 0)):
        theirs = openai.log_mel_spectrogram(samples, n_mels, padding=padding).numpy()
        ours = log_mel_spectrogram(samples, n_mels, padding=padding)
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [201, 399, 400, 401, 559, 560, 561, 16_000])
def test_short_lengths(openai: Any, length: int) -> None:
    samples = RECORDINGS["en"]()[8000 : 8000 + length]
    ours, theirs = log_mel_spectrogram(samples), openai.log_mel_spectrogram(samples).numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("length", "axis"), [(480_000, -1), (1000, -1), (5, 0), (1, 0)])
def test_pad_or_trim(openai: Any, length: int, axis: int) -> None:
    array = np.arange(3 * 2000, dtype=np.float32).reshape(3, 2000)
    np.testing.assert_array_equal(pad_or_trim(array, length, axis=axis), openai.pad_or_trim(array, length, axis=axis))
