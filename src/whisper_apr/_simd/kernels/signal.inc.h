/* Signal processing: the power spectrum of frames, mel bands, and polyphase resampling. */
#ifndef WHISPER_APR_KERNELS_SIGNAL_INC_H
#define WHISPER_APR_KERNELS_SIGNAL_INC_H

#include <math.h>

#include "../kernels.h"
#include "tile.inc.h"

enum {
    SPECTRUM_TASK = 256,   /* frames per task at least: each task computes its own twiddle factors */
    MEL_TASK = 512,        /* frames */
    POLYPHASE_TASK = 4096, /* outputs */
    POLYPHASE_VECTORS = LANES == 16 ? 1 : 2,
    INTERPOLATED_TASK = 1024, /* outputs */
    POLYPHASE_PART = 3,       /* groups computed together where fewer than a whole tile remain */
};

/* ---- power spectrum: one frame per lane -------------------------------------------------------------------------- */

/* n complex numbers of LANES interleaved transforms: real parts (n, LANES) and imaginary parts (n, LANES). */
typedef struct complex_lanes {
    float *re, *im;
} complex_lanes;

typedef struct complex_vector {
    vf re, im;
} complex_vector;

APR_INLINE complex_vector complex_load(complex_lanes x, ptrdiff_t i) {
    complex_vector y = {vf_load(x.re + i * LANES), vf_load(x.im + i * LANES)};
    return y;
}

/* x[i] = y times the twiddle factor (cos, sin) */
APR_INLINE void complex_store_rotated(complex_lanes x, ptrdiff_t i, complex_vector y, const float *twiddle) {
    vf c = vf_set1(twiddle[0]), s = vf_set1(twiddle[1]);
    vf_store(x.re + i * LANES, vf_sub(vf_mul(y.re, c), vf_mul(y.im, s)));
    vf_store(x.im + i * LANES, vf_fma(y.re, s, vf_mul(y.im, c)));
}

APR_INLINE complex_vector complex_add(complex_vector a, complex_vector b) {
    complex_vector y = {vf_add(a.re, b.re), vf_add(a.im, b.im)};
    return y;
}

APR_INLINE complex_vector complex_sub(complex_vector a, complex_vector b) {
    complex_vector y = {vf_sub(a.re, b.re), vf_sub(a.im, b.im)};
    return y;
}

/* a + b c, a - i b and a + i b */
APR_INLINE complex_vector complex_scaled(complex_vector a, complex_vector b, float c) {
    complex_vector y = {vf_fma(b.re, vf_set1(c), a.re), vf_fma(b.im, vf_set1(c), a.im)};
    return y;
}

APR_INLINE complex_vector complex_minus_i(complex_vector a, complex_vector b) {
    complex_vector y = {vf_add(a.re, b.im), vf_sub(a.im, b.re)};
    return y;
}

APR_INLINE complex_vector complex_plus_i(complex_vector a, complex_vector b) {
    complex_vector y = {vf_sub(a.re, b.im), vf_add(a.im, b.re)};
    return y;
}

/* Compute the discrete Fourier transform of 2, 4 or 5 numbers in place. */
APR_INLINE void butterfly(const int radix, complex_vector *x) {
    if (radix == 2) {
        complex_vector a = x[0];
        x[0] = complex_add(a, x[1]);
        x[1] = complex_sub(a, x[1]);
    } else if (radix == 4) {
        complex_vector a = complex_add(x[0], x[2]), b = complex_sub(x[0], x[2]), c = complex_add(x[1], x[3]),
                       d = complex_sub(x[1], x[3]);
        x[0] = complex_add(a, c);
        x[1] = complex_minus_i(b, d);
        x[2] = complex_sub(a, c);
        x[3] = complex_plus_i(b, d);
    } else {
        const float c1 = 0.30901699437494745f, c2 = -0.8090169943749475f, s1 = 0.9510565162951535f,
                    s2 = 0.5877852522924731f;
        complex_vector a = complex_add(x[1], x[4]), b = complex_sub(x[1], x[4]), c = complex_add(x[2], x[3]),
                       d = complex_sub(x[2], x[3]);
        complex_vector zero = {vf_zero(), vf_zero()};
        complex_vector p = complex_scaled(complex_scaled(x[0], a, c1), c, c2),
                       q = complex_scaled(complex_scaled(x[0], a, c2), c, c1);
        complex_vector u = complex_scaled(complex_scaled(zero, b, s1), d, s2),
                       v = complex_scaled(complex_scaled(zero, b, s2), d, -s1);
        x[0] = complex_add(x[0], complex_add(a, c));
        x[1] = complex_minus_i(p, u);
        x[2] = complex_minus_i(q, v);
        x[3] = complex_plus_i(q, v);
        x[4] = complex_plus_i(p, u);
    }
}

