/* Register blocks of the quantized matrix product: the lines of a tile times panels of int8 or int4 weights.
 *
 * q8_stream is for one line, q8_block for more lines, and q4_block for int4. k is not blocked: the operands are small
 * enough that L1 misses hit L2 in time.
 */
#ifndef WHISPER_APR_KERNELS_QBLOCK_INC_H
#define WHISPER_APR_KERNELS_QBLOCK_INC_H

#include "../kernels.h"
#include "qtile.inc.h"
#include "tile.inc.h"

enum {
    /* Vectors of a block of few rows: enough accumulators to hide the latency. */
    Q_SMALL_M_VECTORS = LANES == 4 || (VQ_PARTS == 1 && LANES > 1) ? 4 : 2,
    Q_TILE_ROWS = VQ_TILE_ROWS > V4_TILE_ROWS ? VQ_TILE_ROWS : V4_TILE_ROWS,
    Q_ACCUMULATORS = 4, /* most accumulators per output, and quads per loop iteration */
    /* Lines that may be computed one panel at a time. */
    Q_STREAM_LINES = APR_PANEL / LANES * VQ_PARTS == 1 ? 8 : 1,
    /* Bytes per memory page. A sequential stream prefetches either every line, or one line per page to load its TLB
     * entry. */
    Q_MEMORY_PAGE = 4096,
    Q_PREFETCH_PAGES = 4, /* pages between prefetching and reading */
    /* Columns that all tiles are multiplied with before the next columns are read. */
    Q_COLUMN_BLOCK = Q_SMALL_M_VECTORS * LANES > APR_PANEL ? Q_SMALL_M_VECTORS * LANES : APR_PANEL,
};

/* Dequantize the sums of a tile's lines for one vector of outputs. acc[i * stride] are those of line i; row r is
 * written to out + r * out_stride. */
APR_INLINE void q8_dequantize(const apr_gemm *g, const q_tile *t, const int lines, ptrdiff_t column,
                              const vi (*acc)[VQ_PARTS], const int stride, float *out, const int out_stride) {
    vf scales = vf_load((const float *)g->scales + column);
    vi high = vi_set1(0);
    APR_UNROLL
    for (int i = 0; i < lines; i++) {
        vi sum =
            vq_undo_zero_point(vq_merge_parts(acc[i * stride][0], acc[i * stride][VQ_PARTS - 1]), g->sums + column);
        int row = i;
        if (VQ_INPUT_BITS == 8 && t->digits == Q_MAX_DIGITS) {
            row = i / Q_MAX_DIGITS;
            if (i % Q_MAX_DIGITS == 0) {
                high = sum;
                continue;
            }
            sum = q_join_digits(high, sum);
        }
        vf_store(out + row * out_stride, vf_mul(vf_mul(vf_from_int(sum), vf_set1(t->row_scales[row])), scales));
    }
}

