"""Decoding with the program ffmpeg: M4A, video files, and other formats that libsndfile does not read.

A file may be a playlist, or refer to other files in another way. To prevent ffmpeg from opening those, it receives the
bytes of one file on its standard input, may use no protocol that opens another file, and only demuxers that read a
single file.
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

STALL_SECONDS = 60  # without output, after which ffmpeg is killed
MAX_ALLOCATION = 256 << 20  # bytes that ffmpeg may allocate at once
MIN_START = 0.1  # seconds before the first block to fill with silence; shorter times are a codec's delay
MIN_GAP = 0.25  # seconds between blocks to fill with silence; shorter gaps are rounding or clock drift
MAX_MESSAGES = 20  # of ffmpeg that are kept

# Demuxers that read one file and open no other. Names that a build of ffmpeg does not have are ignored.
DEMUXERS = (
    "aac,ac3,act,aiff,amr,amrnb,amrwb,ape,aptx,aptx_hd,asf,asf_o,au,avi,caf,codec2,dfpwm,dsf,dss,"
    "dts,dtshd,dv,eac3,flac,flv,g722,g723_1,g729,gsm,gxf,iff,ilbc,ircam,kux,live_flv,loas,matroska,"
    "webm,mlp,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,osq,"
    "paf,pva,pvf,qcp,rm,rso,sbc,sln,smjpeg,sol,sox,spdif,tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,"
    "wv,wve,xwma"
)

# messages of video decoders, which probe the first frames, and of the "cache" protocol
_IRRELEVANT = re.compile(
    r"^\[(?:h26\d|hevc|vvc|vp\d|av1|libdav1d|mpeg[124]|msmpeg4|mjpeg|png|theora|sws)\w* @"
    r"|failed to seekback|^ *Last message"
)
_PREFIX = re.compile(r"\[[^\]]* @ 0x[0-9a-f]+\] |Error opening input: |(?:cache:)?pipe:0: |fd:: ?")


@lru_cache(maxsize=4)
def _input_options(program: str) -> tuple[str, ...]:
    """Return the options that make ffmpeg read its standard input and, if possible, seek in it.

    ffmpeg 6 and later have the protocol "fd" for this. In earlier versions "pipe" cannot seek, but "cache" stores what
    another protocol reads in a temporary file.
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
    return [*head, *options, "-format_whitelist", DEMUXERS, *_input_options(program)]


class _WatchedOutput(io.RawIOBase):
    """The standard output of a process, which is killed if a read waits longer than STALL_SECONDS."""

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
def _run(
    command: list[str], file: IO[bytes], name: str
) -> Iterator[tuple[_WatchedOutput, list[str], "subprocess.Popen[bytes]"]]:
    """Run a command with a file as its standard input, and kill it on exit.

    Yields:
        The standard output, the list of error messages (complete once the process has ended), and the process.
    """
    try:
        child = subprocess.Popen(
            command,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"},
            start_new_session=True,  # Ctrl-C reaches this process only, which then kills the child
        )
    except OSError as error:
        raise AudioError(f"{name}: cannot run the program {command[0]}: {error.strerror or error}") from error
    messages: list[str] = []
    reader = threading.Thread(target=_collect_messages, args=(child.stderr, messages), daemon=True)
    reader.start()
    output = _WatchedOutput(child)
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
    """Kill a process, and its process group on POSIX: the ffmpeg of a wrapper script would keep the pipes open."""
    if child.poll() is not None:
        return
    if sys.platform == "win32":
        child.kill()
    else:
        os.killpg(child.pid, signal.SIGKILL)


def _collect_messages(pipe: IO[bytes], messages: list[str]) -> None:
    """Drain a pipe of messages, so that the process does not block, and keep the first relevant ones."""
    with suppress(ValueError, OSError):  # closed meanwhile
        while line := pipe.readline(4096):
            decoded = line.decode(errors="replace")
            text = _PREFIX.sub("", decoded).strip()
            if text and len(messages) < MAX_MESSAGES and not _IRRELEVANT.search(decoded):
                messages.append(text)


