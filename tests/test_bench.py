"""The arithmetic and the output of the benchmarks; no time is checked."""

import json

import numpy as np
import pytest

from whisper_apr.bench import limits, measure, pipeline
from whisper_apr.bench.models import DIMENSIONS


def test_operations_of_an_encoder():
    # GFLOP of linear layers and convolutions, and of attention, counted by hand
    for size, expected in {"tiny": (23.1, 13.8), "base": (59.7, 27.6), "small": (261, 82.9)}.items():
        assert np.allclose(np.array(limits.encoder_operations(DIMENSIONS[size])) / 1e9, expected, rtol=0.005)


def test_bytes_of_a_token():
    # in millions: weights, and keys and values
    for size, weights, cached in (("tiny", 28.2, 4.6), ("base", 48.6, 9.2), ("small", 138.9, 27.6)):
        for compute_type, each in limits.BYTES.items():
            expected = (weights * each + 2 * cached) * 1e6
            assert limits.token_bytes(DIMENSIONS[size], compute_type, 2) == pytest.approx(expected, rel=0.01)


def test_limits_are_positive():
    for kind in ("float32", "int8", "bfloat16"):
        assert limits.peak(kind, seconds=0.001) > 0
    assert limits.bandwidth(1e5, seconds=0.001) > 0


def test_speedups():
    results = [
        {"model": "a", "compute_type": "int8", "threads": n, "encoder": 10.0 / n, "token": 1.0} for n in (1, 2)
    ] + [{"model": "a", "compute_type": "int4", "threads": 2, "encoder": 1.0, "token": 1.0}]
    pipeline.speedups(results)
    assert [result["encoder speedup"] for result in results] == [None, 2.0, None]
    assert [result["token speedup"] for result in results] == [None, 1.0, None]


def test_json_is_written_atomically_with_the_date(tmp_path):
    file = tmp_path / "figures.json"
    measure.write_json(file, rows=[1])
    measure.write_json(file, rows=[2])
    data = json.loads(file.read_text())
    assert data["rows"] == [2]
    assert data["machine"] == measure.machine()
    assert len(data["date"]) == len("2026-01-01")
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(TypeError):
        measure.write_json(file, rows=object())
    assert json.loads(file.read_text()) == data


def test_table():
    text = measure.table(("name", "a"), [("x", 1.0), ("long name", 1234.5), ("y", None), ("z", 0.01234)])
    assert text.splitlines() == [
        "| name      | a      |",
        "| --------- | ------ |",
        "| x         | 1.00   |",
        "| long name | 1234   |",
        "| y         |        |",
        "| z         | 0.0123 |",
    ]
