"""The arithmetic of benchmarks/instructions.py; nothing is counted here."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not there", allow_module_level=True)
sys.path.append(str(BENCHMARKS))

import instructions  # noqa: E402


def test_total_of_callgrind():
    assert instructions.read_total("version: 1\nevents: Ir\nsummary: 120\n\nfn=(1)\n") == 120
    assert instructions.read_total("fn=(1)\n0 120\n\ntotals: 121\n") == 121
    with pytest.raises(SystemExit, match="no total"):
        instructions.read_total("events: Ir\n")


def test_start_up_is_subtracted(monkeypatch):
    monkeypatch.setattr(instructions, "count", lambda source, backend, compute_type, n: 1000 + 7 * n)
    assert instructions.per_token(Path(), "avx2", "int8") == 7


def test_more_instructions_fail():
    text, status = instructions.report({"float32": (100, 102), "int8": (100, 104)}, 1.03)
    assert status == 1
    assert [line.endswith("MORE") for line in text.splitlines()] == [False, False, True]
    assert instructions.report({"int8": (100, 90)}, 1.03)[1] == 0
