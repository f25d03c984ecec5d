/* The backends that this CPU can run, weakest first. */
#include "kernels.h"

extern const apr_table apr_table_scalar;
#if defined(__x86_64__) || defined(_M_X64)
extern const apr_table apr_table_sse2, apr_table_avx2, apr_table_avx512;
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const apr_table apr_table_neon;
#elif defined(__wasm_simd128__)
extern const apr_table apr_table_wasm128;
#endif

int apr_tables(const apr_table **out, int capacity) {
    int n = 0;
#define APR_ADD(condition, table) \
    if (n < capacity && (condition)) out[n++] = &table;
    APR_ADD(1, apr_table_scalar)
#if defined(__x86_64__) || defined(_M_X64)
    unsigned features = apr_cpu_features();
    APR_ADD(1, apr_table_sse2)
    APR_ADD(features & APR_CPU_AVX2, apr_table_avx2)
    APR_ADD(features & APR_CPU_AVX512, apr_table_avx512)
#elif defined(__aarch64__) || defined(_M_ARM64)
    APR_ADD(1, apr_table_neon)
#elif defined(__wasm_simd128__)
    APR_ADD(1, apr_table_wasm128)
#endif
#undef APR_ADD
    return n;
}
