/* The interface of the kernels. APR_KERNELS declares each one once; the table, its type and every target's definitions
 * are generated from it.
 *
 * Matrices are row-major float32. "Panels" are the packed weights of simd/layout.py: (n_panel, k, 16) float32 or
 * float16 (as uint16_t), or its int8 and int4 layouts. Sizes and strides are in elements, not bytes. Kernels
 * distribute their work with apr_parallel; no result depends on the number of threads.
 */
#ifndef WHISPER_APR_KERNELS_H
#define WHISPER_APR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* As in simd/layout.py: outputs of a panel; adjacent inputs of one output; inputs that share an int4 scale. */
enum { APR_PANEL = 16, APR_QUAD = 4, APR_GROUP = 32 };

/* Element types. Panels for gemm are float32 or float16, for qgemm int8 or int4; pages of the KV cache are float32,
 * float16 or int8. */
enum { APR_FLOAT32, APR_FLOAT16, APR_INT8, APR_INT4 };

/* c = gelu(a b^T + bias) + residual; gelu, bias and residual are optional */
typedef struct apr_gemm {
    ptrdiff_t m, n, k;
    const float *a; /* (m, k), rows a_stride apart; rows may overlap */
    ptrdiff_t a_stride;
    const void *b; /* panels (ceil(n / 16), k, 16), or int8 or int4 as in simd/layout.py */
    int b_type;
    const void *scales;  /* int8: (n_panel, 16) float32; int4: (n_panel, ceil(k / 32), 16) float16 */
    const int32_t *sums; /* int8: (n_panel, 16), the sum of each output's weights (zero-point compensation) */
    float levels;        /* int8, int4: each row of a is quantized to integers from -levels to levels */
    const float *bias;   /* (n) or NULL */
    int gelu;
    const float *residual; /* (m, n) or NULL */
    float *c;              /* (m, n) */
} apr_gemm;

/* out = softmax(q keys^T * scale) values for n_row rows of n_head heads.
 * Keys and values are either paged (pages != NULL) or strided arrays (k_row and so on are used). */
typedef struct apr_attention {
    ptrdiff_t n_row, n_head, n_query, d_head;
    /* Query i of row r sees the first n_key(r) - n_query + i + 1 keys, but at least one. */
    int causal;
    /* Allow q, keys, values and the softmax weights to be rounded to bfloat16 or 16-bit integers. Strided only. */
    int reduced;
    float scale;
    const float *q; /* (n_row, n_head, n_query, d_head) with strides; the last axis is contiguous */
    ptrdiff_t q_row, q_head, q_time;
    float *out; /* likewise */
    ptrdiff_t out_row, out_head, out_time;
    /* Paged: (n_head, n_page, d_head, 16), or int8 as in simd/layout.py. Strided: float32 rows of d_head. */
    const void *keys;
    /* Paged: (n_head, n_page, 16, d_head), likewise. Strided: float32 rows of d_head. */
    const void *values;
    int type; /* paged only: APR_FLOAT32, APR_FLOAT16 or APR_INT8 */
    /* int8 pages only: the scale of each position's keys (n_head, n_page, 16), then of its values. */
    const float *scales;
    const int32_t *pages;   /* (n_row, pages_stride): the page table, one page for each 16 positions */
    const int32_t *lengths; /* paged only: (n_row), the number of keys of each row */
    ptrdiff_t pages_stride, n_page;
    ptrdiff_t n_key; /* strided only */
    ptrdiff_t k_row, k_head, k_time, v_row, v_head, v_time;
} apr_attention;

/* Append positions to a KV cache: the last counts[r] positions of row r of k and v (n_row, n_new, n_head * d_head)
 * become positions lengths[r] - counts[r] .. lengths[r] - 1. */
