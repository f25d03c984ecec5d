/* The matrix product with int8 or int4 weights: the rows of a are rounded to 8 bits on the way, once a call and task.
 *
 * int8: whole numbers are summed in int32, the same on every backend, then scaled. int4: so within each group of 32 inputs; the groups are
 * summed in float32, in order. The rows are cut into tiles, whose numbers lie as (k / 4, rows, 4): a register block reads them and the
 * panels straight on. No block of k: the numbers are small, and what falls out of the first cache comes in time from the second.
 */

enum {
    QUAD = APR_QUAD,
    GROUP = APR_GROUP,
    QUADS = GROUP / QUAD,
    Q_WIDE = LANES == 4 || (VQ_PARTS == 1 && LANES > 1) ? 4 : 2, /* vectors of a block of few rows: enough sums at once to hide the latency */
    Q_ROWS = VQ_TILE_ROWS > V4_TILE_ROWS ? VQ_TILE_ROWS : V4_TILE_ROWS,
    Q_SUMS = 4, /* of one output at most, and the quads that are taken at once */
    Q_STREAM_ROWS = APR_PANEL / LANES * VQ_PARTS == 1 ? 8 : 1, /* so many may be done a panel at a time */
    Q_PAGE = 4096,           /* bytes: of a single stream one line of each page is asked for, which looks the page's address up, or every line */
    Q_PAGES_AHEAD = 4,       /* so much earlier than it is read */
    Q_UNIT = Q_WIDE * LANES > APR_PANEL ? Q_WIDE * LANES : APR_PANEL, /* columns that all tiles pass before the next ones are read */
    Q_ROW_BYTES = 256 * 1024,  /* of a task's rounded rows: they stay in the second cache while the panels pass */
    Q_SMALL = 64 * 1024,       /* products fewer than this are not worth a second thread */
    Q_TASK_ROWS = 96,          /* a task of rows reads all panels, and a task of columns rounds all rows: at least so many ... */
    Q_TASK_COLUMNS = 128,      /* ... of each, that this does not weigh */
};

typedef struct q_tile {
    ptrdiff_t row;
    int rows;
    const void *numbers;    /* (n_quad, rows, 4), n_quad a multiple of 8 */
    const int32_t *offsets; /* int4: (n_group, rows): -8 times the sum of a group's numbers */
    const float *steps;     /* (rows): what one step of a number is worth */
    int alone;              /* no other tile passes over the same panels */
} q_tile;

/* Row `row` of a as whole numbers, zeros up to a multiple of 32. Returns what a step is worth: NaN where the row has infinity or NaN. */
APR_INLINE float round_row(const apr_gemm *g, ptrdiff_t row, const int four, void *out) {
    const float *a = g->a + row * g->a_stride;
    ptrdiff_t whole = g->k / LANES * LANES, padded = div_up(g->k, GROUP) * GROUP;
    float inverse, step = step_of(a, g->k, &inverse);
    int usable = inverse != 0.0f;
    for (ptrdiff_t s = 0; s < padded; s += LANES) {
        vf x = vf_zero();
        if (usable && s < g->k) x = vf_mul(s < whole ? vf_load(a + s) : vf_load_n(a + s, g->k - s), vf_set1(inverse));
        if (four) v4_store((v4_number *)out + s, x);
        else vq_store((vq_number *)out + s, x);
    }
    return step;
}

/* A tile's numbers, steps and offsets; `line` holds one row's numbers. */
static void round_tile(const apr_gemm *g, const int four, const q_tile *t, char *numbers, int32_t *offsets, float *steps, void *line) {
    size_t unit = QUAD * (four ? sizeof(v4_number) : sizeof(vq_number));
    ptrdiff_t n_group = div_up(g->k, GROUP);
    for (int i = 0; i < t->rows; i++) {
        steps[i] = four ? round_row(g, t->row + i, 1, line) : round_row(g, t->row + i, 0, line);
        const char *from = line;
        char *to = numbers + (size_t)i * unit;
        if (unit == 4)
            for (ptrdiff_t q = 0; q < n_group * QUADS; q++) memcpy(to + (size_t)(q * t->rows) * 4, from + q * 4, 4);
        else
            for (ptrdiff_t q = 0; q < n_group * QUADS; q++) memcpy(to + (size_t)(q * t->rows) * 8, from + q * 8, 8);
        if (four) {
            for (ptrdiff_t group = 0; group < n_group; group++) {
                int32_t sum = 0;
                for (int s = 0; s < GROUP; s++) sum += ((const v4_number *)line)[group * GROUP + s];
                offsets[group * t->rows + i] = -8 * sum;
            }
        }
    }
}

