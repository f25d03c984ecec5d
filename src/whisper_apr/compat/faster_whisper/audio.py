"""faster_whisper.audio: recordings as samples, and the shape of a window."""

from typing import Any

import numpy as np

from ... import faster_whisper as door
from ...audio import N_FRAMES
from ...audio.samples import detached
from ._absent import absent

decode_audio = door.decode_audio

__getattr__ = absent(
    "faster_whisper.audio",
    dict.fromkeys(("_group_frames", "_ignore_invalid_frames", "_resample_frames"), "PyAV's frames"),
)


def pad_or_trim(array: Any, length: int = N_FRAMES, *, axis: int = -1) -> Any:
    """Return an array with `length` entries along an axis: cut at the end, or padded with zeros.

    Args:
        array: For example a log-mel spectrogram `(n_mels, n_frame)`.
        length: 3000 frames are a window.
        axis: The axis.
    """
    array = np.asarray(detached(array))
    size = array.shape[axis]
    if size > length:
        return array.take(range(length), axis=axis)
    padding = [(0, 0)] * array.ndim
    padding[axis] = (0, length - size)
    return np.pad(array, padding)
