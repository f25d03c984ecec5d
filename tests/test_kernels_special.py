"""NaN, infinities, subnormal and extreme numbers and -0.0 give the documented result on every backend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr import simd

NAN, INF, MOST, LEAST = np.nan, np.inf, float(np.finfo(np.float32).max), 1e-45
COMPILED = [name for name in simd.backends() if name != "numpy"]


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def same_bits(x: np.ndarray, y: np.ndarray) -> None:
    """Check equality including the sign of zero; all NaNs are equal."""
    np.testing.assert_array_equal(x, y)
    zero = np.asarray(y) == 0
    np.testing.assert_array_equal(np.signbit(x)[zero], np.signbit(y)[zero])


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (-INF, 0.0),
        (INF, INF),
        (NAN, NAN),
        (-MOST, 0.0),
        (MOST, MOST),
        (-1e10, 0.0),
        (1e10, 1e10),
        (-20.0, 0.0),
        (20.0, 20.0),
        (-5.6, 0.0),
        (0.0, 0.0),
        (-0.0, 0.0),
        (-LEAST, 0.0),
        (LEAST, 0.0),
        (1e-38, 5e-39),
        (-1e-38, -5e-39),
    ],
)
def test_gelu(backend, x, expected):
    """Also within a vector, in the remainder, and as the epilogue of a product."""
    for n in (1, 3, 16, 17, 40):
        values = np.ones(n, np.float32)
        values[n // 2] = x
        got = simd.gelu(values)
        same_bits(got[n // 2], np.float32(expected))
        assert np.isfinite(np.delete(got, n // 2)).all()
    product = simd.linear(row(1, 2), simd.pack(np.ones((20, 2), np.float32)), np.full(20, x, np.float32), gelu=True)
    plain = simd.gelu(np.full(20, 3, np.float32) + np.float32(x))
    np.testing.assert_array_equal(product, plain)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (row(-INF, -INF, -INF), -INF),
        (row(-INF), -INF),
        (row(INF), INF),
        (row(INF, 1, -INF), INF),
        (row(INF, INF), INF),
        (row(-INF, NAN), NAN),
        (row(NAN, -INF, -INF), NAN),
        (row(INF, NAN), NAN),
        (row(NAN, INF), NAN),
        (row(*[-INF] * 33, NAN), NAN),
        (row(NAN, *[-INF] * 33), NAN),
        (row(*[-INF] * 20, NAN, *[-INF] * 20), NAN),
        (row(*[1] * 40, INF), INF),
        (row(MOST, MOST), MOST),
        (row(-MOST, -MOST), -MOST),
        (row(MOST, -MOST), MOST),
        (row(-INF, 2, -INF), 2),
        (row(0.0, -0.0), np.log(np.float32(2))),
        (row(LEAST, -LEAST), np.log(np.float32(2))),
    ],
    ids=lambda x: "x".join(map(str, x[:3])) if isinstance(x, np.ndarray) else None,
)
def test_logsumexp(backend, x, expected):
    np.testing.assert_allclose(simd.logsumexp(x), expected, rtol=1e-6)


def test_softmax(backend):
    for bad in (row(-INF, -INF), row(INF, 1), row(NAN, 1), row(*[1] * 40, NAN), row(INF, -INF), row(*[-INF] * 33)):
        assert np.isnan(simd.softmax(bad)).all(), bad
    np.testing.assert_array_equal(simd.softmax(row(-INF, 3, -INF)), [0, 1, 0])
    np.testing.assert_array_equal(simd.log_softmax(row(-INF, 3, -INF)), [-INF, 0, -INF])
    np.testing.assert_array_equal(simd.softmax(row(MOST, -MOST, 0)), [1, 0, 0])
    np.testing.assert_allclose(simd.softmax(row(0.0, -0.0, LEAST, -LEAST)), 0.25)


def test_argmax_and_top_k(backend):
    cases = [
        (row(1, NAN, INF), 1, [2, 0, 1]),
        (row(NAN, NAN, NAN), 0, [0, 1, 2]),
        (row(-INF, -INF, -INF), 0, [0, 1, 2]),
        (row(-INF, NAN, -INF), 1, [0, 1, 2]),
        (row(-0.0, 0.0, -1), 0, [0, 1, 2]),
        (row(0.0, -0.0, -1), 0, [0, 1, 2]),
        (row(-LEAST, 0.0, LEAST), 2, [2, 1, 0]),
        (row(MOST, INF, -MOST), 1, [1, 0, 2]),
    ]
    for x, largest, ranked in cases:
        assert simd.argmax(x) == largest, x
        np.testing.assert_array_equal(simd.top_k(x, 3), ranked, err_msg=str(x))
        long = np.concatenate([x, np.full(60, -INF, np.float32)])
        assert simd.argmax(long) == largest, x


def test_layer_norm(backend):
    ones, zeros = np.ones(20, np.float32), np.zeros(20, np.float32)
    for bad in (NAN, INF, -INF):
        x = np.arange(20, dtype=np.float32)
        x[7] = bad
        assert np.isnan(simd.layer_norm(x, ones, zeros)).all(), bad
    np.testing.assert_array_equal(simd.layer_norm(np.full(20, -0.0, np.float32), ones, zeros), 0)
    np.testing.assert_allclose(simd.layer_norm(np.full(20, LEAST, np.float32), ones, ones), 1)
    np.testing.assert_array_equal(simd.layer_norm(np.full(20, LEAST, np.float32), ones, zeros, eps=1e-45), 0)


SPECIAL = [NAN, INF, -INF, 0.0, -0.0, LEAST, -LEAST, 1e-39, MOST, -MOST, 1.0, -1.0, 90.0, -90.0]
OPERATIONS = {
    "gelu": simd.gelu,
    "softmax": simd.softmax,
    "log_softmax": simd.log_softmax,
    "logsumexp": simd.logsumexp,
    "argmax": simd.argmax,
    "top_k": lambda x: simd.top_k(x, min(4, x.shape[-1])),
    "layer_norm": lambda x: simd.layer_norm(x, np.ones(x.shape[-1], np.float32), np.ones(x.shape[-1], np.float32)),
    "median_filter": lambda x: simd.median_filter(x, 5),
    "dtw": lambda x: np.concatenate(simd.dtw(np.stack([x, x[::-1]]))),
}


def layer_norm_tolerance(x: np.ndarray) -> float:
    """Return by how much rounding can change the layer norm of x; infinity where the result depends on rounding alone.

    An element and the mean are rounded in proportion to the largest element, and their difference is divided by the
    standard deviation. Whether a sum of larger numbers overflows can depend on the order.
    """
    finite = x[np.isfinite(x)].astype(np.float64)
    largest = np.abs(finite).max(initial=0)
    if largest >= 1e17:
        return np.inf
    if len(finite) < len(x) or largest == 0:
        return 2e-6
    if finite.std() <= 0.01 * largest:
        return np.inf
    return 2e-6 + 4 * float(np.finfo(np.float32).eps) * largest / finite.std()


@given(
    pool=st.lists(st.sampled_from(SPECIAL) | st.floats(-50, 50, width=32), min_size=1, max_size=5),
    seed=st.integers(0, 2**20),
    n=st.integers(1, 70),
)
def test_every_backend_agrees_with_numpy(pool, seed, n):
    x = np.random.default_rng(seed).choice(np.array(pool, np.float32), n)
    for name, operation in OPERATIONS.items():
        tolerance = layer_norm_tolerance(x) if name == "layer_norm" else 2e-6
        if tolerance == np.inf:
            continue
        with simd.use_backend("numpy"):
            expected = operation(x)
        for backend in COMPILED:
            with simd.use_backend(backend):
                got = operation(x)
            np.testing.assert_allclose(got, expected, rtol=2e-4, atol=tolerance, err_msg=f"{name} on {backend}")
