/* Matrix product c = gelu(a b^T + bias) + residual over packed panels of float32 or float16 weights.
 *
 * Blocking and packing follow BLIS (Van Zee and van de Geijn 2015): b is packed once, when weights are loaded. With
 * few rows (one token, beams, a prompt) the panels are read once, in place ("small m"). With many rows ("large m"),
 * the rows of a are packed too and the loops are blocked for the caches. With few columns ("narrow"), packed rows would
 * be read too few times to be worth it, and the rows of a are read in place. All sum over k in the same order, so that
 * a row of c depends neither on the number of rows nor on the number of threads.
 */
#ifndef WHISPER_APR_KERNELS_GEMM_INC_H
#define WHISPER_APR_KERNELS_GEMM_INC_H

#include "../kernels.h"
#include "epilogue.inc.h"
#include "tile.inc.h"

enum {
    GEMM_SPLAT_COPIES = VF_PACK_SPLAT ? LANES : 1, /* copies of each element of packed a */
    GEMM_K_BLOCK = 2048,                           /* k is split into blocks of at most this many */
    GEMM_ROW_BYTES = 384 * 1024,                   /* bytes of a task's packed rows: they stay in the L2 cache */
    GEMM_PREFETCH_K = 64, /* k steps between prefetch batches: bounds the outstanding prefetches */
    GEMM_COLUMN_BLOCK = TILE_VECTORS * LANES > APR_PANEL ? TILE_VECTORS * LANES : APR_PANEL, /* columns */
    GEMM_SMALL_M = 2 * SMALL_M_ROWS,
    GEMM_NARROW = VF_PACK_SPLAT ? 0 : 32, /* columns */
    GEMM_SERIAL_PRODUCTS = 16 * 1024,     /* fewer multiply-adds than this are not split among threads */
    /* Minimum rows and columns per task, so that rereading b or repacking a is amortized. */
    GEMM_TASK_ROWS = 96,
    GEMM_TASK_COLUMNS = 96,
};

/* Return where vector v, counted over all columns, starts in the panels; v is clamped to the last one. */
APR_INLINE const void *panel_vector(const void *b, ptrdiff_t v, ptrdiff_t n_vector, ptrdiff_t k, int type) {
    v = min_size(v, n_vector - 1);
    ptrdiff_t column = v * LANES;
    return element_at(b, column / APR_PANEL * APR_PANEL * k + column % APR_PANEL, type);
}

APR_INLINE void small_m_block(const apr_gemm *g, const int rows, const int vectors, const int type, ptrdiff_t row,
                              ptrdiff_t v) {
    vf acc[SMALL_M_ROWS][SMALL_M_VECTORS];
    const void *b[SMALL_M_VECTORS];
    ptrdiff_t n_vector = div_up(g->n, APR_PANEL) * APR_PANEL / LANES;
    APR_UNROLL
    for (int j = 0; j < vectors; j++) b[j] = panel_vector(g->b, v + j, n_vector, g->k, type);
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) acc[i][j] = vf_zero();
    }
    /* the next block follows in memory and is prefetched */
    const int width = vectors * LANES > APR_PANEL ? vectors * LANES : APR_PANEL;
    const char *next = element_at(b[0], width * g->k, type);
    microkernel_prefetch(acc, rows, vectors, type, 0, g->a + row * g->a_stride, g->a_stride, 1, b, APR_PANEL, g->k,
                         next, width * (int)type_size(type));
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) epilogue_vector(g, row + i, (v + j) * LANES, acc[i][j]);
    }
}

static void small_m_rows(const apr_gemm *g, int type, int rows, int vectors, ptrdiff_t row, ptrdiff_t v) {
#define SMALL_M_CASE(R, V) \
    case R: \
        if (type == APR_FLOAT16) small_m_block(g, R, V, APR_FLOAT16, row, v); \
        else small_m_block(g, R, V, APR_FLOAT32, row, v); \
        break;
    if (SMALL_M_VECTORS > TILE_VECTORS && vectors == SMALL_M_VECTORS) {
        switch (rows) {
            SMALL_M_CASE(1, SMALL_M_VECTORS)
            SMALL_M_CASE(2, SMALL_M_VECTORS)
        }
        return;
    }
    switch (rows) {
        SMALL_M_CASE(1, TILE_VECTORS)
        SMALL_M_CASE(2, TILE_VECTORS)
        SMALL_M_CASE(3, TILE_VECTORS)
        SMALL_M_CASE(4, TILE_VECTORS)
#if VF_TILE_ROWS > 4
        SMALL_M_CASE(5, TILE_VECTORS)
        SMALL_M_CASE(6, TILE_VECTORS)
#endif
#if VF_TILE_ROWS > 6
        SMALL_M_CASE(7, TILE_VECTORS)
        SMALL_M_CASE(8, TILE_VECTORS)
#endif
    }
#undef SMALL_M_CASE
}

