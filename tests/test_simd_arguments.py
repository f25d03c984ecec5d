"""Every public function of `whisper_apr.simd` raises ValueError or TypeError, in one sentence, for invalid arguments.

One table holds a valid call of each function, and the invalid values of each of its parameters.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import cases
from whisper_apr import simd

HUGE = 2**70  # beyond 64 bits


NO_ARRAYS: list[Any] = [
    None,
    "a",
    b"ab",
    object(),
    {},
    {1: 2},
    [[1, 2], [3]],
    [HUGE],
    ["a"],
    np.zeros(3, np.complex64),
    np.zeros(3, "S2"),
    np.zeros(3, "datetime64[s]"),
    np.array([None]),
    np.zeros(3, [("a", "f4")]),
]
NO_INDICES: list[Any] = [None, "3", 1.5, np.nan, np.inf, [3], np.zeros(2, int), HUGE, -HUGE, -1, 2**63, 1j]
NO_NUMBERS: list[Any] = [None, "3", [3], np.zeros(2), 1j, object()]
NO_WORDS: list[Any] = [None, "float", 3, ["float32"], b"float32"]
NO_OBJECTS: list[Any] = [None, 3, "a", [], np.zeros((3, 3), np.float32), object()]


def wrong_arrays(valid: Any) -> list[Any]:
    """Return invalid values for an operand that is converted: other types, and shapes that do not fit."""
    array = np.asarray(valid)
    return [*NO_ARRAYS, array[..., None, None, None], np.float32(1)]


def not_quantizable(valid: np.ndarray) -> list[Any]:
    """Return invalid weights for `quantize_int8` and `quantize_int4`."""
    return [
        *wrong_arrays(valid),
        valid.tolist(),
        valid.astype(int),
        valid * np.float32(np.nan),
        valid.astype(np.float64) * 1e300,
    ]


def wrong_kinds(valid: np.ndarray) -> list[Any]:
    """Return invalid values for an argument that is not converted: other dtypes, and non-contiguous memory."""
    return [
        *NO_ARRAYS,
        valid.tolist(),
        valid.astype(np.float64 if valid.dtype != np.float64 else np.float32),
        valid.astype(np.int16),
        valid.astype(valid.dtype.newbyteorder(">")),
        np.repeat(valid, 2, axis=-1)[..., ::2],
    ]


def wrong_exact_arrays(valid: np.ndarray) -> list[Any]:
    """Return the same and arrays of other shapes."""
    return [*wrong_kinds(valid), valid[..., None], valid[..., :-1].copy(), np.repeat(valid, 2, axis=-1)]


def wrong_outs(valid: np.ndarray) -> list[Any]:
    """Return invalid values of `out`."""
    wide = np.zeros((*valid.shape[:-1], 2 * valid.shape[-1]), np.float32)
    fixed = valid.copy()
    fixed.flags.writeable = False
    return [
        3,
        "a",
        [],
        valid.tolist(),
        valid.astype(np.float64),
        wide,
        wide[..., ::2],
        valid[None],
        fixed,
        valid.astype(">f4"),
    ]


@dataclass(frozen=True)
class Row:
    """A valid call, and the invalid values of each parameter."""

    call: Callable[..., Any]
    valid: Callable[[], dict[str, Any]]  # creates new arguments for each call
    wrong: dict[str, Callable[[Any], list[Any]] | list[Any]]
    free: tuple[str, ...] = ()  # parameters that accept any value
    optional: tuple[str, ...] = ()  # parameters that may be None
    also: list[dict[str, Any]] = field(default_factory=list)  # more invalid calls, as changes of the valid one


def index(*more: Any) -> list[Any]:
    return [*NO_INDICES, *more]


X, W, BIAS = cases.normal(1, 4, 24), cases.normal(2, 20, 24), cases.normal(3, 20)
HEADS = cases.normal(4, 1, 2, 5, 8)
BANK = simd.FilterBank.from_filters(cases.normal(5, 3, 12), 2)
TABLE = simd.PhaseTable(cases.normal(6, 4, 12))
ONES = np.ones(24, np.float32)


def paged() -> dict[str, Any]:
    return {
        "cache": simd.new_kv_cache(3, 2, 8),
        "pages": np.array([[0, 2], [1, 0]], np.int32),
        "lengths": np.array([5, 4], np.int32),
    }


def rows_of(call: Callable[..., Any], **more: Any) -> Row:
    return Row(call, lambda: {"x": X} | more, {"x": [*NO_ARRAYS, np.float32(1)]})


PACKED = simd.pack(W)
QUANTIZED = simd.quantize_int8(W)
ROWS: dict[str, Row] = {
    "linear": Row(
        simd.linear,
        lambda: {
            "x": X,
            "weight": PACKED,
            "bias": BIAS,
            "residual": np.ones((4, 20), np.float32),
            "out": np.zeros((4, 20), np.float32),
        },
        {"x": wrong_arrays, "weight": NO_OBJECTS, "bias": wrong_arrays, "residual": wrong_arrays, "out": wrong_outs},
        free=("gelu",),
        optional=("bias", "residual", "out"),
    ),
    "matmul": Row(simd.matmul, lambda: {"a": X, "b": W.T}, {"a": wrong_arrays, "b": wrong_arrays}, also=[{"b": W}]),
    "matvec": Row(
        simd.matvec, lambda: {"a": W, "x": X[0]}, {"a": wrong_arrays, "x": wrong_arrays}, also=[{"x": X[0, 1:]}]
    ),
    "dot": Row(
        simd.dot, lambda: {"a": X[0], "b": X[1]}, {"a": wrong_arrays, "b": wrong_arrays}, also=[{"b": X[0, 1:]}]
    ),
    "softmax": rows_of(simd.softmax),
    "log_softmax": rows_of(simd.log_softmax),
    "logsumexp": replace(rows_of(simd.logsumexp), also=[{"x": np.zeros((2, 0))}]),
    "argmax": replace(rows_of(simd.argmax), also=[{"x": np.zeros((2, 0))}]),
    "gelu": Row(simd.gelu, lambda: {"x": X}, {"x": NO_ARRAYS}),
    "top_k": Row(
        simd.top_k,
        lambda: {"x": X, "k": 3},
        {"x": [*NO_ARRAYS, np.float32(1)], "k": index(0, 25)},
        also=[{"x": np.zeros((2, 0))}],
    ),
    "layer_norm": Row(
        simd.layer_norm,
        lambda: {"x": X, "weight": ONES, "bias": ONES, "eps": 1e-5, "out": np.zeros_like(X)},
        {
            "x": NO_ARRAYS,
            "weight": wrong_arrays,
            "bias": wrong_arrays,
            "eps": [*NO_NUMBERS, -1e-5, np.nan],
            "out": wrong_outs,
        },
        optional=("out",),
        also=[{"weight": ONES[1:]}, {"x": np.zeros((2, 0)), "out": None}],
    ),
    "attention": Row(
        simd.attention,
        lambda: {
            "q": HEADS,
            "k": HEADS,
            "v": HEADS,
            "scale": 0.5,
            "precision": "float32",
            "out": np.zeros((1, 5, 2, 8), np.float32),
        },
        {
            "q": wrong_arrays,
            "k": wrong_arrays,
            "v": wrong_arrays,
            "scale": NO_NUMBERS,
            "precision": NO_WORDS,
            "out": wrong_outs,
        },
        free=("causal",),
        optional=("scale", "out"),
        also=[{"k": HEADS[:, :, :3]}, {"q": HEADS[:, :1]}, {"k": HEADS[:, :, :0], "v": HEADS[:, :, :0]}],
    ),
    "store_pages": Row(
        simd.store_pages,
        lambda: (
            paged()
            | {"k": cases.normal(1, 2, 2, 16), "v": cases.normal(2, 2, 2, 16), "counts": np.array([1, 2], np.int32)}
        ),
        {
            "k": wrong_arrays,
            "v": wrong_arrays,
            "cache": NO_OBJECTS,
            "pages": lambda valid: [*wrong_kinds(valid), valid - 1, valid + 1, valid[0], valid.T, valid[:1]],
            "lengths": lambda valid: [*wrong_exact_arrays(valid), valid + 28, -valid],
            "counts": lambda valid: [*wrong_exact_arrays(valid), valid + 2, -valid],
        },
        optional=("counts",),
    ),
    "paged_attention": Row(
        simd.paged_attention,
        lambda: paged() | {"q": cases.normal(1, 2, 2, 16)},
        {
            "q": wrong_arrays,
            "cache": NO_OBJECTS,
            "pages": lambda valid: [*wrong_kinds(valid), valid - 1, valid + 1, valid[0], valid.T, valid[:1]],
            "lengths": lambda valid: [*wrong_exact_arrays(valid), valid + 28, 0 * valid],
        },
        free=("causal",),
    ),
    "power_spectrum": Row(
        simd.power_spectrum,
        lambda: {"audio": np.ones(100), "window": np.ones(16), "hop": 4},
        {
            "audio": wrong_arrays,
            "window": lambda valid: [*wrong_arrays(valid), valid[:15], valid[:0], np.ones(102)],
            "hop": index(0),
        },
    ),
    "mel_project": Row(
        simd.mel_project,
        lambda: {"power": np.ones((9, 5)), "filters": np.ones((3, 9))},
        {"power": wrong_arrays, "filters": wrong_arrays},
        also=[{"filters": np.ones((9, 3))}],
    ),
    "median_filter": Row(
        simd.median_filter, lambda: {"x": X, "width": 7}, {"x": [*NO_ARRAYS, np.float32(1)], "width": index(0, 6, 65)}
    ),
    "dtw": Row(simd.dtw, lambda: {"cost": X}, {"cost": lambda valid: [*wrong_arrays(valid), valid[:0], valid[:, :0]]}),
    "polyphase": Row(
        simd.polyphase,
        lambda: {
            "x": np.ones(BANK.reach + BANK.n_in),
            "bank": BANK,
            "n_group": 2,
            "out": np.zeros(2 * BANK.n_out, np.float32),
        },
        {"x": wrong_arrays, "bank": NO_OBJECTS, "n_group": index(3, 2**62), "out": wrong_outs},
        optional=("out",),
    ),
    "interpolate": Row(
        simd.interpolate,
        lambda: {
            "x": np.ones(20),
            "table": TABLE,
            "begins": np.arange(5),
            "phases": np.ones(5, np.float32),
            "out": np.zeros(5, np.float32),
        },
        {
            "x": wrong_arrays,
            "table": NO_OBJECTS,
            "begins": lambda valid: [*wrong_exact_arrays(valid), valid - 1, valid + 5],
            "phases": lambda valid: [*wrong_exact_arrays(valid), valid + 2.001, -valid, valid * np.nan],
            "out": wrong_outs,
        },
        optional=("out",),
    ),
    "FilterBank": Row(
        simd.FilterBank,
        lambda: {name: getattr(BANK, name) for name in ("panels", "offsets", "starts", "n_tap", "n_in")},
        {
            "panels": wrong_exact_arrays,
            "offsets": lambda valid: [*wrong_exact_arrays(valid), -1 - valid],
            "starts": lambda valid: [*wrong_exact_arrays(valid), valid - 1, valid + 1, valid[:, ::-1].copy()],
            "n_tap": index(0, 13, 10**6),
            "n_in": index(0),
        },
    ),
    "FilterBank.from_filters": Row(
        simd.FilterBank.from_filters,
        lambda: {"filters": np.ones((3, 12)), "down": 2},
        {"filters": lambda valid: [*wrong_arrays(valid), valid[:0], valid[:, :0]], "down": index(0)},
    ),
    "PhaseTable": Row(
        simd.PhaseTable,
        lambda: {"filters": TABLE.filters},
        {"filters": lambda valid: [*wrong_kinds(valid), valid[..., None], valid[:1], valid[:, :0]]},
    ),
    "KVCache": Row(
        simd.KVCache,
        lambda: {"keys": np.zeros((2, 3, 8, 16), np.float32), "values": np.zeros((2, 3, 16, 8), np.float32)},
        {"keys": [None, [1.0], "a"], "values": [None, [1.0], "a"], "scales": [[1.0], "a", 3]},
    ),
    "PackedMatrix": Row(
        simd.PackedMatrix,
        lambda: {"dtype": "float32", "shape": (20, 24), "panels": PACKED.panels, "scales": None, "sums": None},
        {
            "dtype": [*NO_WORDS, "float16", "int8", "int4"],
            "shape": [
                None,
                20,
                (20,),
                (20, 24, 1),
                [20, 24],
                (20, -24),
                (HUGE, 24),
                (20, HUGE),
                (2.0, 24),
                (33, 24),
                "ab",
            ],
            "panels": [
                *NO_ARRAYS,
                PACKED.panels.tolist(),
                PACKED.panels[:1],
                PACKED.panels[:, :, :8],
                PACKED.panels.astype(np.float64),
                PACKED.panels.swapaxes(1, 2).copy().swapaxes(1, 2),
            ],
            "scales": [np.ones(3), np.ones((2, 16), np.float32), [1.0]],
            "sums": [np.ones(3), np.ones((2, 16), np.int32), [1.0]],
        },
        also=[
            {"dtype": "int8", "shape": (1, 2**17 + 1), "panels": np.zeros((1, 2**15 + 1, 16, 4), np.int8)},
            {"dtype": "int8", "shape": (16, 4), "panels": np.zeros((1, 1, 16, 4), np.int8)},
        ],
    ),
    "PackedMatrix.from_arrays": Row(
        simd.PackedMatrix.from_arrays,
        lambda: {"dtype": "float32", "shape": (20, 24), "arrays": PACKED.arrays()},
        {"dtype": NO_WORDS, "shape": [None, 20, (HUGE, 1)], "arrays": [None, {}, [PACKED.panels], {"panels": [1.0]}]},
    ),
    "QuantizedWeight": Row(
        simd.QuantizedWeight,
        lambda: {"dtype": "int8", "values": QUANTIZED.values, "scales": QUANTIZED.scales},
        {
            "dtype": [*NO_WORDS, "int4"],
            "values": lambda valid: [
                *NO_ARRAYS,
                valid.tolist(),
                valid[0],
                valid.astype(np.int16),
                valid.view(np.uint8),
            ],
            "scales": lambda valid: [*NO_ARRAYS, valid.tolist(), valid[1:], valid[:, None], valid.astype(np.float16)],
        },
    ),
    "pack": Row(
        simd.pack,
        lambda: {"weight": W},
        {"weight": wrong_arrays},
        also=[{"weight": simd.QuantizedWeight("int4", np.full((2, 32), 8, np.int8), np.ones((2, 1), np.float16))}],
    ),
    "prepare": Row(
        simd.prepare,
        lambda: {"weights": [W, W], "compute_type": "float32"},
        {
            "weights": [None, [], 3, "ab", {}, [W, W[:, 1:]], [W[0]], [W, None], ["a"], [np.zeros((2, 2), complex)]],
            "compute_type": [*NO_WORDS, "float64", "int3"],
        },
        also=[
            {"weights": [W * np.float32(1e9)], "compute_type": "float16"},
            {"weights": [W * np.float32(np.inf)], "compute_type": "int8"},
        ],
    ),
    "quantize_int8": Row(
        simd.quantize_int8,
        lambda: {"weight": W},
        {"weight": not_quantizable},
    ),
    "quantize_int4": Row(
        simd.quantize_int4,
        lambda: {"weight": W},
        {"weight": not_quantizable},
    ),
    "new_kv_cache": Row(
        simd.new_kv_cache,
        lambda: {"n_page": 2, "n_head": 2, "d_head": 8, "dtype": np.int8},
        {
            "n_page": index(),
            "n_head": index(),
            "d_head": index(0),
            "dtype": ["float", 3, ["float32"], np.float64, np.int32, "complex64", "f4,f4", object],
        },
    ),
    "new_kv_caches": Row(
        simd.new_kv_caches,
        lambda: {"n_layer": 2, "n_page": 2, "n_head": 2, "d_head": 8, "dtype": np.int8},
        {
            "n_layer": index(),
            "n_page": index(),
            "n_head": index(),
            "d_head": index(0),
            "dtype": ["float", 3, ["float32"], np.float64],
        },
    ),
    "aligned_empty": Row(
        simd.aligned_empty,
        lambda: {"shape": (2, 3), "dtype": np.float32},
        {
            "shape": [
                None,
                3,
                "ab",
                (-1,),
                (1.5,),
                (HUGE,),
                (2**40, 2**40),
                (2**62,),
                ("a",),
                (0, 2**62, 2**62),
                (1,) * 65,
            ],
            "dtype": ["float", 3, object, "S0", "V0", ["a"], "f4,O"][1:],
        },
    ),
    "huge_zeros": Row(
        simd.huge_zeros,
        lambda: {"shape": (2, 3), "dtype": np.float32},
        {
            "shape": [None, 3, "ab", (-1,), (1.5,), (HUGE,), (2**40, 2**40), (2**62,), ("a",)],
            "dtype": [3, object, "S0", ["a"]],
        },
    ),
    "use_backend": Row(
        simd.use_backend, lambda: {"name": simd.backend()}, {"name": [None, 3, "altivec", ["numpy"], b"numpy", HUGE]}
    ),
    "set_num_threads": Row(simd.set_num_threads, lambda: {"n": simd.get_num_threads()}, {"n": [*NO_INDICES, 0]}),
    "lz4_decode": Row(
        simd.lz4_decode,
        lambda: {"source": memoryview(b"\x10a"), "target": memoryview(bytearray(1))},
        {
            "source": [None, "a", 3, [1], memoryview(bytearray(4))[::2], np.zeros((4, 4))[:, ::2]],
            "target": [None, "a", 3, [1], memoryview(bytearray(4))[::2], b"a", memoryview(b"a")],
        },
    ),
    "run_peak": Row(
        simd.run_peak,
        lambda: {"n_task": 1, "kind": "float32"},
        {"n_task": index(0, 2**40), "kind": [*NO_WORDS, "float16"]},
    ),
    "read_all": Row(simd.read_all, lambda: {"x": X, "times": 1}, {"x": NO_ARRAYS, "times": NO_INDICES}),
}
WITHOUT_ARGUMENTS = ("Graph", "backend", "backends", "get_num_threads")
NO_FUNCTIONS = ("COMPUTE_TYPES", "PAGE", "BackendError", "Operand", "FloatArray", "Precision", "Weight")


def test_every_public_name_and_every_parameter_is_in_the_table():
    assert {name.partition(".")[0] for name in ROWS} | {*WITHOUT_ARGUMENTS, *NO_FUNCTIONS} == set(simd.__all__)
    for name in WITHOUT_ARGUMENTS:
        assert not inspect.signature(getattr(simd, name)).parameters, name
    for name, row in ROWS.items():
        assert {*row.wrong, *row.free} == set(inspect.signature(row.call).parameters), name


def check_refused(row: Row, change: dict[str, Any]) -> None:
    """Check that a changed call raises an error with a one-line message."""
    with pytest.raises((ValueError, TypeError)) as caught:
        row.call(**row.valid() | change)
    message = str(caught.value)
    assert message, change
    assert "\n" not in message, message
    assert len(message) < 300, message
    assert type(caught.value) in (ValueError, TypeError, simd.BackendError), caught.value


@pytest.mark.parametrize("name", ROWS)
def test_invalid_arguments_raise_one_line_errors(backend, name):
    row = ROWS[name]
    if (name, backend) != ("run_peak", "numpy"):  # it has no peak to measure
        row.call(**row.valid())
    for parameter, wrong in row.wrong.items():
        valid = row.valid().get(parameter)
        for value in wrong(valid) if callable(wrong) else wrong:
            if value is None and parameter in row.optional:
                continue
            try:
                check_refused(row, {parameter: value})
            except BaseException as error:
                raise AssertionError(f"{name}({parameter}={value!r:.80})") from error
    for change in row.also:
        check_refused(row, change)


def overlapping(array: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy of an array, and a float32 array of this shape that shares the copy's last element."""
    begin = (array.nbytes - 1) // 4 * 4
    memory = simd.aligned_empty((begin + 4 * int(np.prod(shape)),), np.uint8)
    copy = memory[: array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy, memory[begin:].view(np.float32).reshape(shape)


def arrays_of(value: Any) -> list[tuple[str, np.ndarray]]:
    """Return an argument's arrays by field name: itself (as float32, which is not copied), or those of a dataclass."""
    if isinstance(value, np.ndarray):
        return [("", value.astype(np.float32) if value.dtype == np.float64 else value)]
    fields = getattr(value, "__dataclass_fields__", ())
    return [(name, getattr(value, name)) for name in fields if isinstance(getattr(value, name), np.ndarray)]


WITH_RESULT = [(name, "float32") for name, row in ROWS.items() if "out" in row.wrong]


@pytest.mark.parametrize(
    ("name", "kind"), [*WITH_RESULT, ("linear", "float16"), ("linear", "int8"), ("linear", "int4")]
)
def test_out_must_not_overlap_any_argument(backend, name, kind):
    """Including the arrays inside a packed weight or filters."""
    row = ROWS[name]
    valid = row.valid()
    if name == "linear":
        valid["weight"] = simd.prepare([W], kind)
    shape = valid["out"].shape
    tried = 0
    for parameter, value in valid.items():
        for part, array in arrays_of(value):
            if parameter == "out":
                continue
            copy, out = overlapping(array, shape)
            changed = replace(value, **{part: copy}) if part else copy
            with pytest.raises(ValueError, match="overlap"):
                row.call(**valid | {parameter: changed, "out": out})
            tried += 1
    assert tried >= 3
    row.call(**valid)


@pytest.mark.parametrize(
    "name",
    ["softmax", "log_softmax", "logsumexp", "argmax", "gelu", "top_k", "layer_norm", "median_filter", "matmul", "dtw"],
)
def test_views_lists_and_other_types_are_converted(backend, name):
    """Strides, byte order, dtype and alignment do not affect the result."""
    row = ROWS[name]
    parameter = next(iter(row.wrong))
    valid = row.valid() | ({"out": None} if "out" in row.wrong else {})
    expected = row.call(**valid)
    x = np.round(np.asarray(valid[parameter]), 2)
    wide = np.repeat(x, 2, axis=-1)
    shifted = np.frombuffer(b"a" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
    expected = row.call(**valid | {parameter: x})
    for other in (
        wide[..., ::2],
        x[::-1][::-1],
        np.asfortranarray(x),
        x.astype(">f4"),
        x.tolist(),
        x.astype(np.float64),
        shifted,
    ):
        np.testing.assert_array_equal(row.call(**valid | {parameter: other}), expected)
