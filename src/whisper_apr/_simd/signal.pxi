# Included by _kernels.pyx: signal processing, dynamic time warping, LZ4, and the machine's peak.


def dtw(x, cost, trace):
    cdef Buffers buffers
    cdef Py_buffer *source
    cdef Py_buffer *costs
    cdef Py_buffer *trace_view
    cdef const apr_table *t = table
    buffers.n = 0
    try:
        source = acquire(&buffers, x, False)
        costs = acquire(&buffers, cost, True)
        trace_view = acquire(&buffers, trace, True)
        with nogil:
            t.dtw(
                <const float *>source.buf,
                source.shape[0],
                source.shape[1],
                <float *>costs.buf,
                <int8_t *>trace_view.buf,
            )
    finally:
        release(&buffers)


def power_spectrum(audio, window, ptrdiff_t hop, out):
    cdef Buffers buffers
    cdef apr_spectrum s
    cdef Py_buffer *view
    cdef const apr_table *t = table
    buffers.n = 0
    try:
        s.audio = <const float *>acquire(&buffers, audio, False).buf
        view = acquire(&buffers, window, False)
        s.window = <const float *>view.buf
        s.n_fft = view.shape[0]
        s.hop = hop
        view = acquire(&buffers, out, True)
        s.n_frame = view.shape[1]
        s.out = <float *>view.buf
        with nogil:
            t.spectrum(&s)
    finally:
        release(&buffers)


def mel_project(power, filters, out):
    cdef Buffers buffers
    cdef Py_buffer *p
    cdef Py_buffer *f
    cdef Py_buffer *target
    cdef const apr_table *t = table
    buffers.n = 0
    try:
        p = acquire(&buffers, power, False)
        f = acquire(&buffers, filters, False)
        target = acquire(&buffers, out, True)
        with nogil:
            t.mel(<const float *>p.buf, <const float *>f.buf, <float *>target.buf, f.shape[0], f.shape[1], p.shape[1])
    finally:
        release(&buffers)


def polyphase(x, panels, offsets, starts, ptrdiff_t n_tap, ptrdiff_t step, out):
    cdef Buffers buffers
    cdef apr_polyphase p
    cdef Py_buffer *view
    cdef const apr_table *t = table
    buffers.n = 0
    try:
        p.x = <const float *>acquire(&buffers, x, False).buf
        view = acquire(&buffers, panels, False)
        p.panels = <const float *>view.buf
        p.n_panel, p.k = view.shape[0], view.shape[1]
        p.offsets = <const int64_t *>acquire(&buffers, offsets, False).buf
        p.starts = <const int32_t *>acquire(&buffers, starts, False).buf
        p.n_tap = n_tap
        p.step = step
        view = acquire(&buffers, out, True)
        p.out = <float *>view.buf
        p.n_group = view.shape[0]
        with nogil:
            t.polyphase(&p)
    finally:
        release(&buffers)


def interpolated(x, filters, begins, phases, out):
    cdef Buffers buffers
    cdef apr_interpolated p
    cdef Py_buffer *view
    cdef const apr_table *t = table
    buffers.n = 0
    try:
        p.x = <const float *>acquire(&buffers, x, False).buf
        view = acquire(&buffers, filters, False)
        p.filters = <const float *>view.buf
        p.n_phase, p.n_tap = view.shape[0] - 1, view.shape[1]
        p.begins = <const int64_t *>acquire(&buffers, begins, False).buf
        p.phases = <const float *>acquire(&buffers, phases, False).buf
        view = acquire(&buffers, out, True)
        p.out = <float *>view.buf
        p.n = view.shape[0]
        with nogil:
            t.interpolated(&p)
    finally:
        release(&buffers)


cdef extern from "lz4.h" nogil:
    int apr_lz4_decode(const uint8_t *src, ptrdiff_t n_src, uint8_t *dst, ptrdiff_t n_dst)


def lz4_decode(source, target):
    cdef Buffers buffers
    cdef Py_buffer *src
    cdef Py_buffer *dst
    cdef int status = -1
    buffers.n = 0
    try:
        src = acquire(&buffers, source, False)
        dst = acquire(&buffers, target, True)
        with nogil:
            status = apr_lz4_decode(<const uint8_t *>src.buf, src.len, <uint8_t *>dst.buf, dst.len)
    finally:
        release(&buffers)
    return status == 0


def peak(out, kind):
    cdef Buffers buffers
    cdef Py_buffer *target
    cdef const apr_table *t = table
    cdef bint int8 = kind == "int8", bfloat16 = kind == "bfloat16"
    buffers.n = 0
    try:
        target = acquire(&buffers, out, True)
        with nogil:
            (t.dot_peak if int8 else t.bfloat16_peak if bfloat16 else t.peak)(<float *>target.buf, target.shape[0])
    finally:
        release(&buffers)
