/* The register block (microkernel) that the matrix product, attention and resampling share, and the helpers around it:
 * sizes, typed loads, prefetching.
 *
 * The terms are those of BLIS (Van Zee and van de Geijn 2015): a register block holds TILE_ROWS x TILE_VECTORS
 * accumulators.
 */
#ifndef WHISPER_APR_KERNELS_TILE_INC_H
#define WHISPER_APR_KERNELS_TILE_INC_H

#include <stddef.h>

#include "../kernels.h"
#include "../vec/default.h"

#if !defined(VQ_INPUT_BIAS) /* whether vq_dot adds a number that depends on the inputs alone */
#define VQ_INPUT_BIAS 0
#endif

#if !defined(VQ_PAIRS) /* whether a product takes two lines and two quads */
#define VQ_PAIRS 0
#endif

#if !defined(VI_PAIRS) /* whether products of pairs of 16-bit integers are faster than those of floats */
#define VI_PAIRS 0
#endif

#if !defined(VQ_INPUT_BITS) /* of an integer that vq_store takes */
#define VQ_INPUT_BITS (8 * sizeof(vq_element))
#endif

enum {
    LANES = VF_LANES,
    TILE_ROWS = VF_TILE_ROWS,
    TILE_VECTORS = 2,
    SMALL_M_ROWS = VF_TILE_ROWS < 8 ? VF_TILE_ROWS : 8, /* rows of a block for few rows ("small m") */
    SMALL_M_VECTORS = LANES > 8 ? 2 : 4,                /* its vectors, for one or two rows: at most two panels wide */
    CACHE_LINE = 64,                                    /* bytes */
    /* Bytes between prefetching and reading a sequential stream. L1 is several times as large. */
    PREFETCH_DISTANCE = 8 * 1024,
};

APR_INLINE ptrdiff_t min_size(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
APR_INLINE ptrdiff_t max_size(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
APR_INLINE ptrdiff_t div_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* Items begin to end - 1: those of one task, when n items are divided as evenly as possible among n_task tasks. */
typedef struct range {
    ptrdiff_t begin, end;
} range;
APR_INLINE range task_range(ptrdiff_t task, ptrdiff_t n_task, ptrdiff_t n) {
    return (range){task * n / n_task, (task + 1) * n / n_task};
}

/* Size and address of elements of a panel or page: APR_FLOAT32, APR_FLOAT16 or, in pages only, APR_INT8. */
APR_INLINE ptrdiff_t type_size(int type) { return type == APR_FLOAT32 ? 4 : type == APR_FLOAT16 ? 2 : 1; }
APR_INLINE const void *element_at(const void *p, ptrdiff_t i, int type) {
    return (const char *)p + i * type_size(type);
}

APR_INLINE vf load_elements(const void *p, ptrdiff_t i, int type) {
    const void *at = element_at(p, i, type);
    return type == APR_FLOAT32 ? vf_load(at) : vf_load_half(at);
}

/* Prefetch the lines that are PREFETCH_DISTANCE ahead of `bytes` being read at p. */
APR_INLINE void prefetch_stream(const void *p, const int bytes) {
    APR_UNROLL
    for (int at = 0; at < bytes; at += CACHE_LINE) APR_PREFETCH((const char *)p + PREFETCH_DISTANCE + at);
}

/* Load x[at .. at + LANES], zero beyond n numbers. */
APR_INLINE vf load_tail(const float *x, ptrdiff_t at, ptrdiff_t n) {
    return n >= at + LANES ? vf_load(x + at) : n > at ? vf_load_n(x + at, n - at) : vf_zero();
}

/* Prefetch a row of n numbers. Rows lie too far apart for the hardware prefetcher to predict the next. */
APR_INLINE void prefetch_row(const float *x, ptrdiff_t n) {
    for (ptrdiff_t d = 0; d < n; d += CACHE_LINE / (ptrdiff_t)sizeof *x) APR_PREFETCH(x + d);
}

/* The microkernel: acc[i][j] += sum over s < k of a[i * a_row_stride + s * a_k_stride] * b[j][s * b_k_stride].
 * The sum runs in the order of s. rows, vectors, type and presplat are compile-time constants, so that the loops are
 * unrolled and acc stays in registers. presplat: each element of a is stored LANES times, as a vector. prefetch: what
 * will be read next, prefetch_stride bytes of it per k step (0: none). */
APR_INLINE void microkernel_prefetch(vf acc[][SMALL_M_VECTORS], const int rows, const int vectors, const int type,
                                     const int presplat, const float *a, ptrdiff_t a_row_stride, ptrdiff_t a_k_stride,
                                     const void *const *b, ptrdiff_t b_k_stride, ptrdiff_t k, const char *prefetch,
                                     const int prefetch_stride) {
    APR_UNROLL_2
    for (ptrdiff_t s = 0; s < k; s++) {
        vf w[SMALL_M_VECTORS];
        APR_UNROLL
        for (int j = 0; j < vectors; j++) w[j] = load_elements(b[j], s * b_k_stride, type);
        APR_UNROLL
        for (int at = 0; at < prefetch_stride; at += CACHE_LINE) APR_PREFETCH_L2(prefetch + s * prefetch_stride + at);
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            vf x = presplat ? vf_load(a + (i * a_row_stride + s * a_k_stride) * LANES)
                            : vf_set1(a[i * a_row_stride + s * a_k_stride]);
            APR_UNROLL
            for (int j = 0; j < vectors; j++) acc[i][j] = vf_fma(x, w[j], acc[i][j]);
        }
    }
}

APR_INLINE void microkernel(vf acc[][SMALL_M_VECTORS], const int rows, const int vectors, const int type,
                            const float *a, ptrdiff_t a_row_stride, ptrdiff_t a_k_stride, const void *const *b,
                            ptrdiff_t b_k_stride, ptrdiff_t k) {
    microkernel_prefetch(acc, rows, vectors, type, 0, a, a_row_stride, a_k_stride, b, b_k_stride, k, NULL, 0);
}

#endif
