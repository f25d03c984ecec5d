/* The register blocks of a tile: a case for each number of lines, so that each is compiled with constants. */
#ifndef WHISPER_APR_KERNELS_QROWS_INC_H
#define WHISPER_APR_KERNELS_QROWS_INC_H

#include "../kernels.h"
#include "qblock.inc.h"
#include "qpair.inc.h"
#include "qtile.inc.h"

/* Compute a tile's rows at a column; return the number of vectors done. */
static int q8_rows(const apr_gemm *g, const q_tile *t, ptrdiff_t column, float *out) {
#if VQ_PAIRS
#define Q8_BLOCK q8_pairs
#else
#define Q8_BLOCK q8_block
#endif
#define SUMS(R) (APR_PANEL / LANES * VQ_PARTS >= 4 ? 1 : (R) > 4 ? 2 : 4 / (APR_PANEL / LANES * VQ_PARTS))
#define VECTORS(R) ((R) * Q_SMALL_M_VECTORS <= VQ_TILE_ROWS * VQ_TILE_VECTORS ? Q_SMALL_M_VECTORS : VQ_TILE_VECTORS)
#define Q_CASE(R) \
    case R: \
        if (R == 1 || (R <= Q_STREAM_LINES && t->single_tile && apr_zen5)) { \
            q8_stream(g, t, R <= Q_STREAM_LINES ? R : 1, SUMS(R), column, out); \
            return APR_PANEL / LANES; \
        } \
        Q8_BLOCK(g, t, R, VECTORS(R), column, out); \
        return VECTORS(R);
    switch (t->lines) {
        Q_CASE(1)
        Q_CASE(2)
#if VQ_TILE_ROWS > 2
        Q_CASE(3)
        Q_CASE(4)
#endif
#if VQ_TILE_ROWS > 4
        Q_CASE(5)
        Q_CASE(6)
#endif
#if VQ_TILE_ROWS > 6
        Q_CASE(7)
        Q_CASE(8)
        Q_CASE(9)
        Q_CASE(10)
        Q_CASE(11)
        Q_CASE(12)
#endif
    }
#undef Q_CASE
#undef Q8_BLOCK
#undef VECTORS
#undef SUMS
    return Q_SMALL_M_VECTORS;
}

static int q4_rows(const apr_gemm *g, const q_tile *t, ptrdiff_t column, float *out) {
#define Q_CASE(R) \
    case R: \
        if (R % Q_MAX_DIGITS == 0 && sizeof(v4_element) == 1 && t->digits == Q_MAX_DIGITS) \
            q4_block(g, t, R, R % Q_MAX_DIGITS == 0 ? Q_MAX_DIGITS : 1, column, out); \
        else q4_block(g, t, R, 1, column, out); \
        break;
    switch (t->lines) {
        Q_CASE(1)
        Q_CASE(2)
        Q_CASE(3)
#if V4_TILE_ROWS > 3
        Q_CASE(4)
#endif
#if V4_TILE_ROWS > 4
        Q_CASE(5)
        Q_CASE(6)
        Q_CASE(7)
        Q_CASE(8)
#endif
#if V4_TILE_ROWS > 8
        Q_CASE(9)
        Q_CASE(10)
        Q_CASE(11)
        Q_CASE(12)
#endif
    }
#undef Q_CASE
    return 1;
}

#endif
