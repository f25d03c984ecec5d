/* The decoder's first states: one token's row of a packed table, and its place's. */
#ifndef WHISPER_APR_EMBED_H
#define WHISPER_APR_EMBED_H

#include "kernels.h"

typedef struct apr_embedding {
    ptrdiff_t n_row, n_out, k;
    const int64_t *tokens; /* (n_row), token_step apart */
    ptrdiff_t token_stride;
    const void *panels; /* a packed matrix (n_out, k): see simd/layout.py */
    int type;
    const void *scales; /* int8: (n_panel, 16) float32; int4: (n_panel, ceil(k / 32), 16) float16 */
    const float *positions; /* (n_position, k) */
    ptrdiff_t n_position;
    int32_t *lengths; /* (n_row): the place of each row's token; one more afterwards */
    float *out;       /* (n_row, k) */
} apr_embedding;

/* Returns 1; or 0, with nothing done, where a token or a place lies outside of its table. */
int apr_embed(const apr_embedding *e);

#endif
