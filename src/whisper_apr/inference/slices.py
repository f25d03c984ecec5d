"""Cut a recording into slices of at most a window, which can be decoded independently of each other."""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace

import numpy as np

from ..audio import N_FRAMES
from .decode import FloatArray
from .windows import FrameReader

QUIET_FRAMES = 30  # frames that a cut's loudness is averaged over: 0.3 s, longer than the closure of a consonant
# The loudness below which speech pauses, between that of the quietest point (0) and the median (1). Of 0, 0.2, 0.3 and
# 0.5, this one had the fewest wrong words on ten minutes of read speech.
PAUSE = 0.3


class SpectrogramSlice:
    """Up to 30 s of a clip with its spectrogram, which can be decoded however far the recording was read since."""

    def __init__(self, start: int, mel: FloatArray, clip: int, next_start: int | None, *, ends_clip: bool) -> None:
        """Make a slice.

        Args:
            start: Its first frame.
            mel: `(n_mels, n_frame)`.
            clip: Index of the clip.
            next_start: First frame of the next slice; None if this is the last.
            ends_clip: This is the clip's last slice.
        """
        self.start = start
        self.mel = mel
        self.clip = clip
        self.next_start = next_start
        self.ends_clip = ends_clip

    @property
    def end(self) -> int:
        """The frame after the last."""
        return self.start + int(self.mel.shape[1])

    def read(self, start: int, size: int) -> FloatArray:
        """Return frames `start` to `start + size` of the recording, `(n_mels, size)`."""
        return self.mel[:, start - self.start : start - self.start + size]


def split_clips(
    frames: FrameReader, clips: Sequence[tuple[int, int]], window_frames: int = N_FRAMES
) -> Iterator[SpectrogramSlice]:
    """Cut clips into slices of at most a window, at the last pause in each one (see `slice_frames`).

    Args:
        frames: The recording's spectrogram, which is read forward once.
        clips: First frame and end frame of each; they may overlap and be in any order.
        window_frames: Most frames of a slice.

    Yields:
        The slices of all clips, ordered by their start.
    """
    left = [(start, number, end) for number, (start, end) in enumerate(clips) if start < end]
    heapify(left)
    while left:
        start, number, end = left[0]
        mel = frames.read(start, min(window_frames, end - start))
        size = mel.shape[1]
        if size < 1:
            return
        if end - start > window_frames:
            size = slice_frames(mel)
        if start + size < end:
            heapreplace(left, (start + size, number, end))
        else:
            heappop(left)
        next_start = left[0][0] if left else None
        yield SpectrogramSlice(start, mel[:, :size], number, next_start, ends_clip=start + size >= end)


def slice_frames(mel: FloatArray) -> int:
    """Return the frames of a slice that begins a longer clip: up to the last pause in the last sixth of a window.

    Few slices are then much shorter than a window. Without a pause, the slice ends at the quietest point.

    Args:
        mel: A whole window, `(n_mels, window_frames)`.
    """
    n = mel.shape[1]
    first = max(0, min(5 * n // 6, n - 2 * QUIET_FRAMES))  # cuts before it are not considered
    width = min(QUIET_FRAMES, n)
    loudness = np.convolve(mel.mean(axis=0), np.full(width, 1 / width), mode="valid")
    late = loudness[first:]
    quietest = late.min()
    is_quiet = late <= quietest + PAUSE * max(0.0, float(np.median(loudness) - quietest))
    end = int(np.flatnonzero(is_quiet)[-1]) + 1
    start = int(np.flatnonzero(~is_quiet[:end])[-1]) + 1 if not is_quiet[:end].all() else 0
    return int(first + start + np.argmin(late[start:end]) + width // 2)
