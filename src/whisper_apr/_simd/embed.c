/* Token embedding lookup, scalar: it reads one element of each 16 in a panel. In C because the few microseconds that
 * Python takes would be a twentieth of a small model's time per token. */
#include "embed.h"

#include "vec/common.h"

enum { QUAD = APR_QUAD, GROUP = APR_GROUP };

static float number(const apr_embedding *e, ptrdiff_t panel, ptrdiff_t column, ptrdiff_t s) {
    if (e->type == APR_FLOAT32) return ((const float *)e->panels)[(panel * e->k + s) * APR_PANEL + column];
    if (e->type == APR_FLOAT16)
        return apr_half_to_float(((const uint16_t *)e->panels)[(panel * e->k + s) * APR_PANEL + column]);
    if (e->type == APR_INT8) {
        ptrdiff_t n_quad = (e->k + QUAD - 1) / QUAD, line = (panel * n_quad + s / QUAD) * APR_PANEL + column;
        return (float)((const int8_t *)e->panels)[line * QUAD + s % QUAD] *
               ((const float *)e->scales)[panel * APR_PANEL + column];
    }
    /* the first half of a group is in the low nibbles */
    ptrdiff_t group = panel * ((e->k + GROUP - 1) / GROUP) + s / GROUP, place = s % (GROUP / 2);
    ptrdiff_t line = (group * (GROUP / 2 / QUAD) + place / QUAD) * APR_PANEL + column;
    uint8_t byte = ((const uint8_t *)e->panels)[line * QUAD + place % QUAD];
    int value = (s % GROUP < GROUP / 2 ? byte & 15 : byte >> 4) - 8;
    return (float)value * apr_half_to_float(((const uint16_t *)e->scales)[group * APR_PANEL + column]);
}

int apr_embed(const apr_embedding *e) {
    for (ptrdiff_t i = 0; i < e->n_row; i++) {
        int64_t token = e->tokens[i * e->token_stride];
        if (token < 0 || token >= e->n_out || e->lengths[i] < 0 || e->lengths[i] >= e->n_position) return 0;
    }
    for (ptrdiff_t i = 0; i < e->n_row; i++) {
        ptrdiff_t token = (ptrdiff_t)e->tokens[i * e->token_stride], panel = token / APR_PANEL,
                  column = token % APR_PANEL;
        const float *position = e->positions + e->lengths[i]++ * e->k;
        for (ptrdiff_t s = 0; s < e->k; s++) e->out[i * e->k + s] = number(e, panel, column, s) + position[s];
    }
    return 1;
}
