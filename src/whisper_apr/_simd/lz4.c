/* LZ4 block format: sequences of (token, literals, match); the last sequence has no match.
 *
 * The token's high nibble is the number of literals, its low nibble the match length - 4. 15 means that bytes follow
 * that are added to it, up to and including the first that is not 255. A match is a 16-bit little-endian distance back
 * into the output; source and destination of its copy may overlap. Format: lz4_Block_format.md of github.com/lz4/lz4.
 */
#include "lz4.h"

#include <string.h>

enum {
    LZ4_LONG = 15, /* nibble that says more length bytes follow */
    LZ4_MIN_MATCH = 4,
    LZ4_STEP = 16, /* bytes copied at once where both arrays have room */
};

/* Add the extra bytes of a length. Return the length, or -1 if src ends or the length exceeds `limit`. */
static ptrdiff_t long_length(const uint8_t **at, const uint8_t *end, ptrdiff_t length, ptrdiff_t limit) {
    uint8_t more;
    do {
        if (*at == end) return -1;
        more = *(*at)++;
        length += more;
        if (length > limit) return -1; /* also prevents overflow */
    } while (more == 255);
    return length;
}

static void copy_match(uint8_t *dst, ptrdiff_t distance, ptrdiff_t length, ptrdiff_t room) {
    if (distance >= LZ4_STEP && room - length >= LZ4_STEP) {
        const uint8_t *from = dst - distance;
        for (ptrdiff_t i = 0; i < length; i += LZ4_STEP) memcpy(dst + i, from + i, LZ4_STEP);
        return;
    }
    while (length > distance) { /* copy the pattern, then twice as much, and so on: no memcpy overlaps itself */
        memcpy(dst, dst - distance, (size_t)distance);
        dst += distance;
        length -= distance;
        distance *= 2;
    }
    memcpy(dst, dst - distance, (size_t)length);
}

int apr_lz4_decode(const uint8_t *src, ptrdiff_t n_src, uint8_t *dst, ptrdiff_t n_dst) {
    const uint8_t *at = src, *end = src + n_src;
    ptrdiff_t done = 0;
    while (at < end) {
        uint8_t token = *at++;
        ptrdiff_t literals = token >> 4, length = token & 15, distance;
        if (literals == LZ4_LONG) literals = long_length(&at, end, literals, n_dst);
        if (literals < 0 || literals > end - at || literals > n_dst - done) return -1;
        if (literals <= LZ4_STEP && end - at >= LZ4_STEP && n_dst - done >= LZ4_STEP) memcpy(dst + done, at, LZ4_STEP);
        else if (literals) memcpy(dst + done, at, (size_t)literals);
        at += literals;
        done += literals;
        if (at == end) return done == n_dst && length == 0 ? 0 : -1; /* the last sequence */
        if (end - at < 2) return -1;
        distance = at[0] | at[1] << 8;
        at += 2;
        if (length == LZ4_LONG) length = long_length(&at, end, length, n_dst);
        if (length < 0) return -1;
        length += LZ4_MIN_MATCH;
        if (distance == 0 || distance > done || length > n_dst - done) return -1;
        copy_match(dst + done, distance, length, n_dst - done);
        done += length;
    }
    return -1; /* empty, or it ended after a match */
}
