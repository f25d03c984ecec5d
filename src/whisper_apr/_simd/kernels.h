/* Every kernel's signature, once: the table, its type and each target's definition come from APR_KERNELS below.
 *
 * Matrices are row-major float32. "Panels" are simd/layout.py's: (n_panel, k, 16), float32 or float16 (as uint16_t), or its int8 and int4 forms.
 * Sizes are in elements, not bytes. A kernel spreads its work with apr_parallel; no result depends on the number of threads.
 */
#ifndef WHISPER_APR_KERNELS_H
#define WHISPER_APR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* simd/layout.py's: outputs of a panel; inputs of an output that lie together; inputs that share an int4 scale */
enum { APR_PANEL = 16, APR_QUAD = 4, APR_GROUP = 32 };

/* What a matrix's panels hold; gemm takes the first two, qgemm the others; pages of a key-value cache hold the first three. */
enum { APR_FLOAT32, APR_FLOAT16, APR_INT8, APR_INT4 };

/* c = gelu(a b^T + bias) + residual, the parts that are asked for */
typedef struct apr_gemm {
    ptrdiff_t m, n, k;
    const float *a; /* (m, k), rows a_stride apart; rows may overlap */
    ptrdiff_t a_stride;
    const void *b; /* panels (ceil(n / 16), k, 16), or as simd/layout.py says */
    int b_type;
    const void *scales;  /* int8: (n_panel, 16) float32; int4: (n_panel, ceil(k / 32), 16) float16 */
    const int32_t *sums; /* int8: (n_panel, 16), of each output's values */
    const float *bias; /* (n) or NULL */
    int gelu;
    const float *residual; /* (m, n) or NULL */
    float *c;              /* (m, n) */
} apr_gemm;

/* out = softmax(q keys^T * scale) values, for n_row rows of n_head heads.
 * Keys and values either lie in pages (pages != NULL) or are strided arrays (k_stride, v_stride in use). */
typedef struct apr_attention {
    ptrdiff_t n_row, n_head, n_query, d_head;
    int causal; /* query i of row r sees the keys before n_key(r) - n_query + i + 1, and always the first */
    int bfloat16; /* many queries over strided arrays only: products may be of numbers rounded to bfloat16, summed in float32 */
    float scale;
    const float *q; /* (n_row, n_head, n_query, d_head) by strides; the last axis is contiguous */
    ptrdiff_t q_row, q_head, q_time;
    float *out; /* likewise */
    ptrdiff_t out_row, out_head, out_time;
    const void *keys;       /* pages: (n_head, n_page, d_head, 16), or int8's as simd/layout.py says; strided: float32 rows of d_head */
    const void *values;     /* pages: (n_head, n_page, 16, d_head), likewise; strided: float32 rows of d_head */
    int type;               /* pages only: APR_FLOAT32, APR_FLOAT16, or APR_INT8 ... */
    const float *scales;     /* ... with what a step of each position's keys is worth, (n_head, n_page, 16), then of its values */
    const int32_t *pages;   /* (n_row, pages_stride): the page of each 16 positions of each row */
    const int32_t *lengths; /* pages only: (n_row), the number of keys of each row */
    ptrdiff_t pages_stride, n_page;
    ptrdiff_t n_key; /* strided only */
    ptrdiff_t k_row, k_head, k_time, v_row, v_head, v_time;
} apr_attention;

/* New positions of a key-value cache: of row r, the last counts[r] of k and v (n_row, n_new, n_head * d_head) become the positions
 * lengths[r] - counts[r] .. lengths[r] - 1. */
typedef struct apr_store {
    ptrdiff_t n_row, n_new, n_head, d_head;
    const float *k, *v; /* by strides; the last axis is contiguous */
    ptrdiff_t k_row, k_time, v_row, v_time;
    const int32_t *pages; /* (n_row, pages_stride) */
    ptrdiff_t pages_stride, n_page;
    const int32_t *lengths, *counts; /* (n_row); counts NULL: n_new */
    void *keys, *values;             /* as in apr_attention */
    int type;
    float *scales;
} apr_store;

typedef struct apr_norm {
    ptrdiff_t n_row, n;
    const float *x, *weight, *bias; /* (n_row, n), (n), (n) */
    float eps;
    float *out;
} apr_norm;

/* |FFT|^2 of windowed frames; n_fft is even */
typedef struct apr_spectrum {
    const float *audio; /* frame f begins at audio + f * hop */
    const float *window;
    ptrdiff_t n_fft, hop, n_frame;
    float *out; /* (n_fft / 2 + 1, n_frame) */
} apr_spectrum;

/* out[g][j][i] = sum over t < k of x[g * step + offsets[j] + t] * panels[j][t][i], i < 16; x holds all of these.
 * Column i of panel j is zero outside starts[j][i] <= t < starts[j][i] + n_tap; starts ascend along a panel, and the last ends at k at most.
 * Products with those zeros may be left out. */
