"""Products with int8 and int4 weights on every backend: integer sums are exact, floats agree within rounding."""

import math

import numpy as np
import pytest

import cases
from whisper_apr import simd
from whisper_apr.simd import weights

QUANTIZERS = {"int8": simd.quantize_int8, "int4": simd.quantize_int4}
SMALL_PRODUCTS = [shape for shape in cases.PRODUCTS if 0 not in shape]
LEVELS = {8: 127, 12: 2047}  # by activation_bits


def quantized_rows(x, levels=127):
    """Quantize rows as every backend does, with Python's round (half to even); return the integers and the scales."""
    largest = [max((abs(v) for v in row), default=np.float32(0)) for row in x]
    integers = [
        [round(float(v * (np.float32(levels) / most))) if most else 0 for v in row]
        for row, most in zip(x, largest, strict=True)
    ]
    scales = np.array(largest, np.float32) / np.float32(levels)
    return np.array(integers, np.int64).reshape(x.shape), scales


def exact_int8(x, weight, levels=127):
    """Return `sum * row scale * weight scale` in float32, each product rounded once."""
    integers, scales = quantized_rows(x, levels)
    total = (integers @ weight.values.astype(np.int64).T).astype(np.float32)
    return total * scales[:, None] * weight.scales


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("shape", cases.PRODUCTS, ids=str)
def test_int8_products_are_bitwise_equal(backend, shape, bits):
    m, k, n = shape
    x, weight = cases.normal(1, m, k), simd.quantize_int8(cases.normal(2, n, k))
    y = simd.linear(x, simd.pack(weight), activation_bits=bits)
    np.testing.assert_array_equal(y, exact_int8(x, weight, LEVELS[bits]))


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("m", [1, 2, 5, 16, 40])
@pytest.mark.parametrize("k", [1, 4, 31, 64, 97, 512, 1031])
def test_int8_sums_of_extremes_are_exact(backend, m, k, bits):
    """Extremes everywhere, which saturating instructions get wrong; with scales of 1, results are the sums."""
    rng = np.random.default_rng(m * k)
    most = LEVELS[bits]
    patterns = [np.full((m, k), most), np.full((m, k), -most), rng.choice([-most, most], (m, k))]
    matrices = [np.full((33, k), 127), np.full((33, k), -127), rng.choice([-127, 127], (33, k))]
    for x in patterns:
        for w in matrices:
            weight = weights.QuantizedWeight("int8", w.astype(np.int8), np.ones(33, np.float32))
            y = simd.linear(x.astype(np.float32), simd.pack(weight), activation_bits=bits)
            np.testing.assert_array_equal(y, (x @ w.T).astype(np.float32))


@pytest.mark.parametrize("dtype", QUANTIZERS)
@pytest.mark.parametrize("m", [1, 3, 20])
def test_every_input_of_12_bits_is_read_exactly(backend, dtype, m):
    """-2047 to 2047, each times a weight of 1, over rows that begin elsewhere."""
    values = np.resize(np.arange(-2047, 2048), (m, 4095 + 31))[:, :4096].astype(np.float32)
    for begin in range(0, 4096, 64):
        x = np.concatenate([np.full((m, 1), 2047, np.float32), values[:, begin : begin + 64]], axis=1)
        scales = np.ones(65, np.float32) if dtype == "int8" else np.ones((65, 3), np.float16)
        weight = weights.QuantizedWeight(dtype, np.eye(65, dtype=np.int8), scales)
        np.testing.assert_array_equal(simd.linear(x, simd.pack(weight), activation_bits=12), x)


@pytest.mark.parametrize("m", [1, 3, 30])
def test_every_int8_value_is_read_exactly(backend, m):
    values = np.arange(-128, 128).astype(np.int8)
    weight = weights.QuantizedWeight("int8", values[:, None], np.ones(256, np.float32))
    for factor in (127, -127, 1):
        x = np.full((m, 1), factor, np.float32)
        step = np.float32(abs(factor)) / np.float32(127)
        expected = np.float32(127 * np.sign(factor)) * values.astype(np.float32) * step
        np.testing.assert_array_equal(simd.linear(x, simd.pack(weight)), np.broadcast_to(expected, (m, 256)))


@pytest.mark.parametrize(
    ("bits", "k", "levels"),
    [
        (8, weights.MAX_INPUTS, 127),
        (12, 8196, 2047),
        (12, 8197, 2046),
        (12, 20_000, 838),
        (12, weights.MAX_INPUTS, 127),
    ],
)
def test_the_largest_sums_fit(backend, bits, k, levels):
    weight = weights.QuantizedWeight("int8", np.full((1, k), -128, np.int8), np.ones(1, np.float32))
    expected = np.float32(-128 * levels * k) * (np.float32(3) / np.float32(levels))
    y = simd.linear(np.full((2, k), 3, np.float32), simd.pack(weight), activation_bits=bits)
    np.testing.assert_array_equal(y, np.full((2, 1), expected))


