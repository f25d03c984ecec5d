"""A valid call of each public function of `whisper_apr.simd`, and the invalid values of each of its parameters."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import cases
from whisper_apr import simd
from wrong_values import (
    HUGE,
    NO_ARRAYS,
    NO_INDICES,
    NO_NUMBERS,
    NO_OBJECTS,
    NO_WORDS,
    index,
    not_quantizable,
    wrong_arrays,
    wrong_exact_arrays,
    wrong_kinds,
    wrong_outs,
    wrong_powers,
)


@dataclass(frozen=True)
class Row:
    """A valid call, and the invalid values of each parameter."""

    call: Callable[..., Any]
    valid: Callable[[], dict[str, Any]]  # creates new arguments for each call
    wrong: dict[str, Callable[[Any], list[Any]] | list[Any]]
    free: tuple[str, ...] = ()  # parameters that accept any value
    optional: tuple[str, ...] = ()  # parameters that may be None
    also: list[dict[str, Any]] = field(default_factory=list)  # more invalid calls, as changes of the valid one


X, W, BIAS = cases.normal(1, 4, 24), cases.normal(2, 20, 24), cases.normal(3, 20)
HEADS = cases.normal(4, 1, 2, 5, 8)
GATES, STATE_WEIGHT = cases.normal(7, 3, 2, 64), simd.pack(cases.normal(8, 64, 16))
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
            "activation_bits": 12,
            "out": np.zeros((4, 20), np.float32),
        },
        {
            "x": wrong_arrays,
            "weight": NO_OBJECTS,
            "bias": wrong_arrays,
            "residual": wrong_arrays,
            "activation_bits": [None, 0, 4, 16, "8"],
            "out": wrong_outs,
        },
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
    "lstm": Row(
        simd.lstm,
        lambda: {"inputs": GATES, "weight": STATE_WEIGHT, "out": np.zeros((3, 2, 16), np.float32)},
        {"inputs": wrong_arrays, "weight": NO_OBJECTS, "out": wrong_outs},
        free=("backward",),
        optional=("out",),
        also=[
            {"weight": simd.pack(cases.normal(1, 60, 15)), "inputs": np.zeros((3, 2, 60), np.float32)},
            {"weight": simd.pack(cases.normal(1, 16, 16)), "inputs": np.zeros((3, 2, 16), np.float32)},
            {"weight": simd.pack(cases.normal(1, 64, 16).astype(np.float16))},
            {"weight": simd.pack(simd.quantize_int8(cases.normal(1, 64, 16)))},
            {"inputs": GATES[..., 1:]},
        ],
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
        lambda: {"weights": [W, W], "compute_type": "int4", "power": np.ones(W.shape[1], np.float32)},
        {
            "weights": [None, [], 3, "ab", {}, [W, W[:, 1:]], [W[0]], [W, None], ["a"], [np.zeros((2, 2), complex)]],
            "compute_type": [*NO_WORDS, "float64", "int3"],
            "power": wrong_powers,
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
        lambda: {"weight": W, "power": np.ones(W.shape[1], np.float32)},
        {"weight": not_quantizable, "power": wrong_powers},
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
