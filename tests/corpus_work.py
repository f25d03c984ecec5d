"""Work for tests of the engines, without a model: what a task does is said by the recording's id.

`poison...` ends the worker at every attempt, `once...` at the first one. `slow...` takes minutes at the first attempt,
and `stuck...` at every one. `broken...` fails for good, `busy...` fails each time, and `long...` is divided into three
parts.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from whisper_apr.corpus.items import Item
from whisper_apr.corpus.run import Run
from whisper_apr.corpus.shards import Record, ShardWriter, read_shard, shard_paths
from whisper_apr.corpus.tasks import Divided, Done, Engine, Failed, Outcome, Task
from whisper_apr.corpus.work import divide
from whisper_apr.errors import OptionError


@dataclass(frozen=True)
class Scripted:
    """Makes the work; see `tasks.MakeWork`.

    log: A file to which the id of each task is added when it is begun.
    start: "die" or "refuse": what happens when the worker starts.
    """

    log: str
    start: str = ""

    def __call__(self, check_cancelled: Callable[[], object]) -> Callable[[Task], Outcome]:
        if self.start == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.start == "refuse":
            raise OptionError("this model knows English only")
        return self.work

    def work(self, task: Task) -> Outcome:
        name = task.item.id
        with open(self.log, "a") as file:
            file.write(f"{name}\n")
        if name.startswith("poison") or (name.startswith("once") and task.attempt == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("stuck") or (name.startswith("slow") and task.attempt == 1):
            time.sleep(600)
        if name.startswith("broken"):
            return Failed("damaged", is_final=True)
        if name.startswith("busy"):
            return Failed("no connection")
        if name.startswith("long") and task.part is None:
            return Divided(divide(300.0, 100, "en"), 3.0, "en", 0.5)
        text = f" {name}" if task.part is None else f" {task.part.number}"
        segment = {"id": 0, "start": 0.0, "end": 1.0, "text": text, "tokens": [1, 2], "avg_logprob": -0.5}
        return Done(text, [segment], 3.0, "en", 0.5, seconds=0.1)


def items(*names: str) -> list[Item]:
    return [Item(name, f"{name}.wav") for name in names]


def run(engine: Engine, folder: Path, recordings: Iterable[Item], **settings: object) -> Run:
    """Run an engine over recordings and end it; the records are in the folder, five to a shard."""
    made = Run(engine, ShardWriter(folder, "jsonl", 5, 600), **{"retries": 2, "done": set()} | settings)
    try:
        made.run(recordings)
    finally:
        engine.close()
    return made


def records(folder: Path) -> list[Record]:
    """Return the records of a folder, ordered by their ids."""
    return sorted((each for path in shard_paths(folder) for each in read_shard(path)), key=lambda each: each["id"])
