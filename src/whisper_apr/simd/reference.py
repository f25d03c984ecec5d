"""The NumPy reference of every kernel: the backend `numpy`, and the oracle of the tests.

The functions have the signatures of the compiled ones in `_kernels`: arguments that `whisper_apr.simd` has validated,
and arrays to write to.
"""

import math

import numpy as np

from .layout import GROUP, PANEL, QUAD, keys_by_position, unpack_int4, unpack_int8, unpack_panels, values_by_position

_quiet = np.errstate(all="ignore")  # like the compiled kernels: no warnings for infinities and NaN

_erf = np.frompyfunc(math.erf, 1, 1)
GELU_END = -3.95  # lower bound of x / sqrt(2); below it, |GELU| is less than float32's epsilon, and kernels return 0


@_quiet
def gelu(x, out):
    z = np.maximum(x / math.sqrt(2.0), GELU_END)  # avoids -inf * 0, which is NaN
    # z * 0 keeps NaN; adding 0.0 turns -0.0 into 0.0
    out[...] = np.where(z > GELU_END, 0.5 * x * (1.0 + _erf(z).astype(np.float64)), z * 0) + 0.0


CHUNK = 1 << 18  # elements that `interpolated` gathers at a time
FOLD = 1024  # columns that `top_k` folds a row into
SMALLEST = np.float32(1e-30)  # a row with no larger magnitude counts as zeros


def quantize_rows(x, levels=127):
    """Quantize each row of x to integers from -levels to levels, half to even, with the scale `max |row| / levels`.

    Returns the integers `(n_row, n)` as float64, and the scales `(n_row, 1)`; the scale of a row that holds an infinity
    or NaN is NaN.
    """
    largest = np.abs(x).max(axis=1, initial=0)
    finite = np.isfinite(x).all(axis=1)
    used = finite & (largest > SMALLEST)
    inverse = np.where(used, np.float32(levels) / largest, np.float32(0))
    scales = np.where(used, largest / np.float32(levels), np.where(finite, np.float32(0), np.float32(np.nan)))
    return np.rint(np.where(used[:, None], x, np.float32(0)) * inverse[:, None]).astype(np.float64), scales[:, None]


@_quiet
def gemm(x, panels, scales, sums, levels, n_out, bias, with_gelu, residual, out):
    """Multiply by float panels (no scales), int8 panels (scales and sums) or int4 panels (scales only).

    float64 holds the integer sums exactly.
    """
    n_in = x.shape[1]
    if scales is None:
        y = x @ unpack_panels(panels, n_out).astype(np.float32).T
    elif sums is not None:
        values, row_scales = quantize_rows(x, levels)
        total = values @ unpack_int8(panels, n_out, n_in).astype(np.float64).T
        y = total.astype(np.float32) * row_scales * scales.reshape(-1)[:n_out]
    else:
        values, row_scales = quantize_rows(x, levels)
        weight = unpack_int4(panels, n_out, n_in).astype(np.float64)
        n_panel, n_group, _ = scales.shape
        group_scales = scales.astype(np.float64).swapaxes(1, 2).reshape(n_panel * PANEL, n_group)[:n_out]
        weight *= np.repeat(group_scales, GROUP, axis=1)[:, :n_in]
        y = (values @ weight.T).astype(np.float32) * row_scales
    if bias is not None:
        y += bias
    if with_gelu:
        gelu(y.copy(), y)
    if residual is not None:
        y += residual
    out[...] = y


@_quiet
def dot(a, b):
    return float(np.dot(a, b))


@_quiet
def softmax(x, log, out):
    if x.shape[-1] == 0:
        return
    shifted = x - x.max(axis=-1, keepdims=True)
    total = np.exp(shifted).sum(axis=-1, keepdims=True)
    out[...] = shifted - np.log(total) if log else np.exp(shifted) / total


