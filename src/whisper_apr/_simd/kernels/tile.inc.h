/* The register block that the matrix product and attention share, and the functions of one vector that both need. */

#define LOG2_E 1.44269504088896340736f

enum {
    LANES = VF_LANES,
    TILE_ROWS = VF_TILE_ROWS,
    TILE_VECTORS = 2,
    THIN_ROWS = VF_TILE_ROWS < 8 ? VF_TILE_ROWS : 8, /* a block for few rows ... */
    THIN_VECTORS = LANES > 8 ? 2 : 4,                /* ... which has this many vectors where it has one or two rows: no more than two panels' */
    LINE = 64,                                       /* bytes */
    STREAM_AHEAD = 8 * 1024, /* bytes: of a single stream as much lies between what is asked for and what is used; the first cache holds some times this */
};

APR_INLINE ptrdiff_t min_size(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
APR_INLINE ptrdiff_t max_size(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
APR_INLINE ptrdiff_t div_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* Numbers of a type that a panel or a page may have: APR_FLOAT32, APR_FLOAT16; of a page, also APR_INT8. */
APR_INLINE ptrdiff_t type_size(int type) { return type == APR_FLOAT32 ? 4 : type == APR_FLOAT16 ? 2 : 1; }
APR_INLINE const void *weight_at(const void *p, ptrdiff_t i, int type) { return (const char *)p + i * type_size(type); }

APR_INLINE vf load_weight(const void *p, ptrdiff_t i, int type) {
    const void *at = weight_at(p, i, type);
    return type == APR_FLOAT32 ? vf_load(at) : vf_load_half(at);
}

/* Where a number of a page lies: slot 0..15's dimension d, in simd/layout.py's order. */
APR_INLINE ptrdiff_t key_index(ptrdiff_t page, ptrdiff_t slot, ptrdiff_t d, ptrdiff_t d_head, int type) {
    if (type != APR_INT8) return (page * d_head + d) * APR_PANEL + slot;
    return ((page * div_up(d_head, APR_QUAD) + d / APR_QUAD) * APR_PANEL + slot) * APR_QUAD + d % APR_QUAD;
}
APR_INLINE ptrdiff_t value_index(ptrdiff_t page, ptrdiff_t slot, ptrdiff_t d, ptrdiff_t d_head, int type) {
    if (type != APR_INT8) return (page * APR_PANEL + slot) * d_head + d;
    return ((page * APR_PANEL / APR_QUAD + slot / APR_QUAD) * d_head + d) * APR_QUAD + slot % APR_QUAD;
}

/* While `bytes` of a single stream are read at p: ask for the lines that follow STREAM_AHEAD later. */
APR_INLINE void ask_lines(const void *p, const int bytes) {
    APR_UNROLL
    for (int at = 0; at < bytes; at += LINE) APR_PREFETCH((const char *)p + STREAM_AHEAD + at);
}

/* acc[i][j] += sum over s < k of a[i * a_row + s * a_step] * b[j][s * b_step], summed in the order of s. With rows, vectors, type and splat
 * constant, the compiler unrolls it and keeps acc in registers. splat: each number of a lies there LANES times, as a vector.
 * later: what will be read next, asked for on the way, later_step bytes of it for each step of k (0: none). */
APR_INLINE void tile_of(vf acc[][THIN_VECTORS], const int rows, const int vectors, const int type, const int splat, const float *a,
                        ptrdiff_t a_row, ptrdiff_t a_step, const void *const *b, ptrdiff_t b_step, ptrdiff_t k, const char *later, const int later_step) {
    APR_UNROLL_2
    for (ptrdiff_t s = 0; s < k; s++) {
        vf w[THIN_VECTORS];
        APR_UNROLL
        for (int j = 0; j < vectors; j++) w[j] = load_weight(b[j], s * b_step, type);
        APR_UNROLL
        for (int at = 0; at < later_step; at += LINE) APR_PREFETCH_L2(later + s * later_step + at);
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            vf x = splat ? vf_load(a + (i * a_row + s * a_step) * LANES) : vf_set1(a[i * a_row + s * a_step]);
            APR_UNROLL
            for (int j = 0; j < vectors; j++) acc[i][j] = vf_fma(x, w[j], acc[i][j]);
        }
    }
}

APR_INLINE void tile(vf acc[][THIN_VECTORS], const int rows, const int vectors, const int type, const float *a, ptrdiff_t a_row,
                     ptrdiff_t a_step, const void *const *b, ptrdiff_t b_step, ptrdiff_t k) {
    tile_of(acc, rows, vectors, type, 0, a, a_row, a_step, b, b_step, k, NULL, 0);
}

/* How n > 0 numbers are rounded to whole numbers from -127 to 127: what a step is worth, the largest magnitude / 127, and the factor that makes
 * steps of them. Nothing above 1e-30 counts as zeros: both are 0. Where one is infinite or NaN, the step is NaN and the factor 0. */
APR_INLINE float step_of(const float *x, ptrdiff_t n, float *inverse) {
    vf most = vf_zero(), poison = vf_zero();
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vf part = i + LANES <= n ? vf_load(x + i) : vf_load_n(x + i, n - i);
        most = vf_max(vf_max(part, vf_sub(vf_zero(), part)), most); /* in this order a NaN is passed over ... */
        poison = vf_fma(part, vf_zero(), poison);                   /* ... and stays here, as infinity does */
    }
    float largest = vf_largest(most), nothing = vf_sum(poison);
    int usable = nothing == 0.0f && largest > 1e-30f;
    *inverse = usable ? 127.0f / largest : 0.0f;
    return usable ? largest / 127.0f : nothing;
}

