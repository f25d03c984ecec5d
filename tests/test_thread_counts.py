"""Results of the kernels on one and on several threads are equal, bit for bit, for odd sizes.

wheels/wasm.sh runs these tests with threads of the page's kind, and then sets WHISPER_APR_THREADS to their number.
"""

import os

import numpy as np
import pytest

import cases
from whisper_apr import simd

THREADS = int(os.environ.get("WHISPER_APR_THREADS", "3"))
PACK = {
    "float32": lambda w: simd.pack(w),
    "float16": lambda w: simd.pack(w.astype(np.float16)),
    "int8": lambda w: simd.pack(simd.quantize_int8(w)),
    "int4": lambda w: simd.pack(simd.quantize_int4(w)),
}
PRODUCTS = (*(shape for shape in cases.PRODUCTS if min(shape)), (333, 160, 517), (1499, 97, 67), (1, 517, 3001))
SHAPES = ((1, 1), (7, 3001), (1003, 17), (331, 129), (2, 40001))


@pytest.fixture
def both():
    """A function that returns a call's results on one thread and on THREADS threads."""
    before = simd.get_num_threads()

    def run(call):
        results = []
        for n in (1, THREADS):
            simd.set_num_threads(n)
            assert simd.get_num_threads() == n or "WHISPER_APR_THREADS" not in os.environ
            results.append(call())
        return results

    yield run
    simd.set_num_threads(before)


def assert_equal(results):
    one, several = results
    np.testing.assert_array_equal(several, one)


@pytest.mark.parametrize("dtype", PACK)
def test_products(compiled_backend, both, dtype):
    for m, k, n in PRODUCTS:
        x, w, bias, residual = cases.normal(1, m, k), PACK[dtype](cases.normal(2, n, k)), cases.normal(3, n), None
        if m % 2:
            residual = cases.normal(4, m, n)
        assert_equal(both(lambda x=x, w=w, b=bias, r=residual: simd.linear(x, w, b, gelu=True, residual=r)))


def test_attention(compiled_backend, both):
    for batch, n_head, n_query, n_key, d_head in (*cases.ATTENTIONS, (1, 3, 301, 299, 64)):
        q, k = cases.normal(1, batch, n_head, n_query, d_head), cases.normal(2, batch, n_head, n_key, d_head)
        assert_equal(both(lambda q=q, k=k: simd.attention(q, k, k)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_paged_attention(compiled_backend, both, dtype):
    n_row, n_head, d_head, n = 3, 5, 64, 77
    pages = np.arange(n_row * 5, dtype=np.int32).reshape(n_row, 5)
    lengths = np.full(n_row, n, np.int32)
    k, q = cases.normal(1, n_row, n, n_head * d_head), cases.normal(2, n_row, 9, n_head * d_head)

    def attend():
        cache = simd.new_kv_cache(pages.size, n_head, d_head, dtype)
        simd.store_pages(k, k, pages, lengths, cache)
        return simd.paged_attention(q, cache, pages, lengths, causal=True)

    assert_equal(both(attend))


@pytest.mark.parametrize(
    "name", ["gelu", "softmax", "log_softmax", "logsumexp", "argmax", "layer_norm", "top_k", "median_filter"]
)
def test_rows(compiled_backend, both, name):
    for n_row, n in SHAPES:
        x = cases.normal(1, n_row, n)
        more = {"layer_norm": (x[0], x[0]), "top_k": (1,), "median_filter": (7,)}.get(name, ())
        assert_equal(both(lambda x=x, more=more: getattr(simd, name)(x, *more)))


def test_spectrogram(compiled_backend, both):
    audio, window, filters = cases.normal(1, 16001), cases.normal(2, 400), np.abs(cases.normal(3, 80, 201))
    assert_equal(both(lambda: simd.mel_project(simd.power_spectrum(audio, window, 160), filters)))


def test_many_calls_in_turn(compiled_backend, both):
    """Threads that sleep and wake between short jobs do each task once."""
    x, w = cases.normal(1, 24, 160), simd.pack(cases.normal(2, 96, 160))
    for _ in range(300):
        assert_equal(both(lambda: simd.linear(x, w)))