/* Compute the rows of these lines x vectors of the product, before the epilogue. */
APR_INLINE void q8_block(const apr_gemm *g, const q_tile *t, const int lines, const int vectors, ptrdiff_t column,
                         float *out) {
    vi acc[VQ_TILE_ROWS][Q_SMALL_M_VECTORS][VQ_PARTS];
    const int8_t *w[Q_SMALL_M_VECTORS];
    const vq_element *x = t->quantized;
    const int width = vectors * LANES > APR_PANEL ? vectors * LANES : APR_PANEL;
    ptrdiff_t n_quad = div_up(g->k, QUAD), ahead = (t->single_tile ? width : Q_COLUMN_BLOCK) * n_quad,
              last = div_up(g->n, APR_PANEL) * APR_PANEL - LANES;
    APR_UNROLL
    for (int j = 0; j < vectors; j++)
        w[j] = (const int8_t *)q_panel(g->b, min_size(column + j * LANES, last), n_quad * APR_PANEL * QUAD);
    APR_UNROLL
    for (int i = 0; i < lines; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) {
            APR_UNROLL
            for (int p = 0; p < VQ_PARTS; p++) acc[i][j][p] = vi_set1(VQ_INPUT_BIAS ? t->compensation[i] : 0);
        }
    }
    for (ptrdiff_t q = 0; q < n_quad; q++) {
        vq weights[Q_SMALL_M_VECTORS][VQ_PARTS];
        APR_UNROLL
        for (int j = 0; j < vectors; j++) {
            APR_UNROLL
            for (int p = 0; p < VQ_PARTS; p++) weights[j][p] = vq_load_weight(w[j] + q * APR_PANEL * QUAD, p);
        }
        /* prefetch what will be read next, one line after the other */
        APR_UNROLL
        for (int j = 0; j < width; j += APR_PANEL) APR_PREFETCH_L2(w[0] + (ahead + q * width + j) * QUAD);
        APR_UNROLL
        for (int i = 0; i < lines; i++) {
            vq_input input = vq_load_input(x + (q * lines + i) * QUAD);
            APR_UNROLL
            for (int j = 0; j < vectors; j++) {
                APR_UNROLL
                for (int p = 0; p < VQ_PARTS; p++) acc[i][j][p] = vq_dot(acc[i][j][p], weights[j][p], input);
            }
        }
    }
    APR_UNROLL
    for (int j = 0; j < vectors; j++)
        q8_dequantize(g, t, lines, min_size(column + j * LANES, last), &acc[0][j], Q_SMALL_M_VECTORS, out + j * LANES,
                      vectors * LANES);
}

/* Add one quad of each line times one quad of a panel to accumulator `sum`. */
APR_INLINE void q8_fma(vi acc[][Q_ACCUMULATORS][APR_PANEL / LANES][VQ_PARTS], const int lines, const int sum,
                       const int8_t *w, const vq_element *x) {
    vq weights[APR_PANEL / LANES][VQ_PARTS];
    APR_UNROLL
    for (int j = 0; j < APR_PANEL / LANES; j++) {
        APR_UNROLL
        for (int p = 0; p < VQ_PARTS; p++) weights[j][p] = vq_load_weight(w + j * LANES * QUAD, p);
    }
    APR_UNROLL
    for (int i = 0; i < lines; i++) {
        vq_input input = vq_load_input(x + i * QUAD);
        APR_UNROLL
        for (int j = 0; j < APR_PANEL / LANES; j++) {
            APR_UNROLL
            for (int p = 0; p < VQ_PARTS; p++) acc[i][sum][j][p] = vq_dot(acc[i][sum][j][p], weights[j][p], input);
        }
    }
}

/* Multiply few lines with one panel. Memory bandwidth is the limit, so the panel is read sequentially. `sums`
 * accumulators per output, used in turn, hide the instruction's latency; integers may be summed in any order. */
APR_INLINE void q8_stream(const apr_gemm *g, const q_tile *t, const int lines, const int sums, ptrdiff_t column,
                          float *out) {
    enum { VECTORS = APR_PANEL / LANES };
    vi acc[Q_STREAM_LINES][Q_ACCUMULATORS][VECTORS][VQ_PARTS];
    const vq_element *x = t->quantized;
    ptrdiff_t n_quad = div_up(g->k, QUAD), q = 0;
    const int prefetch_lines = apr_zen5;
    const int8_t *w = (const int8_t *)q_panel(g->b, column, n_quad * APR_PANEL * QUAD);
    APR_UNROLL
    for (int i = 0; i < lines; i++) {
        APR_UNROLL
        for (int u = 0; u < sums; u++) {
            APR_UNROLL
            for (int j = 0; j < VECTORS * VQ_PARTS; j++)
                acc[i][u][j / VQ_PARTS][j % VQ_PARTS] = vi_set1(VQ_INPUT_BIAS && u == 0 ? t->compensation[i] : 0);
        }
    }
    for (; q + Q_ACCUMULATORS <= n_quad; q += Q_ACCUMULATORS) {
        if (prefetch_lines) prefetch_stream(w + q * APR_PANEL * QUAD, Q_ACCUMULATORS * APR_PANEL * QUAD);
        else if (q % (Q_MEMORY_PAGE / (APR_PANEL * QUAD)) == 0)
            APR_PREFETCH_L2(w + q * APR_PANEL * QUAD + Q_PREFETCH_PAGES * Q_MEMORY_PAGE);
        APR_UNROLL
        for (int u = 0; u < Q_ACCUMULATORS; u++)
            q8_fma(acc, lines, u % sums, w + (q + u) * APR_PANEL * QUAD, x + (q + u) * lines * QUAD);
    }
    for (; q < n_quad; q++) q8_fma(acc, lines, 0, w + q * APR_PANEL * QUAD, x + q * lines * QUAD);
    APR_UNROLL
    for (int i = 0; i < lines; i++) {
        APR_UNROLL
        for (int j = 0; j < VECTORS; j++) {
            APR_UNROLL
            for (int u = 1; u < sums; u++) {
                APR_UNROLL
                for (int p = 0; p < VQ_PARTS; p++) acc[i][0][j][p] = vi_add(acc[i][0][j][p], acc[i][u][j][p]);
            }
        }
    }
    APR_UNROLL
    for (int j = 0; j < VECTORS; j++)
        q8_dequantize(g, t, lines, column + j * LANES, &acc[0][0][j], Q_ACCUMULATORS * VECTORS, out + j * LANES,
                      APR_PANEL);
}