/* Where column `column`'s vector begins within panels of `panel_bytes`. */
APR_INLINE const char *q_panel(const void *panels, ptrdiff_t column, ptrdiff_t panel_bytes) {
    return (const char *)panels + column / APR_PANEL * panel_bytes + column % APR_PANEL * QUAD;
}


/* Times step and scale. */
APR_INLINE void q8_finish(const apr_gemm *g, const q_tile *t, int row, ptrdiff_t column, const vi *acc, float *out) {
    vi sum = vq_correct(vq_join(acc[0], acc[VQ_PARTS - 1]), g->sums + column);
    vf_store(out, vf_mul(vf_mul(vf_from_int(sum), vf_set1(t->steps[row])), vf_load((const float *)g->scales + column)));
}

/* rows x vectors of the product, before bias: whole sums, then times step and scale. */
APR_INLINE void q8_block(const apr_gemm *g, const q_tile *t, const int rows, const int vectors, ptrdiff_t column, float *out) {
    vi acc[VQ_TILE_ROWS][Q_WIDE][VQ_PARTS];
    const int8_t *w[Q_WIDE];
    const vq_number *x = t->numbers;
    const int width = vectors * LANES > APR_PANEL ? vectors * LANES : APR_PANEL;
    ptrdiff_t n_quad = div_up(g->k, QUAD), ahead = (t->alone ? width : Q_UNIT) * n_quad, last = div_up(g->n, APR_PANEL) * APR_PANEL - LANES;
    APR_UNROLL
    for (int j = 0; j < vectors; j++) w[j] = (const int8_t *)q_panel(g->b, min_size(column + j * LANES, last), n_quad * APR_PANEL * QUAD);
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++) {
            APR_UNROLL
            for (int p = 0; p < VQ_PARTS; p++) acc[i][j][p] = vi_set1(0);
        }
    }
    for (ptrdiff_t q = 0; q < n_quad; q++) {
        vq part[Q_WIDE][VQ_PARTS];
        APR_UNROLL
        for (int j = 0; j < vectors; j++) {
            APR_UNROLL
            for (int p = 0; p < VQ_PARTS; p++) part[j][p] = vq_weight(w[j] + q * APR_PANEL * QUAD, p);
        }
        /* what will be read next, a line after the other, as the memory likes it */
        APR_UNROLL
        for (int j = 0; j < width; j += APR_PANEL) APR_PREFETCH_L2(w[0] + (ahead + q * width + j) * QUAD);
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            vq number = vq_input(x + (q * rows + i) * QUAD);
            APR_UNROLL
            for (int j = 0; j < vectors; j++) {
                APR_UNROLL
                for (int p = 0; p < VQ_PARTS; p++) acc[i][j][p] = vq_dot(acc[i][j][p], part[j][p], number);
            }
        }
    }
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < vectors; j++)
            q8_finish(g, t, i, min_size(column + j * LANES, last), acc[i][j], out + (i * vectors + j) * LANES);
    }
}

/* A quad of each row times a panel's, added to one of its sums. */
APR_INLINE void q8_step(vi acc[][Q_SUMS][APR_PANEL / LANES][VQ_PARTS], const int rows, const int sum, const int8_t *w, const vq_number *x) {
    vq part[APR_PANEL / LANES][VQ_PARTS];
    APR_UNROLL
    for (int j = 0; j < APR_PANEL / LANES; j++) {
        APR_UNROLL
        for (int p = 0; p < VQ_PARTS; p++) part[j][p] = vq_weight(w + j * LANES * QUAD, p);
    }
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        vq number = vq_input(x + i * QUAD);
        APR_UNROLL
        for (int j = 0; j < APR_PANEL / LANES; j++) {
            APR_UNROLL
            for (int p = 0; p < VQ_PARTS; p++) acc[i][sum][j][p] = vq_dot(acc[i][sum][j][p], part[j][p], number);
        }
    }
}

/* Few rows times one panel: memory decides, and is read straight on. So many sums of one output at once, taken by turns, hide the
 * instruction's latency; whole numbers may be summed in any order. */
