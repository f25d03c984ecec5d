"""The package `simd`: selection of the backend, threads, and errors, which are the same on every backend."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import cases
from whisper_apr import simd
from whisper_apr.errors import BackendError
from whisper_apr.simd import dispatch


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


def test_the_extension_is_built():
    assert "scalar" in simd.backends()
    assert simd.backends()[0] == "numpy"


@pytest.mark.system
def test_the_best_backend_is_selected_unless_the_environment_overrides_it():
    code = "from whisper_apr import simd; print(simd.backend())"
    assert run_python(code, WHISPER_APR_BACKEND="").stdout.strip() == simd.backends()[-1]
    assert run_python(code, WHISPER_APR_BACKEND="scalar").stdout.strip() == "scalar"
    for name in {"altivec", "neon", "avx2", "wasm128relaxed"} - set(simd.backends()):
        wrong = run_python(code, WHISPER_APR_BACKEND=name)
        assert wrong.returncode != 0
        assert f"BackendError: backend '{name}' is not available" in wrong.stderr
        assert "scalar" in wrong.stderr


def test_kernels_for_relaxed_simd_are_left_out_if_they_cannot_be_loaded(tmp_path, monkeypatch):
    file = tmp_path / "_kernels_relaxed.wasm"
    file.write_bytes(b"not for this engine")
    monkeypatch.setattr(dispatch, "_RELAXED_FILE", file)
    assert dispatch._import_kernels(dispatch.RELAXED) is dispatch.kernels


def test_use_backend_takes_effect_immediately_and_is_restored():
    before = simd.backend()
    with simd.use_backend("scalar"):
        assert simd.backend() == "scalar"
        with simd.use_backend("numpy"):
            assert simd.backend() == "numpy"
        assert simd.backend() == "scalar"
    assert simd.backend() == before
    with pytest.raises(BackendError, match="altivec"):
        simd.use_backend("altivec")
    assert simd.backend() == before


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's threads")
def test_importing_starts_no_thread():
    code = (
        "import os; n = len(os.listdir('/proc/self/task'));"  # an emulator may run an additional thread
        "from whisper_apr import simd; print(len(os.listdir('/proc/self/task')) - n)"
    )
    assert run_python(code, OPENBLAS_NUM_THREADS="1").stdout.strip() == "0"


@pytest.fixture
def threads():
    before = simd.get_num_threads()
    yield simd.set_num_threads
    simd.set_num_threads(before)


@pytest.mark.system
def test_no_result_depends_on_the_number_of_threads(compiled_backend, threads):
    x, w, bias = cases.normal(1, 100, 96), simd.pack(cases.normal(2, 300, 96)), cases.normal(3, 300)
    q = cases.normal(4, 1, 3, 70, 16)
    results = []
    for n in (1, 2, 3, 7):
        threads(n)
        assert simd.get_num_threads() == n
        results.append(
            (
                simd.linear(x, w, bias, gelu=True),
                simd.linear(x[:1], w, bias),
                simd.attention(q, q, q),
                simd.softmax(x),
                simd.layer_norm(np.tile(x, (9, 1)), bias[:96], bias[:96]),
            )
        )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="at least 1"):
        threads(0)


@pytest.mark.system
def test_calls_from_several_threads_agree(threads):
    threads(2)
    x, w = cases.normal(1, 64, 128), simd.pack(cases.normal(2, 256, 128))
    expected = simd.linear(x, w)
    wrong = []

    def work():
        for _ in range(50):
            if not np.array_equal(simd.linear(x, w), expected):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.system
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_the_thread_pool_is_recreated_after_fork():
    code = """
import os, warnings
import numpy as np
from whisper_apr import simd
warnings.simplefilter("ignore")
simd.set_num_threads(2)
x, w = np.ones((200, 64), np.float32), simd.pack(np.ones((200, 64), np.float32))
assert (simd.linear(x, w) == 64).all()
child = os.fork()
if child == 0:
    for _ in range(20):
        assert (simd.linear(x, w) == 64).all()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert (simd.linear(x, w) == 64).all()
