"""The arithmetic of benchmarks/compare.py and benchmarks/alternating.py; no time is checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not there", allow_module_level=True)
sys.path.append(str(BENCHMARKS))

import alternating  # noqa: E402
import compare  # noqa: E402
from alternating import Ratio  # noqa: E402


class FakeWorker:
    """Answers requests with a time that each case is given, and records the order of all requests."""

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, seconds, log

    def ask(self, i):
        self.log.append((self.name, i))
        return {"seconds": self.seconds[i]} if i in self.seconds else {"error": "missing"}


def test_ratio_divides_round_by_round():
    ratio = Ratio.of([2.0, 3.0, 1.0], [1.0, 2.0, 2.0])
    assert (ratio.median, ratio.lowest, ratio.highest) == (1.5, 0.5, 2.0)
    with pytest.raises(ValueError, match="longer"):
        Ratio.of([1.0], [1.0, 2.0])


def test_odd_rounds_run_in_reverse():
    order = []
    functions = [lambda i=i: order.append(i) or float(i) for i in range(3)]
    assert alternating.in_turn(functions, 0) == [0.0, 1.0, 2.0]
    assert alternating.in_turn(functions, 1) == [0.0, 1.0, 2.0]
    assert order == [0, 1, 2, 2, 1, 0]


def test_measure_alternates_and_appends():
    log = []
    workers = [FakeWorker("base", {7: 1.0, 8: 2.0}, log), FakeWorker("head", {7: 1.5, 8: 2.0}, log)]
    measured = {}
    compare.measure(workers, {7: "seven", 8: "eight"}, 2, measured)
    compare.measure(workers, {7: "seven"}, 1, measured)
    assert measured == {"seven": ([1.0] * 3, [1.5] * 3), "eight": ([2.0] * 2, [2.0] * 2)}
    assert [name for name, _ in log] == ["base", "head"] * 2 + ["head", "base"] * 2 + ["base", "head"]
    assert compare.summarize(measured) == {"seven": Ratio(1.5, 1.5, 1.5), "eight": Ratio(1.0, 1.0, 1.0)}


def test_cases_that_one_tree_lacks_are_errors():
    workers = [FakeWorker("base", {1: 1.0}, []), FakeWorker("head", {1: 1.0, 2: 1.0}, [])]
    assert compare.find_errors(workers, {1: "one", 2: "two"}) == {"two": "BASE: missing"}


def test_a_group_counts_the_median_of_its_cases():
    ratios = {name: Ratio(x, x, x) for name, x in (("a", 1.0), ("b", 1.5), ("c", 1.2), ("d", 0.5))}
    groups = compare.group_ratios(ratios, {"a": "x", "b": "x", "c": "x", "d": "y"})
    assert groups == {"x": 1.2, "y": 0.5}


@pytest.mark.parametrize(
    ("groups", "status"), [({"x": 1.0, "y": 1.1}, 0), ({"x": 1.0, "y": 1.101}, 1), ({"x": 0.2}, 0), ({}, 2)]
)
def test_the_exit_status_tells_a_regression(groups, status):
    assert compare.exit_status(groups, 1.10) == status


def test_the_report_names_what_is_slower_and_what_was_skipped():
    measured = {"a": ([0.001, 0.002, 0.003], [0.002, 0.004, 0.009])}
    text = compare.report(measured, compare.summarize(measured), {"x": 2.0, "y": 1.0}, {"b": "HEAD: gone"}, 1.10)
    lines = text.splitlines()
    assert lines[1].split() == ["a", "2", "4", "2.000", "2.000", "-", "3.000"]
    assert lines[4].split() == ["x", "2.000", "SLOWER", "than", "1.1"]
    assert lines[5].split() == ["y", "1.000"]
    assert lines[6] == "skipped b: HEAD: gone"


def test_case_names_are_unique_and_every_group_is_short_enough_for_the_table():
    labels = [f"{case.group}: {case.name}" for case in compare.cases()]
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= 50


def test_the_fastest_call_counts():
    ticks = iter([0.0, 3.0, 3.0, 4.0, 4.0, 6.0])
    calls = []
    assert compare.fastest(lambda: calls.append(1), 5.0, lambda: next(ticks)) == 1.0
    assert len(calls) == 4  # one is not counted


def test_a_tree_is_recognized_by_its_package(tmp_path):
    with pytest.raises(SystemExit, match="does not contain"):
        alternating.source_of(tmp_path)
    package = tmp_path / "src" / "whisper_apr" / "_simd"
    package.mkdir(parents=True)
    with pytest.raises(SystemExit, match="no compiled extension"):
        alternating.source_of(tmp_path)
    (package / "_kernels.abi3.so").touch()
    assert alternating.source_of(tmp_path) == alternating.source_of(tmp_path / "src") == (tmp_path / "src").resolve()


@pytest.mark.system
def test_a_tree_compared_with_itself(tmp_path):
    """The processes start, answer and end; whichever ratio this machine gives."""
    import whisper_apr

    source = Path(whisper_apr.__file__).parent.parent
    if not list((source / "whisper_apr" / "_simd").glob("_kernels.*[od]")):
        pytest.skip("the extension is not built in place")
    file = tmp_path / "ratios.json"
    command = [sys.executable, str(BENCHMARKS / "compare.py"), source, source, "--rounds", "3", "--seconds", "0.001"]
    command += ["--threshold", "1000", "--groups", "rows of logits", "--json", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text())
    assert content["groups"].keys() == {"rows of logits"}
    assert not content["errors"]
    assert {len(times) for pair in content["seconds"].values() for times in pair} == {3}
    assert subprocess.run([*command, "--rounds", "2"], capture_output=True, check=False).returncode == 2
