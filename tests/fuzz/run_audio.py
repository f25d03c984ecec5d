"""Fuzz the reading of recordings: `python tests/fuzz/run_audio.py [--n 1000] [--ffmpeg 100] [--seed 0] [kind ...]`.

A mutated file is read as a path, as bytes, or as a file object with or without seeking. It must give samples or raise
AudioError, and must not break a rule: no other exception; no crash; at most one AudioWarning about damage, and none
with `strict`; at most 2 s of CPU time; at most ten times the file's size plus 64 MiB of memory, in this process and in
ffmpeg; nothing on stderr; no process and no temporary file left behind. A file that breaks a rule is reported by its
number, which reproduces it, and kept with --keep. `--n` files of each kind are read without ffmpeg on PATH, `--ffmpeg`
files with it. Linux only. tests/test_fuzz_audio.py is a short run.
"""

import argparse
import faulthandler
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import IO, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.audio_files import KINDS, Kind, changed
from whisper_apr.audio import stream_audio
from whisper_apr.errors import AudioError, AudioWarning

SECONDS = 2  # of CPU time for one file
TIMEOUT = 60  # seconds for one file, after which the process is ended
# Warnings about the audio itself, which may be given in addition to one about damage.
REMARKS = ("where full scale is 1", "cancel each other out", "which is nearly silent")
TIMES, BYTES = 10, 64 << 20  # memory limit: TIMES the file's size plus BYTES
CEILING = 4 << 30  # bytes that a process may allocate at all, to protect the machine


class Broken(Exception):
    """A file broke a rule."""


