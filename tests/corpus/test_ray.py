"""The engine for Ray: killed actors, a node that is lost, and nodes that come later."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from corpus_work import Scripted, items, records, run
from recordings import DATA
from whisper_apr.cli import main
from whisper_apr.corpus.ray_engine import RayEngine
from whisper_apr.corpus.tasks import TimeLimit
from whisper_apr.errors import OptionError, WhisperAprError

# Ray's own code: sockets and files that are closed by the garbage collector, and functions that become obsolete
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_killed_actors_and_a_lost_node(cluster: Cluster, tmp_path: Path) -> None:
    """Of three nodes one is removed in the middle: nothing is lost, and nothing is written twice."""
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    ray.init(address=cluster.address, log_to_driver=False)
    log, out = tmp_path / "log", tmp_path / "out"
    out.mkdir()
    engine = RayEngine(Scripted(str(log)), None, 1, None)
    assert engine.n_worker == 3
    # each is on a node of its own when all of these wait
    names = ["slow 1", "slow 2", "slow 3", *(f"a{i}" for i in range(20)), "poison", "once", "broken", "long"]

    def changes() -> Iterator[None]:
        while not log.exists() or log.read_text().count("slow") < 3:
            yield
        cluster.remove_node(nodes[0], allow_graceful=False)
        cluster.add_node(num_cpus=1)
        # the other two go on for minutes otherwise
        while log.read_text().count("slow") < 4:
            yield
        for node in nodes[1:]:
            cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=1)

    steps = changes()
    run(engine, out, items(*names), retries=2, on_tick=lambda: next(steps, None))
    found = {each["id"]: each for each in records(out)}
    assert len(records(out)) == len(found) == len(names)
    assert {name for name, each in found.items() if each["error"]} == {"poison", "broken"}
    assert found["poison"]["error"].startswith("the worker has ended: ")
    attempts = {name: found[name]["attempts"] for name in ("slow 1", "slow 2", "slow 3", "once", "poison", "broken")}
    assert attempts == {"slow 1": 2, "slow 2": 2, "slow 3": 2, "once": 2, "poison": 3, "broken": 1}
    assert found["long"]["text"] == " 0 1 2"


def test_an_actor_that_takes_too_long_is_ended(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    engine = RayEngine(Scripted(str(tmp_path / "log")), 2, 1, None, TimeLimit(2.0, grace=0.5))
    run(engine, tmp_path, items("a", "slow", "stuck", "b"), retries=1)
    found = {each["id"]: (each["attempts"], each["error"]) for each in records(tmp_path)}
    late = "it took a worker more than 2 s; see --time-limit"
    assert found == {"a": (1, None), "slow": (2, None), "stuck": (2, late), "b": (1, None)}


def test_pending_actors_wait_for_nodes(cluster: Cluster, tmp_path: Path) -> None:
    """Two actors of two CPUs: the first node has room for one, and the recordings do not wait for the second node."""
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    engine = RayEngine(Scripted(str(tmp_path / "log")), 2, 2, None)
    run(engine, tmp_path, items("a", "b"))
    assert [each["error"] for each in records(tmp_path)] == [None, None]
    assert len(engine.load_seconds) == 1


def test_actors_that_cannot_start_end_the_run(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    with pytest.raises(OptionError, match="English only"):
        run(RayEngine(Scripted(str(tmp_path / "log"), "refuse"), 1, 1, None), tmp_path, items("a"))
    with pytest.raises(WhisperAprError, match="3 workers in a row"):
        run(RayEngine(Scripted(str(tmp_path / "log"), "die"), 1, 1, None), tmp_path, items("a"))


def test_the_command(cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both engines have the same records, also of a recording that is divided."""
    cluster.add_node(num_cpus=2)
    line = ["corpus", "--model", "digits", "--beam-size", "None", "--split-hours", "0.005"]
    paths = [str(DATA / name) for name in ("en.wav", "de_then_fr.flac")]
    for engine in (["ray", "--address", cluster.address], ["local", "--workers", "1"]):
        assert main([*line, "--engine", *engine, "-o", str(tmp_path / engine[0]), *paths]) == 0
    assert "2 workers" in capsys.readouterr().out
    by_ray, local = ([each | {"seconds": 0} for each in records(tmp_path / engine)] for engine in ("ray", "local"))
    assert by_ray == local
    assert all(each["text"] for each in local)


def test_a_cluster_that_cannot_be_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["corpus", "--model", "digits", "-o", str(tmp_path), str(DATA / "en.wav"), "--engine", "ray"]
    assert main([*line, "--address", "127.0.0.1:9"]) == 1
    assert "the Ray cluster at 127.0.0.1:9 cannot be reached" in capsys.readouterr().err
