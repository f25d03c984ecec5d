"""Decoding with libsndfile, through the package soundfile, block by block."""

import atexit
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np

from .. import simd
from .blocks import MAX_BLOCK, Block, block_frames, check_format
from .diagnostics import DamageReport
from .sources import DecodeError, SplicedFile

FloatArray = simd.FloatArray

MAX_SAMPLES_PER_BYTE = 1024  # plausible compression; silence in ALAC reaches some hundreds

# a message of libmpg123, such as "[src/libmpg123/layer3.c:INT123_do_layer3():1804] error: dequantization failed!"
_MPG123_MESSAGE = re.compile(rb"(?m)^(?:\[[^\]\n]*mpg123[^\]\n]*\] (?:error|warning)|Note|Warning): .*\n?")
MAX_CAPTURE = 1 << 20  # bytes of the file with captured messages, after which a new one is used
_stderr_lock = threading.RLock()  # reentrant: a callback that reads the file may itself use this module


@dataclass
class _Capture:
    """A temporary file to which a process redirects its standard error."""

    file: IO[bytes]
    pid: int  # a forked process needs a file of its own
    position: int = 0  # up to which it was read
    depth: int = 0  # calls that redirect to it; they may be nested

    def take(self) -> bytes:
        """Return what was written since the last call."""
        size = os.fstat(self.file.fileno()).st_size - self.position
        if hasattr(os, "pread"):  # leaves the offset alone, at which another thread may be writing
            text = os.pread(self.file.fileno(), size, self.position)
        else:
            self.file.seek(self.position)
            text = self.file.read(size)
        self.position += len(text)
        return text


_capture: _Capture | None = None


class SndfileDecoder:
    """A file decoded by libsndfile.

    Attributes:
        rate: Sampling rate in Hz.
        channels: Number of channels.
        frames: Samples per channel, as libsndfile states or estimates it.
        error_message: libsndfile's error in the last `read`, or an empty string.
    """

    def __init__(self, file: SplicedFile, name: str, *, quiet: bool = False) -> None:
        """Open a file.

        Args:
            file: The encoded recording.
            name: Name of the recording in error messages.
            quiet: Capture what libmpg123 prints to standard error, and treat it as an error message.

        Raises:
            DecodeError: libsndfile cannot open the file, or is not installed.
            AudioError: The header's rate or channel count is outside what can be read.
        """
        try:
            import soundfile
        except (ImportError, OSError) as error:  # OSError: the package is installed, but not the library
            raise DecodeError("the package soundfile is missing") from error
        self._error: type[Exception] = soundfile.LibsndfileError
        self._file, self._quiet = file, quiet
        self.error_message = ""
        self._position = 0  # samples read so far
        try:
            with self._capture_messages():
                self._sound = soundfile.SoundFile(file)
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
            if file.error:
                raise file.error from error
            raise DecodeError(getattr(error, "error_string", str(error)).rstrip(".")) from error
        # SoundFile.read seeks after each block of a seekable file, which loses samples if the length is unknown, and
        # makes FLAC search for the position.
        self._sound.seekable = lambda: False
        self.rate, self.channels, self.frames = self._sound.samplerate, self._sound.channels, self._sound.frames
        try:
            check_format(name, self.rate, self.channels)
        except Exception:
            self._sound.close()
            raise

    def read(self, n: int | None = None) -> FloatArray:
        """Return the next samples.

        Args:
            n: Samples per channel; None for a block.

        Returns:
            float32 `(n, channels)`; fewer at the end of the file, or if `error_message` is set.
        """
        n = block_frames(self.rate, self.channels) if n is None else n
        block = np.zeros((n, self.channels), np.float32)
        self.error_message = ""
        with self._capture_messages():
            try:
                n = len(self._sound.read(out=block))
            except self._error as error:  # the samples before the error have been written
                self.error_message = getattr(error, "error_string", str(error)).rstrip(".")
                n = -1
        if n < 0:
            n = min(max(0, self._tell() - self._position), len(block))
        self._position += n
        if self._file.error:
            raise self._file.error
        return block[:n]

    def _tell(self) -> int:
        try:
            return int(self._sound.tell())
        except self._error:  # not supported for this format
            return 0

    def close(self) -> None:
        """Close the decoder, but not the file."""
        self._sound.close()

    @contextmanager
    def _capture_messages(self) -> Iterator[None]:
        """Capture what libmpg123 prints to file descriptor 2; libsndfile offers no way to silence it.

        The descriptor is redirected only during one call into the library. What other threads write to it meanwhile is
        written afterwards. A process started meanwhile inherits the redirected descriptor, so calls are kept short.
        """
        if not self._quiet:
            yield
            return
        with _stderr_lock, _redirect_stderr() as captured:
            yield
        text = captured[0]
        found = _MPG123_MESSAGE.search(text)
        if found:
            self.error_message = self.error_message or found.group().decode(errors="replace").strip()
        if rest := _MPG123_MESSAGE.sub(b"", text):
            os.write(2, rest)


@contextmanager
def _redirect_stderr() -> Iterator[list[bytes]]:
    """Redirect file descriptor 2 to a temporary file; afterwards the yielded list contains what was written.

    The file is kept for the next call: another thread's write may still be in progress when the descriptor is restored,
    and is returned then.
    """
    global _capture
    text = [b""]
    try:
        if _capture and not _capture.depth and (_capture.position > MAX_CAPTURE or _capture.pid != os.getpid()):
            atexit.unregister(_capture.file.close)
            _capture.file.close()
            _capture = None
        if _capture is None:
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # kept for the next call
            atexit.register(file.close)
            _capture = _Capture(file, os.getpid())
        original = os.dup(2)
    except OSError:  # descriptor 2 is closed, or no temporary file can be created
        yield text
        return
    capture = _capture
    capture.depth += 1
    os.dup2(capture.file.fileno(), 2)
    try:
        yield text
    finally:
        os.dup2(original, 2)
        os.close(original)
        capture.depth -= 1
        text[0] = capture.take()


def sound_blocks(file: SplicedFile, name: str, damage: DamageReport, *, quiet: bool = False) -> Iterator[Block]:
    """Decode a whole file of any format that libsndfile reads.

    Raises:
        DecodeError: libsndfile cannot open the file; before the first block.
    """
    decoder = SndfileDecoder(file, name, quiet=quiet)
    try:
        n_out = 0
        while True:
            block = decoder.read()
            if decoder.error_message:
                damage.add(f"damaged at {n_out / decoder.rate:.2f} s ({decoder.error_message})")
            n_out += len(block)
            # after the end of a truncated file, some codecs return zeros up to the length in its header
            if not len(block) or n_out > MAX_SAMPLES_PER_BYTE * file.n_read + MAX_BLOCK:
                return
            yield decoder.rate, block
    finally:
        decoder.close()
