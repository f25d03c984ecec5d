"""Recordings that only the program ffmpeg can decode: M4A, films, and many more.

A file may be a playlist that names other files, or refer to some in another way. So ffmpeg gets the bytes of one file, by
its standard input; no protocol by which it could open another one; and of its demuxers only those that read a single file.
"""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError
from .blocks import Block, GapFiller, block_frames
from .diagnostics import DamageReport
from .matroska import timed_blocks
from .sources import ByteSource

STALL_SECONDS = 60  # without a byte from ffmpeg, after which it is ended
MAX_ALLOCATION = 256 << 20  # bytes that ffmpeg may allocate at once
SMALLEST_START = 0.1  # s before the first block; what is less is left of a codec's delay
SMALLEST_GAP = 0.25  # s between two blocks; what is less is rounding, or a clock that is not exact
MAX_LINES = 20  # of ffmpeg's messages that are kept

# Demuxers that read one file and open no other. What a build of ffmpeg does not have does no harm.
DEMUXERS = (
    "aac,ac3,act,aiff,amr,amrnb,amrwb,ape,aptx,aptx_hd,asf,asf_o,au,avi,caf,codec2,dfpwm,dsf,dss,"
    "dts,dtshd,dv,eac3,flac,flv,g722,g723_1,g729,gsm,gxf,iff,ilbc,ircam,kux,live_flv,loas,matroska,"
    "webm,mlp,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,osq,"
    "paf,pva,pvf,qcp,rm,rso,sbc,sln,smjpeg,sol,sox,spdif,tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,"
    "wv,wve,xwma"
)

# messages of video decoders, which look at the first frames, and of the protocol that keeps what it reads
_OTHER = re.compile(
    r"^\[(?:h26\d|hevc|vvc|vp\d|av1|libdav1d|mpeg[124]|msmpeg4|mjpeg|png|theora|sws)\w* @|failed to seekback|^ *Last message"
)
_ADDRESS = re.compile(r"\[[^\]]* @ 0x[0-9a-f]+\] |Error opening input: |(?:cache:)?pipe:0: |fd:: ?")


@lru_cache(maxsize=4)
def _input(program: str) -> tuple[str, ...]:
    """Return the options that make ffmpeg read its standard input, with leave to seek in it.

    From version 6 on there is the protocol "fd" for that. Before, "pipe" cannot seek, but "cache" keeps what it reads of
    another protocol in a temporary file of its own.
    """
    listed = subprocess.run(
        [program, "-hide_banner", "-protocols"], capture_output=True, check=False, timeout=STALL_SECONDS
    ).stdout.decode(errors="replace")
    protocols = listed.partition("Output:")[0].split()
    if "fd" in protocols:
        return ("-protocol_whitelist", "fd", "-i", "fd:")
    if "cache" in protocols:
        return ("-protocol_whitelist", "cache,pipe", "-read_ahead_limit", "-1", "-i", "cache:pipe:0")
    return ("-protocol_whitelist", "pipe", "-i", "pipe:0")


def _command(program: str, *options: str) -> list[str]:
    head = [program, "-nostdin", "-hide_banner", "-max_alloc", str(MAX_ALLOCATION)]
    return [*head, *options, "-format_whitelist", DEMUXERS, *_input(program)]


class _Output(io.RawIOBase):
    """What a process writes. A process that writes nothing for too long, while it is waited for, is killed."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        self._waiting_since: float | None = None
        self.stalled = False
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        assert self._child.stdout
        self._waiting_since = time.monotonic()
        data = os.read(self._child.stdout.fileno(), len(buffer))
        self._waiting_since = None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._ended.set()
        super().close()

    def _watch(self) -> None:
        while not self._ended.wait(min(1, STALL_SECONDS / 4)):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > STALL_SECONDS:
                self.stalled = True
                _kill(self._child)
                return


@contextmanager
def _running(
    command: list[str], file: IO[bytes], name: str
) -> Iterator[tuple[_Output, list[str], "subprocess.Popen[bytes]"]]:
    """Run a command that reads a file: what it writes, its messages once it has ended, the process. Killed afterwards."""
    try:
        child = subprocess.Popen(
            command,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"},
            start_new_session=True,  # a Ctrl-C is for us, who end the child
        )
    except OSError as error:
        raise AudioError(f"{name}: the program {command[0]} does not run: {error.strerror or error}") from error
    messages: list[str] = []
    reader = threading.Thread(target=_keep, args=(child.stderr, messages), daemon=True)
    reader.start()
    output = _Output(child)
    try:
        yield output, messages, child
    finally:
        _kill(child)
        child.wait()
        if child.stdout:
            child.stdout.close()
        reader.join(STALL_SECONDS)
        output.close()
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """Kill a process and, where there are process groups, what it has started: a wrapper script's ffmpeg would keep the pipes open."""
    if child.poll() is not None:
        return
    if sys.platform == "win32":
        child.kill()
    else:
        os.killpg(child.pid, signal.SIGKILL)