@_quiet
def logsumexp(x, out):
    top = x.max(axis=-1)
    total = top + np.log(np.exp(x - top[..., None]).sum(axis=-1))
    out[...] = np.where(np.isfinite(top), total, top)


def argmax(x, out):
    out[...] = x.argmax(axis=-1)


@_quiet
def top_k(x, out):
    """Fold each row into columns and search only the k columns with the largest maxima, which hold the k largest."""
    n_row, n = x.shape
    k = out.shape[1]
    x = np.where(np.isnan(x), -np.inf, x)
    n_fold = n // FOLD
    if n_fold < 2 or k > FOLD // 4:
        out[...] = np.argsort(-x, axis=1, kind="stable")[:, :k]
        return
    maxima = x[:, : n_fold * FOLD].reshape(n_row, n_fold, FOLD).max(axis=1)
    rest = np.arange(n_fold * FOLD, n)
    for row in range(n_row):
        threshold = np.partition(maxima[row], FOLD - k)[FOLD - k]
        columns = np.flatnonzero(maxima[row] >= threshold)  # more than k if maxima are equal
        places = np.concatenate([(np.arange(n_fold)[:, None] * FOLD + columns).reshape(-1), rest])
        out[row] = places[np.argsort(-x[row, places], kind="stable")[:k]]


@_quiet
def layer_norm(x, weight, bias, eps, out):
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centered * centered, axis=-1, keepdims=True)
    out[...] = centered / np.sqrt(variance + np.float32(eps)) * weight + bias


@_quiet
def lstm(inputs, panels, backward, out):
    weight = unpack_panels(panels, inputs.shape[2]).T
    hidden = cell = np.zeros(out.shape[1:], np.float32)
    steps = range(len(inputs))
    for step in reversed(steps) if backward else steps:
        enter, forget, update, leave = np.split(inputs[step] + hidden @ weight, 4, axis=-1)
        cell = cell / (1 + np.exp(-forget)) + np.tanh(update) / (1 + np.exp(-enter))
        hidden = np.tanh(cell) / (1 + np.exp(-leave))
        out[step] = hidden


