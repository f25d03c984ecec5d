/* The recurrent part of an LSTM layer (Hochreiter and Schmidhuber 1997; gates and their order as in PyTorch's).
 *
 * The inputs' part of the gates is a matrix product of all steps, which gemm computes beforehand. What is left is a
 * product of few rows at each step, the gates and the new state, which are computed together for LANES states at a
 * time. The weights are read once per step and block of rows; they stay in the L2 cache.
 */
#ifndef WHISPER_APR_KERNELS_LSTM_INC_H
#define WHISPER_APR_KERNELS_LSTM_INC_H

#include <string.h>

#include "../kernels.h"
#include "tile.inc.h"
#include "vecmath.inc.h"

enum { LSTM_GATES = 4 }; /* input, forget, cell, output */

APR_INLINE vf sigmoid_vector(vf x) {
    vf one = vf_set1(1.0f);
    return vf_div(one, vf_add(one, exp_vector(vf_sub(vf_zero(), x))));
}

/* The absolute error is 2e-7. */
APR_INLINE vf tanh_vector(vf x) { return vf_fma(vf_set1(2.0f), sigmoid_vector(vf_add(x, x)), vf_set1(-1.0f)); }

/* Compute one step of these rows. hidden: their outputs of the step before, or NULL; cells: their states. */
APR_INLINE void lstm_block(const apr_lstm *l, const int rows, const float *inputs, const float *hidden, float *cells,
                           float *out) {
    const ptrdiff_t n = l->n_state;
    for (ptrdiff_t state = 0; state < n; state += LANES) {
        vf gates[LSTM_GATES / TILE_VECTORS][SMALL_M_ROWS][SMALL_M_VECTORS];
        APR_UNROLL
        for (int part = 0; part < LSTM_GATES / TILE_VECTORS; part++) {
            const void *panels[TILE_VECTORS];
            APR_UNROLL
            for (int j = 0; j < TILE_VECTORS; j++) {
                ptrdiff_t column = (part * TILE_VECTORS + j) * n + state;
                panels[j] = l->weight + column / APR_PANEL * APR_PANEL * n + column % APR_PANEL;
                APR_UNROLL
                for (int i = 0; i < rows; i++) gates[part][i][j] = vf_load(inputs + i * LSTM_GATES * n + column);
            }
            microkernel(gates[part], rows, TILE_VECTORS, APR_FLOAT32, hidden, n, 1, panels, APR_PANEL, hidden ? n : 0);
        }
        APR_UNROLL
        for (int i = 0; i < rows; i++) {
            float *at = cells + i * n + state;
            vf enter = sigmoid_vector(gates[0][i][0]), forget = sigmoid_vector(gates[0][i][1]),
               update = tanh_vector(gates[1][i][0]), leave = sigmoid_vector(gates[1][i][1]);
            vf next = vf_fma(forget, vf_load(at), vf_mul(enter, update));
            vf_store(at, next);
            vf_store(out + i * n + state, vf_mul(leave, tanh_vector(next)));
        }
    }
}

static void lstm_rows(const apr_lstm *l, int rows, const float *inputs, const float *hidden, float *cells, float *out) {
#define LSTM_CASE(R) \
    case R: lstm_block(l, R, inputs, hidden, cells, out); break;
    switch (rows) {
        LSTM_CASE(1)
        LSTM_CASE(2)
        LSTM_CASE(3)
        LSTM_CASE(4)
#if VF_TILE_ROWS > 4
        LSTM_CASE(5)
        LSTM_CASE(6)
#endif
#if VF_TILE_ROWS > 6
        LSTM_CASE(7)
        LSTM_CASE(8)
#endif
    }
#undef LSTM_CASE
}

typedef struct lstm_work {
    const apr_lstm *l;
    ptrdiff_t n_task;
} lstm_work;

static void lstm_task(void *context, ptrdiff_t index, void *scratch) {
    const lstm_work *work = context;
    const apr_lstm *l = work->l;
    const ptrdiff_t n = l->n_state, step_size = l->n_row * n;
    range rows = task_range(index, work->n_task, l->n_row);
    float *cells = scratch;
    memset(cells, 0, (size_t)((rows.end - rows.begin) * n) * sizeof *cells);
    for (ptrdiff_t i = 0; i < l->n_step; i++) {
        ptrdiff_t step = l->backward ? l->n_step - 1 - i : i, before = l->backward ? step + 1 : step - 1;
        for (ptrdiff_t row = rows.begin; row < rows.end; row += SMALL_M_ROWS) {
            ptrdiff_t at = step * step_size + row * n;
            lstm_rows(l, (int)min_size(SMALL_M_ROWS, rows.end - row), l->inputs + at * LSTM_GATES,
                      i ? l->out + before * step_size + row * n : NULL, cells + (row - rows.begin) * n, l->out + at);
        }
    }
}

static void lstm(const apr_lstm *l) {
    lstm_work work = {.l = l, .n_task = min_size(apr_get_num_threads(), div_up(l->n_row, SMALL_M_ROWS))};
    if (work.n_task < 1) return;
    size_t scratch = (size_t)(div_up(l->n_row, work.n_task) * l->n_state) * sizeof(float);
    apr_parallel(lstm_task, &work, work.n_task, scratch);
}

#endif
