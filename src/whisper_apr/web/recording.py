"""Recordings in the browser's worker: files that this package reads itself, and samples that the browser decoded.

The browser decodes at the file's own sampling rate. Channels are mixed and the rate is converted here, so that the
model gets the samples that `load_audio` returns outside of the browser.
"""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE, Resampler, load_audio
from ..audio.chunks import FLOAT, PCM, find_audio_sections, is_chunked
from ..audio.diagnostics import DamageReport, Diagnostics
from ..audio.samples import MIX, ChannelSelector
from ..audio.sources import ByteSource, DecodeError
from ..errors import AudioWarning
from ..simd import FloatArray


class BlobFile(io.RawIOBase):
    """A Blob of the browser as a binary file, of which only the parts that are read are copied."""

    def __init__(self, name: str, size: int, read: Callable[[int, int], Any]) -> None:
        """Set the source.

        Args:
            name: The recording's name, for messages.
            size: Bytes in the Blob.
            read: Called with the first offset and the one after the last; returns the bytes between them.
        """
        self.name = name
        self._size, self._read, self._at = size, read, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the beginning, the present position or the end."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, and return the number of bytes."""
        end = min(self._size, self._at + len(buffer))
        if end <= self._at:
            return 0
        data = self._read(self._at, end)
        data = memoryview(data.to_py() if hasattr(data, "to_py") else data)  # from a JavaScript buffer
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@contextmanager
def _collected(messages: list[str]) -> Iterator[None]:
    """Append the texts of the AudioWarnings that are issued meanwhile."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AudioWarning)
        yield
    messages += [str(each.message) for each in caught if issubclass(each.category, AudioWarning)]


def _is_plain(file: BlobFile) -> bool:
    """Return whether a file has samples that need no decoder, in one of the formats of `audio.chunks`."""
    file.seek(0)
    with ByteSource(cast(IO[bytes], file), file.name).open() as content:
        if not is_chunked(content.read(0, 40)):
            return False
        try:
            sections = list(find_audio_sections(content, DamageReport(file.name, strict=False)))
        except DecodeError:
            return False
    return all(section.format_tag in (PCM, FLOAT) for section in sections)


def read_blob(file: BlobFile) -> tuple[FloatArray, list[str]] | None:
    """Read a recording that needs no decoder: plain samples in WAVE and its relatives, AIFF, CAF and AU.

    Returns:
        Mono samples at 16 kHz, and the messages of AudioWarnings; None if it has another format or compressed samples.

    Raises:
        AudioError: There are no samples, or they are not finite.
    """
    if not _is_plain(file):
        return None
    file.seek(0)
    messages: list[str] = []
    with _collected(messages):
        samples = load_audio(cast(IO[bytes], file))
    return samples, messages


class DecodedRecording:
    """Converts the samples of a recording that the browser decodes, block by block."""

    def __init__(self, name: str, rate: float) -> None:
        """Prepare to convert samples at `rate` Hz; `name` is the recording's, for messages."""
        self._selector = ChannelSelector(name, MIX, Diagnostics())
        self._resampler = Resampler(rate, SAMPLE_RATE)
        self._blocks: list[FloatArray] = []
        self._messages: list[str] = []

    def push(self, channels: Iterable[npt.ArrayLike]) -> None:
        """Take the next samples, one array for each channel. Raises AudioError if they are not finite."""
        block = np.stack([np.asarray(channel, np.float32) for channel in channels], axis=1)
        with _collected(self._messages):
            self._blocks.append(self._resampler.push(self._selector.push(block)))

    def finish(self) -> tuple[FloatArray, list[str]]:
        """Return all samples, mono at 16 kHz, and the messages of AudioWarnings."""
        with _collected(self._messages):
            self._selector.finish()
        return np.concatenate([*self._blocks, self._resampler.finish()]), self._messages
