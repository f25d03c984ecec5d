/* The matrix product c = gelu(a b^T + bias) + residual over packed panels.
 *
 * Two ways, by the number of rows: a few rows (a token, beams, a prompt) read the panels once, straight from where they lie; many rows
 * go block by block through the caches, with a packed copy of a's rows. Every element is summed over k in order, in both ways:
 * a row's result does not depend on how many rows there are, nor on the number of threads.
 */

enum {
    GEMM_K_BLOCK = 512,            /* a packed tile of rows stays in the first cache */
    GEMM_WEIGHT_BLOCK = 48 * 1024, /* floats of b that stay in the second cache while a's rows pass */
    GEMM_ROW_BLOCK = 32 * TILE_ROWS,
    GEMM_THIN = 2 * THIN_ROWS,
    GEMM_SMALL = 16 * 1024, /* products fewer than this are not worth a second thread */
};

/* Where vector `v` (counted over all columns) of the panels begins; beyond the last one, the last one. */
APR_INLINE const void *panel_vector(const void *b, ptrdiff_t v, ptrdiff_t n_vector, ptrdiff_t k, int half) {
    v = min_size(v, n_vector - 1);
    ptrdiff_t column = v * LANES;
    return weight_at(b, column / APR_PANEL * APR_PANEL * k + column % APR_PANEL, half);
}

APR_INLINE void thin_block(const apr_gemm *g, const int rows, const int vectors, const int half, ptrdiff_t row, ptrdiff_t v) {
    vf acc[THIN_ROWS][THIN_VECTORS];
    const void *b[THIN_VECTORS];
    ptrdiff_t n_vector = div_up(g->n, APR_PANEL) * APR_PANEL / LANES;
    APR_UNROLL
    for (int j = 0; j < vectors; j++) b[j] = panel_vector(g->b, v + j, n_vector, g->k, half);
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) acc[i][j] = vf_zero();
    }
    tile(acc, rows, vectors, half, g->a + row * g->a_stride, g->a_stride, 1, b, APR_PANEL, g->k);
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) finish_vector(g, row + i, (v + j) * LANES, acc[i][j]);
    }
}

static void thin_rows(const apr_gemm *g, int half, int rows, int vectors, ptrdiff_t row, ptrdiff_t v) {
#define THIN_CASE(R, V) \
    case R: \
        if (half) thin_block(g, R, V, 1, row, v); \
        else thin_block(g, R, V, 0, row, v); \
        break;
    if (vectors == THIN_VECTORS) {
        switch (rows) {
            THIN_CASE(1, THIN_VECTORS)
            THIN_CASE(2, THIN_VECTORS)
        }
        return;
    }
    switch (rows) {
        THIN_CASE(1, TILE_VECTORS)
        THIN_CASE(2, TILE_VECTORS)
        THIN_CASE(3, TILE_VECTORS)
        THIN_CASE(4, TILE_VECTORS)
#if VF_TILE_ROWS > 4
        THIN_CASE(5, TILE_VECTORS)
        THIN_CASE(6, TILE_VECTORS)
#endif
#if VF_TILE_ROWS > 6
        THIN_CASE(7, TILE_VECTORS)
        THIN_CASE(8, TILE_VECTORS)
#endif
    }
#undef THIN_CASE
}

typedef struct gemm_work {
    const apr_gemm *g;
    ptrdiff_t n_task, n_unit; /* units: groups of columns (thin) or tiles of rows (blocked) */
    ptrdiff_t k_block, n_k_block, n_column; /* blocked: how k is cut, and the columns of one block of b */
} gemm_work;

static void thin_task(void *context, ptrdiff_t i, void *scratch) {
    const gemm_work *work = context;
    const apr_gemm *g = work->g;
    (void)scratch;
    int vectors = g->m <= 2 ? THIN_VECTORS : TILE_VECTORS;
    for (ptrdiff_t unit = i * work->n_unit / work->n_task; unit < (i + 1) * work->n_unit / work->n_task; unit++) {
        for (ptrdiff_t row = 0; row < g->m; row += THIN_ROWS)
            thin_rows(g, g->b_type == APR_FLOAT16, (int)min_size(THIN_ROWS, g->m - row), vectors, row, unit * vectors);
    }
}

/* Rows row .. row + TILE_ROWS of a, columns k0 .. k0 + k, as (k, TILE_ROWS); rows that a does not have are zeros. */
static void pack_rows(const apr_gemm *g, ptrdiff_t row, ptrdiff_t k0, ptrdiff_t k, float *APR_RESTRICT packed) {
    ptrdiff_t rows = min_size(TILE_ROWS, g->m - row);
    for (ptrdiff_t i = 0; i < TILE_ROWS; i++) {
        const float *a = g->a + (row + i) * g->a_stride + k0;
        if (i < rows)
            for (ptrdiff_t s = 0; s < k; s++) packed[s * TILE_ROWS + i] = a[s];
        else
            for (ptrdiff_t s = 0; s < k; s++) packed[s * TILE_ROWS + i] = 0.0f;
    }
}

