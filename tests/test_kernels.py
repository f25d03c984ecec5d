"""Every kernel on every backend, compared with the same computation in float64."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import cases
from whisper_apr import simd

_erf = np.vectorize(math.erf, otypes=[np.float64])


def exact_gelu(x):
    x = x.astype(np.float64)
    return 0.5 * x * (1 + _erf(x / math.sqrt(2))) if x.size else x


def exact_softmax(x):
    x = x.astype(np.float64)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def exact_attention(q, k, v, causal):
    scores = q.astype(np.float64) @ k.astype(np.float64).swapaxes(-1, -2) / math.sqrt(q.shape[-1])
    n_query, n_key = scores.shape[-2:]
    if causal:
        scores[..., np.arange(n_key) > np.arange(n_key - n_query, n_key)[:, None]] = -np.inf
    return exact_softmax(scores) @ v.astype(np.float64) if scores.size else np.zeros(q.shape)


def assert_product(y, x, w, extra=0.0):
    """Check a product within the bound of float32 sums of k products in any order: (k + 2) eps |x| |w|."""
    exact = x.astype(np.float64) @ w.astype(np.float64).T
    bound = (
        (x.shape[-1] + 2) * np.finfo(np.float32).eps * (np.abs(x.astype(np.float64)) @ np.abs(w.astype(np.float64)).T)
    )
    error = np.abs(y - exact)
    assert y.dtype == np.float32
    assert y.shape == exact.shape
    assert np.all(error <= bound + extra + 1e-37), (
        f"largest error {error.max()} where {bound.flat[error.argmax()]} is allowed"
    )


# ---- products -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shape", cases.PRODUCTS, ids=str)
def test_linear(backend, shape, dtype):
    m, k, n = shape
    x, w = cases.normal(1, m, k), cases.normal(2, n, k).astype(dtype)
    assert_product(simd.linear(x, simd.pack(w)), x, w)


@pytest.mark.parametrize("shape", [(5, 40, 33), (30, 600, 49)], ids=str)
def test_linear_of_adversarial_values(backend, shape):
    m, k, n = shape
    w = cases.normal(3, n, k)
    for name, x in cases.adversarial(4, m, k):
        try:
            assert_product(simd.linear(x, simd.pack(w)), x, w)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shape", [s for s in cases.PRODUCTS if 0 not in s], ids=str)
def test_epilogues(backend, shape, dtype):
    m, k, n = shape
    x, w, bias, residual = (
        cases.normal(1, m, k),
        cases.normal(2, n, k).astype(dtype),
        cases.normal(5, n),
        cases.normal(6, m, n),
    )
    exact = x.astype(np.float64) @ w.astype(np.float64).T
    scale = 4 * (k + 4) * np.finfo(np.float32).eps * max(1, np.abs(exact).max())
    packed = simd.pack(w)
    np.testing.assert_allclose(simd.linear(x, packed, bias), exact + bias, atol=scale, rtol=0)
    np.testing.assert_allclose(simd.linear(x, packed, residual=residual), exact + residual, atol=scale, rtol=0)
    both = simd.linear(x, packed, bias, gelu=True, residual=residual)
    np.testing.assert_allclose(both, exact_gelu(exact + bias) + residual, atol=2 * scale, rtol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_row_does_not_depend_on_other_rows(compiled_backend, dtype):
    """A batch gives the same bits as single rows, since every code path sums over k in the same order."""
    for m, k, n in ((2, 100, 70), (7, 1100, 33), (16, 64, 64), (40, 600, 35)):
        x, w, bias = cases.normal(1, m, k), simd.pack(cases.normal(2, n, k).astype(dtype)), cases.normal(3, n)
        whole = simd.linear(x, w, bias, gelu=True)
        single = np.concatenate([simd.linear(x[i : i + 1], w, bias, gelu=True) for i in range(m)])
        np.testing.assert_array_equal(whole, single)


def test_overlapping_rows(backend):
    """As in a convolution: rows of three positions, one or two positions apart."""
    x, w = cases.normal(1, 50, 8), cases.normal(2, 20, 24)
    for step in (1, 2):
        windows = np.lib.stride_tricks.as_strided(x, (48 // step, 24), (32 * step, 4))
        assert_product(simd.linear(windows, simd.pack(w)), np.ascontiguousarray(windows), w)


def test_every_float16_is_read_exactly(backend):
    """All 65,536 bit patterns as weights, multiplied by 1."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for m in (1, 40):
        y = simd.linear(np.ones((m, 1), np.float32), simd.pack(halves[:, None]))
        with np.errstate(invalid="ignore"):  # some CPUs raise the invalid flag when they widen a signaling NaN
            exact = halves.astype(np.float32)
        np.testing.assert_array_equal(y, np.broadcast_to(exact, y.shape))


