"""Fuzz the readers of model files: `python tests/fuzz/run.py [--n 20000] [--seed 0] [reader ...]`.

Each mutated file must open or raise FormatError: no other exception, no crash, at most 2 s of CPU time, at most four
times the file's size plus 64 MiB of memory, and no execution, writing or network access. One FormatError must not wrap
another. A file that breaks a rule is reported by its number, which reproduces it, and kept with --keep.
tests/test_fuzz.py is a short run.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutate import mutate
from fuzz.readers import READERS, Reader
from whisper_apr.errors import FormatError

SECONDS = 2
_HAS_TIMER = hasattr(signal, "setitimer")  # not on Windows
TIMES, BYTES = 4, 64 << 20  # memory limit: TIMES the file's size plus BYTES

# Audit events that no reader may cause. Modules are imported before, when the unchanged seeds are opened.
_FORBIDDEN = (
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.startfile", "os.remove", "os.rename", "os.mkdir",
    "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "shutil.", "ctypes.dlopen", "import", "urllib.Request",
)  # fmt: skip


class Broken(Exception):
    """A reader broke a rule."""


class _Hang(BaseException):
    pass


_watched = False
_limited = False  # memory is limited by the system instead of traced


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event.startswith(_FORBIDDEN) or (event == "open" and isinstance(args[1], str) and set(args[1]) & set("wxa+")):
        raise Broken(f"{event} {args[:2]}")


def watch() -> None:
    """Install the audit hook for forbidden actions, which cannot be removed again; call it once in a process."""
    sys.addaudithook(_audit)


def _alarm(signum: int, frame: FrameType | None) -> None:
    raise _Hang


@contextmanager
def measuring(limited: bool = False) -> Iterator[None]:
    """Measure memory and time, for `check`.

    Memory is traced, which is several times slower, or `limited` by the system (Linux only).
    """
    global _limited
    previous = signal.signal(signal.SIGPROF, _alarm) if _HAS_TIMER else None
    _limited = limited
    if not limited:
        tracemalloc.start()
    try:
        yield
    finally:
        _limited = False
        tracemalloc.stop()
        if _HAS_TIMER:
            signal.signal(signal.SIGPROF, previous)


def _set_limit(more: int | None) -> None:
    """Limit how many more bytes of memory this process may allocate; None removes the limit."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize() if more is not None else 0
    resource.setrlimit(resource.RLIMIT_DATA, (used + more if more is not None else hard, hard))


def check(open_file: Callable[[Path], object], path: Path, size: int) -> str:
    """Open a file and check the rules. Returns "opened" or "refused", or raises Broken."""
    global _watched
    outcome = "opened"
    before = 0
    if _limited:
        _set_limit(TIMES * size + BYTES)
    else:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
    if _HAS_TIMER:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
    _watched = True
    try:
        open_file(path)
    except FormatError as error:
        if isinstance(error.__cause__, FormatError):
            raise Broken(f"one FormatError wraps another: {error}") from error
        outcome = "refused"
    except _Hang:
        raise Broken(f"took more than {SECONDS} s") from None
    except Broken:
        raise
    except BaseException as error:
        raise Broken(f"{type(error).__name__}: {error}") from error
    finally:
        _watched = False
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if _limited:
            _set_limit(None)
    peak = 0 if _limited else tracemalloc.get_traced_memory()[1] - before
    if peak > TIMES * size + BYTES:
        raise Broken(f"took {peak >> 20} MiB for a file of {size} bytes")
    return outcome


def _files(seed: Path) -> list[Path]:
    return sorted(path for path in seed.rglob("*") if path.is_file()) if seed.is_dir() else [seed]


def changed(reader: Reader, seeds: list[Path], number: int, folder: Path) -> tuple[Path, int]:
    """Create mutated file `number` of a reader in `folder`, and return its path and size.

    If the seed is a folder of files, one of them is mutated.
    """
    rng = random.Random(f"{reader.name} {number}")
    seed = rng.choice(seeds)
    sources = _files(seed)
    victim = rng.choice(sources)
    other = rng.choice(_files(rng.choice(seeds)))
    content = victim.read_bytes()
    if reader.parts is not None and rng.random() < 0.5:
        parts = reader.parts.split(content)
        i = rng.randrange(len(parts))
        parts[i] = mutate(parts[i], other.read_bytes(), rng)
        content = reader.parts.join(parts)
    else:
        content = mutate(content, other.read_bytes(), rng)
    made = folder / seed.name
    if seed.is_dir():
        shutil.copytree(seed, made, dirs_exist_ok=True)
        (made / victim.relative_to(seed)).write_bytes(content)
    else:
        made.write_bytes(content)
    return made, sum(path.stat().st_size for path in _files(made))


