"""Each kernel's speed, and its share of what this machine can do at most, which is measured here too.

A kernel that computes is held against a loop of multiply-adds that never leaves the registers, one that reads against reading as many bytes.
"""

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass

import numpy as np

from .. import simd
from .limits import bandwidth, peak
from .measure import fastest_time

Shape = tuple[int, ...]
HEAD = ("kernel", "shape", "backend", "unit", "speed", "share of limit", "over scalar", "over NumPy")
SECONDS = 0.2  # spent on each figure
RECORDED = 32  # calls that are made as one


@dataclass(frozen=True)
class Case:
    """One kernel on one shape. `work` counts floating-point operations, or bytes where `unit` is GB/s."""

    kernel: str
    shape: Shape
    unit: str
    work: float
    run: Callable[[], object]
    in_numpy: Callable[[], object] | None = None
    peak: simd.Operand = "float32"  # what bounds it, where it is not reading
    calls: int = 1  # that `run` makes; `work` is one's


@dataclass(frozen=True)
class Figure:
    kernel: str
    shape: Shape
    backend: str
    unit: str
    speed: float  # 10^9 a second
    share: float  # of the machine's limit
    over_scalar: float | None
    over_numpy: float | None

    def row(self) -> list[object]:
        """For a table under HEAD."""
        return ["x".join(map(str, value)) if isinstance(value, tuple) else value for value in astuple(self)]


def _normal(*shape: int) -> simd.FloatArray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _captured(call: Callable[[], object]) -> Callable[[], object]:
    """RECORDED calls, as a decoder's step makes them: Python is over once, not with each."""
    graph = simd.Graph()
    with graph:
        for _ in range(RECORDED):
            call()
    return graph.replay


def product(shape: Shape, dtype: str) -> Case:
    """`linear` of (m, k) with a weight (n, k): for one row its weight must be read, for many it must be multiplied."""
    m, k, n = shape
    x, plain = _normal(m, k), _normal(n, k)
    weight = simd.prepare(
        [plain.astype(np.float16) if dtype == "float16" else plain], "int8" if dtype == "int8" else "float32"
    )
    reads = m == 1

    def call() -> object:
        return simd.linear(x, weight)

    return Case(
        f"product {dtype}",
        shape,
        "GB/s" if reads else "GOP/s" if dtype == "int8" else "GFLOP/s",
        weight.nbytes if reads else 2.0 * m * k * n,
        _captured(call) if reads else call,
        (lambda: x @ plain.T) if dtype == "float32" else None,
        "int8" if dtype == "int8" else "float32",
        RECORDED if reads else 1,
    )


def attention(shape: Shape, precision: simd.Precision = "float32") -> Case:
    batch, n_head, n_query, n_key, d_head = shape
    q, k, v = (
        _normal(batch, n_head, n_query, d_head),
        _normal(batch, n_head, n_key, d_head),
        _normal(batch, n_head, n_key, d_head),
    )

    def in_numpy() -> object:
        scores = q @ k.swapaxes(-1, -2)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True) @ v

    work = 4.0 * batch * n_head * n_query * n_key * d_head
    return Case(
        "attention" if precision == "float32" else f"attention {precision}",
        shape,
        "GFLOP/s",
        work,
        lambda: simd.attention(q, k, v, precision=precision),
        in_numpy if precision == "float32" else None,
        precision,
    )


def _rows(
    kernel: str, shape: Shape, run: Callable[[simd.FloatArray], object], in_numpy: Callable[[simd.FloatArray], object]
) -> Case:
    """What reads an array once and writes one as large."""
    x = _normal(*shape)
    return Case(kernel, shape, "GB/s", 2.0 * x.nbytes, lambda: run(x), lambda: in_numpy(x))


def rows(shape: Shape) -> list[Case]:
    weight, bias = _normal(shape[-1]), _normal(shape[-1])

    def norm(x: simd.FloatArray) -> object:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias

    def soft(x: simd.FloatArray) -> object:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def tanh_gelu(x: simd.FloatArray) -> object:  # NumPy has no erf: its nearest, cheaper neighbour
        return 0.5 * x * (1 + np.tanh(0.7978846 * (x + 0.044715 * x * x * x)))

    return [
        _rows("layer norm", shape, lambda x: simd.layer_norm(x, weight, bias), norm),
        _rows("softmax", shape, simd.softmax, soft),
        _rows("gelu", shape, simd.gelu, tanh_gelu),
    ]


def cases(products: Iterable[Shape], token_products: Iterable[Shape], attentions: Iterable[Shape]) -> list[Case]:
    """The kernels that a transcription spends its time in, on the shapes that are given."""
    many = [product(shape, dtype) for dtype in ("float32", "float16", "int8") for shape in products]
    one = [product(shape, dtype) for dtype in ("float16", "int8") for shape in token_products]
    attended = [attention(shape) for shape in attentions]
    if simd.backends()[-1] == "avx512bf16":  # on the others it is attention, once more
        attended += [attention(shape, "bfloat16") for shape in attentions]
    return many + one + attended + rows((1500, 384)) + rows((1, 51865))


def _limit(case: Case) -> float:
    """Operations, or bytes, a second, of the backend in use."""
    return bandwidth(case.work, SECONDS) if case.unit == "GB/s" else peak(case.peak, SECONDS / 2)


def measure(case: Case, backends: Iterable[str]) -> list[Figure]:
    """The case on each backend, the fastest of many runs: a limit, too, is what was reached undisturbed."""
    in_numpy = fastest_time(case.in_numpy, SECONDS) if case.in_numpy else None
    figures: list[Figure] = []
    scalar = None
    for backend in backends:
        with simd.use_backend(backend):
            seconds = fastest_time(case.run, SECONDS) / case.calls
            limit = _limit(case)
        scalar = seconds if backend == "scalar" else scalar
        figures.append(
            Figure(
                case.kernel,
                case.shape,
                backend,
                case.unit,
                case.work / seconds / 1e9,
                case.work / seconds / limit,
                None if scalar is None else scalar / seconds,
                None if in_numpy is None else in_numpy / seconds,
            )
        )
    return figures
