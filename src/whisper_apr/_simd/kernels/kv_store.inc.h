/* Write the keys and values of new positions into the pages of the KV cache, where attention.inc.h reads them. */
#ifndef WHISPER_APR_KERNELS_KV_STORE_INC_H
#define WHISPER_APR_KERNELS_KV_STORE_INC_H

#include <string.h>

#include "../kernels.h"
#include "pages.inc.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

/* Dimensions to transpose before reading them back: a wide load from recent narrow stores would stall. */
enum { TRANSPOSE_STRIP = 64 };

/* Round to nearest, ties to even; NaN stays NaN. */
#if !defined(VF_HAS_STORE_HALF)
APR_INLINE void vf_store_half(uint16_t *p, vf x) {
    float lanes[LANES];
    vf_store(lanes, x);
    for (int i = 0; i < LANES; i++) p[i] = apr_float_to_half(lanes[i]);
}
#endif

APR_INLINE void store_vector(void *p, ptrdiff_t i, vf x, int type) {
    if (type == APR_FLOAT16) vf_store_half((uint16_t *)p + i, x);
    else vf_store((float *)p + i, x);
}

APR_INLINE void store_element(void *p, ptrdiff_t i, float x, int type) {
    if (type == APR_FLOAT16) ((uint16_t *)p)[i] = apr_float_to_half(x);
    else ((float *)p)[i] = x;
}

/* Store the keys of 16 positions as a whole page (d_head, 16); d_head is a multiple of 4. */
static void store_key_page(const apr_store *s, const float *k, ptrdiff_t at) {
    for (ptrdiff_t d = 0; d < s->d_head; d += TRANSPOSE_STRIP) {
        float transposed[TRANSPOSE_STRIP * APR_PANEL];
        ptrdiff_t n_dim = min_size(TRANSPOSE_STRIP, s->d_head - d);
        for (ptrdiff_t t = 0; t < APR_PANEL; t += 4)
            for (ptrdiff_t i = 0; i < n_dim; i += 4)
                vf_transpose4(k + t * s->k_time + d + i, s->k_time, transposed + i * APR_PANEL + t, APR_PANEL);
        for (ptrdiff_t i = 0; i < n_dim * APR_PANEL; i += LANES)
            store_vector(s->keys, at + d * APR_PANEL + i, vf_load(transposed + i), s->type);
    }
}

/* Store n positions, starting at `slot` of a page. */
static void store_float_page(const apr_store *s, const float *k, const float *v, ptrdiff_t page, ptrdiff_t slot,
                             ptrdiff_t n) {
    ptrdiff_t d_head = s->d_head;
    int whole = n == APR_PANEL && d_head % 4 == 0;
    if (whole) store_key_page(s, k, page * d_head * APR_PANEL);
    for (ptrdiff_t end = slot + n; slot < end; slot++, k += s->k_time, v += s->v_time) {
        ptrdiff_t line = value_index(page, slot, 0, d_head, s->type), d = 0;
        for (ptrdiff_t i = 0; !whole && i < d_head; i++)
            store_element(s->keys, key_index(page, slot, i, d_head, s->type), k[i], s->type);
        for (; d + LANES <= d_head; d += LANES) store_vector(s->values, line + d, vf_load(v + d), s->type);
        for (; d < d_head; d++) store_element(s->values, line + d, v[d], s->type);
    }
}

/* Quantize a vector: multiply by the inverse scale and round. Where the inverse scale is 0, x may be infinite and the
 * product NaN, which is clamped. */
APR_INLINE void quantize_vector(int8_t *p, vf x, vf inverse_scale) {
    vf_store_int8(p, vf_min(vf_max(vf_mul(x, inverse_scale), vf_set1(-127.0f)), vf_set1(127.0f)));
}

/* Quantize 16 numbers from x[d] on; x has n numbers in all. */
APR_INLINE void quantize_panel(const float *x, ptrdiff_t d, ptrdiff_t n, float inverse_scale, int8_t *quantized) {
    for (ptrdiff_t i = 0; i < APR_PANEL; i += LANES)
        quantize_vector(quantized + i, load_tail(x, d + i, n), vf_set1(inverse_scale));
}

