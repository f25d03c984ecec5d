"""The memory of the server: what a request used is free as soon as it has ended, however it ended."""

import asyncio
import gc
import logging
import os
import platform
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

from recordings import join, silence, speech
from whisper_apr.inference.generation import ContinuousBatch
from whisper_apr.inference.spectrogram import Spectrogram
from whisper_apr.model.decoder_cache import CacheStorage
from whisper_apr.model.encoder import EncoderWorkspace
from whisper_apr.server.jobs import Job, JobCancelled
from whisper_apr.server.live_audio import LiveEngine
from whisper_apr.server.memory import VARIABLES, limit_unused_memory
from whisper_apr.server.metrics import Metrics
from whisper_apr.server.scheduler import Scheduler

pytestmark = [pytest.mark.usefixtures("encoded_once"), pytest.mark.system]

GREEDY = {"temperature": 0.0}
LONG = join(speech("en"), silence(170), speech("de"))  # read a second time while it is decoded


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Counter[str]]]:
    """A function that counts the large objects which exist, by their classes. The garbage collector does not run."""
    made: WeakSet[Any] = WeakSet()

    def counted(kind: type) -> Callable[..., None]:
        init = kind.__init__

        def count(self: Any, *arguments: Any, **settings: Any) -> None:
            made.add(self)
            init(self, *arguments, **settings)

        return count

    for kind in (CacheStorage, EncoderWorkspace, Spectrogram, ContinuousBatch):
        monkeypatch.setattr(kind, "__init__", counted(kind))
    gc.collect()
    gc.disable()
    try:
        yield lambda: Counter(type(each).__name__ for each in made)
    finally:
        gc.enable()


@pytest.fixture
def scheduler(model: Any, alive: object) -> Iterator[Scheduler]:
    made = Scheduler(model, 4, Metrics())
    made.start()
    yield made
    made.stop()


async def until_nothing_is_left(alive: Callable[[], Counter[str]]) -> None:
    """Wait until the threads have done with what they worked on."""
    for _ in range(500):
        if not alive():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"these are left: {alive()}")


@pytest.fixture
def is_decoding(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when a window is decoded, which then goes on until it is cancelled."""
    decoding, step = threading.Event(), ContinuousBatch.step

    def endless(self: ContinuousBatch[Any]) -> Any:
        if not len(self):
            return step(self)
        decoding.set()
        self._check_cancelled()
        return []

    monkeypatch.setattr(ContinuousBatch, "step", endless)
    return decoding


async def end_of(job: Job) -> BaseException | None:
    """Return the exception that a job ends with, without its traceback, or None."""
    try:
        async for _ in job.events():
            pass
    except Exception as error:
        return error.with_traceback(None)
    return None


def test_nothing_is_left_of_finished_recordings(scheduler: Scheduler, alive: Callable[[], Counter[str]]) -> None:
    async def run() -> None:
        jobs = [Job(audio, GREEDY) for audio in (speech("en"), LONG, b"no sound")]
        for job in jobs:
            scheduler.submit(job)
        assert [type(await end_of(job)).__name__ for job in jobs] == ["NoneType", "NoneType", "AudioError"]
        await until_nothing_is_left(alive)

    asyncio.run(run())


def test_nothing_is_left_of_cancelled_recordings(
    scheduler: Scheduler, alive: Callable[[], Counter[str]], is_decoding: threading.Event
) -> None:
    async def run() -> None:
        jobs = [Job(audio, GREEDY) for audio in (speech("en"), LONG, speech("de"))]
        for job in jobs:
            scheduler.submit(job)
        await asyncio.to_thread(is_decoding.wait)
        assert alive()["CacheStorage"]
        for job in jobs:
            job.cancel()  # nobody reads their last events, which hold an exception
        await until_nothing_is_left(alive)

    asyncio.run(run())


def test_nothing_is_left_of_a_batch_that_failed(
    scheduler: Scheduler, alive: Callable[[], Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: ContinuousBatch[Any]) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(ContinuousBatch, "step", failing)
    monkeypatch.setattr(logging.getLogger("whisper_apr.server.scheduler"), "disabled", True)  # pytest keeps tracebacks

    async def run() -> None:
        jobs = [Job(speech(language), GREEDY) for language in ("en", "de")]
        for job in jobs:
            scheduler.submit(job)
        errors = [await end_of(job) for job in jobs]
        assert all(isinstance(error, ZeroDivisionError) for error in errors)
        await until_nothing_is_left(alive)

    asyncio.run(run())


def test_nothing_is_left_of_a_live_session_that_broke_off(
    model: Any, alive: Callable[[], Counter[str]], is_decoding: threading.Event
) -> None:
    engine = LiveEngine(model, 1, Metrics())
    samples = (32767 * speech("en")).astype("<i2").tobytes()

    async def run() -> None:
        with engine.session() as streams:
            pushed = asyncio.create_task(streams.open().push(samples, "s16le", 16_000))
            await asyncio.to_thread(is_decoding.wait)
            streams.is_cancelled = True
            with pytest.raises(JobCancelled):
                await pushed
            del pushed
        await until_nothing_is_left(alive)

    asyncio.run(run())
    engine.stop()


# ---- the C library ------------------------------------------------------------------------------------------------

ALLOCATE = """
import ctypes, re, sys, threading
from whisper_apr.server.memory import limit_unused_memory

limited = limit_unused_memory() if "limit" in sys.argv else None
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p

def large():
    at = ctypes.c_void_p(libc.malloc(8 << 20))
    is_from_system = ctypes.c_size_t.from_address(at.value - 8).value & 2  # IS_MMAPPED of glibc's malloc.c
    libc.free(at)
    return bool(is_from_system)

def small():
    started.wait()
    libc.free(ctypes.c_void_p(libc.malloc(1000)))
    ended.wait()

started, ended = threading.Barrier(5), threading.Barrier(5)
threads = [threading.Thread(target=small) for _ in range(4)]
for thread in threads:
    thread.start()
started.wait()
ended.wait()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
n_arena = open(sys.argv[1]).read().count("<heap ")
print(limited, large(), large(), n_arena > 1)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_free_memory_is_not_kept(tmp_path: Path) -> None:
    """All threads have one arena, and large blocks come from the system, also after one was freed."""

    def run(*arguments: str, **variables: str) -> str:
        clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        line = [sys.executable, "-c", ALLOCATE, str(tmp_path / "info"), *arguments]
        environment = clean | {"PYTHONPATH": os.pathsep.join(sys.path)} | variables
        return subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert run("limit") == "True True True False"
    assert run() == "None True False True"  # otherwise the test above shows nothing
    assert run("limit", MALLOC_ARENA_MAX="8") == "False True False True"


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert limit_unused_memory() is False
