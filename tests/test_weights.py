"""Weights: quantization to 8 and 4 bits, packing and unpacking, and `prepare`."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cases
from whisper_apr import simd
from whisper_apr.simd import weights

SHAPES = [(1, 1), (3, 0), (0, 5), (16, 32), (17, 33), (33, 31), (15, 4), (61, 97), (48, 240)]
QUANTIZERS = {"int8": simd.quantize_int8, "int4": simd.quantize_int4}


def random_weight(dtype: str, n_out: int, n_in: int) -> weights.Weight:
    weight = cases.normal(1, n_out, n_in)
    return QUANTIZERS[dtype](weight) if dtype in QUANTIZERS else weight.astype(dtype)


def floats(weight: weights.Weight) -> np.ndarray:
    return weight.astype(np.float32) if isinstance(weight, np.ndarray) else weight.dequantize()


# ---- quantization ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_int8_is_absmax_over_127_rounded_to_even(shape):
    weight = cases.normal(1, *shape)
    quantized = simd.quantize_int8(weight)
    for row, values, scale in zip(weight, quantized.values, quantized.scales, strict=True):
        largest = max((abs(w) for w in row), default=np.float32(0))
        assert scale == (largest / np.float32(127) if largest else 1)
        np.testing.assert_array_equal(values, [round(float(w / scale)) for w in row])
    np.testing.assert_array_equal(quantized.dequantize(), quantized.values * quantized.scales[:, None])
    assert quantized.shape == shape


def test_int8_of_extremes():
    weight = np.array([[1, -1, 0], [0, 0, 0], [3e38, 1, -3e38], [1e-40, 0, 0], [127, 0.5, 1.5]], np.float32)
    quantized = simd.quantize_int8(weight)
    np.testing.assert_array_equal(quantized.values, [[127, -127, 0], [0, 0, 0], [127, 0, -127], [0, 0, 0], [127, 0, 2]])
    np.testing.assert_array_equal(quantized.scales[[1, 3]], 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_int4_error_is_bounded(shape):
    weight = cases.normal(1, *shape)
    quantized = simd.quantize_int4(weight)
    assert quantized.values.min(initial=0) >= -8
    assert quantized.values.max(initial=0) <= 7
    assert quantized.scales.shape == (shape[0], -(-shape[1] // 32))
    # if the largest element is quantized to 7 or 8 steps, the last of which is clipped, no error is above largest / 7
    for begin in range(0, shape[1], 32):
        group = weight[:, begin : begin + 32]
        error = np.abs(quantized.dequantize()[:, begin : begin + 32] - group).max(axis=1, initial=0)
        assert np.all(error <= np.abs(group).max(axis=1, initial=0) / 6)


def test_int4_error_of_normal_numbers():
    """Smaller than with the simple scale `largest / -8`, whose RMS error is 0.086 standard deviations."""
    weight = cases.normal(1, 500, 320)
    difference = simd.quantize_int4(weight).dequantize() - weight
    assert np.sqrt(np.mean(difference**2)) < 0.0825


def test_int4_weights_errors_by_the_power_of_their_input():
    weight = cases.normal(1, 500, 320)
    power = np.exp(2 * cases.normal(2, 320))
    errors = [(simd.quantize_int4(weight, p).dequantize() - weight) ** 2 @ power for p in (None, power)]
    assert errors[1].sum() < 0.8 * errors[0].sum()
    # inputs of one power are not weighted, nor are those of which nothing is known
    for p in (np.full(320, 7.0), np.zeros(320)):
        np.testing.assert_array_equal(simd.quantize_int4(weight, p).values, simd.quantize_int4(weight).values)


@pytest.mark.parametrize("power", [np.ones(31), -np.ones(32), np.full(32, np.nan), np.full(32, np.inf)])
def test_int4_rejects_what_is_no_power(power):
    with pytest.raises(ValueError, match=r"power must be \(32,\) finite numbers of at least 0"):
        simd.quantize_int4(np.ones((2, 32), np.float32), power)


def test_int4_of_representable_values_is_exact():
    steps = np.random.default_rng(1).integers(-8, 8, (50, 64))
    steps[:, ::32] = -8
    weight = (steps * 0.125).astype(np.float32)
    np.testing.assert_array_equal(simd.quantize_int4(weight).dequantize(), weight)


@pytest.mark.parametrize("value", [0.0, 1e-12, 1e9, -1e9, 6e4])
def test_int4_of_constants_stays_finite(value):
    restored = simd.quantize_int4(np.full((3, 40), value, np.float32)).dequantize()
    limit = 8 * 65504.0  # float16's largest scale
    np.testing.assert_allclose(restored, np.clip(value, -limit, limit), rtol=0.002, atol=1e-7)


@pytest.mark.parametrize("quantize", QUANTIZERS.values())
def test_weights_that_cannot_be_quantized_are_refused(quantize):
    for bad in (np.inf, -np.inf, np.nan):
        with pytest.raises(ValueError, match="finite"):
            quantize(np.array([[1, bad]], np.float32))
    for array in (np.zeros(3, np.float32), np.zeros((2, 2), np.int8), np.zeros((1, 2, 3), np.float32)):
        with pytest.raises(ValueError, match="matrix of floats"):
            quantize(array)
    with pytest.raises(ValueError, match="at most"):
        quantize(np.zeros((1, weights.MAX_INPUTS + 1), np.float32))


def test_quantized_weights_are_checked():
    values, scales = np.zeros((3, 40), np.int8), np.ones(3, np.float32)
    for wrong in (
        lambda: weights.QuantizedWeight("int8", values.astype(np.uint8), scales),
        lambda: weights.QuantizedWeight("int8", values[0], scales),
        lambda: weights.QuantizedWeight("int8", values, scales[:2]),
        lambda: weights.QuantizedWeight("int8", values, scales.astype(np.float16)),
        lambda: weights.QuantizedWeight("int4", values, scales.astype(np.float16)),
        lambda: weights.QuantizedWeight("int2", values, scales),
    ):
        with pytest.raises(ValueError):
            wrong()


# ---- packing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_unpack_restores_what_was_packed(shape, dtype):
    weight = random_weight(dtype, *shape)
    matrix = simd.pack(weight)
    assert (matrix.dtype, matrix.shape) == (dtype, shape)
    assert simd.pack(matrix) is matrix
    back = matrix.unpack()
    np.testing.assert_array_equal(floats(back), floats(weight))
    if isinstance(back, weights.QuantizedWeight):
        np.testing.assert_array_equal(back.values, weight.values)
        np.testing.assert_array_equal(back.scales, weight.scales)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
@pytest.mark.parametrize("n_out", [1, 16, 17])
def test_rows(n_out, dtype):
    weight = random_weight(dtype, n_out, 37)
    matrix, index = simd.pack(weight), np.array([[0, n_out - 1], [n_out // 2, 0]])
    rows = matrix.rows(index)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, floats(weight)[index])
    assert matrix.rows(index[:, :0]).shape == (2, 0, 37)
    for outside in (n_out, -1):
        with pytest.raises(IndexError):
            matrix.rows(np.array([outside]))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_from_arrays_uses_mapped_arrays_without_copying(dtype, tmp_path):
    weight = random_weight(dtype, 35, 50)
    matrix = simd.pack(weight)
    mapped = {}
    for name, array in matrix.arrays().items():
        assert array.ctypes.data % 64 == 0
        array.tofile(tmp_path / name)
        mapped[name] = np.memmap(tmp_path / name, array.dtype, "r", shape=array.shape)
    again = simd.PackedMatrix.from_arrays(dtype, (35, 50), mapped)
    assert all(again.arrays()[name] is mapped[name] for name in mapped)
    assert again.nbytes == matrix.nbytes == sum(array.nbytes for array in mapped.values())
    np.testing.assert_array_equal(floats(again.unpack()), floats(weight))
    x = cases.normal(2, 3, 50)
    np.testing.assert_array_equal(simd.linear(x, again), simd.linear(x, matrix))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_from_arrays_refuses_unsuitable_arrays(dtype):
    arrays = simd.pack(random_weight(dtype, 35, 50)).arrays()
    for name, array in arrays.items():
        unaligned = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        wrong = [array[:-1], array.astype(np.float64), array[::-1], np.asfortranarray(array), None]
        for other in wrong if array.itemsize == 1 else [*wrong, unaligned]:
            with pytest.raises(ValueError, match=name):
                simd.PackedMatrix.from_arrays(dtype, (35, 50), arrays | {name: other})
    for shape in ((35, 70), (60, 50), (-35, 50)):
        with pytest.raises(ValueError):
            simd.PackedMatrix.from_arrays(dtype, shape, arrays)
    with pytest.raises(ValueError, match="int2"):
        simd.PackedMatrix.from_arrays("int2", (35, 50), arrays)


def test_matrices_in_huge_pages_are_adjacent_and_the_same(tmp_path):
    matrices = [
        simd.prepare([cases.normal(i, 500, 1000)], dtype) for i, dtype in enumerate(["int8", "int4", "float32"])
    ]
    np.save(tmp_path / "panels.npy", matrices[0].panels)
    mapped = replace(matrices[0], panels=np.load(tmp_path / "panels.npy", mmap_mode="r"))
    part = replace(matrices[1], panels=np.stack([matrices[1].panels] * 2)[1])
    moved = weights.to_huge_pages([mapped, *matrices, part])
    assert moved[0] is mapped
    assert moved[4] is part
    ends = [matrix.panels.ctypes.data + matrix.panels.nbytes for matrix in moved[1:4]]
    for before, after in zip(matrices, moved[1:4], strict=True):
        np.testing.assert_array_equal(before.panels, after.panels)
        assert after.panels.ctypes.data % 64 == 0
    assert all(0 <= after.panels.ctypes.data - end < 64 for after, end in zip(moved[2:4], ends, strict=False))
    assert weights.to_huge_pages([]) == []


def test_bytes_of_a_packed_weight():
    """The 37 million weights of `tiny` take 37 MB in int8 and less than 21 MB in int4."""
    n_out, n_in = 1536, 384
    assert simd.pack(random_weight("int8", n_out, n_in)).nbytes <= 1.025 * n_out * n_in
    assert simd.pack(random_weight("int4", n_out, n_in)).nbytes == 4.5 / 8 * n_out * n_in


# ---- embed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0]], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int4"])
def test_embed_adds_rows_and_positions(dtype, shape, compiled_backend):
    table, positions = simd.pack(random_weight(dtype, *shape)), cases.normal(2, 5, shape[1])
    tokens = np.array([[0], [shape[0] - 1], [shape[0] // 2]])
    for given_as in (tokens, np.repeat(tokens, 3, axis=1)[:, 1:2]):
        lengths, out = np.array([0, 4, 2], np.int32), np.empty((3, 1, shape[1]), np.float32)
        assert table.embed(given_as, positions, lengths, out)
        np.testing.assert_array_equal(out, table.rows(tokens) + positions[[[0], [4], [2]]])
        np.testing.assert_array_equal(lengths, [1, 5, 3])


@pytest.mark.parametrize(
    ("tokens", "lengths"),
    [
        ([[0], [17]], [1, 1]),
        ([[-1], [0]], [1, 1]),
        ([[0], [1]], [1, 5]),
        ([[0], [1]], [-1, 1]),
        ([[0]], [1, 1]),
        ([[0, 1], [1, 0]], [1, 1]),
        ([0, 1], [1, 1]),
        (np.zeros((2, 1), np.int32), [1, 1]),
        (np.zeros((2, 1)), [1, 1]),
    ],
    ids=str,
)
def test_embed_returns_false_and_changes_nothing(tokens, lengths, compiled_backend):
    table, positions = simd.pack(random_weight("int8", 17, 33)), cases.normal(2, 5, 33)
    kept, out = np.array(lengths, np.int32), np.zeros((2, 33), np.float32)
    assert not table.embed(np.array(tokens), positions, kept, out)
    np.testing.assert_array_equal(kept, lengths)
    assert not out.any()


def test_embed_returns_false_for_other_shapes(compiled_backend):
    table, tokens = simd.pack(random_weight("float32", 17, 33)), np.array([[3], [4]])
    right = cases.normal(2, 5, 33), np.zeros(2, np.int32), np.empty((2, 33), np.float32)
    assert table.embed(tokens, *right)
    wrong = [
        (0, cases.normal(2, 5, 34)),
        (0, cases.normal(2, 5, 66)[:, ::2]),
        (0, cases.normal(2, 5 * 33)),
        (0, np.zeros((5, 33))),
        (1, np.zeros(3, np.int32)),
        (1, np.zeros(2, np.int64)),
        (1, np.zeros((2, 1), np.int32)),
        (2, np.empty((2, 32), np.float32)),
        (2, np.empty((33, 2), np.float32).T),
        (2, np.empty((2, 33))),
    ]
    for place, array in wrong:
        assert not table.embed(tokens, *right[:place], array, *right[place + 1 :])
    assert right[1].tolist() == [1, 1]


def test_numpy_does_not_embed():
    with simd.use_backend("numpy"):
        assert not simd.pack(random_weight("int8", 4, 8)).embed(
            np.array([[0]]), cases.normal(2, 5, 8), np.zeros(1, np.int32), np.empty((1, 8), np.float32)
        )


# ---- prepare --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compute_type", weights.COMPUTE_TYPES)
@pytest.mark.parametrize("kinds", [("float32",), ("float16", "float16"), ("int8", "int8", "int8"), ("int4", "int4")])
def test_prepare_concatenates_weights(kinds, compute_type):
    """Whether they are quantized or packed before or after."""
    parts = [random_weight(kind, n_out, 40) for n_out, kind in zip((16, 5, 33), kinds, strict=False)]
    expected = compute_type if kinds[0].startswith("float") and compute_type != "float32" else kinds[0]
    whole = weights.prepare(parts, compute_type)
    assert whole.dtype == expected
    single = [floats(weights.prepare([part], compute_type).unpack()) for part in parts]
    np.testing.assert_array_equal(floats(whole.unpack()), np.concatenate(single))
    again = weights.prepare([simd.pack(part) for part in parts], compute_type)
    np.testing.assert_array_equal(again.panels, whole.panels)


def test_weights_of_different_dtypes_become_floats():
    parts = [random_weight("int8", 8, 40), random_weight("float16", 8, 40)]
    assert weights.prepare(parts).dtype == "float32"
    assert weights.prepare(parts, "int8").dtype == "int8"


@pytest.mark.parametrize("large", [65520.0, np.float32(3e38)])
def test_beyond_float16(large):
    """Infinities and NaN are kept, but finite numbers beyond the range raise ValueError."""
    weight = np.array([[1, 65504, np.inf, np.nan]], np.float32)
    kept = weights.prepare([weight], "float16").unpack()
    np.testing.assert_array_equal(kept, weight)
    weight[0, 0] = large
    for given_as in (weight, simd.pack(weight)):
        with pytest.raises(ValueError, match="float16's 65504"):
            weights.prepare([given_as], "float16")


@given(st.integers(1, 40), st.integers(1, 70), st.integers(0, 2**31), st.sampled_from(["int8", "int4"]))
def test_quantizing_again_changes_little(n_out, n_in, seed, dtype):
    """Quantized weights are fixed points, within one unit in the last place of the scale."""
    weight = np.random.default_rng(seed).standard_normal((n_out, n_in)).astype(np.float32)
    once = QUANTIZERS[dtype](weight).dequantize()
    twice = QUANTIZERS[dtype](once).dequantize()
    np.testing.assert_allclose(twice, once, rtol=2e-3 if dtype == "int4" else 3e-7, atol=0)
