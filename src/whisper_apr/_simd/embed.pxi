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
    """Return whether a buffer is C-contiguous with 32-bit elements."""
    return view.ndim == ndim and view.itemsize == 4 and PyBuffer_IsContiguous(view, b"C")


def embed(tokens, panels, scales, ptrdiff_t n_out, ptrdiff_t n_in, positions, lengths, out):
    """Embed one token per row. Return False if an argument is not as expected or a token or position is out of range.

    Unlike the other functions this one checks its arguments: checks in Python would take longer than the lookup.
    """
    cdef Buffers buffers
    cdef apr_embedding e
    cdef Py_buffer *view
    buffers.n = 0
    try:
        view = &buffers.views[0]
        PyObject_GetBuffer(tokens, view, PyBUF_STRIDES | PyBUF_FORMAT)
        buffers.n = 1
        if view.ndim != 2 or view.shape[1] != 1 or view.strides[0] % 8:
            return False
        if view.itemsize != 8 or view.format[0] not in b"lq":
            return False
        e.n_row, e.token_stride = view.shape[0], view.strides[0] // 8
        e.tokens = <const int64_t *>view.buf
        e.n_out = n_out
        e.type = acquire_matrix(&buffers, panels, scales, &e.panels, &e.scales)
        e.k = n_in
        view = acquire(&buffers, positions, False)
        if not is_plain(view, 2) or view.shape[1] != n_in:
            return False
        e.n_position = view.shape[0]
        e.positions = <const float *>view.buf
        view = acquire(&buffers, lengths, True)
        if not is_plain(view, 1) or view.shape[0] != e.n_row:
            return False
        e.lengths = <int32_t *>view.buf
        view = acquire(&buffers, out, True)
        if not is_plain(view, view.ndim) or view.len != e.n_row * n_in * 4:
            return False
        e.out = <float *>view.buf
        return apr_embed(&e) == 1
    finally:
        release(&buffers)