/* One pass of a Stockham FFT of total = n * stride numbers: n = radix * m, with `stride` transforms of length n
 * interleaved. twiddles: cos and sin of -2 pi i / total. */
APR_INLINE void fft_step(const int radix, ptrdiff_t m, ptrdiff_t stride, complex_lanes from, complex_lanes to,
                         const float *twiddles) {
    for (ptrdiff_t p = 0; p < m; p++) {
        for (ptrdiff_t q = 0; q < stride; q++) {
            complex_vector x[5];
            APR_UNROLL
            for (int j = 0; j < radix; j++) x[j] = complex_load(from, q + stride * (p + m * j));
            butterfly(radix, x);
            APR_UNROLL
            for (int k = 0; k < radix; k++)
                complex_store_rotated(to, q + stride * (radix * p + k), x[k], twiddles + 2 * p * k * stride);
        }
    }
}

/* One pass for any other prime radix, by the definition of the transform. */
static void fft_step_any(ptrdiff_t radix, ptrdiff_t m, ptrdiff_t stride, complex_lanes from, complex_lanes to,
                         const float *twiddles) {
    ptrdiff_t total = radix * m * stride;
    for (ptrdiff_t p = 0; p < m; p++) {
        for (ptrdiff_t q = 0; q < stride; q++) {
            for (ptrdiff_t k = 0; k < radix; k++) {
                complex_vector sum = {vf_zero(), vf_zero()};
                for (ptrdiff_t j = 0; j < radix; j++) {
                    const float *twiddle = twiddles + 2 * (j * k % radix * (total / radix));
                    complex_vector x = complex_load(from, q + stride * (p + m * j));
                    vf c = vf_set1(twiddle[0]), s = vf_set1(twiddle[1]);
                    sum.re = vf_add(sum.re, vf_sub(vf_mul(x.re, c), vf_mul(x.im, s)));
                    sum.im = vf_add(sum.im, vf_fma(x.re, s, vf_mul(x.im, c)));
                }
                complex_store_rotated(to, q + stride * (radix * p + k), sum, twiddles + 2 * p * k * stride);
            }
        }
    }
}

/* Transform `total` numbers; return whichever of the two arrays holds the result. */
static complex_lanes fft(ptrdiff_t total, complex_lanes from, complex_lanes to, const float *twiddles) {
    for (ptrdiff_t n = total, stride = 1; n > 1;) {
        ptrdiff_t radix = n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : n % 5 == 0 ? 5 : 3;
        while (n % radix) radix += 2;
        n /= radix;
        if (radix == 4) fft_step(4, n, stride, from, to, twiddles);
        else if (radix == 2) fft_step(2, n, stride, from, to, twiddles);
        else if (radix == 5) fft_step(5, n, stride, from, to, twiddles);
        else fft_step_any(radix, n, stride, from, to, twiddles);
        stride *= radix;
        complex_lanes swap = from;
        from = to;
        to = swap;
    }
    return from;
}

static void fill_twiddles(float *twiddles, ptrdiff_t n, ptrdiff_t period) {
    for (ptrdiff_t i = 0; i < n; i++) {
        double angle = -6.283185307179586476925 * (double)i / (double)period;
        twiddles[2 * i] = (float)cos(angle);
        twiddles[2 * i + 1] = (float)sin(angle);
    }
}

/* Compute the spectra of LANES real frames, each from a complex transform of half its length: even samples are the
 * real parts, odd samples the imaginary parts. */
static void spectrum_frames(const apr_spectrum *s, ptrdiff_t first, complex_lanes from, complex_lanes to,
                            const float *twiddles, const float *split) {
    ptrdiff_t half = s->n_fft / 2, left = s->n_frame - first;
    for (ptrdiff_t lane = 0; lane < LANES; lane++) {
        /* lanes beyond the last frame repeat it, so that nothing is read past the end of the audio */
        const float *frame = s->audio + (first + min_size(lane, left - 1)) * s->hop;
        for (ptrdiff_t i = 0; i < half; i++) {
            from.re[i * LANES + lane] = frame[2 * i] * s->window[2 * i];
            from.im[i * LANES + lane] = frame[2 * i + 1] * s->window[2 * i + 1];
        }
    }
    complex_lanes z = fft(half, from, to, twiddles);
    vf scale = vf_set1(0.5f);
    for (ptrdiff_t k = 0; k <= half; k++) {
        complex_vector a = complex_load(z, k % half), b = complex_load(z, (half - k) % half);
        vf even_re = vf_mul(scale, vf_add(a.re, b.re)), even_im = vf_mul(scale, vf_sub(a.im, b.im));
        vf odd_re = vf_mul(scale, vf_add(a.im, b.im)), odd_im = vf_mul(scale, vf_sub(b.re, a.re));
        vf c = vf_set1(split[2 * k]), w = vf_set1(split[2 * k + 1]);
        vf re = vf_add(even_re, vf_sub(vf_mul(c, odd_re), vf_mul(w, odd_im)));
        vf im = vf_add(even_im, vf_fma(c, odd_im, vf_mul(w, odd_re)));
        vf_store_n(s->out + k * s->n_frame + first, vf_fma(re, re, vf_mul(im, im)), left);
    }
}