/* One register block of c: continues what lies in c unless this is the first block of k; finishes it after the last. */
static void blocked_tile(const apr_gemm *g, const float *a, const void *const *b, ptrdiff_t k, ptrdiff_t row, ptrdiff_t column, int first, int last) {
    vf acc[TILE_ROWS][THIN_VECTORS];
    float kept[TILE_ROWS * TILE_VECTORS * LANES];
    ptrdiff_t rows = min_size(TILE_ROWS, g->m - row);
    if (first) {
        APR_UNROLL
        for (int i = 0; i < TILE_ROWS; i++) {
            APR_UNROLL
            for (int j = 0; j < TILE_VECTORS; j++) acc[i][j] = vf_zero();
        }
    } else {
        for (ptrdiff_t i = 0; i < TILE_ROWS; i++) {
            for (ptrdiff_t j = 0; j < TILE_VECTORS; j++) {
                ptrdiff_t at = column + j * LANES, left = i < rows ? max_size(0, g->n - at) : 0;
                vf_store(kept + (i * TILE_VECTORS + j) * LANES, left ? vf_load_n(g->c + (row + i) * g->n + at, left) : vf_zero());
            }
        }
        APR_UNROLL
        for (int i = 0; i < TILE_ROWS; i++) {
            APR_UNROLL
            for (int j = 0; j < TILE_VECTORS; j++) acc[i][j] = vf_load(kept + (i * TILE_VECTORS + j) * LANES);
        }
    }
    tile(acc, TILE_ROWS, TILE_VECTORS, 0, a, 1, TILE_ROWS, b, APR_PANEL, k);
    APR_UNROLL
    for (int i = 0; i < TILE_ROWS; i++) {
        APR_UNROLL
        for (int j = 0; j < TILE_VECTORS; j++) vf_store(kept + (i * TILE_VECTORS + j) * LANES, acc[i][j]);
    }
    for (ptrdiff_t i = 0; i < rows; i++) {
        for (ptrdiff_t j = 0; j < TILE_VECTORS; j++) {
            vf x = vf_load(kept + (i * TILE_VECTORS + j) * LANES);
            ptrdiff_t at = column + j * LANES;
            if (last) finish_vector(g, row + i, at, x);
            else if (at < g->n) vf_store_n(g->c + (row + i) * g->n + at, x, g->n - at);
        }
    }
}

static void blocked_task(void *context, ptrdiff_t i, void *scratch) {
    const gemm_work *work = context;
    const apr_gemm *g = work->g;
    ptrdiff_t first_tile = i * work->n_unit / work->n_task, n_tile = (i + 1) * work->n_unit / work->n_task - first_tile;
    float *rows = scratch, *weights = rows + n_tile * TILE_ROWS * work->k_block;
    ptrdiff_t n_vector = work->n_column / LANES;
    for (ptrdiff_t k0 = 0; k0 < g->k; k0 += work->k_block) {
        ptrdiff_t k = min_size(work->k_block, g->k - k0);
        for (ptrdiff_t t = 0; t < n_tile; t++) pack_rows(g, (first_tile + t) * TILE_ROWS, k0, k, rows + t * TILE_ROWS * k);
        for (ptrdiff_t column0 = 0; column0 < g->n; column0 += work->n_column) {
            ptrdiff_t n_panel = div_up(min_size(work->n_column, g->n - column0), APR_PANEL), panel_step = g->k * APR_PANEL;
            const void *b = weight_at(g->b, column0 * g->k + k0 * APR_PANEL, g->b_type == APR_FLOAT16);
            if (g->b_type == APR_FLOAT16) {
                for (ptrdiff_t p = 0; p < n_panel; p++)
                    for (ptrdiff_t s = 0; s < k * APR_PANEL; s += LANES)
                        vf_store(weights + p * k * APR_PANEL + s, vf_load_half((const uint16_t *)b + p * panel_step + s));
                b = weights;
                panel_step = k * APR_PANEL;
            }
            n_vector = n_panel * APR_PANEL / LANES;
            for (ptrdiff_t t = 0; t < n_tile; t++) {
                for (ptrdiff_t v = 0; v < n_vector; v += TILE_VECTORS) {
                    const void *vectors[TILE_VECTORS];
                    for (int j = 0; j < TILE_VECTORS; j++) vectors[j] = panel_vector(b, v + j, n_vector, panel_step / APR_PANEL, 0);
                    blocked_tile(g, rows + t * TILE_ROWS * k, vectors, k, (first_tile + t) * TILE_ROWS, column0 + v * LANES, k0 == 0,
                                 k0 + k == g->k);
                }
            }
        }
    }
}

static void gemm(const apr_gemm *g) {
    ptrdiff_t n_thread = apr_get_num_threads();
    gemm_work work = {g, 1, 0, 0, 0, 0};
    if (g->k == 0) {
        for (ptrdiff_t i = 0; i < g->m; i++)
            for (ptrdiff_t column = 0; column < g->n; column += LANES) finish_vector(g, i, column, vf_zero());
        return;
    }
    if (g->m <= GEMM_THIN) {
        work.n_unit = div_up(g->n, LANES * (g->m <= 2 ? THIN_VECTORS : TILE_VECTORS));
        if (g->m * g->n * g->k >= GEMM_SMALL) work.n_task = min_size(work.n_unit, n_thread == 1 ? 1 : 4 * n_thread);
        apr_parallel(thin_task, &work, work.n_task, 0);
        return;
    }
    work.n_k_block = div_up(g->k, GEMM_K_BLOCK);
    work.k_block = div_up(g->k, work.n_k_block);
    work.n_unit = div_up(g->m, TILE_ROWS);
    work.n_task = min_size(work.n_unit, n_thread * div_up(g->m, GEMM_ROW_BLOCK * n_thread));
    work.n_column = max_size(2 * APR_PANEL, GEMM_WEIGHT_BLOCK / work.k_block / (2 * APR_PANEL) * (2 * APR_PANEL));
    work.n_column = min_size(work.n_column, div_up(g->n, APR_PANEL) * APR_PANEL);
    size_t row_floats = (size_t)(div_up(work.n_unit, work.n_task) * TILE_ROWS * work.k_block);
    size_t weight_floats = g->b_type == APR_FLOAT16 ? (size_t)(work.n_column * work.k_block) : 0;
    apr_parallel(blocked_task, &work, work.n_task, (row_floats + weight_floats) * sizeof(float));
}