typedef struct apr_polyphase {
    const float *x;
    const float *panels; /* (n_panel, k, 16) */
    const int64_t *offsets; /* (n_panel) */
    const int32_t *starts; /* (n_panel, 16) */
    ptrdiff_t n_panel, k, n_tap, step, n_group;
    float *out; /* (n_group, n_panel, 16) */
} apr_polyphase;

/* out[i] = sum over t < n_tap of x[begins[i] + t] * f(phases[i])[t]: f(p) is row p of filters, linearly interpolated between rows.
 * 0 <= phases[i] <= n_phase. x holds all that is read. */
typedef struct apr_interpolated {
    const float *x;
    const float *filters; /* (n_phase + 1, n_tap) */
    const int64_t *begins; /* (n) */
    const float *phases; /* (n) */
    ptrdiff_t n_phase, n_tap, n;
    float *out; /* (n) */
} apr_interpolated;

/* For names that end in a target's. */
#define APR_JOIN2(a, b) a##b
#define APR_JOIN(a, b) APR_JOIN2(a, b)

#define APR_KERNELS(K) \
    K(gemm, (const apr_gemm *g)) \
    K(qgemm, (const apr_gemm *g)) \
    K(attention, (const apr_attention *a)) \
    K(store, (const apr_store *s)) \
    K(gelu, (const float *x, float *out, ptrdiff_t n)) \
    K(dot, (const float *a, const float *b, ptrdiff_t n, float *out)) \
    K(softmax, (const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n, int log)) \
    K(logsumexp, (const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n)) \
    K(argmax, (const float *x, int64_t *out, ptrdiff_t n_row, ptrdiff_t n)) \
    K(top_k, (const float *x, int64_t *out, ptrdiff_t n_row, ptrdiff_t n, ptrdiff_t k)) /* 1 <= k <= n */ \
    K(layer_norm, (const apr_norm *n)) \
    K(spectrum, (const apr_spectrum *s)) \
    K(mel, (const float *power, const float *filters, float *out, ptrdiff_t n_mel, ptrdiff_t n_freq, ptrdiff_t n_frame)) \
    K(median, (const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n, ptrdiff_t width)) /* x (n_row, n + width - 1) */ \
    K(dtw, (const float *x, ptrdiff_t n, ptrdiff_t m, float *cost, int8_t *trace)) \
    K(polyphase, (const apr_polyphase *p)) \
    K(interpolated, (const apr_interpolated *p)) \
    K(peak, (float *out, ptrdiff_t n_task)) \
    K(dot_peak, (float *out, ptrdiff_t n_task)) \
    K(bfloat16_peak, (float *out, ptrdiff_t n_task)) /* peak, where attention does not multiply bfloat16 */ \
    K(read_all, (const float *x, ptrdiff_t n, float *out))

typedef struct apr_table {
    const char *name;
    int lanes;
#define APR_POINTER(name, arguments) void(*name) arguments;
    APR_KERNELS(APR_POINTER)
#undef APR_POINTER
} apr_table;

/* dispatch.c: the tables that this CPU can run, weakest first; returns how many */
int apr_tables(const apr_table **out, int capacity);

/* cpu.c: bits of apr_cpu_features(): what can be run, where the operating system saves the registers too, and what pays */
enum { APR_CPU_AVX2 = 1, APR_CPU_AVX512 = 2, APR_CPU_AVX512_VNNI = 4, APR_CPU_AVX512_BF16 = 8, APR_CPU_NEON_DOT = 16, APR_CPU_ZEN5 = 32 };
unsigned apr_cpu_features(void);

/* Whether this is AMD's Zen 5, where two things pay that cost elsewhere. A kernel that reads one long stream asks for each of its lines ahead of
 * use: tiny's int8 token is 10 to 20 % faster; Zen 4's own prefetcher is disturbed. And a half becomes a float in a product's inner loop, for
 * nothing; on Zen 4 products are 3 to 6 % faster where that is done once before. Set by apr_tables. */
extern int apr_zen5;

/* threads.c: run task(context, i, scratch) for every i < n_task, on this thread and the pool's. scratch: scratch_bytes
 * bytes, 64-byte aligned, a task's own while it runs. Returns 0, or -1 where memory ran out (then nothing was run). */
typedef void apr_task(void *context, ptrdiff_t i, void *scratch);
int apr_parallel(apr_task *task, void *context, ptrdiff_t n_task, size_t scratch_bytes);
void apr_set_num_threads(int n);
int apr_get_num_threads(void);
int apr_take_failure(void); /* 1 where an apr_parallel of this thread ran out of memory since the last call */

#endif