typedef struct spectrum_work {
    const apr_spectrum *s;
    ptrdiff_t n_task, n_group; /* groups of LANES frames */
} spectrum_work;

static void spectrum_task(void *context, ptrdiff_t i, void *scratch) {
    const spectrum_work *work = context;
    const apr_spectrum *s = work->s;
    ptrdiff_t half = s->n_fft / 2;
    float *lanes = scratch, *twiddles = lanes + 4 * half * LANES, *split = twiddles + 2 * half;
    complex_lanes from = {lanes, lanes + half * LANES}, to = {lanes + 2 * half * LANES, lanes + 3 * half * LANES};
    fill_twiddles(twiddles, half, half);
    fill_twiddles(split, half + 1, s->n_fft);
    for (ptrdiff_t group = i * work->n_group / work->n_task; group < (i + 1) * work->n_group / work->n_task; group++)
        spectrum_frames(s, group * LANES, from, to, twiddles, split);
}

static void spectrum(const apr_spectrum *s) {
    ptrdiff_t half = s->n_fft / 2;
    spectrum_work work = {.s = s, .n_group = div_up(s->n_frame, LANES)};
    work.n_task = min_size(div_up(s->n_frame, SPECTRUM_TASK), 2 * apr_get_num_threads());
    size_t scratch = (size_t)(4 * half * LANES + 4 * half + 2) * sizeof(float);
    apr_parallel_with_libc(spectrum_task, &work, work.n_task, scratch);
}

/* ---- mel bands --------------------------------------------------------------------------------------------------- */

typedef struct mel_work {
    const float *power, *filters;
    float *out;
    ptrdiff_t n_mel, n_freq, n_frame;
} mel_work;

/* A band covers few frequencies, so the sum runs from the first nonzero filter value to the last. */
static void mel_task(void *context, ptrdiff_t i, void *scratch) {
    const mel_work *work = context;
    ptrdiff_t end = min_size(work->n_frame, (i + 1) * MEL_TASK);
    (void)scratch;
    for (ptrdiff_t band = 0; band < work->n_mel; band++) {
        const float *filter = work->filters + band * work->n_freq;
        ptrdiff_t low = 0, high = work->n_freq;
        while (low < high && filter[low] == 0.0f) low++;
        while (high > low && filter[high - 1] == 0.0f) high--;
        for (ptrdiff_t frame = i * MEL_TASK; frame < end; frame += LANES) {
            vf sum = vf_zero();
            for (ptrdiff_t k = low; k < high; k++)
                sum = vf_fma(vf_set1(filter[k]), vf_load_n(work->power + k * work->n_frame + frame, end - frame), sum);
            vf_store_n(work->out + band * work->n_frame + frame, sum, end - frame);
        }
    }
}

static void mel(const float *power, const float *filters, float *out, ptrdiff_t n_mel, ptrdiff_t n_freq,
                ptrdiff_t n_frame) {
    mel_work work = {power, filters, out, n_mel, n_freq, n_frame};
    apr_parallel(mel_task, &work, div_up(n_frame, MEL_TASK), 0);
}

/* ---- resampling with a fixed ratio: polyphase FIR ---------------------------------------------------------------- */

/* Compute `rows` groups of one panel, starting at group `group`. */
APR_INLINE void polyphase_tile(const apr_polyphase *p, const int rows, ptrdiff_t panel, ptrdiff_t group) {
    const float *x = p->x + group * p->step + p->offsets[panel], *weights = p->panels + panel * p->k * APR_PANEL;
    const int32_t *starts = p->starts + panel * APR_PANEL;
    float *out = p->out + (group * p->n_panel + panel) * APR_PANEL;
    for (int lane = 0; lane < APR_PANEL; lane += POLYPHASE_VECTORS * LANES) {
        /* skip the columns that are zero for all these outputs: before the first filter starts, after the last one
         * ends */
        ptrdiff_t first = starts[lane], k = starts[lane + POLYPHASE_VECTORS * LANES - 1] + p->n_tap - first;
        vf acc[TILE_ROWS][SMALL_M_VECTORS];
        const void *b[POLYPHASE_VECTORS];
        APR_UNROLL
        for (int j = 0; j < POLYPHASE_VECTORS; j++) b[j] = weights + first * APR_PANEL + lane + j * LANES;
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < POLYPHASE_VECTORS; j++) acc[i][j] = vf_zero();
        }
        microkernel(acc, rows, POLYPHASE_VECTORS, 0, x + first, p->step, 1, b, APR_PANEL, k);
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            APR_UNROLL
            for (int j = 0; j < POLYPHASE_VECTORS; j++)
                vf_store(out + i * p->n_panel * APR_PANEL + lane + j * LANES, acc[i][j]);
        }
    }
}

