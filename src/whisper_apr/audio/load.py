"""Files, bytes, file objects and arrays become float32 mono samples at 16 kHz, block by block."""

import io
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import AudioError
from .resample import Resampler

FloatArray = simd.FloatArray

SAMPLE_RATE = 16000
CHUNK_LENGTH = 30  # seconds of a window
N_SAMPLES = CHUNK_LENGTH * SAMPLE_RATE

MAX_CHANNELS = 64
MAX_RATE = 1_000_000
BLOCK_SECONDS = 10

Source = str | PathLike[str] | bytes | IO[bytes] | npt.NDArray[Any]


def _name(source: Source) -> str:
    if isinstance(source, str | PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "the recording"))


# ---- one block ------------------------------------------------------------------------------------------------------


def _mono(block: npt.NDArray[Any], name: str, start: int) -> FloatArray:
    """`(n,)` or `(n, channels)` -> the mean of the channels; integers are scaled so that their type's largest is 1."""
    if block.dtype.kind in "iu":
        info = np.iinfo(block.dtype)
        middle = 0 if block.dtype.kind == "i" else (int(info.max) + 1) // 2
        block = (block.astype(np.float32) - middle) / np.float32(int(info.max) + 1 - middle)
    with np.errstate(over="ignore"):  # a float64 may be too large: it becomes infinite, which is told below
        samples = block.astype(np.float32, copy=False)
    samples = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(samples))
    if len(bad):
        raise AudioError(f"{name}: sample {start + bad[0]} is not a finite number; the recording is damaged")
    return samples


def _check_head(name: str, rate: float, channels: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name}: {channels} channels; 1 to {MAX_CHANNELS} can be read")
    if not 100 <= rate <= MAX_RATE or rate != int(rate):
        raise AudioError(f"{name}: a sampling rate of {rate} Hz; whole numbers from 100 to {MAX_RATE} can be read")


# ---- readers: what opens a recording and yields its blocks as (rate, samples x channels) ---------------------------


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


def _soundfile_blocks(file: IO[bytes], name: str) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    import soundfile

    with soundfile.SoundFile(file) as sound:
        _check_head(name, sound.samplerate, sound.channels)
        while True:
            block = sound.read(BLOCK_SECONDS * sound.samplerate, dtype="float32", always_2d=True)
            if not len(block):
                return
            yield sound.samplerate, block


def _wave_blocks(file: IO[bytes], name: str) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Where soundfile is missing, as in a browser: PCM WAV files by the standard library."""
    import wave

    try:
        with wave.open(file) as sound:
            rate, channels, width = sound.getframerate(), sound.getnchannels(), sound.getsampwidth()
            _check_head(name, rate, channels)
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


def _ffmpeg_blocks(program: str, source: Source, file: IO[bytes], name: str) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Through ffmpeg: a path as a local file, whatever it looks like, anything else on its standard input."""
    is_path = isinstance(source, str | PathLike)
    argument = f"file:{os.path.abspath(os.fspath(source))}" if is_path else "pipe:0"  # type: ignore[arg-type]
    command = [program, *([] if not is_path else ["-nostdin"]), "-v", "error", "-protocol_whitelist", "file,pipe"]
    command += ["-i", argument, "-f", "f32le", "-ac", "1", "-ar", str(SAMPLE_RATE), "pipe:1"]
    done = subprocess.run(command, input=None if is_path else file.read(), capture_output=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise AudioError(f"{name}: ffmpeg cannot read it: {reason[-1] if reason else f'exit status {done.returncode}'}")
    yield SAMPLE_RATE, np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], "<f4")


@contextmanager
def _opened(source: Source) -> Iterator[IO[bytes]]:
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
    elif not isinstance(source, np.ndarray) and hasattr(source, "read"):
        # a pipe cannot be sought in, and every reader must
        yield source if source.seekable() else io.BytesIO(source.read())
    else:
        raise AudioError(f"a recording is a path, bytes, a binary file or an array, not {type(source).__name__}")


def _file_blocks(source: Source) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    name = _name(source)
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
            yield from _ffmpeg_blocks(program, source, file, name)


# ---- the public functions -------------------------------------------------------------------------------------------


def stream_audio(source: Source, *, sampling_rate: int = SAMPLE_RATE) -> Iterator[FloatArray]:
    """Blocks of float32 mono samples at 16 kHz, of some seconds each: no more of the recording is in memory.

    Arguments and errors are those of `load_audio`, whose result is all the blocks, joined.
    """
    name = _name(source)
    if isinstance(source, np.ndarray):
        if source.ndim not in (1, 2) or source.dtype.kind not in "fiu":
            raise AudioError(f"samples must be real numbers (n,) or (n, channels), not {source.dtype} {source.shape}")
        _check_head("the array", sampling_rate, 1 if source.ndim == 1 else source.shape[1])
        step = BLOCK_SECONDS * int(sampling_rate)
        blocks = iter([(int(sampling_rate), source[i : i + step]) for i in range(0, len(source), step)])
    else:
        blocks = _file_blocks(source)
    resampler, n_in = None, 0
    for rate, block in blocks:
        resampler = resampler or Resampler(rate, SAMPLE_RATE)
        samples = _mono(block, name, n_in)
        n_in += len(samples)
        yield resampler.push(samples)
    if resampler is None or not n_in:
        raise AudioError(f"{name}: no samples in it")
    yield resampler.finish()


def load_audio(source: Source, *, sampling_rate: int = SAMPLE_RATE) -> FloatArray:
    """A recording as float32 samples `(n,)`, mono, 16 kHz, full scale at 1.

    `source` is a path, the bytes of a file, a binary file object, or an array of samples `(n,)` or `(n, channels)`, of which
    `sampling_rate` says the rate in Hz (it is ignored for files, which say it themselves). WAV, FLAC, OGG and MP3 are read by
    soundfile; anything else by the program ffmpeg, where it is on PATH. Channels are averaged.

    Raises AudioError, with the file's name and what to do, where there is nothing to read or it is damaged.
    """
    return np.concatenate(list(stream_audio(source, sampling_rate=sampling_rate)))


def pad_or_trim(array: npt.NDArray[Any], length: int = N_SAMPLES, *, axis: int = -1) -> npt.NDArray[Any]:
    """Cut `axis` to `length`, or fill it up with zeros at its end."""
    axis %= array.ndim
    n = array.shape[axis]
    if n >= length:
        return array[(slice(None),) * axis + (slice(length),)]
    return np.pad(array, [(0, length - n) if i == axis else (0, 0) for i in range(array.ndim)])
