"""A Ray cluster of several nodes on this machine."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

TESTS = str(Path(__file__).parents[1])


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster whose head has no CPUs for workers; tests add nodes."""
    # actors import the tests' modules
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([TESTS, *filter(None, sys.path)]))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
