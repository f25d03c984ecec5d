/* One block of LZ4's block format, decoded. Not the frame format, and no compressor. */
#ifndef WHISPER_APR_LZ4_H
#define WHISPER_APR_LZ4_H

#include <stddef.h>
#include <stdint.h>

/* src (n_src) -> dst (n_dst). Returns 0 where src is one whole block that makes exactly n_dst bytes, else -1.
 * Whatever src holds, nothing outside of the two arrays is read or written; after -1, dst holds anything. */
int apr_lz4_decode(const uint8_t *src, ptrdiff_t n_src, uint8_t *dst, ptrdiff_t n_dst);

#endif