/* Store n int8 positions with their scales. The values of four positions that share quads are stored together. */
static void store_int8_page(const apr_store *s, const float *k, const float *v, ptrdiff_t page, ptrdiff_t slot,
                            ptrdiff_t n) {
    ptrdiff_t d_head = s->d_head;
    float *key_scales = s->scales + page * APR_PANEL, *value_scales = key_scales + s->n_head * s->n_page * APR_PANEL,
          inverse_scale;
    int8_t *keys = s->keys, *values = s->values, quantized[APR_PANEL];
    for (ptrdiff_t t = slot; t < slot + n; t++, k += s->k_time) {
        key_scales[t] = quantization_scale(k, d_head, 127.0f, &inverse_scale);
        for (ptrdiff_t d = 0; d < d_head; d += APR_PANEL) {
            quantize_panel(k, d, d_head, inverse_scale, quantized);
            for (ptrdiff_t i = 0; i < APR_PANEL && d + i < d_head; i += APR_QUAD)
                memcpy(keys + key_index(page, t, d + i, d_head, APR_INT8), quantized + i, APR_QUAD);
        }
    }
    for (ptrdiff_t t = slot, n_taken; t < slot + n; t += n_taken, v += n_taken * s->v_time) {
        n_taken = t % APR_QUAD == 0 && t + APR_QUAD <= slot + n && d_head % APR_QUAD == 0 ? APR_QUAD : 1;
        float inverse_scales[APR_PANEL]; /* of the four positions, repeated */
        for (ptrdiff_t i = 0; i < n_taken; i++)
            value_scales[t + i] = quantization_scale(v + i * s->v_time, d_head, 127.0f, &inverse_scales[i]);
        if (n_taken == 1) {
            for (ptrdiff_t d = 0; d < d_head; d += APR_PANEL) {
                quantize_panel(v, d, d_head, inverse_scales[0], quantized);
                for (ptrdiff_t i = 0; i < min_size(APR_PANEL, d_head - d); i++)
                    values[value_index(page, t, d + i, d_head, APR_INT8)] = quantized[i];
            }
            continue;
        }
        for (ptrdiff_t i = APR_QUAD; i < APR_PANEL; i++) inverse_scales[i] = inverse_scales[i - APR_QUAD];
        for (ptrdiff_t d = 0; d < d_head; d += TRANSPOSE_STRIP) {
            float transposed[TRANSPOSE_STRIP * APR_QUAD];
            ptrdiff_t n_dim = min_size(TRANSPOSE_STRIP, d_head - d);
            for (ptrdiff_t i = 0; i < n_dim; i += APR_QUAD)
                vf_transpose4(v + d + i, s->v_time, transposed + i * APR_QUAD, APR_QUAD);
            for (ptrdiff_t i = 0; i < n_dim * APR_QUAD; i += LANES)
                quantize_vector(values + value_index(page, t, d, d_head, APR_INT8) + i, vf_load(transposed + i),
                                vf_load(inverse_scales + i % APR_PANEL));
        }
    }
}

/* Store one head of one row, page by page. */
static void store_task(void *context, ptrdiff_t i, void *scratch) {
    const apr_store *s = context;
    ptrdiff_t row = i / s->n_head, head = i % s->n_head, end = s->lengths[row],
              start = end - (s->counts ? s->counts[row] : s->n_new);
    const float *k = s->k + row * s->k_row + head * s->d_head, *v = s->v + row * s->v_row + head * s->d_head;
    ptrdiff_t before = s->n_new - end; /* position p is element p + before of k and v */
    (void)scratch;
    for (ptrdiff_t from = start, to; from < end; from = to) {
        to = min_size(end, (from / APR_PANEL + 1) * APR_PANEL);
        for (ptrdiff_t next = to; next < min_size(to + APR_PANEL, end); next++) {
            prefetch_row(k + (next + before) * s->k_time, s->d_head);
            prefetch_row(v + (next + before) * s->v_time, s->d_head);
        }
        ptrdiff_t page = head * s->n_page + s->pages[row * s->pages_stride + from / APR_PANEL];
        const float *keys = k + (from + before) * s->k_time, *values = v + (from + before) * s->v_time;
        if (s->type == APR_INT8) store_int8_page(s, keys, values, page, from % APR_PANEL, to - from);
        else store_float_page(s, keys, values, page, from % APR_PANEL, to - from);
    }
}

static void store(const apr_store *s) {
    apr_store work = *s;
    apr_parallel(store_task, &work, s->n_row * s->n_head, 0);
}

#endif