def test_strided_and_other_arrays_are_converted(backend):
    w = simd.pack(cases.normal(2, 9, 6))
    x = cases.normal(1, 8, 12)
    for view in (x[:, ::2], x[::-1, :6], x[::2, :6], np.asfortranarray(x[:, :6]), x[:, :6].astype(np.float64)):
        np.testing.assert_array_equal(simd.linear(view, w), simd.linear(np.ascontiguousarray(view, np.float32), w))
    raw = np.zeros(8 * 6 * 4 + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(8, 6)
    unaligned[...] = x[:, :6]
    np.testing.assert_array_equal(simd.linear(unaligned, w), simd.linear(x[:, :6], w))


@pytest.mark.parametrize("n_out", [1, 16, 17])
def test_rows_of_a_packed_matrix(n_out):
    table = cases.normal(1, n_out, 5).astype(np.float16)
    packed = simd.pack(table)
    index = np.array([[0, n_out - 1], [n_out // 2, 0]])
    np.testing.assert_array_equal(packed.rows(index), table[index].astype(np.float32))
    np.testing.assert_array_equal(packed.unpack(), table)
    with pytest.raises(IndexError):
        packed.rows(np.array([n_out]))
    with pytest.raises(IndexError):
        packed.rows(np.array([-1]))


def test_matmul_matvec_dot(backend):
    a, b, x = cases.normal(1, 7, 33), cases.normal(2, 33, 10), cases.normal(3, 33)
    assert_product(simd.matmul(a, b), a, b.T)
    assert_product(simd.matvec(a, x)[None], x[None], a)
    for n in (0, *cases.LENGTHS):
        u, v = cases.normal(4, n), cases.normal(5, n)
        assert abs(simd.dot(u, v) - float(u.astype(np.float64) @ v)) <= (n + 2) * 1.2e-7 * float(
            np.abs(u.astype(np.float64)) @ np.abs(v)
        )


# ---- rows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", cases.LENGTHS)
def test_softmax_and_log_softmax(backend, n):
    for name, x in cases.adversarial(7, 3, n):
        if name == "huge":
            continue  # differences of 1e15 make every probability 0 or 1: tested below
        exact = exact_softmax(x)
        np.testing.assert_allclose(simd.softmax(x), exact, rtol=2e-5, atol=1e-37, err_msg=name)
        with np.errstate(divide="ignore"):
            expected = np.maximum(np.log(exact), -1e38)
        spread = float(x.max() - x.min())
        got = simd.log_softmax(x)
        kept = expected > -700
        np.testing.assert_allclose(got[kept], expected[kept], rtol=1e-6, atol=1e-6 * max(1.0, spread), err_msg=name)


def test_softmax_of_masked_rows(backend):
    x = np.array([[0.0, -np.inf, 1.0, -np.inf], [-np.inf, -np.inf, 5.0, -np.inf], [3e38, -3e38, 0, 0]], np.float32)
    np.testing.assert_allclose(simd.softmax(x), [[0.26894142, 0, 0.73105858, 0], [0, 0, 1, 0], [1, 0, 0, 0]], rtol=1e-6)
    assert np.isnan(simd.softmax(np.array([[np.nan, 1.0]], np.float32))).all()


@pytest.mark.parametrize("n", cases.LENGTHS)
def test_argmax(backend, n):
    rng = np.random.default_rng(n)
    x = rng.integers(-3, 3, (20, n)).astype(np.float32)  # many equal elements: the first one is returned
    np.testing.assert_array_equal(simd.argmax(x), x.argmax(axis=-1))
    x[rng.integers(0, 20, 5), rng.integers(0, n, 5)] = np.nan
    np.testing.assert_array_equal(simd.argmax(x), x.argmax(axis=-1))
    x[...] = -np.inf
    np.testing.assert_array_equal(simd.argmax(x), 0)


@pytest.mark.parametrize("k", [1, 6, 7])
@pytest.mark.parametrize("n", [7, 64, 129, 1000, 5000])
def test_top_k_is_a_stable_sort(backend, n, k):
    rng = np.random.default_rng(n)
    for x in (
        rng.standard_normal((3, n)),
        rng.choice([0, 1, 3.5, -np.inf], (3, n)),  # many equal elements
        rng.choice([np.nan, 1, -np.inf, np.inf], (3, n)),
        np.sort(rng.standard_normal((3, n))),  # ascending
        np.full((3, n), np.nan),
    ):
        order = np.argsort(-np.where(np.isnan(x), -np.inf, x), axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(simd.top_k(x, k), order)


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(7, 5000)),
        elements=st.sampled_from([0, 1, 2, 3.5, -np.inf]),
    ),
    st.integers(1, 7),
)
def test_top_k_of_any_rows(x, k):
    for name in simd.backends():
        with simd.use_backend(name):
            np.testing.assert_array_equal(simd.top_k(x, k), np.argsort(-x, axis=1, kind="stable")[:, :k])


def test_top_k_of_invalid_k():
    for k in (0, 4):
        with pytest.raises(ValueError, match="from 1 to"):
            simd.top_k(np.zeros((2, 3)), k)
    assert simd.top_k(np.zeros((0, 3)), 2).shape == (0, 2)


@pytest.mark.parametrize("n", cases.LENGTHS)
def test_layer_norm(backend, n):
    w, b = cases.normal(8, n), cases.normal(9, n)
    for name, x in cases.adversarial(7, 3, n):
        if name in ("huge", "offset", "spike"):
            continue  # float32 sums lose precision in any implementation; "offset" is tested below
        exact = x.astype(np.float64)
        exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5) * w + b
        np.testing.assert_allclose(simd.layer_norm(x, w, b), exact, rtol=0, atol=2e-5, err_msg=name)


def test_layer_norm_keeps_precision_with_a_large_mean(backend):
    """The variance is summed around the mean, so a mean of 1000 standard deviations does not cancel it."""
    x = cases.normal(7, 4, 384) + np.float32(1000)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(
        simd.layer_norm(x, np.ones(384, np.float32), np.zeros(384, np.float32)), exact, atol=2e-3
    )


def test_gelu(backend):
    x = np.concatenate([np.linspace(-12, 12, 20011), [0.0, -0.0, 1e-30, -1e-30, 88, -88, 1e30, -1e30]]).astype(
        np.float32
    )
    # 1 + erf cancels for negative x, so the bound is absolute: a few ulps of x / 2, as in PyTorch's kernel
    np.testing.assert_allclose(simd.gelu(x), exact_gelu(x), rtol=6e-7, atol=2e-6)
    assert np.isnan(simd.gelu(np.array([np.nan], np.float32)))[0]


# ---- attention ------------------------------------------------------------------------------------------------------


def qkv(shape):
    batch, n_head, n_query, n_key, d_head = shape
    return (
        cases.normal(1, batch, n_head, n_query, d_head),
        cases.normal(2, batch, n_head, n_key, d_head),
        cases.normal(3, batch, n_head, n_key, d_head),
    )


def as_rows(x):
    batch, n_head, n, d_head = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3).reshape(batch, n, n_head * d_head))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", cases.ATTENTIONS, ids=str)
def test_attention(backend, shape, causal):
    q, k, v = qkv(shape)
    y = simd.attention(q, k, v, causal=causal)
    assert y.shape == q.shape
    np.testing.assert_allclose(y, exact_attention(q, k, v, causal), rtol=0, atol=3e-6)


def test_attention_over_views(backend):
    """As in the encoder: q, k, v and their heads are slices of one array."""
    packed = cases.normal(4, 1, 40, 3, 2, 16)
    q, k, v = (packed[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    np.testing.assert_allclose(simd.attention(q, k, v), exact_attention(q, k, v, False), rtol=0, atol=3e-6)


@pytest.mark.parametrize("n_query", [1, 40])
def test_attention_with_extreme_scores(backend, n_query):
    """One key dominates; the weights of the others must become 0, not overflow."""
    q, k, v = qkv((1, 1, n_query, 150, 16))
    np.testing.assert_allclose(
        simd.attention(q * 100, k * 10, v), exact_attention(q * 100, k * 10, v, False), rtol=0, atol=2e-3
    )
    np.testing.assert_allclose(
        simd.attention(q * 0, k, v), np.broadcast_to(v.mean(axis=2, keepdims=True), q.shape), rtol=0, atol=1e-6
    )
