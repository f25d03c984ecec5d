# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Bindings of the kernels: turn buffers into pointers, release the GIL, run a kernel. Calls can be captured in a graph.

Arguments are not checked here: `whisper_apr.simd`, the only caller, has validated types, shapes and strides.
"""

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, realloc


INTERFACE = 3  # version of the signatures below; simd/dispatch.py compares it with the version that it expects

cdef const apr_table *tables[8]
cdef int n_table = apr_tables(tables, 8)
cdef const apr_table *table = tables[n_table - 1]

names = tuple([tables[i].name.decode() for i in range(n_table)])
lanes = {tables[i].name.decode(): tables[i].lanes for i in range(n_table)}


def backends():
    return names


def use_backend(name):
    global table
    table = tables[names.index(name)]


def set_num_threads(int n):
    apr_set_num_threads(n)


def get_num_threads():
    return apr_get_num_threads()


# The buffers that one call has acquired. `release` releases them, and raises if a kernel ran out of memory.
cdef struct Buffers:
    Py_buffer views[8]
    int n


cdef Py_buffer *acquire(Buffers *buffers, object x, bint writable) except NULL:
    cdef Py_buffer *view = &buffers.views[buffers.n]
    PyObject_GetBuffer(x, view, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
    buffers.n += 1
    return view


cdef int acquire_matrix(
    Buffers *buffers, object panels, object scales, const void **panels_at, const void **scales_at
) except -1:
    """Acquire a packed matrix's panels and scales. Return its type, which follows from their element sizes."""
    cdef Py_buffer *view = acquire(buffers, panels, False)
    cdef int kind = APR_FLOAT16 if view.itemsize == 2 else APR_FLOAT32
    panels_at[0] = view.buf
    scales_at[0] = NULL
    if scales is not None:
        view = acquire(buffers, scales, False)
        kind = APR_INT4 if view.itemsize == 2 else APR_INT8
        scales_at[0] = view.buf
    return kind


cdef int page_type(const Py_buffer *pages):
    return APR_FLOAT32 if pages.itemsize == 4 else APR_FLOAT16 if pages.itemsize == 2 else APR_INT8


cdef int release(Buffers *buffers) except -1:
    while buffers.n:
        buffers.n -= 1
        PyBuffer_Release(&buffers.views[buffers.n])
    if apr_take_failure():
        raise MemoryError("not enough memory for a kernel's scratch space")
    return 0


# ---- calls that can be captured --------------------------------------------------------------------------------------

cdef enum:
    GEMM, ATTENTION, STORE, NORM

cdef union Arguments:
    apr_gemm gemm
    apr_attention attention
    apr_store store
    apr_norm norm

cdef struct Operation:
    int kind
    Arguments arguments


cdef void run(const Operation *o) noexcept nogil:
    cdef const apr_table *t = table
    if o.kind == GEMM:
        if o.arguments.gemm.scales == NULL:
            t.gemm(&o.arguments.gemm)
        else:
            t.qgemm(&o.arguments.gemm)
    elif o.kind == ATTENTION:
        t.attention(&o.arguments.attention)
    elif o.kind == STORE:
        t.store(&o.arguments.store)
    else:
        t.layer_norm(&o.arguments.norm)


cdef class Graph:
    """The kernel calls of one thread between `start` and `stop`; `replay` repeats them on the same arrays."""
    cdef Operation *operations
    cdef Py_ssize_t n, capacity
    cdef list arrays

    def __cinit__(self):
        self.operations = NULL
        self.n = self.capacity = 0
        self.arrays = []

    def __dealloc__(self):
        free(self.operations)

    def __len__(self):
        return self.n

    cdef int add(self, const Operation *o, tuple arrays) except -1:
        cdef Operation *grown
        if self.n == self.capacity:
            grown = <Operation *>realloc(self.operations, (2 * self.capacity + 64) * sizeof(Operation))
            if grown == NULL:
                raise MemoryError
            self.operations = grown
            self.capacity = 2 * self.capacity + 64
        self.arrays.append(arrays)
        self.operations[self.n] = o[0]
        self.n += 1
        return 0

    def start(self):
        global capturing, capturing_thread
        capturing_thread = PyThread_get_thread_ident()
        capturing = self

    def stop(self):
        global capturing
        capturing = None

    def replay(self):
        cdef Py_ssize_t i
        with nogil:
            for i in range(self.n):
                run(&self.operations[i])
        if apr_take_failure():
            raise MemoryError("not enough memory for a kernel's scratch space")


cdef Graph capturing = None  # one at a time, which simd/graph.py ensures
cdef unsigned long capturing_thread = 0


cdef int call(const Operation *o, tuple arrays) except -1:
    """Run an operation; if this thread captures a graph, add it. The graph keeps the arrays alive."""
    with nogil:
        run(o)
    if capturing is not None and capturing_thread == PyThread_get_thread_ident():
        capturing.add(o, arrays)
    return 0


