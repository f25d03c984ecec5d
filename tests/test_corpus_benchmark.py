"""The arithmetic of benchmarks/corpus.py; no time is checked."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "corpus.py"
if not SCRIPT.exists():
    pytest.skip("the benchmarks are not there", allow_module_level=True)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("corpus_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tasks_of_a_long_recording(benchmark: ModuleType) -> None:
    assert list(benchmark.tasks([100.0], None, 0.01)) == [(100.0, 1.0)]
    found = list(benchmark.tasks([100.0, 10.0], 50.0, 0.01))
    assert found == [(0.0, 1.0), (50.0, 1.5), (50.0, 2.0), (10.0, 0.1)]


def test_workers_take_the_next_task_when_they_are_free(benchmark: ModuleType) -> None:
    work = [(10.0, 1.0), (30.0, 0.0), (30.0, 0.0)]  # at twice real time: 6, 15 and 15 s
    assert benchmark.simulate(work, 1, 3.0, 2.0) == 3 + 6 + 15 + 15
    assert benchmark.simulate(work, 2, 3.0, 2.0) == 3 + 6 + 15
    assert benchmark.simulate(work, 9, 3.0, 2.0) == 3 + 15


def test_the_corpus_has_the_hours_that_are_asked_for(benchmark: ModuleType) -> None:
    found = benchmark.lengths(100)
    assert found == benchmark.lengths(100)
    assert 100 <= sum(found) / 3600 < 111
    assert max(found) == found[-1] == benchmark.LONG