print("ok")
"""
    result = run_python(code)
    assert result.stdout == "ok\n", result.stderr


def test_every_backend_raises_the_same_errors(backend):
    w = simd.pack(np.zeros((4, 3), np.float32))
    x = np.zeros((2, 3), np.float32)
    pages = simd.new_kv_cache(2, 1, 16)
    table = np.zeros((1, 2), np.int32)
    one = np.zeros((1, 1, 16), np.float32)
    invalid = [
        lambda: simd.linear(np.zeros((2, 4), np.float32), w),
        lambda: simd.linear(x, w, np.zeros(3, np.float32)),
        lambda: simd.linear(x, w, residual=np.zeros((2, 3), np.float32)),
        lambda: simd.matmul(x, x),
        lambda: simd.matmul(x[0], x),
        lambda: simd.matvec(x, np.zeros(2)),
        lambda: simd.dot(x[0], np.zeros(2)),
        lambda: simd.argmax(np.zeros((2, 0))),
        lambda: simd.layer_norm(x, np.zeros(2, np.float32), np.zeros(3, np.float32)),
        lambda: simd.attention(np.zeros((1, 1, 2, 4)), np.zeros((1, 1, 0, 4)), np.zeros((1, 1, 0, 4))),
        lambda: simd.attention(np.zeros((1, 1, 2, 4)), np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 4))),
        lambda: simd.attention(np.zeros((1, 1, 3, 4)), np.zeros((1, 1, 2, 4)), np.zeros((1, 1, 2, 4)), causal=True),
        lambda: simd.store_pages(one, one, table, np.full(1, 33, np.int32), pages),
        lambda: simd.store_pages(one, one, table + 2, np.ones(1, np.int32), pages),
        lambda: simd.store_pages(one, one, table, np.zeros(1, np.int32), pages),
        lambda: simd.store_pages(one, one, table, np.ones(1, np.int32), pages, np.full(1, 2, np.int32)),
        lambda: simd.paged_attention(one, pages, table - 1, np.ones(1, np.int32)),
        lambda: simd.paged_attention(one, pages, table, np.zeros(1, np.int32)),
        lambda: simd.paged_attention(one, pages, table, np.full(1, 33, np.int32)),
        lambda: simd.paged_attention(np.zeros((1, 1, 17), np.float32), pages, table, np.ones(1, np.int32)),
        lambda: simd.power_spectrum(np.zeros(10), np.zeros(16, np.float32), 4),
        lambda: simd.mel_project(np.zeros((3, 2)), np.zeros((2, 4), np.float32)),
        lambda: simd.polyphase(np.zeros(18), simd.FilterBank.from_filters(np.zeros((2, 12), np.float32), 1), 1),
    ]
    for call in invalid:
        with pytest.raises(ValueError):
            call()
    with pytest.raises(TypeError):
        simd.softmax(np.array(["a"]))
    with pytest.raises(TypeError):
        simd.gelu(np.zeros(3, np.complex64))


def test_peak_and_bandwidth_loops(backend):
    simd.read_all(np.ones(40_000, np.float32), times=2)
    if backend == "numpy":
        with pytest.raises(BackendError, match="no peak"):
            simd.run_peak(1)
        return
    for kind in ("int8", "bfloat16"):
        assert 0 < simd.run_peak(1) <= simd.run_peak(1, kind)  # a vector holds at least as many of these as floats
    assert simd.run_peak(3) == 3 * simd.run_peak(1)


def test_out_receives_the_result(backend):
    """`out` gets the same numbers as a new array; unsuitable and overlapping arrays raise ValueError."""
    x = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    weight, ones = simd.pack(x), np.ones(32, np.float32)
    q = x.reshape(1, 5, 2, 16).transpose(0, 2, 1, 3)
    calls = [
        (lambda out: simd.linear(x, weight, out=out), (5, 5)),
        (lambda out: simd.layer_norm(x, ones, ones, out=out), (5, 32)),
        (lambda out: simd.attention(q, q, q, out=out), (1, 5, 2, 16)),
    ]
    for call, shape in calls:
        out = np.full(shape, np.nan, np.float32)
        found = call(out)
        assert np.shares_memory(found, out)
        np.testing.assert_array_equal(found, call(None))
        for wrong in (out[..., :-1], out.astype(np.float64), out[..., ::-1], out.T):
            with pytest.raises(ValueError, match="out must be C-contiguous"):
                call(wrong)
    with pytest.raises(ValueError, match="overlap"):
        simd.layer_norm(x, ones, ones, out=x)
    with pytest.raises(ValueError, match="overlap"):
        simd.attention(q, q, q, out=x.reshape(1, 5, 2, 16))
    with pytest.raises(ValueError, match="overlap"):
        simd.linear(x, simd.pack(np.eye(32, dtype=np.float32)), residual=(y := np.ones_like(x)), out=y)
