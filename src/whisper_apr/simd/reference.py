"""Every kernel again in NumPy: the tests' oracle, and what remains where no extension is built.

The functions take what `_kernels` takes, already checked by `whisper_apr.simd`, and write into `out`.
"""

import math

import numpy as np

from .layout import GROUP, PANEL, QUAD, keys_by_position, unpack_int4, unpack_int8, unpack_panels, values_by_position

_quiet = np.errstate(all="ignore")  # as the compiled kernels: infinities and NaN pass through without a word

_erf = np.frompyfunc(math.erf, 1, 1)
GELU_END = -3.95  # of x / sqrt(2): below, GELU is smaller than float32's rounding of 1, and the kernels return 0


@_quiet
def gelu(x, out):
    z = np.maximum(x / math.sqrt(2.0), GELU_END)  # -infinity times 0 would be NaN
    # z * 0 keeps a NaN; the sum makes -0.0 0.0
    out[...] = np.where(z > GELU_END, 0.5 * x * (1.0 + _erf(z).astype(np.float64)), z * 0) + 0.0


CHUNK = 1 << 18  # numbers that are gathered at a time
FOLD = 1024  # how many columns a row is folded into, to find its largest
SMALLEST = np.float32(1e-30)  # a row with no magnitude above this counts as zeros


def quantize_rows(x):
    """Rows of x as whole numbers from -127 to 127 (in float64), and what one step is worth: max |row| / 127.

    Rounded to nearest, half to even. A row with infinity or NaN has steps of NaN.
    """
    largest = np.abs(x).max(axis=1, initial=0)
    finite = np.isfinite(x).all(axis=1)
    used = finite & (largest > SMALLEST)
    inverse = np.where(used, np.float32(127) / largest, np.float32(0))
    steps = np.where(used, largest / np.float32(127), np.where(finite, np.float32(0), np.float32(np.nan)))
    return np.rint(np.where(used[:, None], x, np.float32(0)) * inverse[:, None]).astype(np.float64), steps[:, None]


@_quiet
def gemm(x, panels, scales, sums, n_out, bias, with_gelu, residual, out):
    """Panels of floats (no scales), of int8 (scales and sums), or of int4; of the last two float64 holds the sums exactly."""
    n_in = x.shape[1]
    if scales is None:
        y = x @ unpack_panels(panels, n_out).astype(np.float32).T
    elif sums is not None:
        values, steps = quantize_rows(x)
        total = values @ unpack_int8(panels, n_out, n_in).astype(np.float64).T
        y = total.astype(np.float32) * steps * scales.reshape(-1)[:n_out]
    else:
        values, steps = quantize_rows(x)
        weight = unpack_int4(panels, n_out, n_in).astype(np.float64)
        n_panel, n_group, _ = scales.shape
        group_scales = scales.astype(np.float64).swapaxes(1, 2).reshape(n_panel * PANEL, n_group)[:n_out]
        weight *= np.repeat(group_scales, GROUP, axis=1)[:, :n_in]
        y = (values @ weight.T).astype(np.float32) * steps
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
    """A row is folded into columns of a few dozen numbers: the k largest are in the k columns with the largest maxima."""
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
        columns = np.flatnonzero(maxima[row] >= threshold)  # more than k where there are equals
        places = np.concatenate([(np.arange(n_fold)[:, None] * FOLD + columns).reshape(-1), rest])
        out[row] = places[np.argsort(-x[row, places], kind="stable")[:k]]


@_quiet
def layer_norm(x, weight, bias, eps, out):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    out[...] = centred / np.sqrt(variance + np.float32(eps)) * weight + bias


def _bfloat16(x):
    """Rounded to bfloat16, half to even, and still float32; infinities and NaN stay."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(x), rounded.view(np.float32), x)


@_quiet
def attention(q, k, v, causal, bfloat16, scale, out):
    q = q * np.float32(scale)
    if bfloat16:
        q, k, v = _bfloat16(q), _bfloat16(k), _bfloat16(v)
    scores = q @ k.swapaxes(-1, -2)
    n_query, n_key = scores.shape[-2:]
    if causal:
        last = np.maximum(0, np.arange(n_key - n_query, n_key))
        scores[..., np.arange(n_key) > last[:, None]] = -np.inf
    weights = np.empty_like(scores)
    if bfloat16:
        weights = _bfloat16(np.exp(scores - scores.max(axis=-1, keepdims=True)))
        out[...] = weights @ v / weights.sum(axis=-1, keepdims=True)
        return
    softmax(scores, False, weights)
    out[...] = weights @ v


@_quiet
def store_pages(k, v, pages, lengths, counts, keys, values, steps):
    n_row, n_new, _ = k.shape
    n_head, d_head = len(values), values.shape[3]
    for row in range(n_row):
        count = n_new if counts is None else int(counts[row])
        positions = np.arange(lengths[row] - count, lengths[row])
        page, slot = pages[row, positions // PANEL], positions % PANEL
        new = [x[row, n_new - count :].reshape(count, n_head, d_head).swapaxes(0, 1) for x in (k, v)]
        if steps is None:
            keys[:, page, :, slot] = new[0].swapaxes(0, 1)
            values[:, page, slot] = new[1]
            continue
        for i, heads in enumerate(new):
            whole, step = quantize_rows(heads.reshape(-1, d_head))
            new[i] = whole.reshape(heads.shape)
            steps[i][:, page, slot] = step.reshape(n_head, count)
        quads = np.zeros((n_head, count, keys.shape[2], QUAD))
        quads.reshape(n_head, count, -1)[..., :d_head] = new[0]
        keys[:, page, :, slot] = quads.swapaxes(0, 1)
        values[:, page, slot // QUAD, :, slot % QUAD] = new[1].swapaxes(0, 1)


@_quiet
def paged_attention(q, keys, values, steps, pages, lengths, causal, scale, out):
    n_row, n_query, width = q.shape
    n_head, d_head = len(values), values.shape[3]
    for row in range(n_row):
        n_key = int(lengths[row])
        page = pages[row, : -(-n_key // PANEL)]
        k = keys_by_position(keys[:, page], d_head)[:, :n_key].astype(np.float32)
        v = values_by_position(values[:, page])[:, :n_key].astype(np.float32)
        if steps is not None:
            k *= steps[0][:, page].reshape(n_head, -1, 1)[:, :n_key]
            v *= steps[1][:, page].reshape(n_head, -1, 1)[:, :n_key]
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
    # a diagonal at a time: what lies on one depends on the two before it only
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
    for at in range(0, len(out), max(1, CHUNK // n_tap)):
        part = slice(at, at + max(1, CHUNK // n_tap))
        row = np.minimum(phases[part].astype(np.int64), len(filters) - 2)
        share = phases[part] - row.astype(np.float32)
        chosen = windows[begins[part]]
        below, above = (np.einsum("nt,nt->n", chosen, filters[row + i]) for i in (0, 1))
        out[part] = below + share * (above - below)


@_quiet
def read_all(x, times, out):
    for _ in range(times):
        out[...] = np.add.reduceat(x, np.arange(0, len(x), len(x) // len(out) or 1)[: len(out)])


def embed(tokens, panels, scales, n_out, n_in, positions, lengths, out):
    return False  # its parts are NumPy already: see PackedMatrix.embed