APR_INLINE void q8_stream(const apr_gemm *g, const q_tile *t, const int rows, const int sums, ptrdiff_t column, float *out) {
    enum { VECTORS = APR_PANEL / LANES };
    vi acc[Q_STREAM_ROWS][Q_SUMS][VECTORS][VQ_PARTS];
    const vq_number *x = t->numbers;
    ptrdiff_t n_quad = div_up(g->k, QUAD), q = 0;
    const int lines = apr_zen5;
    const int8_t *w = (const int8_t *)q_panel(g->b, column, n_quad * APR_PANEL * QUAD);
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int u = 0; u < sums; u++) {
            APR_UNROLL
            for (int j = 0; j < VECTORS * VQ_PARTS; j++) acc[i][u][j / VQ_PARTS][j % VQ_PARTS] = vi_set1(0);
        }
    }
    for (; q + Q_SUMS <= n_quad; q += Q_SUMS) {
        if (lines) ask_lines(w + q * APR_PANEL * QUAD, Q_SUMS * APR_PANEL * QUAD);
        else if (q % (Q_PAGE / (APR_PANEL * QUAD)) == 0) APR_PREFETCH_L2(w + q * APR_PANEL * QUAD + Q_PAGES_AHEAD * Q_PAGE);
        APR_UNROLL
        for (int u = 0; u < Q_SUMS; u++) q8_step(acc, rows, u % sums, w + (q + u) * APR_PANEL * QUAD, x + (q + u) * rows * QUAD);
    }
    for (; q < n_quad; q++) q8_step(acc, rows, 0, w + q * APR_PANEL * QUAD, x + q * rows * QUAD);
    APR_UNROLL
    for (int i = 0; i < rows; i++) {
        APR_UNROLL
        for (int j = 0; j < VECTORS; j++) {
            APR_UNROLL
            for (int u = 1; u < sums; u++) {
                APR_UNROLL
                for (int p = 0; p < VQ_PARTS; p++) acc[i][0][j][p] = vi_add(acc[i][0][j][p], acc[i][u][j][p]);
            }
            q8_finish(g, t, i, column + j * LANES, acc[i][0][j], out + (i * VECTORS + j) * LANES);
        }
    }
}

/* rows of one vector of the product, before bias. */
APR_INLINE void q4_block(const apr_gemm *g, const q_tile *t, const int rows, ptrdiff_t column, float *out) {
    vf total[V4_TILE_ROWS];
    const v4_number *x = t->numbers;
    ptrdiff_t n_group = div_up(g->k, GROUP), group_bytes = APR_PANEL * GROUP / 2;
    const uint8_t *w = (const uint8_t *)q_panel(g->b, column, n_group * group_bytes);
    const uint16_t *scales = (const uint16_t *)g->scales + column / APR_PANEL * n_group * APR_PANEL + column % APR_PANEL;
    APR_UNROLL
    for (int i = 0; i < rows; i++) total[i] = vf_zero();
    const int lines = t->alone && apr_zen5;
    for (ptrdiff_t group = 0; group < n_group; group++) {
        vi acc[V4_TILE_ROWS][V4_PARTS];
        if (lines) ask_lines(w, APR_PANEL * GROUP / 2);
        APR_UNROLL
        for (int i = 0; i < rows * V4_PARTS; i++) acc[i / V4_PARTS][i % V4_PARTS] = vi_set1(0);
        APR_UNROLL
        for (int v = 0; v < QUADS / 2; v++) {
            APR_UNROLL
            for (int p = 0; p < V4_PARTS; p++) {
                v4 low = v4_weight(w + v * APR_PANEL * QUAD, p, 0), high = v4_weight(w + v * APR_PANEL * QUAD, p, 1);
                APR_UNROLL
                for (int i = 0; i < rows; i++) {
                    acc[i][p] = v4_dot(acc[i][p], low, v4_input(x + (v * rows + i) * QUAD));
                    acc[i][p] = v4_dot(acc[i][p], high, v4_input(x + ((v + QUADS / 2) * rows + i) * QUAD));
                }
            }
        }
        vf scale = vf_load_half(scales + group * APR_PANEL);
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            vi sum = vi_add(v4_join(acc[i][0], acc[i][V4_PARTS - 1]), vi_set1(t->offsets[group * rows + i]));
            total[i] = vf_fma(vf_from_int(sum), scale, total[i]);
        }
        w += group_bytes;
        x += QUADS * rows * QUAD;
    }
    APR_UNROLL
    for (int i = 0; i < rows; i++) vf_store(out + i * LANES, vf_mul(total[i], vf_set1(t->steps[i])));
}