/* Compute the rows of these lines for one vector of the product, before the epilogue. */
APR_INLINE void q4_block(const apr_gemm *g, const q_tile *t, const int lines, const int digits, ptrdiff_t column,
                         float *out) {
    vf total[V4_TILE_ROWS];
    const v4_element *x = t->quantized;
    ptrdiff_t n_group = div_up(g->k, GROUP), group_bytes = APR_PANEL * GROUP / 2;
    const uint8_t *w = (const uint8_t *)q_panel(g->b, column, n_group * group_bytes);
    const uint16_t *scales =
        (const uint16_t *)g->scales + column / APR_PANEL * n_group * APR_PANEL + column % APR_PANEL;
    APR_UNROLL
    for (int i = 0; i < lines / digits; i++) total[i] = vf_zero();
    const int prefetch_lines = t->single_tile && apr_zen5;
    for (ptrdiff_t group = 0; group < n_group; group++) {
        vi acc[V4_TILE_ROWS][V4_PARTS];
        if (prefetch_lines) prefetch_stream(w, APR_PANEL * GROUP / 2);
        APR_UNROLL
        for (int i = 0; i < lines * V4_PARTS; i++) acc[i / V4_PARTS][i % V4_PARTS] = vi_set1(0);
        APR_UNROLL
        for (int v = 0; v < QUADS / 2; v++) {
            APR_UNROLL
            for (int p = 0; p < V4_PARTS; p++) {
                v4 low = v4_load_weight(w + v * APR_PANEL * QUAD, p, 0),
                   high = v4_load_weight(w + v * APR_PANEL * QUAD, p, 1);
                APR_UNROLL
                for (int i = 0; i < lines; i++) {
                    acc[i][p] = v4_dot(acc[i][p], low, v4_load_input(x + (v * lines + i) * QUAD));
                    acc[i][p] = v4_dot(acc[i][p], high, v4_load_input(x + ((v + QUADS / 2) * lines + i) * QUAD));
                }
            }
        }
        vf scale = vf_load_half(scales + group * APR_PANEL);
        vi high_digit = vi_set1(0);
        APR_UNROLL
        for (int i = 0; i < lines; i++) {
            vi sum = v4_merge_parts(acc[i][0], acc[i][V4_PARTS - 1]);
            if (i % digits) sum = q_join_digits(high_digit, sum);
            high_digit = sum;
            if (i % digits < digits - 1) continue;
            sum = vi_add(sum, vi_set1(t->compensation[group * lines / digits + i / digits]));
            total[i / digits] = vf_fma(vf_from_int(sum), scale, total[i / digits]);
        }
        w += group_bytes;
        x += QUADS * lines * QUAD;
    }
    APR_UNROLL
    for (int i = 0; i < lines / digits; i++) vf_store(out + i * LANES, vf_mul(total[i], vf_set1(t->row_scales[i])));
}

#endif