typedef struct gemm_work {
    const apr_gemm *g;
    ptrdiff_t n_column_block;                    /* blocks of columns */
    ptrdiff_t n_tile, n_row_task, n_column_task; /* tiles of rows; how rows and columns are split into tasks */
    ptrdiff_t k_block;
} gemm_work;

static void small_m_task(void *context, ptrdiff_t i, void *scratch) {
    const gemm_work *work = context;
    const apr_gemm *g = work->g;
    (void)scratch;
    int vectors = g->m <= 2 ? SMALL_M_VECTORS : TILE_VECTORS;
    for (ptrdiff_t column_block = i * work->n_column_block / work->n_column_task;
         column_block < (i + 1) * work->n_column_block / work->n_column_task; column_block++) {
        for (ptrdiff_t row = 0; row < g->m; row += SMALL_M_ROWS)
            small_m_rows(g, g->b_type == APR_FLOAT16, (int)min_size(SMALL_M_ROWS, g->m - row), vectors, row,
                         column_block * vectors);
    }
}

static void narrow_task(void *context, ptrdiff_t index, void *scratch) {
    const gemm_work *work = context;
    const apr_gemm *g = work->g;
    range rows = task_range(index, work->n_row_task, g->m);
    (void)scratch;
    for (ptrdiff_t row = rows.begin; row < rows.end; row += SMALL_M_ROWS) {
        for (ptrdiff_t column_block = 0; column_block < work->n_column_block; column_block++)
            small_m_rows(g, g->b_type == APR_FLOAT16, (int)min_size(SMALL_M_ROWS, rows.end - row), TILE_VECTORS, row,
                         column_block * TILE_VECTORS);
    }
}

/* Pack rows row .. row + TILE_ROWS and columns k0 .. k0 + k of a as (k, TILE_ROWS), each element GEMM_SPLAT_COPIES
 * times. Rows beyond m repeat the last row. The rows of the next tile are prefetched. */
static void pack_rows(const apr_gemm *g, ptrdiff_t row, ptrdiff_t k0, ptrdiff_t k, float *APR_RESTRICT packed) {
    ptrdiff_t rows = min_size(TILE_ROWS, g->m - row), s = 0;
    const float *a = g->a + row * g->a_stride + k0;
#if !VF_PACK_SPLAT
    if (rows == TILE_ROWS) {
        for (; s + 4 <= k; s += 4) {
            for (ptrdiff_t i = 0; s % (CACHE_LINE / (ptrdiff_t)sizeof *a) == 0 && i < TILE_ROWS; i++)
                APR_PREFETCH(a + min_size(TILE_ROWS + i, g->m - 1 - row) * g->a_stride + s);
            for (ptrdiff_t i = 0; i < TILE_ROWS; i += 4) {
                ptrdiff_t from = min_size(i, TILE_ROWS - 4); /* the last block of four may overlap the one before it */
                vf_transpose4(a + from * g->a_stride + s, g->a_stride, packed + s * TILE_ROWS + from, TILE_ROWS);
            }
        }
    }
#endif
    for (; s < k; s++) {
        for (ptrdiff_t i = 0; i < TILE_ROWS; i++) {
            float x = a[min_size(i, rows - 1) * g->a_stride + s];
            if (VF_PACK_SPLAT) vf_store(packed + (s * TILE_ROWS + i) * LANES, vf_set1(x));
            else packed[s * TILE_ROWS + i] = x;
        }
    }
}

/* acc += packed rows a times panels b. prefetch: what will be read next, prefetch_stride bytes of it per k step. */
APR_INLINE void large_m_microkernel(vf acc[][SMALL_M_VECTORS], const int type, const float *a, const void *const *b,
                                    ptrdiff_t k, const char *prefetch, ptrdiff_t prefetch_stride) {
    for (ptrdiff_t s = 0; s < k; s += GEMM_PREFETCH_K) {
        ptrdiff_t end = min_size(s + GEMM_PREFETCH_K, k);
        const void *from[TILE_VECTORS];
        APR_UNROLL
        for (int j = 0; j < TILE_VECTORS; j++) from[j] = element_at(b[j], s * APR_PANEL, type);
        for (ptrdiff_t at = s * prefetch_stride; at < end * prefetch_stride; at += CACHE_LINE)
            APR_PREFETCH_L2(prefetch + at);
        microkernel_prefetch(acc, TILE_ROWS, TILE_VECTORS, type, VF_PACK_SPLAT, a + s * TILE_ROWS * GEMM_SPLAT_COPIES,
                             1, TILE_ROWS, from, APR_PANEL, end - s, NULL, 0);
    }
}

/* Compute one register block of c for one block of k: continue from the partial sums in c unless this is the first
 * block of k, and apply the epilogue after the last. */
