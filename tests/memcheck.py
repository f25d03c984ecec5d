"""Call every kernel at sizes around the edges of its blocks, under valgrind: `python tests/memcheck.py SRC`.

The inputs are newly allocated with their exact size, so that valgrind detects reads beyond them; the results are
summed, so that it detects elements that were never written. sanitize.sh runs this script.
"""

import os
import sys

import numpy as np

sys.path.insert(0, sys.argv[1])

import cases
from whisper_apr import simd

LENGTHS = (1, 3, 5, 15, 17, 33)


def check_initialized(x: np.ndarray) -> None:
    """Read every element, so that valgrind reports one that was never written."""
    assert np.isfinite(np.sum(x, dtype=np.float64))


def products() -> None:
    for m, k, n in ((1, 1, 1), (1, 33, 17), (2, 65, 31), (3, 31, 15), (9, 64, 33), (17, 40, 50), (40, 70, 40)):
        x, w, bias = cases.normal(1, m, k), cases.normal(2, n, k), cases.normal(3, n)
        for plain in (w, w.astype(np.float16), simd.quantize_int8(w), simd.quantize_int4(w)):
            weight = simd.pack(plain)
            check_initialized(simd.linear(x, weight, bias, gelu=True, residual=cases.normal(4, m, n)))
            row = np.empty((1, k), np.float32)
            assert weight.embed(np.array([[n - 1]]), cases.normal(5, 1, k), np.zeros(1, np.int32), row)
            check_initialized(row)


def rows() -> None:
    for n in LENGTHS:
        x = cases.normal(1, 3, n)
        check_initialized(simd.softmax(x))
        check_initialized(simd.log_softmax(x))
        check_initialized(simd.argmax(x))
        check_initialized(simd.top_k(x, min(n, 5)))
        check_initialized(simd.gelu(x))
        check_initialized(simd.layer_norm(x, x[0].copy(), x[1].copy()))
        simd.dot(x[0], x[1])
    check_initialized(simd.lstm(cases.normal(2, 3, 5, 64), simd.pack(cases.normal(3, 64, 16))))


def attentions() -> None:
    for batch, n_head, n_query, n_key, d_head in (
        (1, 2, 1, 5, 8),
        (2, 1, 9, 17, 24),
        (1, 2, 37, 40, 16),
        (1, 1, 5, 130, 5),
        (1, 2, 7, 35, 64),
    ):
        q = cases.normal(1, batch, n_head, n_query, d_head)
        k = cases.normal(2, batch, n_head, n_key, d_head)
        check_initialized(simd.attention(q, k, k))
        check_initialized(simd.attention(q, k, k, causal=True))
        n_page = -(-n_key // simd.PAGE)
        pages = np.arange(batch * n_page, dtype=np.int32).reshape(batch, n_page)
        lengths = np.full(batch, n_key, np.int32)
        for dtype in (np.float32, np.float16, np.int8):
            cache = simd.new_kv_cache(batch * n_page, n_head, d_head, dtype)
            as_rows = np.ascontiguousarray(k.transpose(0, 2, 1, 3).reshape(batch, n_key, -1))
            simd.store_pages(as_rows, as_rows, pages, lengths, cache)
            wide = np.ascontiguousarray(q.transpose(0, 2, 1, 3).reshape(batch, n_query, -1))
            check_initialized(simd.paged_attention(wide, cache, pages, lengths, causal=True))


def signals() -> None:
    for n_fft, hop, n_frame in ((8, 3, 5), (30, 7, 17), (400, 160, 3)):
        power = simd.power_spectrum(cases.normal(1, n_fft + hop * (n_frame - 1)), cases.normal(2, n_fft), hop)
        check_initialized(power)
        check_initialized(simd.mel_project(power, cases.normal(3, 5, len(power))))
    for up, down in ((1, 3), (3, 2), (20, 7)):
        bank = simd.FilterBank.from_filters(cases.normal(1, up, 13), down)
        for n in (1, 5, 14):
            check_initialized(simd.polyphase(cases.normal(2, (n - 1) * bank.n_in + bank.reach), bank, n))
    for n_tap in LENGTHS:
        table = simd.PhaseTable(cases.normal(1, 4, n_tap))
        begins, phases = np.arange(6, dtype=np.int64), np.linspace(0, 3, 6, dtype=np.float32)
        check_initialized(simd.interpolate(cases.normal(2, n_tap + 5), table, begins, phases))


if __name__ == "__main__":
    for threads in (1, 2):
        simd.set_num_threads(threads)
        for part in (products, rows, attentions, signals):
            part()
    print("memcheck:", simd.backend(), flush=True)
    os._exit(0)  # skips the interpreter's own cleanup
