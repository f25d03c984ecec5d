"""A cache of the encoder's output, for tests of the code before and after the encoder.

The encoder takes most of the time of a short transcription, and many tests transcribe the same few recordings.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from unittest import mock
from weakref import WeakKeyDictionary

import numpy as np

from whisper_apr import Recognizer, WhisperModel, load_model, simd
from whisper_apr.model.encoder import AudioEncoder

CACHED_WINDOWS = 200  # per encoder; 768 kB each for the bundled model

encode = AudioEncoder.__call__
_features: WeakKeyDictionary[AudioEncoder, dict[tuple[str, int, int], np.ndarray]] = WeakKeyDictionary()


@cache
def digits() -> Recognizer:
    """Return the `digits` model, loaded once for all tests."""
    return load_model("digits")


@cache
def faster() -> WhisperModel:
    """Return the `digits` model with faster-whisper's methods, loaded once for all tests."""
    return WhisperModel("digits")


def digest(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def encode_once(self: AudioEncoder, mel: np.ndarray, check_cancelled: Callable[[], None] = lambda: None) -> np.ndarray:
    """Replace the encoder's call: return cached features if all windows of the batch have been encoded before.

    `check_cancelled` is called as often as by the encoder.
    """
    known = _features.setdefault(self, {})
    keys = [(simd.backend(), digest(window), window.size) for window in mel]
    if known.keys() >= set(keys):
        for _ in self.blocks:
            check_cancelled()
        return np.stack([known[key] for key in keys])
    features = encode(self, mel, check_cancelled)
    for key, window in zip(keys, features, strict=True):
        if len(known) >= CACHED_WINDOWS:
            del known[next(iter(known))]
        known[key] = window.copy()
    return features


@contextmanager
def encoded_once() -> Iterator[None]:
    """Use `encode_once` in a block."""
    with mock.patch.object(AudioEncoder, "__call__", encode_once):
        yield
