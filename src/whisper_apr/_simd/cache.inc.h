/* The key-value cache: new positions' keys and values go into its pages, where attention.inc.h reads them. */

/* Rounded to nearest, ties to even; a NaN stays one. */
#if !defined(VF_STORE_HALF)
APR_INLINE void vf_store_half(uint16_t *p, vf x) {
    float lanes[LANES];
    vf_store(lanes, x);
    for (int i = 0; i < LANES; i++) p[i] = apr_float_to_half(lanes[i]);
}
#endif

/* int8: x times the factor that makes whole numbers of it; where that is 0, x may be infinite, and the product anything, which is bounded. */
APR_INLINE vf scaled_to_int8(vf x, vf inverse) { return vf_min(vf_max(vf_mul(x, inverse), vf_set1(-127.0f)), vf_set1(127.0f)); }

APR_INLINE void store_vector(void *p, ptrdiff_t i, vf x, vf inverse, int type) {
    if (type == APR_INT8) vf_store_int8((int8_t *)p + i, scaled_to_int8(x, inverse));
    else if (type == APR_FLOAT16) vf_store_half((uint16_t *)p + i, x);
    else vf_store((float *)p + i, x);
}

APR_INLINE void store_number(void *p, ptrdiff_t i, float x, float inverse, int type) {
    if (type == APR_INT8) ((int8_t *)p)[i] = (int8_t)rintf(fminf(fmaxf(x * inverse, -127.0f), 127.0f));
    else if (type == APR_FLOAT16) ((uint16_t *)p)[i] = apr_float_to_half(x);
    else ((float *)p)[i] = x;
}

/* 16 positions' keys (by rows of d_head, `step` apart) as a whole page, (d_head, 16) cells; d_head is a multiple of 4. */
static void store_page_of_keys(const apr_store *s, const float *k, ptrdiff_t step, const float *inverse, ptrdiff_t at) {
    for (ptrdiff_t d = 0; d < s->d_head; d += 4) {
        float turned[4 * APR_PANEL];
        for (ptrdiff_t t = 0; t < APR_PANEL; t += 4) vf_turn4(k + t * step + d, step, turned + t, APR_PANEL);
        for (ptrdiff_t i = 0; i < 4 * APR_PANEL; i += LANES)
            store_vector(s->keys, at + d * APR_PANEL + i, vf_load(turned + i), vf_load(inverse + i % APR_PANEL), s->type);
    }
}

/* One head of one row, page by page. */
static void store_task(void *context, ptrdiff_t i, void *scratch) {
    const apr_store *s = context;
    ptrdiff_t row = i / s->n_head, head = i % s->n_head, end = s->lengths[row], start = end - (s->counts ? s->counts[row] : s->n_new);
    const float *k = s->k + row * s->k_row + head * s->d_head, *v = s->v + row * s->v_row + head * s->d_head;
    ptrdiff_t before = s->n_new - end; /* position p is number p + before of k and v */
    (void)scratch;
    for (ptrdiff_t from = start, to; from < end; from = to) {
        to = min_size(end, (from / APR_PANEL + 1) * APR_PANEL);
        for (ptrdiff_t next = to; next < min_size(to + APR_PANEL, end); next++) {
            ask_row(k + (next + before) * s->k_time, s->d_head);
            ask_row(v + (next + before) * s->v_time, s->d_head);
        }
        ptrdiff_t page = head * s->n_page + s->pages[row * s->pages_stride + from / APR_PANEL], at = page * s->d_head * APR_PANEL;
        float inverse[2][APR_PANEL] = {{0}}; /* of slots: keys', values' */
        for (ptrdiff_t t = from; s->type == APR_INT8 && t < to; t++) {
            float *steps = s->steps + page * APR_PANEL + t % APR_PANEL;
            steps[0] = step_of(k + (t + before) * s->k_time, s->d_head, &inverse[0][t % APR_PANEL]);
            steps[s->n_head * s->n_page * APR_PANEL] = step_of(v + (t + before) * s->v_time, s->d_head, &inverse[1][t % APR_PANEL]);
        }
        if (to - from == APR_PANEL && s->d_head % 4 == 0) {
            store_page_of_keys(s, k + (from + before) * s->k_time, s->k_time, inverse[0], at);
        } else {
            for (ptrdiff_t t = from; t < to; t++) {
                const float *key = k + (t + before) * s->k_time;
                for (ptrdiff_t d = 0; d < s->d_head; d++)
                    store_number(s->keys, at + d * APR_PANEL + t % APR_PANEL, key[d], inverse[0][t % APR_PANEL], s->type);
            }
        }
        for (ptrdiff_t t = from; t < to; t++) {
            const float *value = v + (t + before) * s->v_time;
            float factor = inverse[1][t % APR_PANEL];
            ptrdiff_t line = at + t % APR_PANEL * s->d_head, d = 0;
            for (; d + LANES <= s->d_head; d += LANES) store_vector(s->values, line + d, vf_load(value + d), vf_set1(factor), s->type);
            for (; d < s->d_head; d++) store_number(s->values, line + d, value[d], factor, s->type);
        }
    }
}

static void store(const apr_store *s) {
    apr_store work = *s;
    apr_parallel(store_task, &work, s->n_row * s->n_head, 0);
}
