"""Damage the bytes of a file, with hypothesis, and load damaged recordings."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis.strategies import DataObject, integers

from whisper_apr.audio import load_audio
from whisper_apr.errors import AudioError, AudioWarning


def flip_bits(data: DataObject, content: bytes) -> bytearray:
    """Return the bytes with one to five flipped bits, drawn by hypothesis."""
    changed = bytearray(content)
    for _ in range(data.draw(integers(1, 5))):
        at = data.draw(integers(0, len(changed) - 1))
        changed[at] ^= 1 << data.draw(integers(0, 7))
    return changed


def load_damaged(content: bytes, **options: Any) -> np.ndarray | None:
    """Load a recording without ffmpeg and without warnings; None if it raises AudioError."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", AudioWarning)
        patch.setenv("PATH", "")
        try:
            return load_audio(content, **options)
        except AudioError:
            return None
