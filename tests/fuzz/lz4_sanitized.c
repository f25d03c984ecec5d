/* Fuzz the LZ4 decoder with valid and mutated blocks; run.py builds it with -fsanitize=address,undefined.
 *
 * Every array is allocated with its exact size, so that a sanitizer detects any access beyond it. Arguments: the number
 * of blocks, and a seed.
 */
#include "lz4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint32_t next(void) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1DULL) >> 32);
}

static uint32_t below(uint32_t n) { return n ? next() % n : 0; }

static uint8_t *put_extended(uint8_t *at, size_t length) { /* the bytes that extend a length of 15 */
    for (; length >= 255; length -= 255) *at++ = 255;
    *at++ = (uint8_t)length;
    return at;
}

/* Write a valid block of literals and matches of many lengths and distances. Return its size; set *made to its decoded
 * size. */
static size_t valid_block(uint8_t *block, size_t *made) {
    uint8_t *at = block;
    size_t done = 0;
    for (uint32_t i = below(12); i > 0; i--) {
        size_t literals = below(3) ? below(20) : below(700), length = 4 + (below(3) ? below(20) : below(900)), distance;
        if (done + literals == 0) literals = 1;
        *at++ = (uint8_t)((literals < 15 ? literals : 15) << 4 | (length - 4 < 15 ? length - 4 : 15));
        if (literals >= 15) at = put_extended(at, literals - 15);
        for (size_t j = 0; j < literals; j++) *at++ = (uint8_t)next();
        done += literals;
        distance = 1 + (below(2) ? below(20) : below((uint32_t)done));
        if (distance > done) distance = done;
        *at++ = (uint8_t)distance;
        *at++ = (uint8_t)(distance >> 8);
        if (length - 4 >= 15) at = put_extended(at, length - 4 - 15);
        done += length;
    }
    size_t literals = below(40);
    *at++ = (uint8_t)((literals < 15 ? literals : 15) << 4);
    if (literals >= 15) at = put_extended(at, literals - 15);
    for (size_t j = 0; j < literals; j++) *at++ = (uint8_t)next();
    *made = done + literals;
    return (size_t)(at - block);
}

int main(int argc, char **argv) {
    long n = argc > 1 ? atol(argv[1]) : 20000, decoded = 0, refused = 0;
    static uint8_t block[1 << 16];
    state = 88172645463325252ULL + (argc > 2 ? (uint64_t)atoll(argv[2]) : 0);
    for (long i = 0; i < n; i++) {
        size_t made, size = valid_block(block, &made), target_size = made;
        int valid = i % 4 == 0;
        if (!valid) {
            for (uint32_t j = 1 + below(4); j > 0; j--) {
                switch (below(5)) {
                    case 0: block[below((uint32_t)size)] ^= (uint8_t)(1u << below(8)); break;
                    case 1: block[below((uint32_t)size)] = 255; break;
                    case 2: block[below((uint32_t)size)] = (uint8_t)next(); break;
                    case 3: size = 1 + below((uint32_t)size); break;
                    case 4: target_size = below(2) ? below((uint32_t)made + 40) : made + below(3) - 1; break;
                }
            }
        }
        if (target_size > (1u << 20)) target_size = 0; /* made was 0 */
        uint8_t *source = malloc(size ? size : 1), *target = malloc(target_size ? target_size : 1);
        if (!source || !target) return 2;
        memcpy(source, block, size);
        int status = apr_lz4_decode(source, (ptrdiff_t)size, target, (ptrdiff_t)target_size);
        if (valid && status != 0) {
            fprintf(stderr, "lz4: valid block %ld was refused\n", i);
            return 1;
        }
        decoded += status == 0;
        refused += status != 0;
        free(source);
        free(target);
    }
    printf("lz4 under sanitizers: %ld blocks: %ld refused, %ld decoded\n", n, refused, decoded);
    return 0;
}
