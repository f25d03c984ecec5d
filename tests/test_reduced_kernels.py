"""Attention of reduced precision: within the documented bound on every backend, and close to NumPy, in bfloat16."""

import numpy as np
import pytest

import cases
from test_kernels import exact_attention, qkv
from whisper_apr import simd

INTEGERS = ("avx2", "avx2vnni")  # backends that round to 16-bit integers


def bound(q, k, v):
    """Return the bound that simd.attention documents, `(batch, n_head, n_query, 1)`."""
    q, k, v = (np.abs(x.astype(np.float64)) for x in (q, k, v))
    if simd.backend() in INTEGERS:
        largest = k.max(axis=(-1, -2), keepdims=True, initial=0.0)
        e = 2.0**-10 * q.shape[-1] * q.max(axis=-1, keepdims=True, initial=0.0) * largest
    else:
        e = 2.0**-7 * (q @ k.swapaxes(-1, -2)).max(axis=-1, keepdims=True, initial=0.0)
    e /= np.sqrt(q.shape[-1])
    return (np.expm1(2 * e) + 2.0**-6 + k.shape[2] * 2.0**-14) * v.max(axis=(-1, -2), keepdims=True, initial=0.0)


def assert_within_bound(q, k, v, causal):
    y = simd.attention(q, k, v, causal=causal, precision="reduced")
    assert y.shape == q.shape
    error, allowed = np.abs(y - exact_attention(q, k, v, causal)), bound(q, k, v)
    allowed += 1e-30
    assert np.all(error <= allowed), f"largest error {error.max()} where {allowed.max()} is allowed"


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", cases.ATTENTIONS, ids=str)
def test_within_the_documented_bound(backend, shape, causal):
    assert_within_bound(*qkv(shape), causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", cases.ATTENTIONS, ids=str)
def test_close_to_bfloat16_in_numpy(backend, shape, causal):
    """Bfloat16 has 8 bits; other roundings are finer."""
    q, k, v = qkv(shape)
    y = simd.attention(q, k, v, causal=causal, precision="reduced")
    with simd.use_backend("numpy"):
        expected = simd.attention(q, k, v, causal=causal, precision="reduced")
    np.testing.assert_allclose(y, expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n_query", "n_key", "d_head"), [(41, 67, 13), (33, 128, 64), (9, 129, 66)])
def test_adversarial_values(backend, n_query, n_key, d_head, causal):
    for (name, q), (_, k), (_, v) in zip(
        cases.adversarial(1, 1, 2, n_query, d_head),
        cases.adversarial(2, 1, 2, n_key, d_head),
        cases.adversarial(3, 1, 2, n_key, d_head),
        strict=True,
    ):
        if name in ("huge", "offset", "spike"):  # only as values: as scores, the bound would be meaningless
            q, k = cases.normal(1, *q.shape), cases.normal(2, *k.shape)
        try:
            assert_within_bound(q, k, v, causal)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_one_dominant_key(backend):
    """Its weight is 1 and the others are 0; powers of two are exact."""
    q = np.full((1, 1, 40, 16), 64.0, np.float32)
    k = np.zeros((1, 1, 150, 16), np.float32)
    v = cases.normal(3, 1, 1, 150, 16)
    for place in (0, 1, 127, 128, 149):
        chosen = k.copy()
        chosen[0, 0, place] = 64.0
        y = simd.attention(q, chosen, v, precision="reduced")
        expected = np.broadcast_to(v[:, :, place : place + 1], q.shape)
        np.testing.assert_allclose(y, expected, rtol=2.0**-8, atol=2.0**-12 * np.abs(v).max())


def test_views_and_unaligned_arrays(backend):
    raw = np.zeros(40 * 3 * 2 * 18 * 4 + 4, np.uint8)
    packed = raw[4:].view(np.float32).reshape(1, 40, 3, 2, 18)
    packed[...] = cases.normal(4, *packed.shape)
    q, k, v = (packed[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    whole = (np.ascontiguousarray(x) for x in (q, k, v))
    np.testing.assert_array_equal(
        simd.attention(q, k, v, precision="reduced"), simd.attention(*whole, precision="reduced")
    )


def test_infinities_do_not_spread(backend):
    """An infinite value affects only its own dimension; a query of NaN gives NaN for that query only."""
    q, k, v = qkv((1, 1, 40, 50, 16))
    v[0, 0, 7, 3] = np.inf
    y = simd.attention(q, k, v, precision="reduced")
    assert np.isposinf(y[..., 3]).all()
    assert np.isfinite(np.delete(y, 3, axis=-1)).all()
    q[0, 0, 5, :] = np.nan
    y = simd.attention(q, k, v, precision="reduced")
    assert np.isnan(y[0, 0, 5]).all()
    assert not np.isnan(np.delete(y, 5, axis=2)).any()


def test_a_query_does_not_see_later_keys(backend):
    q, k, v = qkv((1, 2, 45, 140, 24))
    y = simd.attention(q, k, v, causal=True, precision="reduced")
    k[:, :, 120:], v[:, :, 120:] = np.float32(1e6), np.float32(1e6)
    later = simd.attention(q, k, v, causal=True, precision="reduced")
    np.testing.assert_array_equal(later[:, :, :25], y[:, :, :25])


def test_the_result_does_not_depend_on_the_number_of_threads(compiled_backend):
    q, k, v = qkv((2, 3, 200, 150, 64))
    before = simd.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            simd.set_num_threads(n)
            results.append(simd.attention(q, k, v, precision="reduced"))
    finally:
        simd.set_num_threads(before)
    for y in results[1:]:
        np.testing.assert_array_equal(y, results[0])


def test_an_unknown_precision_is_refused():
    x = np.zeros((1, 1, 2, 4), np.float32)
    with pytest.raises(ValueError, match="float16"):
        simd.attention(x, x, x, precision="float16")
