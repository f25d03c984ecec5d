/* The register block of int8 weights for an instruction that multiplies two lines of inputs with two outputs' weights,
 * eight of each (I8MM). A vector of sums holds two lines of two outputs.
 */
#ifndef WHISPER_APR_KERNELS_QPAIR_INC_H
#define WHISPER_APR_KERNELS_QPAIR_INC_H

#include "../kernels.h"
#include "qblock.inc.h"
#include "qtile.inc.h"

#if VQ_PAIRS

/* Add two quads of each line times those of LANES outputs; x (lines, 8). */
APR_INLINE void q8_pair_fma(vi (*acc)[2], const int stride, const int lines, vq first, vq second, const vq_element *x) {
    vq even = vq_pair_weights(first, second, 0), odd = vq_pair_weights(first, second, 1);
    APR_UNROLL
    for (int i = 0; i < lines; i += 2) {
        const vq_element *at = x + i * 2 * QUAD;
        vq_input pair = i + 1 < lines ? vq_load_pair(at) : vq_load_half_pair(at);
        vi *sums = acc[i / 2 * stride];
        sums[0] = vq_pair_dot(sums[0], even, pair);
        sums[1] = vq_pair_dot(sums[1], odd, pair);
    }
}

/* Compute the rows of these lines x vectors of the product, before the epilogue. */
APR_INLINE void q8_pairs(const apr_gemm *g, const q_tile *t, const int lines, const int vectors, ptrdiff_t column,
                         float *out) {
    vi acc[(VQ_TILE_ROWS + 1) / 2][Q_SMALL_M_VECTORS][2], sums[VQ_TILE_ROWS][VQ_PARTS];
    const int8_t *w[Q_SMALL_M_VECTORS];
    const vq_element *x = t->quantized;
    const int width = vectors * LANES > APR_PANEL ? vectors * LANES : APR_PANEL;
    ptrdiff_t n_quad = div_up(g->k, QUAD), ahead = (t->single_tile ? width : Q_COLUMN_BLOCK) * n_quad,
              last = div_up(g->n, APR_PANEL) * APR_PANEL - LANES, q = 0;
    APR_UNROLL
    for (int j = 0; j < vectors; j++)
        w[j] = (const int8_t *)q_panel(g->b, min_size(column + j * LANES, last), n_quad * APR_PANEL * QUAD);
    APR_UNROLL
    for (int i = 0; i < lines; i += 2) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) acc[i / 2][j][0] = acc[i / 2][j][1] = vi_set1(0);
    }
    for (; q + 1 < n_quad; q += 2) {
        APR_UNROLL
        for (int j = 0; j < 2 * width; j += APR_PANEL) APR_PREFETCH_L2(w[0] + (ahead + q * width + j) * QUAD);
        APR_UNROLL
        for (int j = 0; j < vectors; j++)
            q8_pair_fma(&acc[0][j], Q_SMALL_M_VECTORS, lines, vq_load_weight(w[j] + q * APR_PANEL * QUAD, 0),
                        vq_load_weight(w[j] + (q + 1) * APR_PANEL * QUAD, 0), x + q * lines * QUAD);
    }
    if (q < n_quad) { /* the panel ends with its first quad */
        static const int8_t zeros[LANES * QUAD];
        APR_UNROLL
        for (int j = 0; j < vectors; j++)
            q8_pair_fma(&acc[0][j], Q_SMALL_M_VECTORS, lines, vq_load_weight(w[j] + q * APR_PANEL * QUAD, 0),
                        vq_load_weight(zeros, 0), x + q * lines * QUAD);
    }
    APR_UNROLL
    for (int j = 0; j < vectors; j++) {
        APR_UNROLL
        for (int i = 0; i < lines; i++) sums[i][0] = vq_pair_line(acc[i / 2][j][0], acc[i / 2][j][1], i % 2);
        q8_dequantize(g, t, lines, min_size(column + j * LANES, last), &sums[0], 1, out + j * LANES, vectors * LANES);
    }
}

#endif

#endif