APR_NOINLINE static void polyphase_full(const apr_polyphase *p, ptrdiff_t panel, ptrdiff_t group) {
    polyphase_tile(p, TILE_ROWS, panel, group);
}
APR_NOINLINE static void polyphase_part(const apr_polyphase *p, ptrdiff_t panel, ptrdiff_t group) {
    polyphase_tile(p, POLYPHASE_PART, panel, group);
}
APR_NOINLINE static void polyphase_one(const apr_polyphase *p, ptrdiff_t panel, ptrdiff_t group) {
    polyphase_tile(p, 1, panel, group);
}

typedef struct polyphase_work {
    const apr_polyphase *p;
    ptrdiff_t groups_per_task;
} polyphase_work;

static void polyphase_task(void *context, ptrdiff_t i, void *scratch) {
    const polyphase_work *work = context;
    const apr_polyphase *p = work->p;
    ptrdiff_t end = min_size(p->n_group, (i + 1) * work->groups_per_task);
    (void)scratch;
    for (ptrdiff_t panel = 0; panel < p->n_panel; panel++) {
        ptrdiff_t group = i * work->groups_per_task;
        for (; group + TILE_ROWS <= end; group += TILE_ROWS) polyphase_full(p, panel, group);
        for (; group + POLYPHASE_PART <= end; group += POLYPHASE_PART) polyphase_part(p, panel, group);
        for (; group < end; group++) polyphase_one(p, panel, group);
    }
}

static void polyphase(const apr_polyphase *p) {
    polyphase_work work = {p, TILE_ROWS * div_up(POLYPHASE_TASK, TILE_ROWS * p->n_panel * APR_PANEL)};
    apr_parallel(polyphase_task, &work, div_up(p->n_group, work.groups_per_task), 0);
}

/* ---- resampling with any ratio: an interpolated filter bank ------------------------------------------------------ */

/* Dot products with the filters below and above the phase, interpolated: this equals the dot product with the
 * interpolated filter. */
static float interpolate_one(const float *x, const float *low, const float *high, ptrdiff_t n, float share) {
    vf below[2] = {vf_zero(), vf_zero()}, above[2] = {vf_zero(), vf_zero()};
    ptrdiff_t t = 0;
    for (; t + 2 * LANES <= n; t += 2 * LANES) {
        APR_UNROLL
        for (int j = 0; j < 2; j++) {
            vf samples = vf_load(x + t + j * LANES);
            below[j] = vf_fma(samples, vf_load(low + t + j * LANES), below[j]);
            above[j] = vf_fma(samples, vf_load(high + t + j * LANES), above[j]);
        }
    }
    for (; t < n; t += LANES) {
        vf samples = vf_load_n(x + t, n - t);
        below[0] = vf_fma(samples, vf_load_n(low + t, n - t), below[0]);
        above[0] = vf_fma(samples, vf_load_n(high + t, n - t), above[0]);
    }
    float a = vf_reduce_add(vf_add(below[0], below[1])), b = vf_reduce_add(vf_add(above[0], above[1]));
    return a + share * (b - a);
}

static void interpolated_task(void *context, ptrdiff_t i, void *scratch) {
    const apr_interpolated *p = context;
    ptrdiff_t end = min_size(p->n, (i + 1) * INTERPOLATED_TASK);
    (void)scratch;
    for (ptrdiff_t n = i * INTERPOLATED_TASK; n < end; n++) {
        ptrdiff_t row = min_size((ptrdiff_t)p->phases[n], p->n_phase - 1);
        const float *low = p->filters + row * p->n_tap;
        p->out[n] = interpolate_one(p->x + p->begins[n], low, low + p->n_tap, p->n_tap, p->phases[n] - (float)row);
    }
}

static void interpolated(const apr_interpolated *p) {
    apr_interpolated work = *p;
    apr_parallel(interpolated_task, &work, div_up(p->n, INTERPOLATED_TASK), 0);
}

#endif
