"""Fast array operations for speech models: checked, typed functions over kernels for each instruction set.

The kernels are compiled once for each **backend**:

- `scalar`: plain C, available everywhere;
- `sse2`, `avx2`, `avx2vnni`, `avx512`, `avx512vnni`, `avx512bf16`: x86-64;
- `neon`, `neondot`, `neoni8mm`, `neonbf16`: aarch64;
- `wasm128`, `wasm128relaxed`: WebAssembly, the second with relaxed SIMD;
- `numpy`: the same operations in NumPy. It is slow, needs no compiled extension, and serves as the reference in tests.

The fastest backend that this machine supports is selected at import. Set the environment variable
`WHISPER_APR_BACKEND` or call `use_backend` to select another one; `wasm128relaxed` is there only if the variable is
set to it before the import. All backends raise the same errors and agree with
`scalar` within float32 rounding, including for NaN, infinities, subnormal numbers and -0.0. Integer results are
identical. No result depends on the number of threads.

Examples:
    >>> import numpy as np
    >>> from whisper_apr import simd
    >>> weight = simd.pack(np.ones((2, 3), np.float32))  # (n_out, n_in), packed once
    >>> simd.linear(np.ones((1, 3), np.float32), weight)
    array([[3., 3.]], dtype=float32)

Conventions that every operation follows:

- Arrays are float32 unless stated otherwise. An array-like argument of another type, byte order or memory layout is
  converted, which copies it.
- TypeError is raised for an argument of the wrong type: not an array of real numbers, a weight that is not packed, or
  a size that is not an integer.
- ValueError is raised for an argument of the wrong shape or value.
- `out`, where an operation accepts it, must be a C-contiguous float32 array of the result's shape that shares no memory
  with any other argument. The operation writes its result there and returns it.
"""

from ..errors import BackendError
from .attention_ops import Precision, attention, paged_attention, store_pages
from .checks import FloatArray
from .dispatch import backend, backends, get_num_threads, set_num_threads, use_backend
from .filters import FilterBank, PhaseTable
from .graph import Graph
from .kv_cache import PAGE, KVCache, new_kv_cache, new_kv_caches
from .layout import aligned_empty, huge_zeros
from .ops import (
    Operand,
    argmax,
    dot,
    gelu,
    layer_norm,
    linear,
    log_softmax,
    logsumexp,
    lz4_decode,
    matmul,
    matvec,
    read_all,
    run_peak,
    softmax,
    top_k,
)
from .quantize import ActivationBits, QuantizedWeight, quantize_int4, quantize_int8
from .recurrent import lstm
from .signal import dtw, interpolate, median_filter, mel_project, polyphase, power_spectrum
from .weights import COMPUTE_TYPES, PackedMatrix, Weight, pack, prepare

__all__ = [
    "COMPUTE_TYPES",
    "PAGE",
    "ActivationBits",
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
    "lstm",
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
