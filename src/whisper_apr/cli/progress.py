"""How far the command is: on the last line of a terminal while it works, and in one line at the end."""

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
from .terminal import SCREEN, fail, line, printable

TICK = 0.25  # seconds after which the clock is shown anew where nothing else has changed
BAR = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
NAME_LENGTH = 32  # letters of a recording's name in front of the bar

# Of recordings whose length has to be guessed: 128 kbit/s, as most MP3 and M4A files have it.
BYTES_PER_SECOND = 16_000
# Their heads tell the length; libsndfile reads it without searching the file.
WITH_LENGTH = frozenset([".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64"])

REASONS = 3  # kinds of failures that the last line names


class Status:
    """The last line of a terminal.

    There is none where stderr is no terminal, nor where the standard output is a pipe: who reads it may write to the same terminal.
    """

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not _is_pipe(sys.stdout)
        self._inputs: Sequence[Input] = ()
        self._seconds: list[float] = []
        self._shown_at = 0.0

    def __enter__(self) -> "Status":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the line away."""
        bar, SCREEN.bar = SCREEN.bar, None
        if bar is not None:
            with suppress(OSError):  # the terminal was closed
                bar.close()

    def say(self, text: str) -> None:
        """Show a state that has no numbers, such as "loading base"."""
        self._open(desc=printable(text), bar_format="{desc}")

    def begin(self, inputs: Sequence[Input]) -> None:
        """Show a bar over all the recordings, and that the first one is being opened."""
        self._inputs = inputs
        if self._is_shown:
            self._seconds = [_guessed_seconds(each) for each in inputs]
            total = sum(self._seconds)
            self._open(total=total, desc=self._text(0, "listening: ", 0.0, total), bar_format=BAR)

    def update(self, index: int, progress: Progress) -> None:
        """Show how far recording `index` is; those before it are done."""
        if SCREEN.bar is not None:
            self._seconds[index] = progress.total
            self._show(index, progress.done)

    def ended(self, index: int, failed: bool = False) -> None:
        """Show that recording `index` has come to its end, and that the next one is being opened."""
        if SCREEN.bar is not None:
            if failed:  # it is no sound that was transcribed in no time
                self._seconds[index] = 0.0
            if index + 1 < len(self._inputs):
                self._show(index + 1, 0.0)

    def tick(self) -> None:
        """Let the clock go on. May be called as often as anybody likes."""
        if SCREEN.bar is not None and time.monotonic() - self._shown_at > TICK:
            self._shown_at = time.monotonic()
            SCREEN.refresh()

    def _show(self, index: int, done: float) -> None:
        bar = SCREEN.bar
        bar.total = sum(self._seconds)
        bar.n = min(bar.total, sum(self._seconds[:index]) + done)
        text = self._text(index, "" if done else "listening: ", bar.n, bar.total)
        bar.set_description_str(text, refresh=False)
        self._shown_at = time.monotonic()
        SCREEN.refresh()

    def _text(self, index: int, state: str, done: float, total: float) -> str:
        """What stands before the bar."""
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

        tqdm.monitor_interval = 0  # no thread to watch the bar
        tqdm.set_lock(threading.RLock())  # its own serves several processes, and may start one
        with suppress(OSError):
            SCREEN.bar = tqdm(leave=False, mininterval=0, smoothing=0, dynamic_ncols=True, **settings)


def clock(seconds: float) -> str:
    """`h:mm:ss`"""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _guessed_seconds(item: Input) -> float:
    """A recording's length as its head has it, or as its size lets one expect; the bar is set right when it has been read."""
    if item.path == STDIN or not os.path.isfile(item.path):
        return 0.0
    if os.path.splitext(item.path)[1].lower() in WITH_LENGTH:
        with suppress(Exception):  # whatever is wrong with it is told when it is read
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
    """What became of the recordings."""

    def __init__(self) -> None:
        self.n_done = self.n_skipped = 0
        self.sound = 0.0  # seconds that were transcribed
        self._reasons = Counter[str]()
        self._begin: float | None = None
        self._seconds = 0.0

    @property
    def n_failed(self) -> int:
        return self._reasons.total()

    def start_clock(self) -> None:
        self._begin = time.monotonic()

    def failed(self, label: str, message: str) -> None:
        """Count a failure and say it. The message may begin with the label."""
        reason = message.removeprefix(f"{label}: ")
        fail(f"{label}: {reason}")
        # in a program's own words, the name of the file may stand in the middle
        kind = re.sub(rf"\S*{re.escape(os.path.abspath(label))}\S*\s*", "", re.split(r"; | \(", reason)[0])
        self._reasons[kind] += 1

    def report(self) -> None:
        """Write the last line."""
        parts = [f"{self.n_done} done"]
        if self.n_skipped:
            parts.append(f"{self.n_skipped} skipped")
        if self.n_failed:
            named = [f"{n}: {reason}" for reason, n in self._reasons.most_common(REASONS)]
            if (rest := self.n_failed - sum(n for _, n in self._reasons.most_common(REASONS))) > 0:
                named.append(f"{rest}: other reasons")
            parts.append(f"{self.n_failed} failed ({'; '.join(named)})")
        text = ", ".join(parts)
        if self._begin is not None and self.sound:
            seconds = time.monotonic() - self._begin
            speed = f", {self.sound / seconds:.1f} times real time" if seconds > 0 else ""
            text += f"; {clock(self.sound)} of sound in {clock(seconds)}{speed}"
        line(f"whisper-apr: {text}")
