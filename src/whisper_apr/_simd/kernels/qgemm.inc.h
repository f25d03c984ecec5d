/* Matrix product with int8 or int4 weights. The rows of a are quantized on the fly, once per call and task, to integers
 * up to apr_gemm.levels.
 *
 * int8: products are summed in int32, exactly and alike on every backend, then dequantized with the scale of the row
 * and of the output. int4: the same within each group of 32 inputs; the groups are summed in float32, in order. Rows
 * are split into tiles stored as (k / 4, lines, 4), so that a register block reads them and the panels sequentially. A
 * line is a row, or one of its two digits if its integers do not fit in the elements: 128 high + low, with which the
 * weights are multiplied in the same pass. k is not blocked: the operands are small enough that L1 misses hit L2 in
 * time.
 *
 * qgemm divides the product into tasks (q_task). Each quantizes its rows (quantize_tile) and multiplies them with the
 * panels: q8_stream for one line, q8_block for more lines, and q4_block for int4.
 */
#ifndef WHISPER_APR_KERNELS_QGEMM_INC_H
#define WHISPER_APR_KERNELS_QGEMM_INC_H

#include <string.h>

#include "../kernels.h"
#include "epilogue.inc.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

enum {
    QUAD = APR_QUAD,
    GROUP = APR_GROUP,
    QUADS = GROUP / QUAD,
    /* Vectors of a block of few rows: enough accumulators to hide the latency. */
    Q_SMALL_M_VECTORS = LANES == 4 || (VQ_PARTS == 1 && LANES > 1) ? 4 : 2,
    Q_TILE_ROWS = VQ_TILE_ROWS > V4_TILE_ROWS ? VQ_TILE_ROWS : V4_TILE_ROWS,
    Q_ACCUMULATORS = 4, /* most accumulators per output, and quads per loop iteration */
    Q_DIGIT_BITS = 7,
    Q_MAX_DIGITS = 2,
    /* Lines that may be computed one panel at a time. */
    Q_STREAM_LINES = APR_PANEL / LANES * VQ_PARTS == 1 ? 8 : 1,
    /* Bytes per memory page. A sequential stream prefetches either every line, or one line per page to load its TLB
     * entry. */
    Q_MEMORY_PAGE = 4096,
    Q_PREFETCH_PAGES = 4, /* pages between prefetching and reading */
    /* Columns that all tiles are multiplied with before the next columns are read. */
    Q_COLUMN_BLOCK = Q_SMALL_M_VECTORS * LANES > APR_PANEL ? Q_SMALL_M_VECTORS * LANES : APR_PANEL,
    Q_ROW_BYTES = 256 * 1024,      /* bytes of a task's quantized rows: they stay in the L2 cache */
    Q_SERIAL_PRODUCTS = 64 * 1024, /* fewer multiply-adds than this are not split among threads */
    /* Minimum rows and columns per task, so that rereading panels or requantizing rows is amortized. */
    Q_TASK_ROWS = 96,
    Q_TASK_COLUMNS = 128,
};

