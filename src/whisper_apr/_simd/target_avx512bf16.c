/* The attention of many queries with AVX-512's dot product of bfloat16; all else is avx512vnni's. */
#define APR_BFLOAT16
#include "vec/avx512.h"

#include "kernels.h"

#include <math.h>

#include "tile.inc.h"

#include "attention_many.inc.h"

extern const apr_table apr_table_avx512;

void apr_attention_avx512bf16(const apr_attention *a) {
    if (a->bfloat16 && !a->pages && a->n_query > THIN_ROWS) many_attention(a);
    else apr_table_avx512.attention(a);
}
