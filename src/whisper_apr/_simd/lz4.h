/* Decoder of LZ4's block format. The frame format and compression are not included. */
#ifndef WHISPER_APR_LZ4_H
#define WHISPER_APR_LZ4_H

#include <stddef.h>
#include <stdint.h>

/* Decode src (n_src bytes) into dst (n_dst bytes). Return 0 if src is one whole block that decodes to exactly n_dst
 * bytes, otherwise -1. Whatever src contains, nothing outside of the two arrays is read or written; after -1, the
 * contents of dst are unspecified. */
int apr_lz4_decode(const uint8_t *src, ptrdiff_t n_src, uint8_t *dst, ptrdiff_t n_dst);

#endif