typedef struct q_tile {
    ptrdiff_t row;
    int rows, digits, lines; /* lines = rows * digits; a row's high digit is before the low one */
    const void *quantized;   /* (n_quad, lines, 4) vq_element or v4_element, n_quad a multiple of 8 */
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
    ptrdiff_t n_group = div_up(g->k, GROUP), n_quad = n_group * QUADS, lines = t->lines;
    for (int i = 0; i < t->rows; i++) {
        row_scales[i] = int4 ? quantize_row(g, t->row + i, 1, t->digits, row_buffer)
                             : quantize_row(g, t->row + i, 0, t->digits, row_buffer);
        for (int d = 0; d < t->digits; d++) {
            const char *from = (const char *)row_buffer + (size_t)(d * n_quad) * quad_bytes;
            char *to = quantized + (size_t)(i * t->digits + d) * quad_bytes;
            if (quad_bytes == 4)
                for (ptrdiff_t q = 0; q < n_quad; q++) memcpy(to + (size_t)(q * lines) * 4, from + q * 4, 4);
            else
                for (ptrdiff_t q = 0; q < n_quad; q++) memcpy(to + (size_t)(q * lines) * 8, from + q * 8, 8);
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

/* Compute a tile's rows at a column; return the number of vectors done. */
static int q8_rows(const apr_gemm *g, const q_tile *t, ptrdiff_t column, float *out) {
#define SUMS(R) (APR_PANEL / LANES * VQ_PARTS >= 4 ? 1 : (R) > 4 ? 2 : 4 / (APR_PANEL / LANES * VQ_PARTS))
#define VECTORS(R) ((R) * Q_SMALL_M_VECTORS <= VQ_TILE_ROWS * VQ_TILE_VECTORS ? Q_SMALL_M_VECTORS : VQ_TILE_VECTORS)
#define Q_CASE(R) \
    case R: \
        if (R == 1 || (R <= Q_STREAM_LINES && t->single_tile && apr_zen5)) { \
            q8_stream(g, t, R <= Q_STREAM_LINES ? R : 1, SUMS(R), column, out); \
            return APR_PANEL / LANES; \
        } \
        q8_block(g, t, R, VECTORS(R), column, out); \
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

typedef struct q_work {
    const apr_gemm *g;
    int int4;
    int digits;                                /* of each row's integers */
    size_t row_bytes;                          /* bytes of one quantized row, with all digits */
    ptrdiff_t n_compensation;                  /* numbers of q_tile.compensation for each row */
    ptrdiff_t n_group, n_tile, n_column_block; /* groups of k, tiles of rows, blocks of columns */
    ptrdiff_t n_row_task, n_column_task;
} q_work;

static void q_task(void *context, ptrdiff_t index, void *scratch) {
    const q_work *work = context;
    const apr_gemm *g = work->g;
    range tiles = task_range(index / work->n_column_task, work->n_row_task, work->n_tile);
    range blocks = task_range(index % work->n_column_task, work->n_column_task, work->n_column_block);
    ptrdiff_t row0 = tiles.begin * g->m / work->n_tile, n_row = tiles.end * g->m / work->n_tile - row0;
    char *row_buffer = scratch, *quantized = row_buffer + work->row_bytes;
    float *row_scales = (float *)(void *)(quantized + (size_t)n_row * work->row_bytes);
    int32_t *compensation = (int32_t *)(void *)(row_scales + n_row);
    float out[Q_TILE_ROWS * Q_COLUMN_BLOCK];
    for (ptrdiff_t block = blocks.begin; block < blocks.end; block++) {
        for (ptrdiff_t i = tiles.begin; i < tiles.end; i++) {
            range tile_rows = task_range(i, work->n_tile, g->m);
            q_tile t = {.row = tile_rows.begin};
            ptrdiff_t at = t.row - row0;
            t.single_tile = tiles.end - tiles.begin == 1;
            t.rows = (int)(tile_rows.end - t.row);
            t.digits = work->digits;
            t.lines = t.rows * t.digits;
            t.quantized = quantized + (size_t)at * work->row_bytes;
            t.row_scales = row_scales + at;
            t.compensation = compensation + at * work->n_compensation;
            prefetch_residual(g, t.row, block * Q_COLUMN_BLOCK, t.rows, Q_COLUMN_BLOCK);
            if (block == blocks.begin)
                quantize_tile(g, work->int4, &t, quantized + (size_t)at * work->row_bytes,
                              compensation + at * work->n_compensation, row_scales + at, row_buffer);
            for (ptrdiff_t column = block * Q_COLUMN_BLOCK, end = min_size(column + Q_COLUMN_BLOCK, g->n);
                 column < end;) {
                int vectors = work->int4 ? q4_rows(g, &t, column, out) : q8_rows(g, &t, column, out);
                epilogue_block(g, t.row, column, t.rows, vectors * LANES, out);
                column += vectors * LANES;
            }
        }
    }
}

static void qgemm(const apr_gemm *g) {
    q_work work = {.g = g, .int4 = g->b_type == APR_INT4, .n_row_task = 1, .n_column_task = 1};
    size_t element_bytes = work.int4 ? sizeof(v4_element) : sizeof(vq_element);
    int in_bytes = work.int4 ? element_bytes == 1 : VQ_INPUT_BITS == 8;
    work.digits = g->levels > 127.0f && in_bytes ? Q_MAX_DIGITS : 1;
    ptrdiff_t tile_rows = (work.int4 ? V4_TILE_ROWS : VQ_TILE_ROWS) / work.digits, n_thread = apr_get_num_threads();
    work.n_group = div_up(g->k, GROUP);
    work.n_compensation = work.int4 ? work.n_group : VQ_INPUT_BIAS * work.digits;
    work.n_tile = div_up(g->m, tile_rows);
    work.n_column_block = div_up(g->n, Q_COLUMN_BLOCK);
    work.row_bytes = (size_t)(work.n_group * GROUP * work.digits) * element_bytes;
    ptrdiff_t cached_rows = max_size(tile_rows, Q_ROW_BYTES / max_size(1, (ptrdiff_t)work.row_bytes));
    work.n_row_task = div_up(g->m, cached_rows);
    if (n_thread > 1 && g->m * g->n >= Q_SERIAL_PRODUCTS / max_size(1, g->k)) {
        work.n_row_task = max_size(work.n_row_task, min_size(4 * n_thread, g->m / Q_TASK_ROWS));
        work.n_column_task = max_size(1, min_size(div_up(4 * n_thread, work.n_row_task), g->n / Q_TASK_COLUMNS));
    }
    work.n_row_task = min_size(work.n_row_task, work.n_tile);
    size_t rows = (size_t)(div_up(work.n_tile, work.n_row_task) * tile_rows);
    size_t scratch =
        (rows + 1) * work.row_bytes + rows * (sizeof(float) + (size_t)work.n_compensation * sizeof(int32_t));
    apr_parallel(q_task, &work, work.n_row_task * work.n_column_task, scratch);
}

#endif