typedef struct apr_store {
    ptrdiff_t n_row, n_new, n_head, d_head;
    const float *k, *v; /* with strides; the last axis is contiguous */
    ptrdiff_t k_row, k_time, v_row, v_time;
    const int32_t *pages; /* (n_row, pages_stride), the page table */
    ptrdiff_t pages_stride, n_page;
    const int32_t *lengths, *counts; /* (n_row); counts NULL: n_new for every row */
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

/* The recurrent part of an LSTM layer, from a state of zeros. */
typedef struct apr_lstm {
    ptrdiff_t n_step, n_row, n_state; /* n_state: a multiple of 16 */
    int backward;                     /* from the last step to the first */
    const float *inputs;              /* (n_step, n_row, 4, n_state): gates without the state's part, with biases */
    const float *weight;              /* panels of (4 n_state, n_state): (4 n_state / 16, n_state, 16) */
    float *out;                       /* (n_step, n_row, n_state) */
} apr_lstm;

/* Power spectrum |FFT|^2 of windowed frames; n_fft is even. */
typedef struct apr_spectrum {
    const float *audio; /* frame f starts at audio + f * hop */
    const float *window;
    ptrdiff_t n_fft, hop, n_frame;
    float *out; /* (n_fft / 2 + 1, n_frame) */
} apr_spectrum;

/* Polyphase FIR: out[g][j][i] = sum over t < k of x[g * step + offsets[j] + t] * panels[j][t][i], i < 16.
 * Every index into x is within bounds. Column i of panel j is zero outside starts[j][i] <= t < starts[j][i] + n_tap;
 * starts ascend within a panel, and the last filter ends at or before k. Products with these zeros may be skipped. */
typedef struct apr_polyphase {
    const float *x;
    const float *panels;    /* (n_panel, k, 16) */
    const int64_t *offsets; /* (n_panel) */
    const int32_t *starts;  /* (n_panel, 16) */
    ptrdiff_t n_panel, k, n_tap, step, n_group;
    float *out; /* (n_group, n_panel, 16) */
} apr_polyphase;

/* Interpolated FIR: out[i] = sum over t < n_tap of x[begins[i] + t] * f(phases[i])[t].
 * f(p) is row p of filters, linearly interpolated between rows; 0 <= phases[i] <= n_phase. Every index into x is
 * within bounds. */
typedef struct apr_interpolated {
    const float *x;
    const float *filters;  /* (n_phase + 1, n_tap) */
    const int64_t *begins; /* (n) */
    const float *phases;   /* (n) */
    ptrdiff_t n_phase, n_tap, n;
    float *out; /* (n) */
} apr_interpolated;

/* Paste names that end in a target's name. */
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
    K(lstm, (const apr_lstm *l)) \
    K(spectrum, (const apr_spectrum *s)) \
    K(mel, \
      (const float *power, const float *filters, float *out, ptrdiff_t n_mel, ptrdiff_t n_freq, ptrdiff_t n_frame)) \
    K(median, \
      (const float *x, float *out, ptrdiff_t n_row, ptrdiff_t n, ptrdiff_t width)) /* x (n_row, n + width - 1) */ \
    K(dtw, (const float *x, ptrdiff_t n, ptrdiff_t m, float *cost, int8_t *trace)) \
    K(polyphase, (const apr_polyphase *p)) \
    K(interpolated, (const apr_interpolated *p)) \
    K(peak, (float *out, ptrdiff_t n_task)) \
    K(dot_peak, (float *out, ptrdiff_t n_task)) \
    K(bfloat16_peak, (float *out, ptrdiff_t n_task)) /* equals peak where attention has no bfloat16 */ \
    K(read_all, (const float *x, ptrdiff_t n, float *out))

typedef struct apr_table {
    const char *name;
    int lanes;
#define APR_POINTER(name, arguments) void(*name) arguments;
    APR_KERNELS(APR_POINTER)
#undef APR_POINTER
} apr_table;

/* dispatch.c: list the tables that this CPU can run, weakest first; return how many */
int apr_tables(const apr_table **out, int capacity);

/* cpu.c: the bits of apr_cpu_features(): instruction sets that the CPU has and whose registers the operating system
 * saves, and a microarchitecture */
enum {
    APR_CPU_AVX2 = 1,
    APR_CPU_AVX512 = 2,
    APR_CPU_AVX512_VNNI = 4,
    APR_CPU_AVX512_BF16 = 8,
    APR_CPU_NEON_DOT = 16,
    APR_CPU_ZEN5 = 32,
    APR_CPU_AVX_VNNI = 64,
    APR_CPU_NEON_I8MM = 128,
    APR_CPU_NEON_BF16 = 256,
};
unsigned apr_cpu_features(void);

/* Whether this is AMD Zen 5, where two measures pay off that cost time elsewhere. Kernels that read one long stream
 * prefetch every line (Whisper tiny's int8 token takes 10 to 20 % less time; on Zen 4 this disturbs the hardware
 * prefetcher). And float16 weights are converted in the inner loop of a product, at no cost; on Zen 4, products are 3
 * to 6 % faster with the weights converted beforehand. Set by apr_tables. */
extern int apr_zen5;

/* threads.c: run task(context, i, scratch) for every i < n_task, on this thread and the pool's. scratch: scratch_bytes
 * bytes, 64-byte aligned, private to a task while it runs. Return 0, or -1 if out of memory (then no task was run). */
typedef void apr_task(void *context, ptrdiff_t i, void *scratch);
int apr_parallel(apr_task *task, void *context, ptrdiff_t n_task, size_t scratch_bytes);
/* The same for tasks that call functions of the C library. In WebAssembly they run on this thread, because the library
 * is part of another module, of which the pool's threads have no instance. */
int apr_parallel_with_libc(apr_task *task, void *context, ptrdiff_t n_task, size_t scratch_bytes);
void apr_set_num_threads(int n);
int apr_get_num_threads(void);
int apr_take_failure(void); /* 1 if an apr_parallel of this thread ran out of memory since the last call */

#if defined(__EMSCRIPTEN__)
/* threads.c: what web/static/threads.js and thread.js call to add web workers to the pool. Each has an instance of this
 * module, with its own static data and stack, on the same memory. */
#pragma GCC visibility push(default)
void *apr_pool(void);
void *apr_function_address(void);       /* of some function: tells where the instance's functions are */
void *apr_reserve(size_t size);         /* memory for a thread's static data and stack; NULL: out of memory */
void apr_add_workers(int n);            /* slots 1 to n of the pool have workers */
void apr_work(void *pool_at, int slot); /* in a worker: do tasks of the pool of another instance, forever */
#pragma GCC visibility pop
#endif

#endif
