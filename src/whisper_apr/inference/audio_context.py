"""Encode only part of a window that is shorter than 30 s, and decode again with all of it if the text looks wrong.

Whisper was trained on windows of 30 s, which shorter recordings are padded to. Without most of the padding, the encoder
and the cross-attention cost less in proportion, and the text is nearly always the same; but now and then the decoder
repeats itself or does not end. That can be seen from the result.
"""

from collections.abc import Callable

from ..audio import FRAMES_PER_SECOND, N_FRAMES
from ..model import Whisper
from ..model.encoder import TIME_STRIDE
from .decode import DecodingResult, FloatArray
from .fallback import is_silence, needs_fallback
from .options import TranscribeOptions
from .window_text import SeekWindow

MARGIN = 4 * FRAMES_PER_SECOND  # frames of padding after the sound
MIN_CONTEXT = 8 * FRAMES_PER_SECOND
STEP = 2 * FRAMES_PER_SECOND  # contexts are multiples of it, so that windows of a batch often have the same one


def context_frames(size: int) -> int:
    """Return the frames that are encoded of a window with `size` frames of sound."""
    return min(N_FRAMES, max(MIN_CONTEXT, -(-(size + MARGIN) // STEP) * STEP))


def encode_window(
    model: Whisper, window: SeekWindow, n_frames: int, check_cancelled: Callable[[], object] = lambda: None
) -> FloatArray:
    """Return the features of a window's first `n_frames` frames, `(n_frames / 2, n_audio_state)`.

    If the window was encoded already, it is not encoded again.
    """
    if window.features is not None and len(window.features) == n_frames // TIME_STRIDE:
        return window.features
    features: FloatArray = model.encoder(window.mel[None, :, :n_frames], check_cancelled)[0]
    return features


def most_tokens(seconds: float) -> int:
    """Return a number of tokens that no speech of this duration exceeds, to end a text that repeats itself early."""
    return round(24 + 12 * seconds)  # fast English speech has 7 tokens a second, timestamps included


def looks_right(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Return whether the text ends, is neither repetitive nor improbable, and is not taken for silence."""
    return not (result.is_cut or needs_fallback(result, options) or is_silence(result, options))