static void large_m_tile(const apr_gemm *g, const float *a, const void *const *b, int type, ptrdiff_t k, ptrdiff_t row,
                         ptrdiff_t column, int first, int last, const char *prefetch, ptrdiff_t prefetch_stride) {
    vf acc[TILE_ROWS][SMALL_M_VECTORS];
    float partial[TILE_ROWS * TILE_VECTORS * LANES];
    ptrdiff_t rows = min_size(TILE_ROWS, g->m - row);
    float *c = g->c + row * g->n + column;
    if (last) prefetch_residual(g, row, column, rows, TILE_VECTORS * LANES);
    int whole = rows == TILE_ROWS && column + TILE_VECTORS * LANES <= g->n;
    if (first) {
        APR_UNROLL
        for (int i = 0; i < TILE_ROWS; i++) {
            APR_UNROLL
            for (int j = 0; j < TILE_VECTORS; j++) acc[i][j] = vf_zero();
        }
    } else {
        const float *from = c;
        ptrdiff_t stride = g->n;
        if (!whole) {
            for (ptrdiff_t i = 0; i < TILE_ROWS; i++) {
                for (ptrdiff_t j = 0; j < TILE_VECTORS; j++) {
                    ptrdiff_t left = i < rows ? max_size(0, g->n - column - j * LANES) : 0;
                    vf_store(partial + (i * TILE_VECTORS + j) * LANES,
                             left ? vf_load_n(c + i * g->n + j * LANES, left) : vf_zero());
                }
            }
            from = partial, stride = TILE_VECTORS * LANES;
        }
        APR_UNROLL
        for (int i = 0; i < TILE_ROWS; i++) {
            APR_UNROLL
            for (int j = 0; j < TILE_VECTORS; j++) acc[i][j] = vf_load(from + i * stride + j * LANES);
        }
    }
    if (type == APR_FLOAT16 && VF_HALF_COST == 0)
        large_m_microkernel(acc, APR_FLOAT16, a, b, k, prefetch, prefetch_stride);
    else large_m_microkernel(acc, APR_FLOAT32, a, b, k, prefetch, prefetch_stride);
    float *to = whole && !last ? c : partial;
    ptrdiff_t stride = whole && !last ? g->n : TILE_VECTORS * LANES;
    APR_UNROLL
    for (int i = 0; i < TILE_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < TILE_VECTORS; j++) vf_store(to + i * stride + j * LANES, acc[i][j]);
    }
    if (last) {
        epilogue_block(g, row, column, rows, TILE_VECTORS * LANES, partial);
    } else if (!whole) {
        for (ptrdiff_t i = 0; i < rows; i++) {
            for (ptrdiff_t j = 0; column + j * LANES < g->n && j < TILE_VECTORS; j++)
                vf_store_n(c + i * g->n + j * LANES, vf_load(partial + (i * TILE_VECTORS + j) * LANES),
                           g->n - column - j * LANES);
        }
    }
}

/* Return whether float16 weights are converted to float32 before the product, once for all tiles of a task. */
APR_INLINE int converts_half_first(const apr_gemm *g) {
    return g->b_type == APR_FLOAT16 && (VF_HALF_COST > 0 || !apr_zen5);
}

/* Multiply one block of columns with all tiles of a task, from k0 on. converted: scratch for converted weights. */
static void large_m_columns(const gemm_work *work, ptrdiff_t column0, ptrdiff_t k0, ptrdiff_t k, ptrdiff_t tile,
                            ptrdiff_t end_tile, const float *rows, float *converted) {
    const apr_gemm *g = work->g;
    ptrdiff_t n_panel = div_up(min_size(GEMM_COLUMN_BLOCK, g->n - column0), APR_PANEL),
              n_vector = n_panel * APR_PANEL / LANES, panel_k = g->k;
    int type = g->b_type;
    ptrdiff_t at = column0 * g->k + k0 * APR_PANEL;
    const void *b = element_at(g->b, at, type), *next = element_at(g->b, at + GEMM_COLUMN_BLOCK * g->k, type);
    if (converts_half_first(g)) {
        for (ptrdiff_t p = 0; p < n_panel; p++)
            for (ptrdiff_t s = 0; s < k * APR_PANEL; s += LANES)
                vf_store(converted + p * k * APR_PANEL + s,
                         vf_load_half((const uint16_t *)b + p * g->k * APR_PANEL + s));
        b = converted, panel_k = k, type = APR_FLOAT32;
    }
    /* The weights of the next block of columns are prefetched: each call takes its share of one panel in turn. */
    ptrdiff_t n_call = (end_tile - tile) * div_up(n_vector, TILE_VECTORS), size = type_size(g->b_type), call = 0;
    ptrdiff_t prefetch_stride =
        column0 + GEMM_COLUMN_BLOCK < g->n ? div_up(APR_PANEL * size, div_up(n_call, n_panel)) : 0;
    for (ptrdiff_t t = tile; t < end_tile; t++, rows += TILE_ROWS * work->k_block * GEMM_SPLAT_COPIES) {
        for (ptrdiff_t v = 0; v < n_vector && column0 + v * LANES < g->n; v += TILE_VECTORS, call++) {
            const void *vectors[TILE_VECTORS];
            for (int j = 0; j < TILE_VECTORS; j++) vectors[j] = panel_vector(b, v + j, n_vector, panel_k, type);
            const char *prefetch =
                (const char *)next + call % n_panel * APR_PANEL * g->k * size + call / n_panel * k * prefetch_stride;
            large_m_tile(g, rows, vectors, type, k, t * TILE_ROWS, column0 + v * LANES, k0 == 0, k0 + k == g->k,
                         prefetch, prefetch_stride);
        }
    }
}

