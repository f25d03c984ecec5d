/* The tables of kernels that this CPU can run, weakest first. */
#include "kernels.h"

extern const apr_table apr_table_scalar;
#if defined(__x86_64__) || defined(_M_X64)
extern const apr_table apr_table_sse2, apr_table_avx2, apr_table_avx512;
void apr_qgemm_avx2vnni(const apr_gemm *g);
void apr_dot_peak_avx2vnni(float *out, ptrdiff_t n_task);
void apr_attention_avx2vnni(const apr_attention *a);
void apr_qgemm_avx512vnni(const apr_gemm *g);
void apr_dot_peak_avx512vnni(float *out, ptrdiff_t n_task);
void apr_attention_avx512vnni(const apr_attention *a);
void apr_attention_avx512bf16(const apr_attention *a);
void apr_bfloat16_peak_avx512bf16(float *out, ptrdiff_t n_task);
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const apr_table apr_table_neon;
#if !defined(_MSC_VER)
#define APR_NEON_DOT
void apr_qgemm_neondot(const apr_gemm *g);
void apr_dot_peak_neondot(float *out, ptrdiff_t n_task);
void apr_attention_neondot(const apr_attention *a);
void apr_qgemm_neoni8mm(const apr_gemm *g);
void apr_dot_peak_neoni8mm(float *out, ptrdiff_t n_task);
void apr_attention_neoni8mm(const apr_attention *a);
void apr_attention_neonbf16(const apr_attention *a);
void apr_bfloat16_peak_neonbf16(float *out, ptrdiff_t n_task);
#endif
#elif defined(__wasm__)
extern const apr_table apr_table_wasm128;
#if defined(APR_RELAXED_SIMD) /* this build of the extension is only for engines that have it */
extern const apr_table apr_table_wasm128relaxed;
#endif
#endif

#if defined(__x86_64__) || defined(_M_X64) || defined(APR_NEON_DOT)
/* Derive a table from `base` with the kernels that an int8 dot-product instruction speeds up. */
static const apr_table *with_dot_product(apr_table *derived, const apr_table *base, const char *name,
                                         void (*qgemm)(const apr_gemm *g), void (*attention)(const apr_attention *a),
                                         void (*dot_peak)(float *out, ptrdiff_t n_task)) {
    *derived = *base;
    derived->name = name;
    derived->qgemm = qgemm;
    derived->attention = attention;
    derived->dot_peak = dot_peak;
    return derived;
}

/* Derive a table from `base` with the encoder's attention in bfloat16. */
static const apr_table *with_bfloat16(apr_table *derived, const apr_table *base, const char *name,
                                      void (*attention)(const apr_attention *a),
                                      void (*bfloat16_peak)(float *out, ptrdiff_t n_task)) {
    *derived = *base;
    derived->name = name;
    derived->attention = attention;
    derived->bfloat16_peak = bfloat16_peak;
    return derived;
}
#endif

int apr_zen5;

int apr_tables(const apr_table **out, int capacity) {
    int n = 0;
    unsigned features = apr_cpu_features();
    apr_zen5 = (features & APR_CPU_ZEN5) != 0;
#define APR_ADD(condition, table) \
    if (n < capacity && (condition)) out[n++] = table;
    APR_ADD(1, &apr_table_scalar)
#if defined(__x86_64__) || defined(_M_X64)
    APR_ADD(1, &apr_table_sse2)
    APR_ADD(features & APR_CPU_AVX2, &apr_table_avx2)
    static apr_table avx2vnni, vnni, bf16;
    APR_ADD(features & APR_CPU_AVX_VNNI, with_dot_product(&avx2vnni, &apr_table_avx2, "avx2vnni", apr_qgemm_avx2vnni,
                                                          apr_attention_avx2vnni, apr_dot_peak_avx2vnni))
    APR_ADD(features & APR_CPU_AVX512, &apr_table_avx512)
    APR_ADD(features & APR_CPU_AVX512_VNNI,
            with_dot_product(&vnni, &apr_table_avx512, "avx512vnni", apr_qgemm_avx512vnni, apr_attention_avx512vnni,
                             apr_dot_peak_avx512vnni))
    APR_ADD(features & APR_CPU_AVX512_BF16,
            with_bfloat16(&bf16, &vnni, "avx512bf16", apr_attention_avx512bf16, apr_bfloat16_peak_avx512bf16))
#elif defined(__aarch64__) || defined(_M_ARM64)
    APR_ADD(1, &apr_table_neon)
#if defined(APR_NEON_DOT)
    static apr_table dot, i8mm, bf16;
    APR_ADD(features & APR_CPU_NEON_DOT, with_dot_product(&dot, &apr_table_neon, "neondot", apr_qgemm_neondot,
                                                          apr_attention_neondot, apr_dot_peak_neondot))
    unsigned multiplies = APR_CPU_NEON_DOT | APR_CPU_NEON_I8MM;
    if ((features & multiplies) != multiplies) return n; /* no CPU is known that has bfloat16 without I8MM */
    APR_ADD(1, with_dot_product(&i8mm, &apr_table_neon, "neoni8mm", apr_qgemm_neoni8mm, apr_attention_neoni8mm,
                                apr_dot_peak_neoni8mm))
    APR_ADD(features & APR_CPU_NEON_BF16,
            with_bfloat16(&bf16, &i8mm, "neonbf16", apr_attention_neonbf16, apr_bfloat16_peak_neonbf16))
#endif
#elif defined(__wasm__)
    APR_ADD(1, &apr_table_wasm128)
#if defined(APR_RELAXED_SIMD)
    APR_ADD(1, &apr_table_wasm128relaxed)
#endif
#endif
#undef APR_ADD
    return n;
}
