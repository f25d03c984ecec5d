"""Text while somebody speaks, from the microphone (extra: mic) or from raw samples on the standard input. Ctrl-C ends the microphone."""

import argparse
import os
import queue
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE
from ..errors import OptionError, WhisperAprError
from ..inference.live import LiveText, LiveTranscriber, live_options
from ..inference.options import split_options
from .arguments import add_engine, channel, language, open_engine, option, positive, switch
from .inputs import check_stdin
from .progress import Status
from .terminal import fail, out

HELP = "write what is being said"

TYPES = {"s16le": "<i2", "f32le": "<f4"}
PAUSE = 1.0  # seconds between two words that begin a new line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine(parser)
    option(
        parser,
        "input",
        choices=("mic", "-"),
        help="microphone, or raw samples on the standard input (default: the latter where it is no terminal)",
    )
    option(parser, "rate", type=positive, default=SAMPLE_RATE, help=f"of the samples, in Hz (default: {SAMPLE_RATE})")
    option(parser, "channels", type=positive, default=1, help="of the samples (default: 1)")
    option(parser, "channel", type=channel, default="mix", help="number, from 0, of the one to be heard (default: mix)")
    switch(parser, "strict", help="samples of a doubtful scale, or channels that cancel each other out, are an error")
    option(parser, "sample-format", choices=tuple(TYPES), default="s16le", help="of the samples (default: s16le)")
    option(parser, "step", type=float, default=1.0, help="seconds of speech between two hearings (default: 1)")
    option(parser, "language", type=language, help="language spoken (default: detected)")
    option(parser, "task", choices=("transcribe", "translate"), default="transcribe", help="(default: transcribe)")


def _stdin_blocks(dtype: str, channels: int) -> Iterator[npt.NDArray[Any]]:
    """Samples `(n, channels)` as they come. A sample that is cut off at the end is dropped."""
    size, left = np.dtype(dtype).itemsize * channels, b""
    while data := os.read(sys.stdin.fileno(), 1 << 16):  # what is there: a sample is heard when it comes
        data = left + data
        whole = len(data) // size * size
        left = data[whole:]
        if whole:
            yield np.frombuffer(data[:whole], dtype).reshape(-1, channels)


def _microphone_blocks(rate: int) -> Iterator[npt.NDArray[Any]]:
    """All that has come since the last block; nothing is lost while a block is transcribed."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
        raise WhisperAprError(
            f"no microphone without the package sounddevice and PortAudio ({error}): pip install 'whisper-apr[mic]', "
            "or pipe raw samples in with --input -"
        ) from error
    come: queue.Queue[npt.NDArray[Any]] = queue.Queue()
    lost = False

    def take(block: npt.NDArray[Any], n_frame: int, time: Any, status: Any) -> None:
        nonlocal lost
        if status and status.input_overflow and not lost:  # the machine was too busy to call in time
            lost = True
            fail("some of the microphone's sound came too fast and was lost; words may be missing")
        come.put(block[:, 0].copy())  # the block is PortAudio's, and used again

    try:
        with sounddevice.InputStream(samplerate=rate, channels=1, dtype="float32", callback=take):
            while True:
                blocks = [come.get()]
                with suppress(queue.Empty):
                    while True:
                        blocks.append(come.get_nowait())
                yield np.concatenate(blocks)
    except sounddevice.PortAudioError as error:
        raise WhisperAprError(f"the microphone cannot be read: {error}") from error


class _Line:
    """Settled words on stdout; on a terminal, the guess at the next ones after them, dim."""

    def __init__(self) -> None:
        self._end: float | None = None  # of the last word
        self._column = 0
        self._is_terminal = sys.stdout.isatty()

    def show(self, text: LiveText) -> None:
        if not text.settled and not self._is_terminal:
            return
        parts = ["\x1b[0J"] if self._is_terminal else []  # away with the guess
        width = shutil.get_terminal_size().columns
        for word in text.settled:
            shown = word.word if self._column else word.word.lstrip()
            if self._end is not None and word.start - self._end > PAUSE:
                shown, self._column = "\n" + word.word.lstrip(), 0
            parts.append(shown)
            self._column = (self._column + len(shown)) % width
            self._end = word.end
        if self._is_terminal and text.tentative:  # within the line, so that the cursor finds back
            parts.append(f"\x1b7\x1b[2m{text.tentative_text[: width - self._column - 1]}\x1b[0m\x1b8")
        out("".join(parts))

    def end(self) -> None:
        if self._end is not None:
            out("\n")


def run(args: argparse.Namespace) -> int:
    source = args.input or ("mic" if sys.stdin is not None and sys.stdin.isatty() else "-")
    if source == "-":
        check_stdin()
    if source == "mic" and args.channels != 1:
        raise OptionError("the microphone has one channel; --channels is for the standard input")
    options = {"channel": args.channel, "strict": args.strict, "language": args.language, "task": args.task}
    _, for_hearings = live_options(sampling_rate=args.rate, step=args.step, **options)
    split_options(for_hearings)  # what is not allowed is said before the model is loaded
    with Status() as status:
        status.say(f"loading {args.model}")
        stream = LiveTranscriber(open_engine(args), sampling_rate=args.rate, step=args.step, **options)
        status.say(f"listening to {'the microphone; Ctrl-C ends it' if source == 'mic' else 'the standard input'}")
        line = _Line()
        blocks = (
            _microphone_blocks(args.rate)
            if source == "mic"
            else _stdin_blocks(TYPES[args.sample_format], args.channels)
        )
        with closing(blocks):  # type: ignore[type-var]
            try:
                for block in blocks:
                    text = stream.push(block)
                    if text.settled or text.tentative:
                        status.close()
                    line.show(text)
            except KeyboardInterrupt:
                if source != "mic":
                    raise
        text = stream.finish()
    line.show(text)
    line.end()
    return 0
