/* What the encoder's attention shares between floats, bfloat16 (encoder_attention.inc.h) and 16-bit integers
 * (encoder_int16.inc.h): the sizes of blocks, the mask and the transposition.
 */
#ifndef WHISPER_APR_KERNELS_ENCODER_BLOCK_INC_H
#define WHISPER_APR_KERNELS_ENCODER_BLOCK_INC_H

#include <math.h>

#include "../kernels.h"
#include "tile.inc.h"

enum {
    ENC_VECTORS = TILE_ROWS == 6 ? 3 : 2, /* vectors of queries: with ENC_ROWS, as many as the register file holds */
    ENC_QUERIES = ENC_VECTORS * LANES,    /* queries side by side in the lanes */
    ENC_ROWS = TILE_ROWS >= 8 ? 8 : 4,    /* keys or dimensions of a register block; divides 16 */
    ENC_KEY_BLOCK = 128,                  /* keys whose scores are stored at a time */
    ENC_PREFETCH_ROWS = 16,               /* rows of keys and values between prefetching and packing */
    /* Minimum tasks per thread, for load balance; not more, because each task packs its head's keys and values. */
    ENC_TASKS = 4,
};

/* Packed keys and values of one head, in 32-bit cells. A cell holds one float, or two smaller numbers. */
typedef struct encoder_head {
    void *keys;          /* (n_slot, d_cell): adjacent dimensions share a cell */
    void *values;        /* (n_slot / numbers per cell, d_value): one dimension of adjacent keys in a cell */
    ptrdiff_t n_slot;    /* keys, rounded up to a multiple of ENC_ROWS */
    ptrdiff_t d_cell;    /* cells of a key, rounded up to a multiple of 16 */
    ptrdiff_t d_value;   /* dimensions, rounded up to a multiple of 16 */
    float *key_scales;   /* (n_slot), of 16-bit integers */
    float *value_scales; /* (d_value), likewise */
} encoder_head;

/* Set the scores of keys that a query may not see to -infinity, for n keys from key0 on; n_visible (ENC_QUERIES) keys
 * are visible. running_max is recomputed from previous_max and what remains. */
static void encoder_mask(float *scores, ptrdiff_t n, ptrdiff_t key0, const float *n_visible, const float *previous_max,
                         float *running_max) {
    for (int j = 0; j < ENC_VECTORS; j++) {
        vf maximum = vf_load(previous_max + j * LANES), visible = vf_load(n_visible + j * LANES);
        for (ptrdiff_t t = 0; t < n; t++) {
            float *s = scores + t * ENC_QUERIES + j * LANES;
            vf x = vf_select_lt(vf_set1((float)(key0 + t)), visible, vf_load(s), vf_set1(-INFINITY));
            vf_store(s, x);
            maximum = vf_max(x, maximum);
        }
        vf_store(running_max + j * LANES, maximum);
    }
}

/* out[s][i] = x[i][s] for rows x (n, stride) of 32-bit elements, in blocks of 4 x 4. */
APR_INLINE void transpose(const float *x, ptrdiff_t n, ptrdiff_t stride, float *out, ptrdiff_t n_out,
                          ptrdiff_t out_stride) {
    ptrdiff_t whole = LANES < 4 ? 0 : n; /* a scalar build may have fewer than 4 queries */
    for (ptrdiff_t i = 0; i < whole; i += 4)
        for (ptrdiff_t s = 0; s < n_out; s += 4)
            vf_transpose4(x + i * stride + s, stride, out + s * out_stride + i, out_stride);
    for (ptrdiff_t i = whole; i < n; i++)
        for (ptrdiff_t s = 0; s < n_out; s++) out[s * out_stride + i] = x[i * stride + s];
}

#endif
