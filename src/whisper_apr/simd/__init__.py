"""The kernels' public face: typed, checked, documented operations, and the backend that runs them.

A backend is `scalar` (plain C), an instruction set (`sse2`, `avx2`, `avx512`, `avx512vnni`, `avx512bf16`; `neon`,
`neondot`; `wasm128`), or `numpy` (the same operations in NumPy: slow, the tests' oracle). The best that this machine
can run is picked at import; the environment variable `WHISPER_APR_BACKEND` overrides the choice, `use_backend` changes
it. Arrays are float32 unless said otherwise; what is not C-contiguous float32 is copied once. Every backend raises the
same errors and agrees with `scalar` within float32 rounding, also about NaN, infinities, subnormal numbers and -0.0.

An operation raises TypeError for an argument of a wrong type (what is no array of real numbers, a weight that is not
packed, a size that is no whole number) and ValueError for one of a wrong shape or value. `out`, where an operation
takes it, must be a C-contiguous float32 array of the result's shape that shares no memory with any other argument.
"""

from ..errors import BackendError
from .dispatch import backend, backends, get_num_threads, set_num_threads, use_backend
from .filters import FilterBank, PhaseTable
from .graph import Graph
from .kv_cache import PAGE, KVCache, new_kv_cache, new_kv_caches
from .layout import aligned_empty, huge_zeros
from .ops import (
    Operand,
    Precision,
    argmax,
    attention,
    dot,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    logsumexp,
    lz4_decode,
    matmul,
    matvec,
    paged_attention,
    read_all,
    run_peak,
    softmax,
    store_pages,
    top_k,
)
from .signal import dtw, interpolate, median_filter, mel_project, polyphase, power_spectrum
from .weights import (
    COMPUTE_TYPES,
    FloatArray,
    PackedMatrix,
    QuantizedWeight,
    Weight,
    pack,
    prepare,
    quantize_int4,
    quantize_int8,
)

__all__ = [
    "COMPUTE_TYPES",
    "PAGE",
    "BackendError",
    "FilterBank",
    "FloatArray",
    "Graph",
    "KVCache",
    "Operand",
    "PackedMatrix",
    "PhaseTable",
    "Precision",
    "QuantizedWeight",
    "Weight",
    "aligned_empty",
    "argmax",
    "attention",
    "backend",
    "backends",
    "dot",
    "dtw",
    "gelu",
    "get_num_threads",
    "huge_zeros",
    "interpolate",
    "layer_norm",
    "linear",
    "log_softmax",
    "logsumexp",
    "lz4_decode",
    "matmul",
    "matvec",
    "median_filter",
    "mel_project",
    "new_kv_cache",
    "new_kv_caches",
    "pack",
    "paged_attention",
    "polyphase",
    "power_spectrum",
    "prepare",
    "quantize_int4",
    "quantize_int8",
    "read_all",
    "run_peak",
    "set_num_threads",
    "softmax",
    "store_pages",
    "top_k",
    "use_backend",
]
