# The declarations of kernels.h in Cython.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t


cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()

cdef extern from "kernels.h" nogil:
    enum:
        APR_FLOAT32, APR_FLOAT16, APR_INT8, APR_INT4

    ctypedef struct apr_gemm:
        ptrdiff_t m, n, k
        const float *a
        ptrdiff_t a_stride
        const void *b
        int b_type
        const void *scales
        const int32_t *sums
        float levels
        const float *bias
        int gelu
        const float *residual
        float *c

    ctypedef struct apr_attention:
        ptrdiff_t n_row, n_head, n_query, d_head
        int causal
        int reduced
        float scale
        const float *q
        ptrdiff_t q_row, q_head, q_time
        float *out
        ptrdiff_t out_row, out_head, out_time
        const void *keys
        const void *values
        int type
        const float *scales
        const int32_t *pages
        const int32_t *lengths
        ptrdiff_t pages_stride, n_page
        ptrdiff_t n_key
        ptrdiff_t k_row, k_head, k_time, v_row, v_head, v_time

    ctypedef struct apr_store:
        ptrdiff_t n_row, n_new, n_head, d_head
        const float *k
        const float *v
        ptrdiff_t k_row, k_time, v_row, v_time
        const int32_t *pages
        ptrdiff_t pages_stride, n_page
        const int32_t *lengths
        const int32_t *counts
        void *keys
        void *values
        int type
        float *scales

    ctypedef struct apr_norm:
        ptrdiff_t n_row, n
        const float *x
        const float *weight
        const float *bias
        float eps
        float *out

    ctypedef struct apr_spectrum:
        const float *audio
        const float *window
        ptrdiff_t n_fft, hop, n_frame
        float *out

    ctypedef struct apr_polyphase:
        const float *x
        const float *panels
        const int64_t *offsets
        const int32_t *starts
        ptrdiff_t n_panel, k, n_tap, step, n_group
        float *out

    ctypedef struct apr_interpolated:
        const float *x
        const float *filters
        const int64_t *begins
        const float *phases
        ptrdiff_t n_phase, n_tap, n
        float *out

    ctypedef struct apr_lstm:
        ptrdiff_t n_step, n_row, n_state
        int backward
        const float *inputs
        const float *weight
        float *out

    ctypedef struct apr_table:
        const char *name
        int lanes
        void (*gemm)(const apr_gemm *g) noexcept nogil
        void (*qgemm)(const apr_gemm *g) noexcept nogil
        void (*attention)(const apr_attention *a) noexcept nogil
        void (*store)(const apr_store *s) noexcept nogil
        void (*gelu)(const float *x, float *out, ptrdiff_t n) noexcept nogil
        void (*dot)(const float *a, const float *b, ptrdiff_t n, float *out) noexcept nogil
        void (*softmax)(const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n, int log_form) noexcept nogil
        void (*logsumexp)(const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n) noexcept nogil
        void (*argmax)(const float *x, int64_t *out, ptrdiff_t n_row, ptrdiff_t n) noexcept nogil
        void (*top_k)(const float *x, int64_t *out, ptrdiff_t n_row, ptrdiff_t n, ptrdiff_t k) noexcept nogil
        void (*layer_norm)(const apr_norm *n) noexcept nogil
        void (*lstm)(const apr_lstm *l) noexcept nogil
        void (*spectrum)(const apr_spectrum *s) noexcept nogil
        void (*mel)(
            const float *power, const float *filters, float *out, ptrdiff_t n_mel, ptrdiff_t n_freq, ptrdiff_t n_frame
        ) noexcept nogil
        void (*median)(const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n, ptrdiff_t width) noexcept nogil
        void (*dtw)(const float *x, ptrdiff_t n, ptrdiff_t m, float *cost, int8_t *trace) noexcept nogil
        void (*polyphase)(const apr_polyphase *p) noexcept nogil
        void (*interpolated)(const apr_interpolated *p) noexcept nogil
        void (*peak)(float *out, ptrdiff_t n_task) noexcept nogil
        void (*dot_peak)(float *out, ptrdiff_t n_task) noexcept nogil
        void (*bfloat16_peak)(float *out, ptrdiff_t n_task) noexcept nogil
        void (*read_all)(const float *x, ptrdiff_t n, float *out) noexcept nogil

    int apr_tables(const apr_table **out, int capacity)
    void apr_set_num_threads(int n)
    int apr_get_num_threads()
    int apr_take_failure()