def _keep(pipe: IO[bytes], messages: list[str]) -> None:
    """Read messages to their end, so that nobody waits, and keep the first ones."""
    with suppress(ValueError, OSError):  # closed meanwhile
        while line := pipe.readline(4096):
            decoded = line.decode(errors="replace")
            text = _ADDRESS.sub("", decoded).strip()
            if text and len(messages) < MAX_LINES and not _OTHER.search(decoded):
                messages.append(text)


def ffmpeg_blocks(
    program: str, source: ByteSource, track: int | None, size: int, faults: DamageReport
) -> Iterator[Block]:
    """Decode with the program at `program`, in the recording's own rate and channels; silence where a track begins later.

    `track` counts the audio tracks; by default ffmpeg chooses. `size` is the recording's, in bytes, which bounds silence.
    Raises AudioError where nothing can be read.
    """
    choice = ["-vn", "-sn", "-dn"] if track is None else ["-map", f"0:a:{track}"]
    try:
        command = _command(program, "-v", "error")
    except (OSError, subprocess.SubprocessError) as error:
        raise AudioError(f"{faults.name}: the program {program} does not run: {error}") from error
    command += [*choice, "-map_metadata", "-1", "-map_chapters", "-1", "-c:a", "pcm_f32le", "-f", "matroska", "pipe:1"]
    n_out = 0
    with source.descriptor() as file:
        with _running(command, file, faults.name) as (output, messages, child):
            for block in _timed(timed_blocks(io.BufferedReader(output, 1 << 18)), GapFiller(size), faults):
                n_out += len(block[1])
                yield block
            with suppress(subprocess.TimeoutExpired):
                child.wait(STALL_SECONDS)
        if output.stalled:
            messages.append(f"no progress within {STALL_SECONDS} s")
        elif child.returncode and not messages:
            messages.append(f"exit status {child.returncode}")
        if not n_out:
            raise AudioError(f"{faults.name}: {_reason(program, file, track, messages)}")
    if messages:
        more = f", and {len(messages) - 1} more" if len(messages) > 1 else ""
        faults.add(f"damaged; ffmpeg says: {messages[0]}{more}")


def _timed(
    blocks: Iterator[tuple[float, int, npt.NDArray[Any]]], gaps: GapFiller, faults: DamageReport
) -> Iterator[Block]:
    """Join short blocks, and fill what is missing before and between them; where times go back, nothing is left out."""
    position: float | None = None  # seconds of sound until now
    shift = 0.0  # of the sound's time from the blocks'
    parts: list[npt.NDArray[Any]] = []
    n_parts, rate = 0, 0
    for seconds, rate, samples in blocks:
        missing = seconds + shift - (position or 0)
        if missing > (SMALLEST_START if position is None else SMALLEST_GAP):
            if parts:
                yield rate, np.concatenate(parts)
                parts, n_parts = [], 0
            filled = 0
            for block in gaps.silence(round(missing * rate), rate, samples.shape[1]):
                filled += len(block[1])
                yield block
            position = (position or 0) + filled / rate
            if not filled:
                faults.add(f"its times leap by {missing:.2f} s at {position:.2f} s")
                shift -= missing
        elif missing < -SMALLEST_GAP:
            shift -= missing
        position = (position or 0) + len(samples) / rate
        parts.append(samples)
        n_parts += len(samples)
        if n_parts >= block_frames(rate, samples.shape[1]):
            yield rate, np.concatenate(parts)
            parts, n_parts = [], 0
    if parts:
        yield rate, np.concatenate(parts)


def _reason(program: str, file: IO[bytes], track: int | None, messages: list[str]) -> str:
    """Say why nothing was read."""
    if any("not on whitelist" in message for message in messages):
        return "a playlist, or of another kind that may name other files, which are not opened"
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(
            _command(program, "-v", "info"), stdin=file, capture_output=True, check=False, timeout=STALL_SECONDS
        ).stderr.decode(errors="replace")
        n = len(re.findall(r"(?m)^ *Stream #0:\d+.*: Audio: ", told))
        if "Input #0" in told and not n:
            return "no audio track in it"
        if n and track is not None and not 0 <= track < n:
            return f"no audio track {track}; there {'is' if n == 1 else 'are'} {n}, counted from 0"
    return f"ffmpeg cannot read it: {messages[0] if messages else 'no sound in it'}"
