/* The epilogue of a matrix product: bias, GELU and residual, applied to a register block before it is stored. */
#ifndef WHISPER_APR_KERNELS_EPILOGUE_INC_H
#define WHISPER_APR_KERNELS_EPILOGUE_INC_H

#include "../kernels.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

/* Finish one vector of c, of which the first n - column lanes exist. */
APR_INLINE void epilogue_vector(const apr_gemm *g, ptrdiff_t row, ptrdiff_t column, vf x) {
    ptrdiff_t left = g->n - column;
    if (left <= 0) return;
    float *c = g->c + row * g->n + column;
    if (g->bias) x = vf_add(x, vf_load_n(g->bias + column, left));
    if (g->gelu) x = gelu_vector(x);
    if (g->residual) x = vf_add(x, vf_load_n(g->residual + row * g->n + column, left));
    vf_store_n(c, x, left);
}

APR_INLINE void epilogue_rows(const apr_gemm *g, ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows, ptrdiff_t columns,
                              const float *block, const int gelu, const int residual) {
    for (ptrdiff_t i = 0, at = row * g->n + column; i < rows; i++, at += g->n, block += columns) {
        for (ptrdiff_t j = 0; j < columns; j += LANES) {
            vf x = vf_load(block + j);
            if (g->bias) x = vf_add(x, vf_load(g->bias + column + j));
            if (gelu) x = gelu_vector(x);
            if (residual) x = vf_add(x, vf_load(g->residual + at + j));
            vf_store(g->c + at + j, x);
        }
    }
}

/* Finish rows x columns of c from their sums in `block` (rows, columns). Columns beyond n are dropped. */
static void epilogue_block(const apr_gemm *g, ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows, ptrdiff_t columns,
                           const float *block) {
    if (column + columns > g->n) {
        for (ptrdiff_t i = 0; i < rows * columns; i += LANES)
            epilogue_vector(g, row + i / columns, column + i % columns, vf_load(block + i));
    } else if (g->gelu && g->residual) epilogue_rows(g, row, column, rows, columns, block, 1, 1);
    else if (g->gelu) epilogue_rows(g, row, column, rows, columns, block, 1, 0);
    else if (g->residual) epilogue_rows(g, row, column, rows, columns, block, 0, 1);
    else epilogue_rows(g, row, column, rows, columns, block, 0, 0);
}

/* Prefetch the residual that epilogue_block will add to rows x columns of c. */
APR_INLINE void prefetch_residual(const apr_gemm *g, ptrdiff_t row, ptrdiff_t column, ptrdiff_t rows,
                                  const int columns) {
    if (!g->residual) return;
    for (ptrdiff_t i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < columns; j += CACHE_LINE / (int)sizeof(float))
            APR_PREFETCH_L2(g->residual + (row + i) * g->n + column + j);
    }
}

#endif