static void large_m_task(void *context, ptrdiff_t index, void *scratch) {
    const gemm_work *work = context;
    const apr_gemm *g = work->g;
    range tiles = task_range(index / work->n_column_task, work->n_row_task, work->n_tile);
    range blocks = task_range(index % work->n_column_task, work->n_column_task, work->n_column_block);
    ptrdiff_t tile_floats = TILE_ROWS * work->k_block * GEMM_SPLAT_COPIES;
    float *rows = scratch, *converted = rows + (tiles.end - tiles.begin) * tile_floats;
    for (ptrdiff_t k0 = 0; k0 < g->k; k0 += work->k_block) {
        ptrdiff_t k = min_size(work->k_block, g->k - k0);
        for (ptrdiff_t t = tiles.begin; t < tiles.end; t++)
            pack_rows(g, t * TILE_ROWS, k0, k, rows + (t - tiles.begin) * tile_floats);
        for (ptrdiff_t u = blocks.begin; u < blocks.end; u++)
            large_m_columns(work, u * GEMM_COLUMN_BLOCK, k0, k, tiles.begin, tiles.end, rows, converted);
    }
}

static void gemm(const apr_gemm *g) {
    ptrdiff_t n_thread = apr_get_num_threads(), wanted = 4 * n_thread;
    gemm_work work = {.g = g, .n_row_task = 1, .n_column_task = 1};
    if (n_thread == 1 || g->m * g->n * g->k < GEMM_SERIAL_PRODUCTS) wanted = 1;
    if (g->k == 0) {
        for (ptrdiff_t i = 0; i < g->m; i++)
            for (ptrdiff_t column = 0; column < g->n; column += LANES) epilogue_vector(g, i, column, vf_zero());
        return;
    }
    if (g->m <= (VF_HALF_COST == 2 && g->b_type == APR_FLOAT16 ? SMALL_M_ROWS : GEMM_SMALL_M)) {
        work.n_column_block = div_up(g->n, LANES * (g->m <= 2 ? SMALL_M_VECTORS : TILE_VECTORS));
        work.n_column_task = min_size(work.n_column_block, wanted);
        apr_parallel(small_m_task, &work, work.n_column_task, 0);
        return;
    }
    if (g->n <= GEMM_NARROW && g->b_type == APR_FLOAT32) {
        work.n_column_block = div_up(g->n, LANES * TILE_VECTORS);
        work.n_row_task = wanted > 1 ? max_size(1, min_size(wanted, g->m / GEMM_TASK_ROWS)) : 1;
        apr_parallel(narrow_task, &work, work.n_row_task, 0);
        return;
    }
    work.k_block = div_up(g->k, div_up(g->k, GEMM_K_BLOCK));
    work.n_tile = div_up(g->m, TILE_ROWS);
    work.n_column_block = div_up(g->n, GEMM_COLUMN_BLOCK);
    size_t tile_floats = (size_t)(TILE_ROWS * work.k_block * GEMM_SPLAT_COPIES);
    work.n_row_task = div_up(work.n_tile, max_size(1, GEMM_ROW_BYTES / (ptrdiff_t)(tile_floats * sizeof(float))));
    if (wanted > 1) {
        work.n_row_task = max_size(work.n_row_task, min_size(wanted, g->m / GEMM_TASK_ROWS));
        work.n_column_task = max_size(1, min_size(div_up(wanted, work.n_row_task), g->n / GEMM_TASK_COLUMNS));
    }
    work.n_row_task = min_size(work.n_row_task, work.n_tile);
    size_t floats = (size_t)div_up(work.n_tile, work.n_row_task) * tile_floats;
    if (converts_half_first(g)) floats += (size_t)(GEMM_COLUMN_BLOCK * work.k_block);
    apr_parallel(large_m_task, &work, work.n_row_task * work.n_column_task, floats * sizeof(float));
}

#endif