def ffmpeg_blocks(
    program: str, source: ByteSource, track: int | None, size: int, damage: DamageReport
) -> Iterator[Block]:
    """Decode with ffmpeg, at the recording's own rate and channels, with silence for gaps in the track.

    Args:
        program: The path of ffmpeg.
        source: The recording.
        track: The number of the audio track, from 0; None for ffmpeg's choice.
        size: Of the recording, in bytes, which limits the silence.
        damage: Where damage is recorded.

    Yields:
        `(rate, samples)`: Hz, float32 `(n, channels)`.

    Raises:
        AudioError: ffmpeg does not run, or decodes nothing.
    """
    choice = ["-vn", "-sn", "-dn"] if track is None else ["-map", f"0:a:{track}"]
    try:
        command = _command(program, "-v", "error")
    except (OSError, subprocess.SubprocessError) as error:
        raise AudioError(f"{damage.name}: cannot run the program {program}: {error}") from error
    command += [*choice, "-map_metadata", "-1", "-map_chapters", "-1", "-c:a", "pcm_f32le", "-f", "matroska", "pipe:1"]
    n_out = 0
    with source.descriptor() as file:
        with _run(command, file, damage.name) as (output, messages, child):
            for block in _fill_gaps(timed_blocks(io.BufferedReader(output, 1 << 18)), GapFiller(size), damage):
                n_out += len(block[1])
                yield block
            with suppress(subprocess.TimeoutExpired):
                child.wait(STALL_SECONDS)
        if output.stalled:
            messages.append(f"no progress within {STALL_SECONDS} s")
        elif child.returncode and not messages:
            messages.append(f"exit status {child.returncode}")
        if not n_out:
            raise AudioError(f"{damage.name}: {_failure_reason(program, file, track, messages)}")
    if messages:
        more = f", and {len(messages) - 1} more" if len(messages) > 1 else ""
        damage.add(f"damaged; ffmpeg says: {messages[0]}{more}")


def _fill_gaps(
    blocks: Iterator[tuple[float, int, npt.NDArray[Any]]], gap_filler: GapFiller, damage: DamageReport
) -> Iterator[Block]:
    """Join short blocks, and fill gaps before and between them with silence.

    If timestamps jump back, or ahead by more than may be filled, all blocks are kept and later timestamps are shifted.
    """
    position: float | None = None  # seconds of output so far
    shift = 0.0  # of the output's time relative to the blocks' timestamps
    parts: list[npt.NDArray[Any]] = []
    n_parts, rate = 0, 0
    for seconds, rate, samples in blocks:
        missing = seconds + shift - (position or 0)
        if missing > (MIN_START if position is None else MIN_GAP):
            if parts:
                yield rate, np.concatenate(parts)
                parts, n_parts = [], 0
            filled = 0
            for block in gap_filler.silence(round(missing * rate), rate, samples.shape[1]):
                filled += len(block[1])
                yield block
            position = (position or 0) + filled / rate
            if not filled:
                damage.add(f"its timestamps jump by {missing:.2f} s at {position:.2f} s")
                shift -= missing
        elif missing < -MIN_GAP:
            shift -= missing
        position = (position or 0) + len(samples) / rate
        parts.append(samples)
        n_parts += len(samples)
        if n_parts >= block_frames(rate, samples.shape[1]):
            yield rate, np.concatenate(parts)
            parts, n_parts = [], 0
    if parts:
        yield rate, np.concatenate(parts)


def _failure_reason(program: str, file: IO[bytes], track: int | None, messages: list[str]) -> str:
    """Return why ffmpeg decoded nothing, as a clause for a message."""
    if any("not on whitelist" in message for message in messages):
        return "a playlist, or another format that may refer to other files, which are not opened"
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(
            _command(program, "-v", "info"), stdin=file, capture_output=True, check=False, timeout=STALL_SECONDS
        ).stderr.decode(errors="replace")
        n = len(re.findall(r"(?m)^ *Stream #0:\d+.*: Audio: ", listed))
        if "Input #0" in listed and not n:
            return "no audio track in it"
        if n and track is not None and not 0 <= track < n:
            return f"no audio track {track}; there {'is' if n == 1 else 'are'} {n}, counted from 0"
    return f"ffmpeg cannot decode it: {messages[0] if messages else 'there is no audio in it'}"
