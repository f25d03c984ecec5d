/* Indexing of the paged KV cache, shared by attention and the KV store. simd/layout.py documents the page layouts. */
#ifndef WHISPER_APR_KERNELS_PAGES_INC_H
#define WHISPER_APR_KERNELS_PAGES_INC_H

#include "../kernels.h"
#include "tile.inc.h"

/* Return the index of dimension d of slot 0..15 of a page. */
APR_INLINE ptrdiff_t key_index(ptrdiff_t page, ptrdiff_t slot, ptrdiff_t d, ptrdiff_t d_head, int type) {
    if (type != APR_INT8) return (page * d_head + d) * APR_PANEL + slot;
    return ((page * div_up(d_head, APR_QUAD) + d / APR_QUAD) * APR_PANEL + slot) * APR_QUAD + d % APR_QUAD;
}
APR_INLINE ptrdiff_t value_index(ptrdiff_t page, ptrdiff_t slot, ptrdiff_t d, ptrdiff_t d_head, int type) {
    if (type != APR_INT8) return (page * APR_PANEL + slot) * d_head + d;
    return ((page * APR_PANEL / APR_QUAD + slot / APR_QUAD) * d_head + d) * APR_QUAD + slot % APR_QUAD;
}

/* Return the number of keys of the longest row. */
APR_INLINE ptrdiff_t longest_length(const apr_attention *a) {
    ptrdiff_t longest = 0;
    for (ptrdiff_t row = 0; row < a->n_row; row++) longest = max_size(longest, a->lengths[row]);
    return longest;
}

/* Return the number of parts that the queries of one head are split into, in blocks of `rows` queries. There is more
 * than one part only if the heads do not divide evenly among the threads, because each part reads the same keys and
 * values again. */
APR_INLINE ptrdiff_t query_parts(const apr_attention *a, ptrdiff_t rows) {
    ptrdiff_t n_thread = apr_get_num_threads(), n_pair = a->n_row * a->n_head;
    return n_pair % n_thread && n_pair < 8 * n_thread ? min_size(n_thread, div_up(a->n_query, rows)) : 1;
}

#endif
