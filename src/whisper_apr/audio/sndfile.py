"""libsndfile, by way of the package soundfile: a file is decoded block by block, and its complaints are kept."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from .. import simd
from .blocks import MAX_BLOCK, Block, block_frames, check_head
from .diagnostics import DamageReport
from .sources import DecodeError, SplicedFile

FloatArray = simd.FloatArray

MOST_PER_BYTE = 1024  # samples that a byte may become; ALAC's silence is some hundreds

# what libmpg123 prints, e.g. "[src/libmpg123/layer3.c:INT123_do_layer3():1804] error: dequantization failed!"
_MPG123 = re.compile(rb"(?m)^(?:\[[^\]\n]*mpg123[^\]\n]*\] (?:error|warning)|Note|Warning): .*\n?")
_stderr_lock = threading.RLock()  # a file that is read by a callback may itself be decoded by this module


class SndfileDecoder:
    """A file that libsndfile decodes. `complaint` says what the last `read` found wrong, in libsndfile's words."""

    def __init__(self, file: SplicedFile, name: str, *, quiet: bool = False) -> None:
        """Open the file. With `quiet`, what the library prints while it is busy is a complaint.

        Raises DecodeError where libsndfile cannot open it or is not there, AudioError for a head beyond our bounds.
        """
        try:
            import soundfile
        except (ImportError, OSError) as error:  # OSError: the package is there, the library is not
            raise DecodeError("the package soundfile is missing") from error
        self._error: type[Exception] = soundfile.LibsndfileError
        self._file, self._quiet = file, quiet
        self.error_message = ""
        self._position = 0  # samples that have been read
        try:
            with self._listening():
                self._sound = soundfile.SoundFile(file)
        except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
            if file.error:
                raise file.error from error
            raise DecodeError(getattr(error, "error_string", str(error)).rstrip(".")) from error
        # SoundFile.read of a file that it takes for seekable seeks after each block, which loses sound where the length
        # is not known, and makes FLAC search
        self._sound.seekable = lambda: False
        self.rate, self.channels, self.frames = self._sound.samplerate, self._sound.channels, self._sound.frames
        try:
            check_head(name, self.rate, self.channels)
        except Exception:
            self._sound.close()
            raise

    def read(self, n: int | None = None) -> FloatArray:
        """Return the next `n` samples `(n, channels)`, by default a block; fewer at the end or where `complaint` is set."""
        n = block_frames(self.rate, self.channels) if n is None else n
        block = np.zeros((n, self.channels), np.float32)
        self.error_message = ""
        with self._listening():
            try:
                n = len(self._sound.read(out=block))
            except self._error as error:  # what came before the fault has been written all the same
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
        except self._error:  # a kind that cannot tell
            return 0

    def close(self) -> None:
        """Close the decoder; the file stays open."""
        self._sound.close()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Keep what the library prints. libmpg123 prints to descriptor 2, and libsndfile cannot ask it not to.

        Only for as long as a call takes is the descriptor another: what other threads have written to it meanwhile is
        written afterwards. A process that they start just then has the wrong standard error; the calls are kept short.
        """
        if not self._quiet:
            yield
            return
        with _stderr_lock, _captured() as captured:
            yield
        text = captured[0]
        found = _MPG123.search(text)
        if found:
            self.error_message = self.error_message or found.group().decode(errors="replace").strip()
        if rest := _MPG123.sub(b"", text):
            os.write(2, rest)


@contextmanager
def _captured() -> Iterator[list[bytes]]:
    """Direct descriptor 2 to a file, whose content is in the list afterwards."""
    text = [b""]
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            terminal = os.dup(2)
        except OSError:  # there is no such descriptor, or no place for the file
            yield text
            return
        stack.callback(os.close, terminal)
        os.dup2(file.fileno(), 2)
        try:
            yield text
        finally:
            os.dup2(terminal, 2)
            file.seek(0)
            text[0] = file.read()


def sound_blocks(file: SplicedFile, name: str, faults: DamageReport, *, quiet: bool = False) -> Iterator[Block]:
    """Yield all blocks of a file of any kind that libsndfile knows. Raises DecodeError before the first where it does not."""
    decoder = SndfileDecoder(file, name, quiet=quiet)
    try:
        n_out = 0
        while True:
            block = decoder.read()
            if decoder.error_message:
                faults.add(f"damaged at {n_out / decoder.rate:.2f} s ({decoder.error_message})")
            n_out += len(block)
            # some codecs go on with zeros behind the file's end for as long as its head says
            if not len(block) or n_out > MOST_PER_BYTE * file.n_read + MAX_BLOCK:
                return
            yield decoder.rate, block
    finally:
        decoder.close()
