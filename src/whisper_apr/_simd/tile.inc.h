/* The register block that the matrix product and attention share, and the functions of one vector that both need. */

enum {
    LANES = VF_LANES,
    TILE_ROWS = VF_TILE_ROWS,
    TILE_VECTORS = 2,
    THIN_ROWS = VF_TILE_ROWS < 8 ? VF_TILE_ROWS : 8, /* a block for few rows ... */
    THIN_VECTORS = LANES > 8 ? 2 : 4,                /* ... which has this many vectors where it has one or two rows: no more than two panels' */
    LINE = 64,                                       /* bytes */
    STREAM_AHEAD = 16 * 1024, /* bytes: of a single stream as much lies between what is asked for and what is used */
};

APR_INLINE ptrdiff_t min_size(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
APR_INLINE ptrdiff_t max_size(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
APR_INLINE ptrdiff_t div_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

APR_INLINE vf load_weight(const void *p, ptrdiff_t i, int half) {
    return half ? vf_load_half((const uint16_t *)p + i) : vf_load((const float *)p + i);
}

/* Rounded to nearest, ties to even; a NaN stays one. */
#if !defined(VF_STORE_HALF)
APR_INLINE void vf_store_half(uint16_t *p, vf x) {
    float lanes[LANES];
    vf_store(lanes, x);
    for (int i = 0; i < LANES; i++) p[i] = apr_float_to_half(lanes[i]);
}
#endif

APR_INLINE void store_vector(void *p, ptrdiff_t i, vf x, int half) {
    if (half) vf_store_half((uint16_t *)p + i, x);
    else vf_store((float *)p + i, x);
}

APR_INLINE const void *weight_at(const void *p, ptrdiff_t i, int half) { return (const char *)p + i * (half ? 2 : 4); }

/* While `bytes` of a single stream are read at p: ask for the lines that follow STREAM_AHEAD later. */
APR_INLINE void ask_lines(const void *p, const int bytes) {
    APR_UNROLL
    for (int at = 0; at < bytes; at += LINE) APR_PREFETCH_L2((const char *)p + STREAM_AHEAD + at);
}

/* acc[i][j] += sum over s < k of a[i * a_row + s * a_step] * b[j][s * b_step], summed in the order of s. With rows, vectors, half and splat
 * constant, the compiler unrolls it and keeps acc in registers. splat: each number of a lies there LANES times, as a vector.
 * asks: lines of b are asked for `ahead` elements before their use, one for so many numbers that lie side by side (0: none is). */
APR_INLINE void tile_of(vf acc[][THIN_VECTORS], const int rows, const int vectors, const int half, const int splat, const float *a,
                        ptrdiff_t a_row, ptrdiff_t a_step, const void *const *b, ptrdiff_t b_step, ptrdiff_t k, const int asks, ptrdiff_t ahead) {
    APR_UNROLL_2
    for (ptrdiff_t s = 0; s < k; s++) {
        vf w[THIN_VECTORS];
        APR_UNROLL
        for (int j = 0; j < vectors; j++) {
            w[j] = load_weight(b[j], s * b_step, half);
            if (asks && j * LANES % asks == 0) APR_PREFETCH_L2(weight_at(b[j], s * b_step + ahead, half));
        }
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            vf x = splat ? vf_load(a + (i * a_row + s * a_step) * LANES) : vf_set1(a[i * a_row + s * a_step]);
            APR_UNROLL
            for (int j = 0; j < vectors; j++) acc[i][j] = vf_fma(x, w[j], acc[i][j]);
        }
    }
}

APR_INLINE void tile(vf acc[][THIN_VECTORS], const int rows, const int vectors, const int half, const float *a, ptrdiff_t a_row,
                     ptrdiff_t a_step, const void *const *b, ptrdiff_t b_step, ptrdiff_t k) {
    tile_of(acc, rows, vectors, half, 0, a, a_row, a_step, b, b_step, k, 0, 0);
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
    vf half = vf_mul(x, vf_set1(0.5f));
    return vf_select_lt(whole, below, vf_zero(), vf_fma(half, vf_div(vf_mul(z, p), q), half));
}