def test_inputs_are_rounded_half_to_even(backend):
    x = np.array([[127, 0.5, 1.5, -0.5, -1.5, 2.5, -2.5, 126.5, 3.49999, 3.50001]], np.float32)
    weight = weights.QuantizedWeight("int8", np.eye(10, dtype=np.int8), np.ones(10, np.float32))
    np.testing.assert_array_equal(simd.linear(x, simd.pack(weight))[0], [127, 0, 2, 0, -2, 2, -2, 126, 3, 4])


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("dtype", QUANTIZERS)
def test_rows_of_zeros_and_non_finite_rows(backend, dtype, bits):
    """Zeros give zeros, infinity and NaN give NaN, and other rows are not affected."""
    weight = simd.pack(QUANTIZERS[dtype](cases.normal(2, 20, 50)))
    x = cases.normal(1, 7, 50)
    expected = simd.linear(x, weight, activation_bits=bits)
    x[1] = 0
    x[2, 7] = np.nan
    x[3, 49] = np.inf
    x[4, 0] = -np.inf
    x[5] = 1e-35
    y = simd.linear(x, weight, activation_bits=bits)
    np.testing.assert_array_equal(y[[0, 6]], expected[[0, 6]])
    np.testing.assert_array_equal(y[[1, 5]], 0)
    assert np.isnan(y[2:5]).all()


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("dtype", QUANTIZERS)
def test_adversarial_inputs(backend, dtype, bits):
    weight = QUANTIZERS[dtype](cases.normal(3, 49, 200))
    matrix, restored = simd.pack(weight), weight.dequantize().astype(np.float64)
    for name, x in cases.adversarial(4, 21, 200):
        if name == "subnormal":
            continue  # counts as zeros
        integers, scales = quantized_rows(x, LEVELS[bits])
        exact = (integers * scales[:, None].astype(np.float64)) @ restored.T
        bound = (
            20 * np.finfo(np.float32).eps * (np.abs(integers * scales[:, None].astype(np.float64)) @ np.abs(restored.T))
        )
        assert np.all(np.abs(simd.linear(x, matrix, activation_bits=bits) - exact) <= bound), name


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("shape", cases.PRODUCTS, ids=str)
def test_int4(backend, shape, bits):
    m, k, n = shape
    x, weight = cases.normal(1, m, k), simd.quantize_int4(cases.normal(2, n, k))
    integers, scales = quantized_rows(x, LEVELS[bits])
    exact = integers @ weight.dequantize().astype(np.float64).T * scales[:, None].astype(np.float64)
    size = np.abs(integers) @ np.abs(weight.dequantize().astype(np.float64)).T * scales[:, None].astype(np.float64)
    bound = (k / 32 + 4) * np.finfo(np.float32).eps * size
    assert np.all(np.abs(simd.linear(x, simd.pack(weight), activation_bits=bits) - exact) <= bound)


@pytest.mark.parametrize("m", [1, 2, 7, 30])
def test_every_int4_value_is_read_exactly(backend, m):
    rng = np.random.default_rng(m)
    values = rng.integers(-8, 8, (35, 200)).astype(np.int8)
    values[0], values[1] = -8, 7
    scales = (2.0 ** rng.integers(-3, 4, (35, 7))).astype(np.float16)
    weight = weights.QuantizedWeight("int4", values, scales)
    x = rng.integers(-127, 128, (m, 200)).astype(np.float32)
    x[:, 0] = 127
    np.testing.assert_array_equal(simd.linear(x, simd.pack(weight)), x @ weight.dequantize().T)


@pytest.mark.parametrize("dtype", QUANTIZERS)
@pytest.mark.parametrize("shape", SMALL_PRODUCTS, ids=str)
def test_epilogues(backend, shape, dtype):
    m, k, n = shape
    x, weight = cases.normal(1, m, k), simd.pack(QUANTIZERS[dtype](cases.normal(2, n, k)))
    bias, residual = cases.normal(5, n), cases.normal(6, m, n)
    plain = simd.linear(x, weight)
    np.testing.assert_array_equal(simd.linear(x, weight, bias), plain + bias)
    np.testing.assert_array_equal(simd.linear(x, weight, residual=residual), plain + residual)
    both = simd.linear(x, weight, bias, gelu=True, residual=residual)
    erf = np.vectorize(math.erf, otypes=[np.float64])
    biased = (plain + bias).astype(np.float64)
    np.testing.assert_allclose(both, biased / 2 * (1 + erf(biased / math.sqrt(2))) + residual, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("dtype", QUANTIZERS)
def test_a_row_does_not_depend_on_other_rows(compiled_backend, dtype, bits):
    for m, k, n in ((2, 100, 70), (7, 1100, 33), (16, 64, 64), (40, 600, 35)):
        x, w, bias = cases.normal(1, m, k), simd.pack(QUANTIZERS[dtype](cases.normal(2, n, k))), cases.normal(3, n)
        options = {"gelu": True, "activation_bits": bits}
        whole = simd.linear(x, w, bias, **options)
        single = np.concatenate([simd.linear(x[i : i + 1], w, bias, **options) for i in range(m)])
        np.testing.assert_array_equal(whole, single)


@pytest.mark.parametrize("bits", LEVELS)
@pytest.mark.parametrize("dtype", QUANTIZERS)
@pytest.mark.parametrize("m", [1, 6, 100])
def test_no_result_depends_on_the_number_of_threads(compiled_backend, dtype, m, bits):
    x, w = cases.normal(1, m, 160), simd.pack(QUANTIZERS[dtype](cases.normal(2, 333, 160)))
    before = simd.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3, 7):
            simd.set_num_threads(n)
            results.append(simd.linear(x, w, activation_bits=bits))
    finally:
        simd.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("dtype", QUANTIZERS)
def test_overlapping_and_unaligned_inputs(backend, dtype):
    x, w = cases.normal(1, 50, 8), simd.pack(QUANTIZERS[dtype](cases.normal(2, 20, 24)))
    for step in (1, 2):
        windows = np.lib.stride_tricks.as_strided(x, (48 // step, 24), (32 * step, 4))
        np.testing.assert_array_equal(simd.linear(windows, w), simd.linear(np.ascontiguousarray(windows), w))
    raw = np.zeros(5 * 24 * 4 + 4, np.uint8)
    for offset in (1, 4):
        moved = raw[offset : offset + 5 * 24 * 4].view(np.float32).reshape(5, 24)
        moved[...] = x[:15].reshape(5, 24)
        np.testing.assert_array_equal(simd.linear(moved, w), simd.linear(moved.copy(), w))
