"""The engine for a Ray cluster: an actor for each worker, which is replaced if it, or its node, ends.

An actor asks for CPUs. Those that the cluster cannot place yet are pending, which is what makes Ray's autoscaler add
nodes; tasks go only to actors that have loaded the model, so that none waits for a node.
"""

import signal
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from math import floor
from time import perf_counter
from typing import Any

from ..errors import WhisperAprError
from .tasks import NO_LIMIT, Failed, MakeWork, Outcome, StartFailures, Task, TimeLimit, Work

CONNECTING = 30.0  # seconds that a cluster is given to accept a connection


class _Actor:
    """The worker in its actor's process."""

    def __init__(self, make: MakeWork) -> None:
        self._make = make
        self._work: Work | None = None

    def load(self) -> float | WhisperAprError:
        """Load the model, and return the seconds that it took, or the error."""
        started = perf_counter()
        try:
            self._work = self._make(lambda: None)
        except WhisperAprError as error:
            return error
        return perf_counter() - started

    def run(self, task: Task) -> Outcome:
        """Do a task."""
        assert self._work is not None, "tasks are sent to actors that have loaded the model"
        return self._work(task)


@dataclass
class _Running:
    """A task that an actor works on.

    Attributes:
        actor: The actor.
        task: The task.
        started: When it was sent to the actor, by `perf_counter`.
        is_late: The actor was ended because of the time limit.
    """

    actor: Any
    task: Task
    started: float
    is_late: bool = False


class RayEngine:
    """Workers in actors of a Ray cluster. See `tasks.Engine`.

    Nodes need whisper_apr, and see the model, the recordings and tars under the same paths as the driver.
    """

    def __init__(
        self,
        make: MakeWork,
        n_worker: int | None,
        n_cpu: float,
        address: str | None,
        time_limit: TimeLimit = NO_LIMIT,
    ) -> None:
        """Connect to the cluster and ask for the actors.

        Args:
            make: Makes what does the work, in each actor.
            n_worker: Actors; None for as many as the cluster has room for now.
            n_cpu: CPUs that each actor asks for.
            address: Of the cluster; None for the one that RAY_ADDRESS names, or else one on this machine.
            time_limit: Of a task.

        Raises:
            WhisperAprError: Ray is missing, or the cluster cannot be reached.
        """
        try:
            self._ray = import_module("ray")
        except ImportError as error:
            raise WhisperAprError("--engine ray needs the extra ray: pip install 'whisper-apr[ray]'") from error
        ray = self._ray
        if not ray.is_initialized():
            before = signal.getsignal(signal.SIGTERM)
            try:
                if address is not None:
                    _check_address(address)
                ray.init(address=address, log_to_driver=False, logging_level="warning")
            except (OSError, RuntimeError, ValueError) as error:
                where = address or "RAY_ADDRESS"
                raise WhisperAprError(f"the Ray cluster at {where} cannot be reached: {error}") from error
            finally:
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGTERM, before)  # Ray's handler would end the process with another status
        # Ray does not restart actors or tasks: the driver counts the attempts, for both engines by the same rules
        self._class = ray.remote(_Actor).options(num_cpus=n_cpu, max_restarts=0, max_task_retries=0)
        self.n_worker = n_worker or max(1, floor(ray.cluster_resources().get("CPU", 1) / n_cpu))
        self.load_seconds: list[float] = []
        self._make = ray.put(make)
        self._time_limit = time_limit
        self._queue = deque[Task]()
        self._idle: list[Any] = []  # actors that have loaded the model
        self._starting: dict[Any, Any] = {}  # actors by the references to their seconds of loading
        self._running: dict[Any, _Running] = {}  # by the references to the outcomes
        self._failures = StartFailures()
        for _ in range(self.n_worker):
            self._start()

    def _start(self) -> None:
        actor = self._class.remote(self._make)
        self._starting[actor.load.remote()] = actor

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._queue.append(task)
        self._assign()

    def _assign(self) -> None:
        while self._queue and self._idle:
            actor, task = self._idle.pop(), self._queue.popleft()
            self._running[actor.run.remote(task)] = _Running(actor, task, perf_counter())

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Return the tasks that have ended. See `tasks.Engine`."""
        self._end_late()
        references = [*self._running, *self._starting]
        ready, _ = self._ray.wait(references, num_returns=1, timeout=seconds)
        if ready:  # and all others that have ended, too
            ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        ended = []
        for reference in ready:
            if reference in self._starting:
                self._started(reference, self._starting.pop(reference))
            else:
                running = self._running.pop(reference)
                ended.append((running.task, self._outcome(reference, running)))
        self._assign()
        return ended

    def _end_late(self) -> None:
        """End the actors whose task takes too long; `wait` then replaces them."""
        for running in self._running.values():
            if not running.is_late and self._time_limit.is_over(running.started, with_grace=True):
                running.is_late = True
                with suppress(self._ray.exceptions.RayError):
                    self._ray.kill(running.actor)

    def _started(self, reference: Any, actor: Any) -> None:
        """Take an actor that has loaded the model, or start another one in its place."""
        try:
            loaded = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._failures.add(_first_line(error))
            self._start()
            return
        if isinstance(loaded, WhisperAprError):
            raise loaded
        self.load_seconds.append(loaded)
        self._failures.reset()
        self._idle.append(actor)

    def _outcome(self, reference: Any, running: _Running) -> Outcome:
        """Return the outcome of a task; if its actor has ended, start another one in its place."""
        actor = running.actor
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # the actor goes on
            outcome = Failed(_first_line(error))
        except self._ray.exceptions.RayError as error:  # it, or its node, has ended
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)
            self._start()
            reason = self._time_limit.reason if running.is_late else f"the worker has ended: {_first_line(error)}"
            return Failed(reason, seconds=perf_counter() - running.started)
        if running.is_late:  # it was ended just when it was done
            self._start()
        else:
            self._idle.append(actor)
        return outcome

    def close(self) -> None:
        """End the actors. The connection to the cluster is left to the process."""
        actors = [*self._idle, *self._starting.values(), *(each.actor for each in self._running.values())]
        self._idle, self._starting, self._running = [], {}, {}
        for actor in actors:
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)


def _check_address(address: str) -> None:
    """Raise OSError if nobody listens at an address of the form host:port, for which Ray waits for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECTING).close()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
