"""Encoded recordings: a source is opened, a reader chosen, and its sound yielded in the recording's own rate and channels."""

import io
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError
from .ffmpeg import ffmpeg_blocks

MAX_CHANNELS = 64
MAX_RATE = 1_000_000
BLOCK_SECONDS = 10

Encoded = str | PathLike[str] | bytes | IO[bytes]
Block = tuple[int, npt.NDArray[Any]]  # sampling rate in Hz, samples (n, channels)


def check_head(name: str, rate: float, channels: int) -> None:
    """Raise AudioError for a sampling rate or a number of channels that cannot be read."""
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: {channels} channels; 1 to {MAX_CHANNELS} can be read")
    if not 100 <= rate <= MAX_RATE or rate != int(rate):
        raise AudioError(f"{name}: a sampling rate of {rate} Hz; whole numbers from 100 to {MAX_RATE} can be read")


class Recording:
    """A recording that is a file of some kind, of which `blocks` reads the sound as often as it is asked.

    What is found to be wrong with it is said once, however often it is read.
    """

    def __init__(self, source: Encoded, *, track: int | None = None, strict: bool = False) -> None:
        """Take a path, the bytes of a file, or a binary file object, which is read from where it stands.

        `track` is the number of the audio track, counted from 0, where a file has several; the default is the one that a
        player would choose. With `strict`, damage raises AudioError; otherwise what there is is read, with an AudioWarning.
        """
        self.source, self.track, self.strict = source, track, strict
        self.name = source_name(source)

    def blocks(self) -> Iterator[Block]:
        """Yield `(rate, samples)` from the beginning: `rate` in Hz, samples `(n, channels)` of floats (full scale at 1) or integers.

        Rate and channels may change from one block to the next, where recordings of different kinds have been joined.
        Closing the iterator releases what it holds. Raises AudioError where there is nothing to read.
        """
        yield from _file_blocks(self.source, self.name)


def source_name(source: object) -> str:
    """Return what a source is called in messages."""
    if isinstance(source, str | PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "the recording"))


# ---- readers --------------------------------------------------------------------------------------------------------


def _check_wav(file: IO[bytes], name: str) -> None:
    """A WAV whose samples end before its head says: libsndfile would read the rest in silence. The file is left at its beginning."""
    head = file.read(12)
    file.seek(0, io.SEEK_END)
    size = file.tell()
    if len(head) == 12 and head[:4] == b"RIFF" and head[8:] == b"WAVE":
        position = 12
        while position + 8 <= size:
            file.seek(position)
            kind, length = struct.unpack("<4sI", file.read(8))
            # a writer that could not go back leaves the length of a stream at 0 or at the largest number
            if kind == b"data" and length not in (0, 0xFFFFFFFF) and position + 8 + length > size:
                raise AudioError(
                    f"{name}: cut off; its head promises {length} bytes of samples, {size - position - 8} are there"
                )
            position += 8 + length + length % 2
    file.seek(0)


def _soundfile_blocks(file: IO[bytes], name: str) -> Iterator[Block]:
    import soundfile

    with soundfile.SoundFile(file) as sound:
        check_head(name, sound.samplerate, sound.channels)
        while True:
            block = sound.read(BLOCK_SECONDS * sound.samplerate, dtype="float32", always_2d=True)
            if not len(block):
                return
            yield sound.samplerate, block


def _wave_blocks(file: IO[bytes], name: str) -> Iterator[Block]:
    """Where soundfile is missing, as in a browser: PCM WAV files by the standard library."""
    import wave

    try:
        with wave.open(file) as sound:
            rate, channels, width = sound.getframerate(), sound.getnchannels(), sound.getsampwidth()
            check_head(name, rate, channels)
            while data := sound.readframes(BLOCK_SECONDS * rate):
                if width == 3:
                    padded = np.zeros((len(data) // 3, 4), np.uint8)
                    padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
                    samples = padded.view("<i4")[:, 0]
                else:
                    samples = np.frombuffer(data, {1: "u1", 2: "<i2", 4: "<i4"}[width])
                yield rate, samples.reshape(-1, channels)
    except (wave.Error, EOFError) as error:
        raise AudioError(f"{name}: {error}; without the package soundfile only PCM WAV files can be read") from error


@contextmanager
def _opened(source: Encoded) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, str | PathLike):
        name = os.fspath(source)
        if os.path.isdir(name):
            raise AudioError(f"{name}: a folder, not a recording; name the files in it")
        try:
            file = open(name, "rb")  # noqa: SIM115
        except OSError as error:
            raise AudioError(f"{name}: {error.strerror or error}") from error
        with file:
            yield file
    elif hasattr(source, "read"):
        # a pipe cannot be sought in, and every reader must
        yield source if source.seekable() else io.BytesIO(source.read())
    else:
        raise AudioError(f"a recording is a path, bytes, a binary file or an array, not {type(source).__name__}")


def _file_blocks(source: Encoded, name: str) -> Iterator[Block]:
    with _opened(source) as file:
        begin = file.tell()
        first = file.read(1)
        if not isinstance(first, bytes):
            raise AudioError(f"{name}: opened as text; open it in binary mode, 'rb'")
        if not first:
            raise AudioError(f"{name}: empty, not one byte to read")
        if begin:
            file = io.BytesIO(file.read())
        file.seek(0)
        _check_wav(file, name)
        try:
            import soundfile
        except ImportError:
            yield from _wave_blocks(file, name)
            return
        try:
            yield from _soundfile_blocks(file, name)
        except soundfile.LibsndfileError as error:
            program = shutil.which("ffmpeg")
            if program is None:
                raise AudioError(
                    f"{name}: not a WAV, FLAC, OGG or MP3 recording that can be read ({error.error_string.rstrip('.')}); "
                    "other kinds need the program ffmpeg, which is not on PATH"
                ) from error
            file.seek(0)
            yield from ffmpeg_blocks(program, source, file, name)