/* The block for so many rows at a column; returns how many vectors it has. */
static int q8_rows(const apr_gemm *g, const q_tile *t, ptrdiff_t column, float *out) {
#define SUMS(R) (APR_PANEL / LANES * VQ_PARTS >= 4 ? 1 : (R) > 4 ? 2 : 4 / (APR_PANEL / LANES * VQ_PARTS))
#define VECTORS(R) ((R) * Q_WIDE <= VQ_TILE_ROWS * VQ_TILE_VECTORS ? Q_WIDE : VQ_TILE_VECTORS)
#define Q_CASE(R) \
    case R: \
        if (R == 1 || (R <= Q_STREAM_ROWS && t->alone && apr_zen5)) { \
            q8_stream(g, t, R <= Q_STREAM_ROWS ? R : 1, SUMS(R), column, out); \
            return APR_PANEL / LANES; \
        } \
        q8_block(g, t, R, VECTORS(R), column, out); \
        return VECTORS(R);
    switch (t->rows) {
        Q_CASE(1)
        Q_CASE(2)
        Q_CASE(3)
        Q_CASE(4)
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
    return Q_WIDE;
}

static int q4_rows(const apr_gemm *g, const q_tile *t, ptrdiff_t column, float *out) {
#define Q_CASE(R) \
    case R: q4_block(g, t, R, column, out); break;
    switch (t->rows) {
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
    int four;
    size_t row_bytes;         /* of one rounded row */
    ptrdiff_t n_group, n_tile, n_unit; /* groups of k, tiles of rows, units of columns */
    ptrdiff_t n_row_task, n_column_task;
} q_work;

static void q_task(void *context, ptrdiff_t index, void *scratch) {
    const q_work *work = context;
    const apr_gemm *g = work->g;
    ptrdiff_t row_task = index / work->n_column_task, column_task = index % work->n_column_task;
    ptrdiff_t tile = row_task * work->n_tile / work->n_row_task, end_tile = (row_task + 1) * work->n_tile / work->n_row_task;
    ptrdiff_t unit = column_task * work->n_unit / work->n_column_task, end_unit = (column_task + 1) * work->n_unit / work->n_column_task;
    ptrdiff_t row0 = tile * g->m / work->n_tile, n_row = end_tile * g->m / work->n_tile - row0;
    char *line = scratch, *numbers = line + work->row_bytes;
    float *steps = (float *)(void *)(numbers + (size_t)n_row * work->row_bytes);
    int32_t *offsets = (int32_t *)(void *)(steps + n_row);
    float out[Q_ROWS * Q_UNIT];
    for (int first = 1; unit < end_unit; unit++, first = 0) {
        for (ptrdiff_t i = tile; i < end_tile; i++) {
            q_tile t = {.row = i * g->m / work->n_tile};
            ptrdiff_t at = t.row - row0;
            t.alone = end_tile - tile == 1;
            t.rows = (int)((i + 1) * g->m / work->n_tile - t.row);
            t.numbers = numbers + (size_t)at * work->row_bytes, t.steps = steps + at, t.offsets = offsets + at * work->n_group;
            ask_residual(g, t.row, unit * Q_UNIT, t.rows, Q_UNIT);
            if (first) round_tile(g, work->four, &t, numbers + (size_t)at * work->row_bytes, offsets + at * work->n_group, steps + at, line);
            for (ptrdiff_t column = unit * Q_UNIT, end = min_size(column + Q_UNIT, g->n); column < end;) {
                int vectors = work->four ? q4_rows(g, &t, column, out) : q8_rows(g, &t, column, out);
                finish_block(g, t.row, column, t.rows, vectors * LANES, out);
                column += vectors * LANES;
            }
        }
    }
}

static void qgemm(const apr_gemm *g) {
    q_work work = {.g = g, .four = g->b_type == APR_INT4, .n_row_task = 1, .n_column_task = 1};
    ptrdiff_t tile_rows = work.four ? V4_TILE_ROWS : VQ_TILE_ROWS, n_thread = apr_get_num_threads();
    work.n_group = div_up(g->k, GROUP);
    work.n_tile = div_up(g->m, tile_rows);
    work.n_unit = div_up(g->n, Q_UNIT);
    work.row_bytes = (size_t)(work.n_group * GROUP) * (work.four ? sizeof(v4_number) : sizeof(vq_number));
    ptrdiff_t held_rows = max_size(tile_rows, Q_ROW_BYTES / max_size(1, (ptrdiff_t)work.row_bytes));
    work.n_row_task = div_up(g->m, held_rows);
    if (n_thread > 1 && g->m * g->n >= Q_SMALL / max_size(1, g->k)) {
        work.n_row_task = max_size(work.n_row_task, min_size(4 * n_thread, g->m / Q_TASK_ROWS));
        work.n_column_task = max_size(1, min_size(div_up(4 * n_thread, work.n_row_task), g->n / Q_TASK_COLUMNS));
    }
    work.n_row_task = min_size(work.n_row_task, work.n_tile);
    size_t rows = (size_t)(div_up(work.n_tile, work.n_row_task) * tile_rows);
    size_t scratch = (rows + 1) * work.row_bytes + rows * (sizeof(float) + (size_t)work.n_group * sizeof(int32_t));
    apr_parallel(q_task, &work, work.n_row_task * work.n_column_task, scratch);
}
