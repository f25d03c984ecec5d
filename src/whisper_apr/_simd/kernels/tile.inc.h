/* The register block that the matrix product and attention share, and the functions of one vector that both need. */
#ifndef WHISPER_APR_KERNELS_TILE_INC_H
#define WHISPER_APR_KERNELS_TILE_INC_H

#include <stddef.h>

#include "../kernels.h"
#include "../vec/default.h"

enum {
    LANES = VF_LANES,
    TILE_ROWS = VF_TILE_ROWS,
    TILE_VECTORS = 2,
    SMALL_M_ROWS = VF_TILE_ROWS < 8 ? VF_TILE_ROWS : 8, /* a block for few rows ... */
    SMALL_M_VECTORS = LANES > 8 ? 2 : 4,                /* ... which has this many vectors where it has one or two rows: no more than two panels' */
    CACHE_LINE = 64,                                       /* bytes */
    PREFETCH_DISTANCE = 8 * 1024, /* bytes: of a single stream as much lies between what is asked for and what is used; the first cache holds some times this */
};

APR_INLINE ptrdiff_t min_size(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
APR_INLINE ptrdiff_t max_size(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
APR_INLINE ptrdiff_t div_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* Numbers of a type that a panel or a page may have: APR_FLOAT32, APR_FLOAT16; of a page, also APR_INT8. */
APR_INLINE ptrdiff_t type_size(int type) { return type == APR_FLOAT32 ? 4 : type == APR_FLOAT16 ? 2 : 1; }
APR_INLINE const void *element_at(const void *p, ptrdiff_t i, int type) { return (const char *)p + i * type_size(type); }

APR_INLINE vf load_elements(const void *p, ptrdiff_t i, int type) {
    const void *at = element_at(p, i, type);
    return type == APR_FLOAT32 ? vf_load(at) : vf_load_half(at);
}

/* While `bytes` of a single stream are read at p: ask for the lines that follow STREAM_AHEAD later. */
APR_INLINE void prefetch_stream(const void *p, const int bytes) {
    APR_UNROLL
    for (int at = 0; at < bytes; at += CACHE_LINE) APR_PREFETCH((const char *)p + PREFETCH_DISTANCE + at);
}

/* x[at .. at + LANES], of which n numbers exist */
APR_INLINE vf load_tail(const float *x, ptrdiff_t at, ptrdiff_t n) {
    return n >= at + LANES ? vf_load(x + at) : n > at ? vf_load_n(x + at, n - at) : vf_zero();
}

/* A row that will be read: rows lie too far apart for the hardware to foresee the next. */
APR_INLINE void prefetch_row(const float *x, ptrdiff_t n) {
    for (ptrdiff_t d = 0; d < n; d += CACHE_LINE / (ptrdiff_t)sizeof *x) APR_PREFETCH(x + d);
}

/* acc[i][j] += sum over s < k of a[i * a_row + s * a_step] * b[j][s * b_step], summed in the order of s. With rows, vectors, type and splat
 * constant, the compiler unrolls it and keeps acc in registers. splat: each number of a lies there LANES times, as a vector.
 * later: what will be read next, asked for on the way, later_step bytes of it for each step of k (0: none). */
APR_INLINE void microkernel_prefetch(vf acc[][SMALL_M_VECTORS], const int rows, const int vectors, const int type, const int presplat, const float *a,
                        ptrdiff_t a_row_stride, ptrdiff_t a_k_stride, const void *const *b, ptrdiff_t b_k_stride, ptrdiff_t k, const char *prefetch, const int prefetch_stride) {
    APR_UNROLL_2
    for (ptrdiff_t s = 0; s < k; s++) {
        vf w[SMALL_M_VECTORS];
        APR_UNROLL
        for (int j = 0; j < vectors; j++) w[j] = load_elements(b[j], s * b_k_stride, type);
        APR_UNROLL
        for (int at = 0; at < prefetch_stride; at += CACHE_LINE) APR_PREFETCH_L2(prefetch + s * prefetch_stride + at);
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            vf x = presplat ? vf_load(a + (i * a_row_stride + s * a_k_stride) * LANES) : vf_set1(a[i * a_row_stride + s * a_k_stride]);
            APR_UNROLL
            for (int j = 0; j < vectors; j++) acc[i][j] = vf_fma(x, w[j], acc[i][j]);
        }
    }
}

APR_INLINE void microkernel(vf acc[][SMALL_M_VECTORS], const int rows, const int vectors, const int type, const float *a, ptrdiff_t a_row_stride,
                     ptrdiff_t a_k_stride, const void *const *b, ptrdiff_t b_k_stride, ptrdiff_t k) {
    microkernel_prefetch(acc, rows, vectors, type, 0, a, a_row_stride, a_k_stride, b, b_k_stride, k, NULL, 0);
}

#endif