def _round_to_bfloat16(x):
    """Round float32 to bfloat16's precision, half to even; infinities and NaN are unchanged."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(x), rounded.view(np.float32), x)


@_quiet
def attention(q, k, v, causal, reduced, scale, out):
    q = q * np.float32(scale)
    if reduced:
        q, k, v = _round_to_bfloat16(q), _round_to_bfloat16(k), _round_to_bfloat16(v)
    scores = q @ k.swapaxes(-1, -2)
    n_query, n_key = scores.shape[-2:]
    if causal:
        last = np.maximum(0, np.arange(n_key - n_query, n_key))
        scores[..., np.arange(n_key) > last[:, None]] = -np.inf
    weights = np.empty_like(scores)
    if reduced:
        weights = _round_to_bfloat16(np.exp(scores - scores.max(axis=-1, keepdims=True)))
        out[...] = weights @ v / weights.sum(axis=-1, keepdims=True)
        return
    softmax(scores, False, weights)
    out[...] = weights @ v


@_quiet
def store_pages(k, v, pages, lengths, counts, keys, values, scales):
    n_row, n_new, _ = k.shape
    n_head, d_head = len(values), values.shape[3]
    for row in range(n_row):
        count = n_new if counts is None else int(counts[row])
        positions = np.arange(lengths[row] - count, lengths[row])
        page, slot = pages[row, positions // PANEL], positions % PANEL
        new = [x[row, n_new - count :].reshape(count, n_head, d_head).swapaxes(0, 1) for x in (k, v)]
        if scales is None:
            keys[:, page, :, slot] = new[0].swapaxes(0, 1)
            values[:, page, slot] = new[1]
            continue
        for i, heads in enumerate(new):
            quantized, head_scales = quantize_rows(heads.reshape(-1, d_head))
            new[i] = quantized.reshape(heads.shape)
            scales[i][:, page, slot] = head_scales.reshape(n_head, count)
        quads = np.zeros((n_head, count, keys.shape[2], QUAD))
        quads.reshape(n_head, count, -1)[..., :d_head] = new[0]
        keys[:, page, :, slot] = quads.swapaxes(0, 1)
        values[:, page, slot // QUAD, :, slot % QUAD] = new[1].swapaxes(0, 1)


@_quiet
def paged_attention(q, keys, values, scales, pages, lengths, causal, scale, out):
    n_row, n_query, width = q.shape
    n_head, d_head = len(values), values.shape[3]
    for row in range(n_row):
        n_key = int(lengths[row])
        page = pages[row, : -(-n_key // PANEL)]
        k = keys_by_position(keys[:, page], d_head)[:, :n_key].astype(np.float32)
        v = values_by_position(values[:, page])[:, :n_key].astype(np.float32)
        if scales is not None:
            k *= scales[0][:, page].reshape(n_head, -1, 1)[:, :n_key]
            v *= scales[1][:, page].reshape(n_head, -1, 1)[:, :n_key]
        heads = q[row].reshape(n_query, n_head, d_head).transpose(1, 0, 2)
        result = np.empty(heads.shape, np.float32)
        attention(heads, k, v, causal, False, scale, result)
        out[row] = result.transpose(1, 0, 2).reshape(n_query, width)


@_quiet
def power_spectrum(audio, window, hop, out):
    frames = np.lib.stride_tricks.sliding_window_view(audio, len(window))[::hop]
    out[...] = np.abs(np.fft.rfft(frames * window, axis=-1).T) ** 2


@_quiet
def mel_project(power, filters, out):
    out[...] = filters @ power


@_quiet
def median(x, width, out):
    x = np.where(np.isnan(x), np.float32(np.inf), x)
    out[...] = np.sort(np.lib.stride_tricks.sliding_window_view(x, width, axis=-1))[..., width // 2]


@_quiet
def dtw(x, cost, trace):
    # one antidiagonal at a time, which depends only on the two before it
    n, m = x.shape
    table = np.full((n + 1, m + 1), np.inf, np.float32)
    table[0, 0] = 0
    for diagonal in range(n + m - 1):
        i = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))
        j = diagonal - i
        both, row, column = table[i, j], table[i, j + 1], table[i + 1, j]
        step = np.where((both < row) & (both < column), 0, np.where((row < both) & (row < column), 1, 2))
        trace[i, j] = step
        table[i + 1, j + 1] = x[i, j] + np.choose(step, (both, row, column))


@_quiet
def polyphase(x, panels, offsets, starts, n_tap, step, out):
    k = panels.shape[1]
    for j, offset in enumerate(offsets):
        windows = np.lib.stride_tricks.sliding_window_view(x[offset:], k)[::step][: len(out)]
        out[:, j] = windows @ panels[j]


@_quiet
def interpolated(x, filters, begins, phases, out):
    n_tap = filters.shape[1]
    windows = np.lib.stride_tricks.sliding_window_view(x, n_tap)
    n = max(1, CHUNK // n_tap)
    for start in range(0, len(out), n):
        part = slice(start, start + n)
        row = np.minimum(phases[part].astype(np.int64), len(filters) - 2)
        fraction = phases[part] - row.astype(np.float32)
        gathered = windows[begins[part]]
        below, above = (np.einsum("nt,nt->n", gathered, filters[row + i]) for i in (0, 1))
        out[part] = below + fraction * (above - below)


@_quiet
def read_all(x, times, out):
    for _ in range(times):
        out[...] = np.add.reduceat(x, np.arange(0, len(x), len(x) // len(out) or 1)[: len(out)])


def embed(tokens, panels, scales, n_out, n_in, positions, lengths, out):
    return False  # the caller's own NumPy code is the reference: see PackedMatrix.embed