def fuzz(
    reader: Reader, numbers: range, folder: Path, keep: Path | None = None, limited: bool = False
) -> tuple[Counter[str], list[str]]:
    """Open mutated files. Returns how many opened and were refused, and a line for each broken rule."""
    (folder / "seeds").mkdir(parents=True)
    (folder / "changed").mkdir()
    seeds = list(reader.seeds(folder / "seeds"))
    outcomes: Counter[str] = Counter()
    broken = []
    with measuring(limited):
        for seed in seeds:  # valid files open, and everything that they need is imported
            reader.open(seed)
        for number in numbers:
            path, size = changed(reader, seeds, number, folder / "changed")
            try:
                outcomes[check(reader.open, path, size)] += 1
            except Broken as error:
                broken.append(f"{reader.name} {number}: {error}")
                if keep is not None:
                    shutil.copy(path, keep / f"{reader.name}-{number}") if path.is_file() else shutil.copytree(
                        path, keep / f"{reader.name}-{number}"
                    )
    return outcomes, broken


def sanitized_lz4(n: int, seed: int) -> int:
    """Build and run lz4_sanitized.c, and return its exit status."""
    here = Path(__file__).resolve().parent
    simd = here.parents[1] / "src" / "whisper_apr" / "_simd"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "lz4_sanitized"
        compiler = os.environ.get("CC", "cc")
        flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{simd}"]
        subprocess.run(
            [compiler, *flags, str(here / "lz4_sanitized.c"), str(simd / "lz4.c"), "-o", str(program)], check=True
        )
        return subprocess.run([str(program), str(n), str(seed)], check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("readers", nargs="*", help="default: all, and the LZ4 decoder with sanitizers")
    parser.add_argument("--n", type=int, default=20_000, help="mutated files for each reader")
    parser.add_argument("--seed", type=int, default=0, help="number of the first file")
    parser.add_argument("--keep", type=Path, help="folder for files that break a rule")
    parser.add_argument(
        "--here", action="store_true", help="run in this process instead of one for each reader, which detects crashes"
    )
    options = parser.parse_args()
    chosen = [reader for reader in READERS if not options.readers or reader.name in options.readers]
    unknown = set(options.readers) - {reader.name for reader in READERS}
    if unknown:
        parser.error(
            f"no reader {', '.join(sorted(unknown))}; there are {', '.join(reader.name for reader in READERS)}"
        )
    failures = 0
    if not options.here:
        for reader in chosen:
            arguments = [reader.name, "--here", "--n", str(options.n), "--seed", str(options.seed)]
            arguments += ["--keep", str(options.keep)] if options.keep else []
            status = subprocess.run(
                [sys.executable, "-X", "faulthandler", __file__, *arguments], check=False
            ).returncode
            if status < 0:
                print(f"{reader.name}: crashed, {signal.Signals(-status).name}")
            failures += status != 0
        return min(1, failures + (sanitized_lz4(options.n, options.seed) != 0 if not options.readers else 0))
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    watch()
    warnings.simplefilter("error")
    for reader in chosen:
        begin, numbers = time.monotonic(), range(options.seed, options.seed + options.n)
        with tempfile.TemporaryDirectory() as folder:
            outcomes, broken = fuzz(reader, numbers, Path(folder), options.keep, sys.platform == "linux")
        print(*broken[:20], sep="\n", end="\n" if broken else "")
        print(
            f"{reader.name}: {options.n} files: {outcomes['refused']} refused, {outcomes['opened']} opened, "
            f"{len(broken)} broke a rule ({time.monotonic() - begin:.0f} s)",
            flush=True,
        )
        failures += bool(broken)
    return min(1, failures)


if __name__ == "__main__":
    sys.exit(main())
