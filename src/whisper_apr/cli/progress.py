"""Progress of a run: a bar on the terminal's last line, and a line with totals at the end."""

import os
import re
import stat
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from ..inference.results import Progress
from .inputs import STDIN, Input
from .terminal import SCREEN, print_line, print_message, printable

TICK = 0.25  # seconds after which the elapsed time is redrawn if nothing else has changed
STATE = "{desc}"
BAR = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
NAME_LENGTH = 32  # characters of a recording's name before the bar

# Rate used to guess a recording's duration from its size: 128 kbit/s, typical of MP3 and M4A.
BYTES_PER_SECOND = 16_000
# Formats whose header has the duration, so that libsndfile does not have to read the whole file.
WITH_DURATION = frozenset([".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64"])

MAX_REASONS = 3  # kinds of failure that the last line names


class Status:
    """The terminal's last line: a state such as "loading base", or a progress bar.

    Nothing is shown if stderr is not a terminal, or if stdout is a pipe, whose reader may write to the same terminal.
    """

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not _is_pipe(sys.stdout)
        self._inputs: Sequence[Input] = ()
        self._durations: list[float] = []  # seconds, guessed until a recording is read
        self._drawn_at = 0.0

    def __enter__(self) -> "Status":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the line."""
        bar, SCREEN.bar = SCREEN.bar, None
        if bar is not None:
            with suppress(OSError):  # the terminal was closed
                bar.close()

    def show(self, text: str) -> None:
        """Show a state without a bar."""
        if SCREEN.bar is not None and SCREEN.bar.bar_format == STATE:
            SCREEN.bar.set_description_str(printable(text), refresh=False)
            SCREEN.refresh()
        else:
            self._open(desc=printable(text), bar_format=STATE)

    def begin(self, inputs: Sequence[Input]) -> None:
        """Show a bar for all recordings, of which the first one is being opened."""
        self._inputs = inputs
        if self._is_shown:
            self._durations = [_guess_duration(each) for each in inputs]
            total = sum(self._durations)
            self._open(total=total, desc=self._description(0, "opening ", 0.0, total), bar_format=BAR)

    def update(self, index: int, progress: Progress) -> None:
        """Show the progress of recording `index`; those before it are done."""
        if SCREEN.bar is not None:
            self._durations[index] = progress.total
            self._draw(index, progress.done)

    def end(self, index: int, failed: bool = False) -> None:
        """Show that recording `index` is done, and that the next one is being opened."""
        if SCREEN.bar is not None:
            if failed:  # it does not count as transcribed
                self._durations[index] = 0.0
            if index + 1 < len(self._inputs):
                self._draw(index + 1, 0.0)

    def tick(self) -> None:
        """Redraw the elapsed time, at most every TICK seconds."""
        if SCREEN.bar is not None and time.monotonic() - self._drawn_at > TICK:
            self._drawn_at = time.monotonic()
            SCREEN.refresh()

    def _draw(self, index: int, done: float) -> None:
        bar = SCREEN.bar
        bar.total = sum(self._durations)
        bar.n = min(bar.total, sum(self._durations[:index]) + done)
        text = self._description(index, "" if done else "opening ", bar.n, bar.total)
        bar.set_description_str(text, refresh=False)
        self._drawn_at = time.monotonic()
        SCREEN.refresh()

    def _description(self, index: int, state: str, done: float, total: float) -> str:
        """Return the text before the bar, such as `2/3 talk.wav 0:01:10/0:05:00`."""
        count = f"{index + 1}/{len(self._inputs)} " if len(self._inputs) > 1 else ""
        name = printable(os.path.basename(self._inputs[index].label))
        if len(name) > NAME_LENGTH:
            name = f"{name[: NAME_LENGTH // 2]}...{name[3 - NAME_LENGTH // 2 :]}"
        return f"{state}{count}{name} {clock(done)}/{clock(total)}"

    def _open(self, **settings: Any) -> None:
        self.close()
        if not self._is_shown:
            return
        import threading

        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no monitoring thread
        tqdm.set_lock(threading.RLock())  # tqdm's own is for several processes, and may start one
        with suppress(OSError):
            SCREEN.bar = tqdm(leave=False, mininterval=0, smoothing=0, dynamic_ncols=True, **settings)


def clock(seconds: float) -> str:
    """Format seconds as `h:mm:ss`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _guess_duration(item: Input) -> float:
    """Return a recording's duration in seconds from its header, or an estimate from its size; 0 if neither is known."""
    if item.path == STDIN or not os.path.isfile(item.path):
        return 0.0
    if os.path.splitext(item.path)[1].lower() in WITH_DURATION:
        with suppress(Exception):  # errors are reported when the recording is read
            import soundfile

            return float(soundfile.info(item.path).duration)
    return os.path.getsize(item.path) / BYTES_PER_SECOND


def _is_pipe(stream: TextIO) -> bool:
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


class Tally:
    """Totals of a run: how many recordings were done, skipped or failed, and the speed."""

    def __init__(self) -> None:
        self.n_done = self.n_skipped = 0
        self.seconds = 0.0  # of audio that this run transcribed
        self._reasons = Counter[str]()
        self._started_at: float | None = None

    @property
    def n_failed(self) -> int:
        """The number of recordings that failed."""
        return self._reasons.total()

    def start_clock(self) -> None:
        """Start to measure the elapsed time."""
        self._started_at = time.monotonic()

    def add_failure(self, label: str, message: str) -> None:
        """Count a failure and print it.

        Args:
            label: The recording's name.
            message: What is wrong, with or without the name before it.
        """
        reason = message.removeprefix(f"{label}: ")
        print_message(f"{label}: {reason}")
        # other programs' messages may contain the path: without it, equal reasons are counted together
        kind = re.sub(rf"\S*{re.escape(os.path.abspath(label))}\S*\s*", "", re.split(r"; | \(", reason)[0])
        self._reasons[kind] += 1

    def report(self) -> None:
        """Print the totals as one line on stderr."""
        parts = [f"{self.n_done} done"]
        if self.n_skipped:
            parts.append(f"{self.n_skipped} skipped")
        if self.n_failed:
            listed = [f"{n}: {reason}" for reason, n in self._reasons.most_common(MAX_REASONS)]
            if (rest := self.n_failed - sum(n for _, n in self._reasons.most_common(MAX_REASONS))) > 0:
                listed.append(f"{rest}: other reasons")
            parts.append(f"{self.n_failed} failed ({'; '.join(listed)})")
        text = ", ".join(parts)
        if self._started_at is not None and self.seconds:
            elapsed = time.monotonic() - self._started_at
            speed = f", {self.seconds / elapsed:.1f} times real time" if elapsed > 0 else ""
            text += f"; {clock(self.seconds)} of audio in {clock(elapsed)}{speed}"
        print_line(f"whisper-apr: {text}")