def gemm(x, panels, scales, sums, float levels, ptrdiff_t n_out, bias, bint with_gelu, residual, out):
    cdef Buffers buffers
    cdef Operation o
    cdef apr_gemm *g = &o.arguments.gemm
    cdef Py_buffer *view
    buffers.n = 0
    try:
        o.kind = GEMM
        view = acquire(&buffers, x, False)
        g.m, g.k = view.shape[0], view.shape[1]
        g.a = <const float *>view.buf
        g.a_stride = view.strides[0] // 4
        g.b_type = acquire_matrix(&buffers, panels, scales, &g.b, &g.scales)
        g.sums = NULL
        if sums is not None:
            g.sums = <const int32_t *>acquire(&buffers, sums, False).buf
        g.levels = levels
        g.n = n_out
        g.bias = g.residual = NULL
        if bias is not None:
            g.bias = <const float *>acquire(&buffers, bias, False).buf
        g.gelu = with_gelu
        if residual is not None:
            g.residual = <const float *>acquire(&buffers, residual, False).buf
        g.c = <float *>acquire(&buffers, out, True).buf
        call(&o, (x, panels, scales, sums, bias, residual, out))
    finally:
        release(&buffers)


def attention(q, k, v, bint causal, bint reduced, float scale, out):
    cdef Buffers buffers
    cdef Operation o
    cdef apr_attention *a = &o.arguments.attention
    cdef Py_buffer *view
    buffers.n = 0
    try:
        o.kind = ATTENTION
        view = acquire(&buffers, q, False)
        a.n_row, a.n_head, a.n_query, a.d_head = view.shape[0], view.shape[1], view.shape[2], view.shape[3]
        a.q = <const float *>view.buf
        a.q_row, a.q_head, a.q_time = view.strides[0] // 4, view.strides[1] // 4, view.strides[2] // 4
        view = acquire(&buffers, k, False)
        a.n_key = view.shape[2]
        a.keys = view.buf
        a.k_row, a.k_head, a.k_time = view.strides[0] // 4, view.strides[1] // 4, view.strides[2] // 4
        view = acquire(&buffers, v, False)
        a.values = view.buf
        a.v_row, a.v_head, a.v_time = view.strides[0] // 4, view.strides[1] // 4, view.strides[2] // 4
        view = acquire(&buffers, out, True)
        a.out = <float *>view.buf
        a.out_row, a.out_head, a.out_time = view.strides[0] // 4, view.strides[1] // 4, view.strides[2] // 4
        a.causal = causal
        a.reduced = reduced
        a.scale = scale
        a.type = APR_FLOAT32
        a.scales = NULL
        a.pages = NULL
        a.lengths = NULL
        a.pages_stride = a.n_page = 0
        call(&o, (q, k, v, out))
    finally:
        release(&buffers)


def paged_attention(q, keys, values, scales, pages, lengths, bint causal, float scale, out):
    cdef Buffers buffers
    cdef Operation o
    cdef apr_attention *a = &o.arguments.attention
    cdef Py_buffer *view
    buffers.n = 0
    try:
        o.kind = ATTENTION
        view = acquire(&buffers, q, False)
        a.n_row, a.n_query = view.shape[0], view.shape[1]
        a.q = <const float *>view.buf
        a.q_row, a.q_time = view.strides[0] // 4, view.strides[1] // 4
        a.keys = acquire(&buffers, keys, False).buf
        view = acquire(&buffers, values, False)
        a.n_head, a.n_page, a.d_head = view.shape[0], view.shape[1], view.shape[3]
        a.q_head = a.out_head = a.d_head
        a.values = view.buf
        a.type = page_type(view)
        a.scales = NULL
        if scales is not None:
            a.scales = <const float *>acquire(&buffers, scales, False).buf
        view = acquire(&buffers, pages, False)
        a.pages = <const int32_t *>view.buf
        a.pages_stride = view.shape[1]
        a.lengths = <const int32_t *>acquire(&buffers, lengths, False).buf
        view = acquire(&buffers, out, True)
        a.out = <float *>view.buf
        a.out_row, a.out_time = view.strides[0] // 4, view.strides[1] // 4
        a.n_key = a.k_row = a.k_head = a.k_time = a.v_row = a.v_head = a.v_time = 0
        a.causal = causal
        a.reduced = False
        a.scale = scale
        call(&o, (q, keys, values, scales, pages, lengths, out))
    finally:
        release(&buffers)


