"""The thread pool at exit, after fork, when idle, and with Python threads and subinterpreters."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import cases
from whisper_apr import simd

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")

PRELUDE = """
import os, sys, threading, warnings
import numpy as np
from whisper_apr import simd
warnings.simplefilter("ignore")
simd.set_num_threads(3)
x, w = np.ones((300, 64), np.float32), simd.pack(np.ones((300, 64), np.float32))
def product():
    assert (simd.linear(x, w) == 64).all()
product()
"""


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return result.stdout


def test_exit_with_a_pool():
    assert run("print('done')") == "done\n"


def test_exit_while_a_daemon_thread_computes():
    code = """
def forever():
    while True:
        product()
threading.Thread(target=forever, daemon=True).start()
for _ in range(20):
    product()
print("done", flush=True)
"""
    assert run(code) == "done\n"


@linux
def test_idle_threads_sleep():
    """No thread of the process runs or is runnable while nothing is computed."""
    code = """
import time
def states():
    own = str(threading.get_native_id())
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/stat") as file:
            found += [file.read().rsplit(")", 1)[1].split()[0]] if task != own else []
    return found
deadline = time.monotonic() + 30
while set(states()) != {"S"} and time.monotonic() < deadline:
    time.sleep(0.01)
print(len(states()) >= 2, set(states()))
product()
"""
    assert run(code) == "True {'S'}\n"


@forks
def test_fork_while_another_thread_computes():
    """In the child, the pool's lock may be held by a thread that does not exist there."""
    code = """
stop = threading.Event()
def work():
    while not stop.is_set():
        product()
worker = threading.Thread(target=work, daemon=True)
worker.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        product()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
worker.join()
product()
print("done")
"""
    assert run(code) == "done\n"


@forks
def test_fork_of_a_forked_child():
    code = """
if os.fork() == 0:
    product()
    if os.fork() == 0:
        product()
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
assert os.wait()[1] == 0
print("done")
"""
    assert run(code) == "done\n"


def test_the_number_of_threads_can_change_during_calls():
    before = simd.get_num_threads()
    x, w = cases.normal(1, 64, 96), simd.pack(cases.normal(2, 200, 96))
    q = cases.normal(3, 1, 4, 70, 16)
    expected = simd.linear(x, w), simd.attention(q, q, q)
    stop, wrong = threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            for a, b in zip((simd.linear(x, w), simd.attention(q, q, q)), expected, strict=True):
                if not np.array_equal(a, b):
                    wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for i in range(40):
            simd.set_num_threads(1 + i % 5)
            time.sleep(0.002)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
        simd.set_num_threads(before)
    assert not wrong


def test_graphs_of_several_threads_do_not_mix():
    """A graph captures only the calls of the thread that opened it."""
    norm, bias = np.ones(32, np.float32), np.zeros(32, np.float32)
    started, captured = threading.Event(), threading.Event()

    def other() -> None:
        started.wait()
        for _ in range(50):
            simd.layer_norm(cases.normal(5, 3, 32), norm, bias)
        captured.set()

    thread = threading.Thread(target=other)
    thread.start()
    x = cases.normal(1, 2, 32)
    graph, second = simd.Graph(), simd.Graph()
    with graph:
        started.set()
        assert captured.wait(30)
        y = simd.layer_norm(x, norm, bias)
        with second:  # only one graph captures at a time
            simd.layer_norm(x, norm, bias)
    thread.join()
    assert graph.usable == (simd.backend() != "numpy")
    assert not second.usable
    if graph.usable:
        x[...] = cases.normal(2, 2, 32)
        graph.replay()
        np.testing.assert_array_equal(y, simd.layer_norm(x, norm, bias))


def test_subinterpreters_are_refused():
    """Importing in a second interpreter raises ImportError or BackendError; the first interpreter still works."""
    import whisper_apr

    source = str(Path(whisper_apr.__file__).parents[1])
    code = f"""
second = '''
import sys
sys.path.insert(0, {source!r})
try:
    from whisper_apr import simd
except Exception as error:
    assert isinstance(error, ImportError) or type(error).__name__ == "BackendError", error
    with open({{file!r}}, "w") as file:
        file.write("refused")
'''
try:
    import _interpreters
    def run(code):
        error = _interpreters.exec(_interpreters.create("legacy"), code)
        assert error is None, error
except ImportError:
    import _xxsubinterpreters
    def run(code):
        _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=False), code)
import tempfile
with tempfile.TemporaryDirectory() as folder:
    name = os.path.join(folder, "answer")
    run(second.format(file=name))
    print(open(name).read())
product()
"""
    assert run(code.replace("print(open(name).read())", "with open(name) as file: print(file.read())")) == "refused\n"


def test_the_extension_itself_refuses_a_subinterpreter():
    """Also if it is loaded from its file, without NumPy."""
    from whisper_apr._simd import _kernels

    code = f"""
second = '''
import importlib.machinery, importlib.util
loader = importlib.machinery.ExtensionFileLoader("whisper_apr._simd._kernels", {_kernels.__file__!r})
spec = importlib.util.spec_from_loader("whisper_apr._simd._kernels", loader)
try:
    loader.exec_module(importlib.util.module_from_spec(spec))
except ImportError:
    pass
else:
    raise AssertionError("loaded a second time")
'''
try:
    import _interpreters
    error = _interpreters.exec(_interpreters.create("legacy"), second)
    assert error is None, error
except ImportError:
    import _xxsubinterpreters
    _xxsubinterpreters.run_string(_xxsubinterpreters.create(isolated=False), second)
product()
print("done")
"""
    assert run(code) == "done\n"
