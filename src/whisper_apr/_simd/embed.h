/* The decoder's input embedding: one token's row of a packed table plus its positional embedding. */
#ifndef WHISPER_APR_EMBED_H
#define WHISPER_APR_EMBED_H

#include "kernels.h"

typedef struct apr_embedding {
    ptrdiff_t n_row, n_out, k;
    const int64_t *tokens; /* (n_row), token_stride elements apart */
    ptrdiff_t token_stride;
    const void *panels; /* a packed matrix (n_out, k): see simd/layout.py */
    int type;
    const void *scales;     /* int8: (n_panel, 16) float32; int4: (n_panel, ceil(k / 32), 16) float16 */
    const float *positions; /* (n_position, k) */
    ptrdiff_t n_position;
    int32_t *lengths; /* (n_row): the position of each row's token; incremented */
    float *out;       /* (n_row, k) */
} apr_embedding;

/* Compute the embeddings and return 1; or return 0, with nothing done, if a token or position is out of range. */
int apr_embed(const apr_embedding *e);

#endif
