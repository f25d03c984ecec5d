/* Tiles of the quantized matrix product: rows of a, quantized to integers and laid out for the register blocks.
 *
 * Rows are split into tiles stored as (k / 4, lines, 4), so that a register block reads them and the panels
 * sequentially; for products of two lines and two quads, int8 tiles are (k / 8, lines, 8). A line is a row, or one of
 * its two digits if its integers do not fit in the elements: 128 high + low, with which the weights are multiplied in
 * the same pass.
 */
#ifndef WHISPER_APR_KERNELS_QTILE_INC_H
#define WHISPER_APR_KERNELS_QTILE_INC_H

#include <string.h>

#include "../kernels.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

enum {
    QUAD = APR_QUAD,
    GROUP = APR_GROUP,
    QUADS = GROUP / QUAD,
    Q_DIGIT_BITS = 7,
    Q_MAX_DIGITS = 2,
};

typedef struct q_tile {
    ptrdiff_t row;
    int rows, digits, lines; /* lines = rows * digits; a row's high digit is before the low one */
    const void *quantized;   /* as above, vq_element or v4_element; k is a multiple of 32 */
    /* int4: (n_group, rows), -8 times each group's sum: the weights' zero point. int8: (lines), minus their bias. */
    const int32_t *compensation;
    const float *row_scales; /* (rows) */
    int single_tile;         /* no other tile reads the same panels */
} q_tile;

APR_INLINE void q_store(void *out, ptrdiff_t at, vf x, const int int4) {
    if (int4) v4_store((v4_element *)out + at, x);
    else vq_store((vq_element *)out + at, x);
}

/* Quantize row `row` of a, zero-padded to a multiple of 32, to out (digits, padded). Return its scale: NaN if an
 * element is infinite or NaN. */
APR_INLINE float quantize_row(const apr_gemm *g, ptrdiff_t row, const int int4, int digits, void *out) {
    const float base = 1 << Q_DIGIT_BITS;
    const float *a = g->a + row * g->a_stride;
    ptrdiff_t whole = g->k / LANES * LANES, padded = div_up(g->k, GROUP) * GROUP;
    float inverse_scale, scale = quantization_scale(a, g->k, g->levels, &inverse_scale);
    int usable = inverse_scale != 0.0f;
    for (ptrdiff_t s = 0; s < padded; s += LANES) {
        vf x = vf_zero();
        if (usable && s < g->k)
            x = vf_mul(s < whole ? vf_load(a + s) : vf_load_n(a + s, g->k - s), vf_set1(inverse_scale));
        if (digits == Q_MAX_DIGITS) {
            vf rounded = vf_round(x), high = vf_round(vf_mul(rounded, vf_set1(1.0f / base)));
            q_store(out, s, high, int4);
            q_store(out, padded + s, vf_fma(high, vf_set1(-base), rounded), int4);
        } else q_store(out, s, x, int4);
    }
    return scale;
}

/* Return what vq_dot adds for a line of quantized inputs, whatever the weights are. */
static int32_t input_bias(const vq_element *x, ptrdiff_t n_quad) {
    static const int8_t zeros[APR_PANEL * QUAD];
    int32_t lanes[LANES];
    vi acc = vi_set1(0);
    for (ptrdiff_t q = 0; q < n_quad; q++) acc = vq_dot(acc, vq_load_weight(zeros, 0), vq_load_input(x + q * QUAD));
    vi_store(lanes, acc);
    return lanes[0];
}

/* Fill in a tile's elements, row scales and compensation. row_buffer holds the digits of one quantized row. */
static void quantize_tile(const apr_gemm *g, const int int4, const q_tile *t, char *quantized, int32_t *compensation,
                          float *row_scales, void *row_buffer) {
    size_t quad_bytes = QUAD * (int4 ? sizeof(v4_element) : sizeof(vq_element));
    const int paired = VQ_PAIRS && !int4; /* two quads of a line are adjacent */
    ptrdiff_t n_group = div_up(g->k, GROUP), n_quad = n_group * QUADS, lines = t->lines;
    for (int i = 0; i < t->rows; i++) {
        row_scales[i] = int4 ? quantize_row(g, t->row + i, 1, t->digits, row_buffer)
                             : quantize_row(g, t->row + i, 0, t->digits, row_buffer);
        for (int d = 0; d < t->digits; d++) {
            const char *from = (const char *)row_buffer + (size_t)(d * n_quad) * quad_bytes;
            size_t piece = quad_bytes << paired; /* bytes of a line that are adjacent */
            char *to = quantized + (size_t)(i * t->digits + d) * piece;
            ptrdiff_t n_piece = n_quad >> paired;
            if (piece == 4)
                for (ptrdiff_t q = 0; q < n_piece; q++) memcpy(to + (size_t)(q * lines) * 4, from + q * 4, 4);
            else
                for (ptrdiff_t q = 0; q < n_piece; q++) memcpy(to + (size_t)(q * lines) * 8, from + q * 8, 8);
            if (!int4 && VQ_INPUT_BIAS)
                compensation[i * t->digits + d] = -input_bias((const vq_element *)(const void *)from, n_quad);
        }
        for (ptrdiff_t group = 0; int4 && group < n_group; group++) {
            int32_t sum = 0;
            for (int d = 0; d < t->digits; d++) {
                const v4_element *x = (const v4_element *)row_buffer + (d * n_group + group) * GROUP;
                sum *= 1 << Q_DIGIT_BITS;
                for (int s = 0; s < GROUP; s++) sum += x[s];
            }
            compensation[group * t->rows + i] = -8 * sum;
        }
    }
}

/* Return where the vector of column `column` starts in panels of `panel_bytes`. */
APR_INLINE const char *q_panel(const void *panels, ptrdiff_t column, ptrdiff_t panel_bytes) {
    return (const char *)panels + column / APR_PANEL * panel_bytes + column % APR_PANEL * QUAD;
}

/* Return the sum of a row, given those of its digits. It fits in 32 bits, but the shifted sum may not: 2047 has the
 * digits 16 and -1. Both operations wrap around, so that the result is right. */
APR_INLINE vi q_join_digits(vi high, vi low) { return vi_add(vi_shift_left(high, Q_DIGIT_BITS), low); }

#endif
