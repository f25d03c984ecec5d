from cpython.buffer cimport PyBUF_FORMAT, PyBuffer_IsContiguous


cdef extern from "embed.h" nogil:
    ctypedef struct apr_embedding:
        ptrdiff_t n_row, n_out, k
        const int64_t *tokens
        ptrdiff_t token_stride
        const void *panels
        int type
        const void *scales
        const float *positions
        ptrdiff_t n_position
        int32_t *lengths
        float *out

    int apr_embed(const apr_embedding *e)


cdef bint is_plain(const Py_buffer *view, int ndim):
    """Contiguous numbers of 32 bits."""
    return view.ndim == ndim and view.itemsize == 4 and PyBuffer_IsContiguous(view, b"C")


def embed(tokens, panels, scales, ptrdiff_t n_out, ptrdiff_t n_in, positions, lengths, out):
    """Unlike the others it looks at what it is given: looking from Python would cost more than the look-up."""
    cdef Held held
    cdef apr_embedding e
    cdef Py_buffer *view
    held.n = 0
    try:
        view = &held.views[0]
        PyObject_GetBuffer(tokens, view, PyBUF_STRIDES | PyBUF_FORMAT)
        held.n = 1
        if view.ndim != 2 or view.shape[1] != 1 or view.itemsize != 8 or view.format[0] not in b"lq" or view.strides[0] % 8:
            return False
        e.n_row, e.token_stride = view.shape[0], view.strides[0] // 8
        e.tokens = <const int64_t *>view.buf
        e.n_out = n_out
        e.type = hold_matrix(&held, panels, scales, &e.panels, &e.scales)
        e.k = n_in
        view = hold(&held, positions, False)
        if not is_plain(view, 2) or view.shape[1] != n_in:
            return False
        e.n_position = view.shape[0]
        e.positions = <const float *>view.buf
        view = hold(&held, lengths, True)
        if not is_plain(view, 1) or view.shape[0] != e.n_row:
            return False
        e.lengths = <int32_t *>view.buf
        view = hold(&held, out, True)
        if not is_plain(view, view.ndim) or view.len != e.n_row * n_in * 4:
            return False
        e.out = <float *>view.buf
        return apr_embed(&e) == 1
    finally:
        release(&held)
