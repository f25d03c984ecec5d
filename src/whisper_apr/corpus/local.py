"""The engine for one machine: a process for each worker, which is replaced if it ends."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import perf_counter

from ..errors import WhisperAprError
from .tasks import NO_LIMIT, Failed, MakeWork, Outcome, StartFailures, Task, TimeLimit

ENDING = 10.0  # seconds that a process is given to end


class _Orphaned(BaseException):
    """The process that started this one has ended."""


def _serve(connection: Connection, make: MakeWork) -> None:
    """Do the tasks that come by a connection until it is closed. Runs in the worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C ends
    parent = os.getppid()

    def check_cancelled() -> None:
        if os.getppid() != parent:  # it was killed, and nobody wants the text
            raise _Orphaned

    started = perf_counter()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError, _Orphaned):
        try:
            work = make(check_cancelled)
        except WhisperAprError as error:
            connection.send(error)
            return
        connection.send(perf_counter() - started)
        while True:
            task = connection.recv()
            connection.send(work(task))


class _Worker:
    """A process, and what it does."""

    def __init__(self, make: MakeWork) -> None:
        # a new interpreter: threads and locks of the driver's are not in it
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, make), daemon=True)
        self.is_ready = False
        self.task: Task | None = None
        self.started = 0.0  # when it was given the task
        self.is_late = False  # it was ended because of the time limit
        with _ignored_interrupts():
            self.process.start()
        theirs.close()  # so that the end of the process closes the connection

    def reason(self) -> str:
        """Return why the process ended."""
        self.process.join(ENDING)
        code = self.process.exitcode
        if code is not None and code < 0:
            with suppress(ValueError):
                return f"the worker was ended by {signal.Signals(-code).name}"
        return f"the worker ended with status {code}"

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.kill()
        self.process.join(ENDING)


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Let a process that is started in the `with` block ignore Ctrl-C from its beginning."""
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class LocalEngine:
    """Workers in processes of this machine. They share the pages of a model that is mapped. See `tasks.Engine`."""

    def __init__(self, make: MakeWork, n_worker: int, time_limit: TimeLimit = NO_LIMIT) -> None:
        """Make an engine, whose processes are started as there are tasks for them.

        Args:
            make: Makes what does the work, in each process.
            n_worker: Processes at once.
            time_limit: Of a task.
        """
        self.n_worker = n_worker
        self.load_seconds: list[float] = []
        self._make = make
        self._time_limit = time_limit
        self._queue = deque[Task]()
        self._workers: list[_Worker] = []
        self._failures = StartFailures()

    @property
    def pids(self) -> list[int]:
        """The numbers of the processes."""
        return [worker.process.pid or 0 for worker in self._workers]

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queue.append(task)
        self._assign()

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Return the tasks that have ended. See `tasks.Engine`."""
        self._end_late()
        ended = []
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), seconds):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            task = worker.task
            try:
                received = connection.recv()
            except (EOFError, OSError):
                received = self._replace(worker)
            if isinstance(received, WhisperAprError):
                raise received
            if isinstance(received, float):
                worker.is_ready = True
                self.load_seconds.append(received)
                self._failures.reset()
            elif task is not None:
                worker.task = None
                ended.append((task, received))
        self._assign()
        return ended

    def _end_late(self) -> None:
        """End the workers whose task takes too long; `wait` then replaces them."""
        for worker in self._workers:
            if worker.task is not None and self._time_limit.is_over(worker.started, with_grace=True):
                worker.is_late = True
                worker.process.kill()

    def _replace(self, worker: _Worker) -> Failed | None:
        """Remove a worker that has ended, and return the outcome of its task."""
        self._workers.remove(worker)
        reason = worker.reason()
        worker.close()
        if not worker.is_ready:
            self._failures.add(reason)
            return None
        return Failed(self._time_limit.reason if worker.is_late else reason, seconds=perf_counter() - worker.started)

    def _assign(self) -> None:
        """Give tasks to idle workers, and start more of them if they do not suffice."""
        for worker in self._workers:
            if self._queue and worker.is_ready and worker.task is None and not worker.is_late:
                with suppress(BrokenPipeError, ConnectionResetError):  # `wait` finds out that it has ended
                    worker.connection.send(self._queue[0])
                    worker.task, worker.started = self._queue.popleft(), perf_counter()
        n_starting = sum(not worker.is_ready for worker in self._workers)
        while len(self._workers) < self.n_worker and n_starting < len(self._queue):
            self._workers.append(_Worker(self._make))
            n_starting += 1

    def close(self) -> None:
        """End the processes."""
        while self._workers:
            self._workers.pop().close()
