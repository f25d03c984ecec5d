# The rest of _kernels.pyx: sound, paths through it, bytes, and the machine's limits.


def dtw(x, cost, trace):
    cdef Held held
    cdef Py_buffer *source
    cdef Py_buffer *costs
    cdef Py_buffer *steps
    cdef const apr_table *t = table
    held.n = 0
    try:
        source = hold(&held, x, False)
        costs = hold(&held, cost, True)
        steps = hold(&held, trace, True)
        with nogil:
            t.dtw(<const float *>source.buf, source.shape[0], source.shape[1], <float *>costs.buf, <int8_t *>steps.buf)
    finally:
        release(&held)


def power_spectrum(audio, window, ptrdiff_t hop, out):
    cdef Held held
    cdef apr_spectrum s
    cdef Py_buffer *view
    cdef const apr_table *t = table
    held.n = 0
    try:
        s.audio = <const float *>hold(&held, audio, False).buf
        view = hold(&held, window, False)
        s.window = <const float *>view.buf
        s.n_fft = view.shape[0]
        s.hop = hop
        view = hold(&held, out, True)
        s.n_frame = view.shape[1]
        s.out = <float *>view.buf
        with nogil:
            t.spectrum(&s)
    finally:
        release(&held)


def mel_project(power, filters, out):
    cdef Held held
    cdef Py_buffer *p
    cdef Py_buffer *f
    cdef Py_buffer *target
    cdef const apr_table *t = table
    held.n = 0
    try:
        p = hold(&held, power, False)
        f = hold(&held, filters, False)
        target = hold(&held, out, True)
        with nogil:
            t.mel(<const float *>p.buf, <const float *>f.buf, <float *>target.buf, f.shape[0], f.shape[1], p.shape[1])
    finally:
        release(&held)


def polyphase(x, panels, offsets, starts, ptrdiff_t n_tap, ptrdiff_t step, out):
    cdef Held held
    cdef apr_polyphase p
    cdef Py_buffer *view
    cdef const apr_table *t = table
    held.n = 0
    try:
        p.x = <const float *>hold(&held, x, False).buf
        view = hold(&held, panels, False)
        p.panels = <const float *>view.buf
        p.n_panel, p.k = view.shape[0], view.shape[1]
        p.offsets = <const int64_t *>hold(&held, offsets, False).buf
        p.starts = <const int32_t *>hold(&held, starts, False).buf
        p.n_tap = n_tap
        p.step = step
        view = hold(&held, out, True)
        p.out = <float *>view.buf
        p.n_group = view.shape[0]
        with nogil:
            t.polyphase(&p)
    finally:
        release(&held)


def interpolated(x, filters, begins, phases, out):
    cdef Held held
    cdef apr_interpolated p
    cdef Py_buffer *view
    cdef const apr_table *t = table
    held.n = 0
    try:
        p.x = <const float *>hold(&held, x, False).buf
        view = hold(&held, filters, False)
        p.filters = <const float *>view.buf
        p.n_phase, p.n_tap = view.shape[0] - 1, view.shape[1]
        p.begins = <const int64_t *>hold(&held, begins, False).buf
        p.phases = <const float *>hold(&held, phases, False).buf
        view = hold(&held, out, True)
        p.out = <float *>view.buf
        p.n = view.shape[0]
        with nogil:
            t.interpolated(&p)
    finally:
        release(&held)


cdef extern from "lz4.h" nogil:
    int apr_lz4_decode(const uint8_t *src, ptrdiff_t n_src, uint8_t *dst, ptrdiff_t n_dst)


def lz4_decode(source, target):
    cdef Held held
    cdef Py_buffer *src
    cdef Py_buffer *dst
    cdef int status = -1
    held.n = 0
    try:
        src = hold(&held, source, False)
        dst = hold(&held, target, True)
        with nogil:
            status = apr_lz4_decode(<const uint8_t *>src.buf, src.len, <uint8_t *>dst.buf, dst.len)
    finally:
        release(&held)
    return status == 0


def peak(out, kind):
    cdef Held held
    cdef Py_buffer *target
    cdef const apr_table *t = table
    cdef bint of_bytes = kind == "int8", of_bfloat16 = kind == "bfloat16"
    held.n = 0
    try:
        target = hold(&held, out, True)
        with nogil:
            (t.dot_peak if of_bytes else t.bfloat16_peak if of_bfloat16 else t.peak)(<float *>target.buf, target.shape[0])
    finally:
        release(&held)