def store_pages(k, v, pages, lengths, counts, keys, values, scales):
    cdef Buffers buffers
    cdef Operation o
    cdef apr_store *s = &o.arguments.store
    cdef Py_buffer *view
    buffers.n = 0
    try:
        o.kind = STORE
        view = acquire(&buffers, k, False)
        s.n_row, s.n_new = view.shape[0], view.shape[1]
        s.k = <const float *>view.buf
        s.k_row, s.k_time = view.strides[0] // 4, view.strides[1] // 4
        view = acquire(&buffers, v, False)
        s.v = <const float *>view.buf
        s.v_row, s.v_time = view.strides[0] // 4, view.strides[1] // 4
        view = acquire(&buffers, pages, False)
        s.pages = <const int32_t *>view.buf
        s.pages_stride = view.shape[1]
        s.lengths = <const int32_t *>acquire(&buffers, lengths, False).buf
        s.counts = NULL
        if counts is not None:
            s.counts = <const int32_t *>acquire(&buffers, counts, False).buf
        s.keys = acquire(&buffers, keys, True).buf
        view = acquire(&buffers, values, True)
        s.n_head, s.n_page, s.d_head = view.shape[0], view.shape[1], view.shape[3]
        s.type = page_type(view)
        s.values = view.buf
        s.scales = NULL
        if scales is not None:
            s.scales = <float *>acquire(&buffers, scales, True).buf
        call(&o, (k, v, pages, lengths, counts, keys, values, scales))
    finally:
        release(&buffers)


def layer_norm(x, weight, bias, float eps, out):
    cdef Buffers buffers
    cdef Operation o
    cdef apr_norm *n = &o.arguments.norm
    cdef Py_buffer *view
    buffers.n = 0
    try:
        o.kind = NORM
        view = acquire(&buffers, x, False)
        n.n_row, n.n = view.shape[0], view.shape[1]
        n.x = <const float *>view.buf
        n.weight = <const float *>acquire(&buffers, weight, False).buf
        n.bias = <const float *>acquire(&buffers, bias, False).buf
        n.eps = eps
        n.out = <float *>acquire(&buffers, out, True).buf
        call(&o, (x, weight, bias, out))
    finally:
        release(&buffers)


# ---- other calls -----------------------------------------------------------------------------------------------------


cdef enum:
    GELU, SOFTMAX, LOGSUMEXP, ARGMAX, TOP_K, MEDIAN, READ_ALL


cdef int apply(int kind, x, out, ptrdiff_t option) except -1:
    """Compute one array from another. option: whether softmax returns logarithms, the width of a median, repeats."""
    cdef Buffers buffers
    cdef Py_buffer *source
    cdef Py_buffer *target
    cdef const apr_table *t = table
    buffers.n = 0
    try:
        source = acquire(&buffers, x, False)
        target = acquire(&buffers, out, True)
        with nogil:
            if kind == GELU:
                t.gelu(<const float *>source.buf, <float *>target.buf, source.shape[0])
            elif kind == SOFTMAX:
                t.softmax(<const float *>source.buf, <float *>target.buf, source.shape[0], source.shape[1], option)
            elif kind == LOGSUMEXP:
                t.logsumexp(<const float *>source.buf, <float *>target.buf, source.shape[0], source.shape[1])
            elif kind == ARGMAX:
                t.argmax(<const float *>source.buf, <int64_t *>target.buf, source.shape[0], source.shape[1])
            elif kind == TOP_K:
                t.top_k(
                    <const float *>source.buf, <int64_t *>target.buf, source.shape[0], source.shape[1], target.shape[1]
                )
            elif kind == MEDIAN:
                t.median(<const float *>source.buf, <float *>target.buf, target.shape[0], target.shape[1], option)
            else:
                while option > 0:
                    t.read_all(<const float *>source.buf, source.shape[0], <float *>target.buf)
                    option -= 1
    finally:
        release(&buffers)
    return 0


def gelu(x, out):
    apply(GELU, x, out, 0)


def softmax(x, bint log_form, out):
    apply(SOFTMAX, x, out, log_form)


def logsumexp(x, out):
    apply(LOGSUMEXP, x, out, 0)


def argmax(x, out):
    apply(ARGMAX, x, out, 0)


def top_k(x, out):
    apply(TOP_K, x, out, 0)


def median(x, ptrdiff_t width, out):
    apply(MEDIAN, x, out, width)


def read_all(x, ptrdiff_t times, out):
    apply(READ_ALL, x, out, times)


def dot(a, b):
    cdef Buffers buffers
    cdef Py_buffer *left
    cdef Py_buffer *right
    cdef const apr_table *t = table
    cdef float result = 0
    buffers.n = 0
    try:
        left = acquire(&buffers, a, False)
        right = acquire(&buffers, b, False)
        with nogil:
            t.dot(<const float *>left.buf, <const float *>right.buf, left.shape[0], &result)
    finally:
        release(&buffers)
    return result


include "embed.pxi"
include "recurrent.pxi"
include "signal.pxi"
