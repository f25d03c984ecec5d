"""Transcribe speech while it is spoken, from the microphone (needs the extra mic: pip install 'whisper-apr[mic]') or
from raw samples on the standard input. Ctrl-C ends the microphone."""

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
from ..inference.live import SETTLE, LiveText, LiveTranscriber, live_options
from ..inference.options import split_options
from .arguments import add_model_options, channel, language, model_from_args, option, positive, switch
from .inputs import check_stdin
from .progress import Status
from .terminal import print_message, write_stdout

HELP = "transcribe live speech"

DTYPES = {"s16le": "<i2", "f32le": "<f4"}  # NumPy's types by ffmpeg's names
PAUSE = 1.0  # seconds between two words after which a new line begins


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `live`."""
    add_model_options(parser)
    option(
        parser,
        "input",
        choices=("mic", "-"),
        help="microphone, or - for raw samples on stdin (default: mic if stdin is a terminal, otherwise -)",
    )
    option(parser, "rate", type=positive, default=SAMPLE_RATE, help=f"sampling rate, in Hz (default: {SAMPLE_RATE})")
    option(parser, "channels", type=positive, default=1, help="number of interleaved channels (default: 1)")
    option(
        parser,
        "channel",
        type=channel,
        default="mix",
        help="channel to transcribe: its number from 0, or mix, the mean of all (default: mix)",
    )
    switch(
        parser,
        "strict",
        help="fail if samples are far outside -1 to 1 or channels cancel each other out (default: False, a warning)",
    )
    option(
        parser,
        "sample-format",
        choices=tuple(DTYPES),
        default="s16le",
        help="type of raw samples: 16-bit integers or 32-bit floats, little-endian (default: s16le)",
    )
    option(parser, "step", type=float, default=0.5, help="seconds of new audio before each update (default: 0.5)")
    option(
        parser,
        "settle",
        choices=SETTLE,
        default="local-agreement",
        help="print words when two updates agree on them, or when their utterance has ended (default: local-agreement)",
    )
    option(parser, "language", type=language, help="language spoken, as a code or an English name (default: detect it)")
    option(
        parser,
        "task",
        choices=("transcribe", "translate"),
        default="transcribe",
        help="transcribe, or translate into English (default: transcribe)",
    )


def _stdin_blocks(dtype: str, channels: int) -> Iterator[npt.NDArray[Any]]:
    """Yield samples `(n, channels)` from stdin as they arrive. An incomplete sample at the end is dropped."""
    size, rest = np.dtype(dtype).itemsize * channels, b""
    while data := os.read(sys.stdin.fileno(), 1 << 16):  # returns what has arrived, without waiting for more
        data = rest + data
        whole = len(data) // size * size
        rest = data[whole:]
        if whole:
            yield np.frombuffer(data[:whole], dtype).reshape(-1, channels)


def _microphone_blocks(rate: int) -> Iterator[npt.NDArray[Any]]:
    """Yield samples `(n,)` from the microphone; each block has all that was recorded since the one before."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise WhisperAprError(
            f"the microphone needs the package sounddevice and PortAudio ({error}): pip install 'whisper-apr[mic]', "
            "or pipe raw samples in with --input -"
        ) from error
    recorded: queue.Queue[npt.NDArray[Any]] = queue.Queue()
    has_overflowed = False

    def callback(block: npt.NDArray[Any], n_frame: int, time: Any, status: Any) -> None:
        nonlocal has_overflowed
        if status and status.input_overflow and not has_overflowed:
            has_overflowed = True
            print_message("the machine is too busy, and part of the recording was lost; words may be missing")
        recorded.put(block[:, 0].copy())  # a copy, because PortAudio reuses the block

    try:
        with sounddevice.InputStream(samplerate=rate, channels=1, dtype="float32", callback=callback):
            while True:
                blocks = [recorded.get()]
                with suppress(queue.Empty):
                    while True:
                        blocks.append(recorded.get_nowait())
                yield np.concatenate(blocks)
    except sounddevice.PortAudioError as error:
        raise WhisperAprError(f"cannot read the microphone: {error}") from error


class _LiveLine:
    """Prints settled words; on a terminal, also the tentative ones after them, dimmed and later replaced."""

    def __init__(self) -> None:
        self._end: float | None = None  # of the last word, in seconds
        self._column = 0
        self._is_terminal = sys.stdout.isatty()

    def show(self, text: LiveText) -> None:
        """Print an update."""
        if not text.settled and not self._is_terminal:
            return
        parts = ["\x1b[0J"] if self._is_terminal else []  # erase the tentative words
        width = shutil.get_terminal_size().columns
        for word in text.settled:
            shown = word.word if self._column else word.word.lstrip()
            if self._end is not None and word.start - self._end > PAUSE:
                shown, self._column = "\n" + word.word.lstrip(), 0
            parts.append(shown)
            self._column = (self._column + len(shown)) % width
            self._end = word.end
        if self._is_terminal and text.tentative:  # cut at the end of the line, so that the cursor can return
            parts.append(f"\x1b7\x1b[2m{text.tentative_text[: width - self._column - 1]}\x1b[0m\x1b8")
        write_stdout("".join(parts))

    def end(self) -> None:
        """End the last line."""
        if self._end is not None:
            write_stdout("\n")


def run(args: argparse.Namespace) -> int:
    """Transcribe until the input ends or Ctrl-C is pressed, and return the exit status."""
    source = args.input or ("mic" if sys.stdin is not None and sys.stdin.isatty() else "-")
    if source == "-":
        check_stdin()
    if source == "mic" and args.channels != 1:
        raise OptionError("--channels is for the standard input only; the microphone is recorded with one channel")
    own = {"channel": args.channel, "strict": args.strict, "step": args.step, "settle": args.settle}
    options = own | {"language": args.language, "task": args.task}
    _, decoding = live_options(sampling_rate=args.rate, **options)
    split_options(decoding)  # check the options before the model is loaded
    with Status() as status:
        status.show(f"loading {args.model}")
        stream = LiveTranscriber(model_from_args(args), sampling_rate=args.rate, **options)
        status.show(
            f"listening to {'the microphone; press Ctrl-C to end' if source == 'mic' else 'the standard input'}"
        )
        line = _LiveLine()
        blocks = (
            _microphone_blocks(args.rate)
            if source == "mic"
            else _stdin_blocks(DTYPES[args.sample_format], args.channels)
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
