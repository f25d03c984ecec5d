/* Functions over vectors: quantization scales, exp2, exp, GELU and a softmax in base 2. */
#ifndef WHISPER_APR_KERNELS_VECMATH_INC_H
#define WHISPER_APR_KERNELS_VECMATH_INC_H

#include <math.h>

#include "tile.inc.h"

#define LOG2_E 1.44269504088896340736f

/* Return the scale that quantizes n > 0 numbers to [-levels, levels] (the largest magnitude / levels), and the inverse
 * scale. If no magnitude exceeds 1e-30, the numbers count as zeros and both are 0. If one is infinite or NaN, the scale
 * is NaN and the inverse scale 0. */
APR_INLINE float quantization_scale(const float *x, ptrdiff_t n, float levels, float *inverse_scale) {
    vf maximum = vf_zero(), nonfinite = vf_zero();
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vf part = i + LANES <= n ? vf_load(x + i) : vf_load_n(x + i, n - i);
        maximum = vf_max(vf_max(part, vf_sub(vf_zero(), part)), maximum); /* this operand order skips NaN */
        nonfinite = vf_fma(part, vf_zero(), nonfinite);                   /* NaN if any number is NaN or infinite */
    }
    float largest = vf_reduce_max(maximum), nonfinite_sum = vf_reduce_add(nonfinite);
    int usable = nonfinite_sum == 0.0f && largest > 1e-30f;
    *inverse_scale = usable ? levels / largest : 0.0f;
    return usable ? largest / levels : nonfinite_sum;
}

/* 2^x for x <= 126; 0 below 2^-126 (2^-149 where the hardware scales).
 * 2^x = 2^n (1 + r P(r)), where n = round(x), r = x - n, and P is a minimax polynomial on [-1/2, 1/2]. The relative
 * error is 9e-8, within 2 units in the last place. */
APR_INLINE vf exp2_vector(vf x) {
    x = vf_max(vf_set1(VF_LDEXP_MIN), x); /* this operand order preserves NaN */
    vf n = vf_round(x), r = vf_sub(x, n);
    vf y = vf_fma(vf_set1(1.326472731307149e-3f), r, vf_set1(9.671512991189957e-3f));
    y = vf_fma(y, r, vf_set1(5.550733581185341e-2f));
    y = vf_fma(y, r, vf_set1(0.24022242426872253f));
    y = vf_fma(y, r, vf_set1(0.6931470036506653f));
    y = vf_fma(y, r, vf_set1(1.0f));
    return vf_ldexp(y, n);
}

/* The same with a relative error of 7.5e-5, for results that are rounded to half the bits. Minimax polynomial on
 * [-1/2, 1/2]. */
APR_INLINE vf exp2_rough(vf x) {
    x = vf_max(vf_set1(VF_LDEXP_MIN), x);
    vf n = vf_round(x), r = vf_sub(x, n);
    vf y = vf_fma(vf_set1(0.0551716691f), r, vf_set1(0.242611122f));
    y = vf_fma(y, r, vf_set1(0.693260985f));
    return vf_ldexp(vf_fma(y, r, vf_set1(0.999928074f)), n);
}

/* e^x for x <= 88, flushed to 0 below 2^-126.
 * The range reduction subtracts n ln 2 in two parts (Cody and Waite 1980): n * 0.693359375 is exact. */
APR_INLINE vf exp_vector(vf x) {
    x = vf_min(vf_set1(88.0f), vf_max(vf_set1(0.6931471806f * VF_LDEXP_MIN), x));
    vf n = vf_round(vf_mul(x, vf_set1(1.44269504f)));
    vf r = vf_fma(n, vf_set1(2.12194440e-4f), vf_fma(n, vf_set1(-0.693359375f), x));
    vf y = vf_fma(vf_set1(1.3941108481958508e-3f), r, vf_set1(8.37512593716383e-3f));
    y = vf_fma(y, r, vf_set1(4.166635125875473e-2f));
    y = vf_fma(y, r, vf_set1(0.16666415333747864f));
    y = vf_fma(y, r, vf_set1(0.5f));
    y = vf_fma(y, r, vf_set1(1.0f));
    y = vf_fma(y, r, vf_set1(1.0f));
    return vf_ldexp(y, n);
}

/* GELU (Hendrycks and Gimpel 2016): x / 2 * (1 + erf(x / sqrt 2)).
 * erf(z) = z P(z^2) / Q(z^2) for |z| <= 3.95, beyond which erf is 1 in float32. P and Q are a weighted least-squares
 * fit to erf; the relative error is 2e-8 before rounding. */
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
    /* clamped to 1, because the largest floats would become infinite; this operand order preserves NaN */
    vf half = vf_mul(x, vf_set1(0.5f)), erf = vf_min(vf_set1(1.0f), vf_div(vf_mul(z, p), q));
    return vf_select_lt(whole, below, vf_zero(), vf_fma(half, erf, half));
}

/* Turn the first n_visible scores, in units of log 2, into softmax weights that sum to 1, and the others, up to
 * n_slot, into 0. n_slot: a multiple of 16. */
APR_INLINE void softmax_base2(float *scores, ptrdiff_t n_visible, ptrdiff_t n_slot) {
    for (ptrdiff_t i = n_visible; i < n_slot; i++) scores[i] = -INFINITY;
    vf top = vf_load(scores), sum = vf_zero();
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) top = vf_max(vf_load(scores + i), top);
    vf shift = vf_set1(vf_reduce_max(top));
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) {
        vf y = exp2_vector(vf_sub(vf_load(scores + i), shift));
        vf_store(scores + i, y);
        sum = vf_add(sum, y);
    }
    vf scale = vf_set1(1.0f / vf_reduce_add(sum));
    for (ptrdiff_t i = 0; i < n_slot; i += LANES) vf_store(scores + i, vf_mul(vf_load(scores + i), scale));
}

#endif
