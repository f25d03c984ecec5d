/* Matrix product with int8 or int4 weights. The rows of a are quantized on the fly, once per call and task, to integers
 * up to apr_gemm.levels.
 *
 * int8: products are summed in int32, exactly and alike on every backend, then dequantized with the scale of the row
 * and of the output. int4: the same within each group of 32 inputs; the groups are summed in float32, in order.
 *
 * qgemm divides the product into tasks (q_task). Each quantizes its rows (qtile.inc.h) and multiplies them with the
 * panels (qrows.inc.h).
 */
#ifndef WHISPER_APR_KERNELS_QGEMM_INC_H
#define WHISPER_APR_KERNELS_QGEMM_INC_H

#include "../kernels.h"
#include "epilogue.inc.h"
#include "qblock.inc.h"
#include "qrows.inc.h"
#include "qtile.inc.h"
#include "tile.inc.h"

enum {
    Q_ROW_BYTES = 256 * 1024,      /* bytes of a task's quantized rows: they stay in the L2 cache */
    Q_SERIAL_PRODUCTS = 64 * 1024, /* fewer multiply-adds than this are not split among threads */
    /* Minimum rows and columns per task, so that rereading panels or requantizing rows is amortized. */
    Q_TASK_ROWS = 96,
    Q_TASK_COLUMNS = 128,
};

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
