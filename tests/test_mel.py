"""The log-mel spectrogram: filterbank and frames as in openai-whisper, and streams that equal the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cases
from whisper_apr.audio import HOP_LENGTH, N_FFT, N_FRAMES, N_SAMPLES, log_mel_spectrogram, mel_filters
from whisper_apr.audio.mel import MelStream, normalize_log_mel
from whisper_apr.errors import AudioError


def defined(x: np.ndarray, n_mels: int) -> np.ndarray:
    """Compute the spectrogram from its definition, in float64."""
    padded = np.pad(x.astype(np.float64), N_FFT // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH][:-1]
    power = np.abs(np.fft.rfft(frames * window).T) ** 2
    bands = np.log10(np.maximum(mel_filters(n_mels).astype(np.float64) @ power, 1e-10))
    return (np.maximum(bands, bands.max() - 8) + 4) / 4


def test_filterbank_uses_slaneys_scale():
    filters = mel_filters(80)
    assert filters.shape == (80, 201)
    assert filters[0].sum() == pytest.approx(0.0248626, abs=1e-6)
    for n_mels in (80, 128):
        filters = mel_filters(n_mels)
        peaks = filters.argmax(axis=1)
        assert (np.diff(peaks) >= 0).all()
        assert filters.min() == 0
        assert not filters.flags.writeable
        # equal area: a band twice as wide is half as high
        area = filters[n_mels // 2 :].sum(axis=1) * 40  # bins are 40 Hz apart
        assert abs(area.mean() - 1) < 0.01
        assert abs(area - 1).max() < 0.25


@pytest.mark.parametrize("n_mels", [80, 128])
def test_spectrogram_equals_its_definition(backend, n_mels):
    x = cases.normal(1, 5000) * np.linspace(0, 0.3, 5000, dtype=np.float32)
    x[3000:3600] = 0  # digital silence, limited to the dynamic range
    got = log_mel_spectrogram(x, n_mels)
    assert got.shape == (n_mels, 31)
    np.testing.assert_allclose(got, defined(x, n_mels), rtol=0, atol=1e-4)


def test_a_window_has_3000_frames():
    assert log_mel_spectrogram(np.zeros(N_SAMPLES)).shape == (80, N_FRAMES)
    assert log_mel_spectrogram(np.zeros(HOP_LENGTH), padding=N_SAMPLES).shape == (80, N_FRAMES + 1)


def test_silence_is_constant():
    np.testing.assert_allclose(log_mel_spectrogram(np.zeros(16000)), (-10 + 4) / 4, atol=1e-6)


def test_padding():
    x = cases.normal(2, 3001)
    np.testing.assert_array_equal(log_mel_spectrogram(x, padding=777), log_mel_spectrogram(np.pad(x, (0, 777))))


@pytest.mark.parametrize("n", [0, 1, 159, 160, 161, 200, 201, 399, 400, 401])
def test_short_recordings(n):
    got = log_mel_spectrogram(cases.normal(3, n))
    assert got.shape == (80, n // HOP_LENGTH)
    assert np.isfinite(got).all()


def test_several_channels_are_rejected():
    with pytest.raises(AudioError, match="one channel"):
        log_mel_spectrogram(np.zeros((1000, 2)))
    with pytest.raises(AudioError, match="transpose it"):
        log_mel_spectrogram(np.zeros((2, 1000)))


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(0, 2500), min_size=1, max_size=6), padding=st.sampled_from([0, 1, 480, 3000]))
def test_stream_equals_whole(sizes, padding):
    blocks = [cases.normal(i, n) for i, n in enumerate(sizes)]
    whole = np.concatenate(blocks)
    if len(whole) + padding <= N_FFT // 2:
        return
    stream = MelStream()
    pieces = np.concatenate([*map(stream.push, blocks), stream.finish(padding)], axis=1)
    expected = log_mel_spectrogram(whole, padding=padding)
    assert pieces.shape == expected.shape
    if pieces.size:
        np.testing.assert_allclose(normalize_log_mel(pieces, float(pieces.max())), expected, rtol=0, atol=1e-5)


def test_stream_memory_is_constant():
    stream = MelStream()
    kept = [len(stream._kept) for _ in range(100) if stream.push(np.zeros(1000, np.float32)) is not None]
    assert max(kept) < 2 * N_FFT
