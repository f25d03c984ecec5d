"""Measure each kernel's speed and its share of this machine's limit, a roofline that is measured alongside.

The limit of a compute-bound kernel is the rate of multiply-adds on registers only; the limit of a memory-bound kernel
is the bandwidth of reading as many bytes. Run as a script, it measures small products on every compiled backend.
"""

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np

from .. import simd
from .limits import bandwidth, peak, reduced_operand
from .measure import fastest_time, table

Shape = tuple[int, ...]
HEAD = ("kernel", "shape", "backend", "unit", "speed", "share of limit", "over scalar", "over NumPy")
SECONDS = 0.2  # spent on each measurement
CAPTURED = 32  # calls in a graph


@dataclass(frozen=True)
class Case:
    """One kernel on one shape.

    Attributes:
        kernel: Name of the kernel.
        shape: Sizes of the operands.
        unit: "GFLOP/s", "GOP/s" (int8) or "GB/s".
        work: Operations, or bytes if the unit is GB/s, of one call.
        run: The function to time.
        in_numpy: The same operation in NumPy, or None.
        peak: The operands whose peak rate is the limit, unless the unit is GB/s; "reduced" for those of the backend's
            attention of reduced precision.
        calls: Number of kernel calls that `run` makes.
    """

    kernel: str
    shape: Shape
    unit: str
    work: float
    run: Callable[[], object]
    in_numpy: Callable[[], object] | None = None
    peak: simd.Operand | Literal["reduced"] = "float32"
    calls: int = 1


@dataclass(frozen=True)
class Figure:
    """The result of one case on one backend.

    Attributes:
        kernel: Name of the kernel.
        shape: Sizes of the operands.
        backend: Name of the backend.
        unit: Unit of `speed`.
        speed: 10^9 operations or bytes a second.
        share: `speed` divided by the machine's limit.
        over_scalar: `speed` divided by that of `scalar`, or None if that was not measured before.
        over_numpy: `speed` divided by NumPy's, or None if there is no such operation in NumPy.
    """

    kernel: str
    shape: Shape
    backend: str
    unit: str
    speed: float
    share: float
    over_scalar: float | None
    over_numpy: float | None

    def row(self) -> list[object]:
        """Return the columns of HEAD."""
        return ["x".join(map(str, value)) if isinstance(value, tuple) else value for value in astuple(self)]


def _normal(*shape: int) -> simd.FloatArray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _captured(call: Callable[[], object]) -> Callable[[], object]:
    """Return a function that replays CAPTURED calls, as a decoder's step does, so that Python's overhead is shared."""
    graph = simd.Graph()
    with graph:
        for _ in range(CAPTURED):
            call()
    return graph.replay


def product(shape: Shape, dtype: str) -> Case:
    """Return the case of `linear` with x `(m, k)` and a weight `(n, k)`: memory-bound if m is 1, else compute-bound."""
    m, k, n = shape
    x, plain = _normal(m, k), _normal(n, k)
    weight = simd.prepare(
        [plain.astype(np.float16) if dtype == "float16" else plain], "int8" if dtype == "int8" else "float32"
    )
    memory_bound = m == 1

    def call() -> object:
        return simd.linear(x, weight)

    return Case(
        f"product {dtype}",
        shape,
        "GB/s" if memory_bound else "GOP/s" if dtype == "int8" else "GFLOP/s",
        weight.nbytes if memory_bound else 2.0 * m * k * n,
        _captured(call) if memory_bound else call,
        (lambda: x @ plain.T) if dtype == "float32" else None,
        "int8" if dtype == "int8" else "float32",
        CAPTURED if memory_bound else 1,
    )


def attention(shape: Shape, precision: simd.Precision = "float32") -> Case:
    """Return the case of `attention` on `(batch, n_head, n_query, n_key, d_head)`."""
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
    """Return the case of an operation that reads an array once and writes one of the same size."""
    x = _normal(*shape)
    return Case(kernel, shape, "GB/s", 2.0 * x.nbytes, lambda: run(x), lambda: in_numpy(x))


def rows(shape: Shape) -> list[Case]:
    """Return the cases of `layer_norm`, `softmax` and `gelu` on an array `(n_row, n)`."""
    weight, bias = _normal(shape[-1]), _normal(shape[-1])

    def norm(x: simd.FloatArray) -> object:
        centered = x - x.mean(axis=-1, keepdims=True)
        return centered / np.sqrt((centered * centered).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias

    def soft(x: simd.FloatArray) -> object:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def tanh_gelu(x: simd.FloatArray) -> object:  # NumPy has no erf; the tanh approximation is cheaper
        return 0.5 * x * (1 + np.tanh(0.7978846 * (x + 0.044715 * x * x * x)))

    return [
        _rows("layer norm", shape, lambda x: simd.layer_norm(x, weight, bias), norm),
        _rows("softmax", shape, simd.softmax, soft),
        _rows("gelu", shape, simd.gelu, tanh_gelu),
    ]


def cases(products: Iterable[Shape], token_products: Iterable[Shape], attentions: Iterable[Shape]) -> list[Case]:
    """Return the cases of the kernels that dominate a transcription.

    Args:
        products: `(m, k, n)` of compute-bound products.
        token_products: `(1, k, n)` of memory-bound products.
        attentions: `(batch, n_head, n_query, n_key, d_head)`.
    """
    many = [product(shape, dtype) for dtype in ("float32", "float16", "int8") for shape in products]
    one = [product(shape, dtype) for dtype in ("float16", "int8") for shape in token_products]
    attended = [attention(shape) for shape in attentions]
    attended += [attention(shape, "reduced") for shape in attentions]
    return many + one + attended + rows((1500, 384)) + rows((1, 51865))


def _limit(case: Case) -> float:
    """Return the limit of a case on the backend in use, in operations or bytes a second."""
    if case.unit == "GB/s":
        return bandwidth(case.work, SECONDS)
    return peak(reduced_operand() if case.peak == "reduced" else case.peak, SECONDS / 2)


def measure(case: Case, backends: Iterable[str]) -> list[Figure]:
    """Measure a case on each backend; the fastest of many runs counts, for the case and for the limit."""
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


def compare_backends() -> list[Figure]:
    """Measure products with one layer of `tiny` on every compiled backend.

    The products are small, so that the fastest of many runs is undisturbed even on a busy machine.
    """
    compiled = [name for name in simd.backends() if name != "numpy"]
    shapes = ((48, 384, 384), (48, 384, 1536))
    chosen = [product(shape, dtype) for dtype in ("float32", "float16", "int8") for shape in shapes]
    return [figure for case in chosen for figure in measure(case, compiled)]


if __name__ == "__main__":
    print(table(HEAD, [figure.row() for figure in compare_backends()]))