/* 2^x for x <= 126, 0 below 2^-126 (2^-149 where the hardware scales). 1 + r P(r), P by minimax on [-1/2, 1/2]: relative error 9e-8,
 * within 2 units in the last place. */
APR_INLINE vf exp2_vector(vf x) {
    x = vf_max(vf_set1(VF_SCALE_LOWEST), x); /* in this order a NaN stays one */
    vf n = vf_round(x), r = vf_sub(x, n);
    vf y = vf_fma(vf_set1(1.326472731307149e-3f), r, vf_set1(9.671512991189957e-3f));
    y = vf_fma(y, r, vf_set1(5.550733581185341e-2f));
    y = vf_fma(y, r, vf_set1(0.24022242426872253f));
    y = vf_fma(y, r, vf_set1(0.6931470036506653f));
    y = vf_fma(y, r, vf_set1(1.0f));
    return vf_scale(y, n);
}

/* What both ways of attention over pages ask. The longest row; and how many stretches the queries of a head are cut into, blocks of `rows`: more
 * than one only where heads do not share out evenly, because each stretch reads the same keys and values. */
APR_INLINE ptrdiff_t longest_row(const apr_attention *a) {
    ptrdiff_t longest = 0;
    for (ptrdiff_t row = 0; row < a->n_row; row++) longest = max_size(longest, a->lengths[row]);
    return longest;
}
APR_INLINE ptrdiff_t query_stretches(const apr_attention *a, ptrdiff_t rows) {
    ptrdiff_t n_thread = apr_get_num_threads(), n_pair = a->n_row * a->n_head;
    return n_pair % n_thread && n_pair < 8 * n_thread ? min_size(n_thread, div_up(a->n_query, rows)) : 1;
}

/* The first n_seen scores, in units of log 2, become weights that sum to 1; the others, up to n_slot, 0. n_slot: a multiple of 16. */
APR_INLINE void softmax_base2(float *scores, ptrdiff_t n_seen, ptrdiff_t n_slot) {
    for (ptrdiff_t i = n_seen; i < n_slot; i++) scores[i] = -INFINITY;
    vf top = vf_load(scores), sum = vf_zero();
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) top = vf_max(vf_load(scores + i), top);
    vf shift = vf_set1(vf_largest(top));
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) {
        vf y = exp2_vector(vf_sub(vf_load(scores + i), shift));
        vf_store(scores + i, y);
        sum = vf_add(sum, y);
    }
    vf scale = vf_set1(1.0f / vf_sum(sum));
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) vf_store(scores + i, vf_mul(vf_load(scores + i), scale));
}

/* e^x for x <= 88, flushed to 0 below 2^-126. ln 2 in two parts (Cody and Waite): n * 0.693359375 is exact. */
APR_INLINE vf exp_vector(vf x) {
    x = vf_min(vf_set1(88.0f), vf_max(vf_set1(0.6931471806f * VF_SCALE_LOWEST), x));
    vf n = vf_round(vf_mul(x, vf_set1(1.44269504f)));
    vf r = vf_fma(n, vf_set1(2.12194440e-4f), vf_fma(n, vf_set1(-0.693359375f), x));
    vf y = vf_fma(vf_set1(1.3941108481958508e-3f), r, vf_set1(8.37512593716383e-3f));
    y = vf_fma(y, r, vf_set1(4.166635125875473e-2f));
    y = vf_fma(y, r, vf_set1(0.16666415333747864f));
    y = vf_fma(y, r, vf_set1(0.5f));
    y = vf_fma(y, r, vf_set1(1.0f));
    y = vf_fma(y, r, vf_set1(1.0f));
    return vf_scale(y, n);
}

/* x / 2 * (1 + erf(x / sqrt 2)). erf(z) = z P(z^2) / Q(z^2) on |z| <= 3.95, beyond which it is 1 in float32;
 * P and Q by weighted least squares on erf, relative error 2e-8 before rounding. */
APR_INLINE vf gelu_vector(vf x) {
    vf limit = vf_set1(3.95f), below = vf_set1(-3.95f);
    vf whole = vf_mul(x, vf_set1(0.70710678f)), z = vf_min(limit, vf_max(below, whole));
    vf u = vf_mul(z, z);
    vf p = vf_fma(vf_set1(2.02582009e-6f), u, vf_set1(2.84673792e-4f));
    vf q = vf_fma(vf_set1(3.78301484e-5f), u, vf_set1(1.17065699e-3f));
    p = vf_fma(p, u, vf_set1(3.80795076e-3f));
    q = vf_fma(q, u, vf_set1(1.50546832e-2f));
    p = vf_fma(p, u, vf_set1(5.28747886e-2f));
    q = vf_fma(q, u, vf_set1(0.114557959f));
    p = vf_fma(p, u, vf_set1(0.191546679f));
    q = vf_fma(q, u, vf_set1(0.503086507f));
    p = vf_fma(p, u, vf_set1(1.12837911f));
    q = vf_fma(q, u, vf_set1(1.0f));
    /* not above 1, or the largest floats became infinite; in this order a NaN stays one */
    vf half = vf_mul(x, vf_set1(0.5f)), erf = vf_min(vf_set1(1.0f), vf_div(vf_mul(z, p), q));
    return vf_select_lt(whole, below, vf_zero(), vf_fma(half, erf, half));
}