class _Pipe(io.BytesIO):
    """A file object that cannot seek."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


ENTRY_POINTS: tuple[Callable[[Path], Any], ...] = (
    lambda path: path,
    lambda path: path.read_bytes(),
    lambda path: io.BytesIO(path.read_bytes()),
    lambda path: _Pipe(path.read_bytes()),
)


def read(path: Path, rng: random.Random) -> int:
    """Read a recording in a random way, completely or only the first block; return the number of samples."""
    n, only_first, strict = 0, rng.random() < 0.1, rng.random() < 0.2
    if strict:
        warnings.simplefilter("error", AudioWarning)
    blocks = stream_audio(rng.choice(ENTRY_POINTS)(path), strict=strict)
    for block in blocks:
        if block.dtype != np.float32 or block.ndim != 1 or not np.isfinite(block).all():
            raise Broken(f"a block of {block.dtype} {block.shape}, or with infinity or NaN")
        n += len(block)
        if only_first:
            blocks.close()  # type: ignore[attr-defined]
            break
    return n


# ---- the rules ------------------------------------------------------------------------------------------------------


def _resident(key: str) -> int:
    """Return a size of this process in bytes: VmRSS now, or VmHWM, the peak since `_reset_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"no {key} in /proc/self/status")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    import resource  # not on Windows

    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def children_peak() -> int:
    """Return the peak resident size in bytes of any child that this process has waited for."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def _children() -> set[str]:
    """Return the IDs of the children that this process has not waited for."""
    numbers: set[str] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            numbers |= set(path.read_text().split())
    return numbers


_watched = False
_program: str | None = None  # the only program that may be run


def audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event == "subprocess.Popen" and str(args[0]) != str(_program):
        raise Broken(f"runs {args[0]}")
    if event.startswith(("socket.", "os.system", "os.exec", "shutil.", "urllib.Request")):
        raise Broken(f"{event} {args[:2]}")
    if (
        event == "open"
        and isinstance(args[0], str)
        and isinstance(args[1], str)
        and set(args[1]) & set("wxa+")
        and not args[0].startswith(tempfile.gettempdir())
    ):
        raise Broken(f"opens {args[0]} with {args[1]}")


@dataclass
class Rules:
    """The rules for one file after another, and the state that checking them needs."""

    stderr: IO[bytes]  # receives everything written to stderr
    temporary: Path  # folder of temporary files
    children_peak: int  # peak resident size of ended children so far; the system does not reset it

    def check(self, read_file: Callable[[], object], size: int) -> str:
        """Read one file and check the rules. Returns "read", "warned" or "refused", or raises Broken."""
        global _watched
        outcome = "read"
        self.stderr.seek(0)
        self.stderr.truncate()
        _reset_peak()
        before, began, children = _resident("VmRSS"), _cpu_seconds(), _children()
        faulthandler.dump_traceback_later(TIMEOUT, exit=True, file=sys.__stdout__)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _watched = True
            try:
                read_file()
            except AudioError as error:
                outcome = "refused"
                if not str(error) or "\n" in str(error):
                    raise Broken(f"its message is not one line: {error!r}") from error
            except Broken:
                raise
            except BaseException as error:
                raise Broken(f"{type(error).__name__}: {error}") from error
            finally:
                _watched = False
                faulthandler.cancel_dump_traceback_later()
        self._measure(before, began, children, size)
        if outcome != "refused" and caught:
            outcome = "warned"
        texts = [f"{type(warning.message).__name__}: {warning.message}" for warning in caught]
        damage = [text for text in texts if not any(remark in text for remark in REMARKS)]
        if len(damage) > 1 or len(set(texts)) < len(texts) or any(w.category is not AudioWarning for w in caught):
            raise Broken(f"warns: {'; '.join(texts)}")
        return outcome

    def _measure(self, before: int, began: float, children: set[str], size: int) -> None:
        if _children() - children:
            raise Broken("leaves a process behind")
        if left := [entry.name for entry in self.temporary.iterdir()]:
            raise Broken(f"leaves files behind: {', '.join(left)}")
        took = _cpu_seconds() - began
        if took > SECONDS:
            raise Broken(f"took {took:.1f} s of CPU time")
        peak = _resident("VmHWM") - before
        if peak > TIMES * size + BYTES:
            raise Broken(f"took {peak >> 20} MiB for a file of {size} bytes")
        before, self.children_peak = self.children_peak, children_peak()
        if self.children_peak > before + TIMES * size + BYTES:
            raise Broken(f"ffmpeg took {self.children_peak >> 20} MiB for a file of {size} bytes")
        self.stderr.seek(0)
        if text := self.stderr.read():
            raise Broken(f"wrote to stderr: {text[:200]!r}")


@contextmanager
def ruling(program: str | None, temporary: Path) -> Iterator[Rules]:
    """Redirect stderr and temporary files, put only `program` on PATH, and yield the rules."""
    global _program
    own, path = os.dup(2), os.environ.get("PATH")
    _program = program
    with tempfile.TemporaryFile() as stderr, tempfile.TemporaryDirectory() as programs:
        if program is not None:
            _program = str(Path(programs, "ffmpeg"))
            os.symlink(program, _program)
        os.environ["PATH"] = programs
        os.dup2(stderr.fileno(), 2)
        before, tempfile.tempdir = tempfile.tempdir, str(temporary)
        try:
            yield Rules(stderr, temporary, children_peak())
        finally:
            tempfile.tempdir = before
            os.dup2(own, 2)
            os.close(own)
            os.environ["PATH"] = path or ""


# ---- many files -----------------------------------------------------------------------------------------------------


def good_files(folder: Path) -> dict[str, list[Path]]:
    """Write valid files of each kind; kinds that need ffmpeg have none if it is missing."""
    made = {}
    for kind in KINDS:
        (folder / kind.name).mkdir(parents=True)
        made[kind.name] = list(kind.seeds(folder / kind.name))
    return made


def _warm_up(paths: list[Path]) -> list[str]:
    """Read valid files as every kind of input, to fill all caches; return the names of those that are refused."""
    refused = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        for path, entry_point in product(paths, ENTRY_POINTS):
            try:
                sum(map(len, stream_audio(entry_point(path))))
            except AudioError:
                refused.add(path.name)
    return sorted(refused)


def fuzz(
    kind: Kind,
    numbers: range,
    seeds: dict[str, list[Path]],
    folder: Path,
    program: str | None,
    keep: Path | None = None,
) -> tuple[Counter[str], list[str]]:
    """Read the mutated files of these numbers. Returns the count of each outcome, and a line for each broken rule.

    `seeds` are the valid files of each kind; `program` is ffmpeg, or None. The file `number` in `folder` holds the
    number of the file that is being read.
    """
    good = [path.read_bytes() for path in seeds[kind.name]]
    strangers = [path.read_bytes() for name, paths in seeds.items() if name != kind.name for path in paths]
    outcomes: Counter[str] = Counter()
    broken = []
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    path = folder / f"changed{seeds[kind.name][0].suffix}"
    with ruling(program, temporary) as rules:
        refused = _warm_up(seeds[kind.name])
        if refused and not (kind.needs_ffmpeg and program is None):
            broken.append(f"{kind.name}: valid files are refused: {', '.join(refused)}")
        rules.children_peak = children_peak()
        for number in numbers:
            path.write_bytes(changed(kind, good, strangers, number))
            (folder / "number").write_text(str(number))
            try:
                outcomes[rules.check(partial(read, path, random.Random(number)), path.stat().st_size)] += 1
            except Broken as error:
                broken.append(f"{kind.name} {number}: {error}")
                if keep is not None:
                    shutil.copy(path, keep / f"{kind.name}-{number}{path.suffix}")
    return outcomes, broken


def _in_processes(kind: Kind, numbers: range, seeds: Path, program: str | None, keep: Path | None) -> tuple[str, bool]:
    """Run `fuzz` in a separate process; after a crash, continue with the next number in a new one.

    Returns a report, and whether no rule was broken.
    """
    lines, total, began, at = [], Counter[str](), time.monotonic(), numbers.start
    with tempfile.TemporaryDirectory() as folder:
        while at < numbers.stop:
            command = [
                sys.executable,
                "-X",
                "faulthandler",
                __file__,
                kind.name,
                "--here",
                folder,
                "--seeds",
                str(seeds),
            ]
            command += ["--seed", str(at), "--n", str(numbers.stop - at)]
            command += ["--program", program] if program else []
            command += ["--keep", str(keep)] if keep else []
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            *found, counts = done.stdout.splitlines() or [""]
            lines += found
            if done.returncode == 0:
                total.update(json.loads(counts))
                break
            number = Path(folder, "number")
            at = int(number.read_text()) if number.exists() else numbers.stop
            why = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit status {done.returncode}"
            lines += [counts, f"{kind.name} {at}: ended the process: {why}", done.stderr[-2000:]]
            for path in Path(folder).glob("changed.*"):
                if keep is not None:
                    shutil.copy(path, keep / f"{kind.name}-{at}{path.suffix}")
            at += 1
    how = "with ffmpeg" if program else "without ffmpeg"
    counted = ", ".join(f"{total[outcome]} {outcome}" for outcome in ("read", "warned", "refused"))
    lines.append(f"{kind.name} {how}: {len(numbers)} files: {counted} ({time.monotonic() - began:.0f} s)")
    return "\n".join(lines), total.total() == len(numbers) and len(lines) == 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("kinds", nargs="*", help=f"{', '.join(kind.name for kind in KINDS)}; default: all")
    parser.add_argument("--n", type=int, default=1000, help="files of each kind without ffmpeg on PATH")
    parser.add_argument("--ffmpeg", type=int, default=100, help="files of each kind with ffmpeg")
    parser.add_argument("--seed", type=int, default=0, help="number of the first file")
    parser.add_argument("--keep", type=Path, help="folder for files that break a rule")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    for name in ("--here", "--seeds", "--program"):  # used for its own processes
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.kinds) - {kind.name for kind in KINDS}:
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(kind.name for kind in KINDS)}")
    chosen = [kind for kind in KINDS if not options.kinds or kind.name in options.kinds]
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    if options.here:
        return _here(options, chosen[0])
    program = shutil.which("ffmpeg")
    if program is None:
        parser.error("ffmpeg must be on PATH, because some kinds are created with it")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.processes) as pool:
        good_files(Path(folder))
        jobs = [
            pool.submit(
                _in_processes, kind, range(options.seed, options.seed + n), Path(folder), with_program, options.keep
            )
            for with_program, count in ((program, options.ffmpeg), (None, options.n))
            for kind in chosen
            if (n := count // 10 if kind.needs_ffmpeg and with_program is None else count)
        ]
        passed = True
        for job in as_completed(jobs):
            report, has_passed = job.result()
            print(report, flush=True)
            passed &= has_passed
    return 0 if passed else 1


def _here(options: argparse.Namespace, kind: Kind) -> int:
    """Run `fuzz` in this process; print a line for each broken rule, and the counts of outcomes as JSON."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (CEILING, CEILING))
    sys.addaudithook(audit)
    seeds = {
        folder.name: sorted(p for p in folder.rglob("*") if p.is_file()) for folder in Path(options.seeds).iterdir()
    }
    numbers = range(options.seed, options.seed + options.n)
    outcomes, broken = fuzz(kind, numbers, seeds, Path(options.here), options.program, options.keep)
    outcomes["broken"] = len(broken)
    print(*broken[:40], json.dumps(outcomes), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
