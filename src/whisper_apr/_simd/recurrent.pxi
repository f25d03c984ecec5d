# ---- recurrent networks ----------------------------------------------------------------------------------------------


def lstm(inputs, panels, bint backward, out):
    cdef Buffers buffers
    cdef apr_lstm l
    cdef Py_buffer *view
    buffers.n = 0
    try:
        view = acquire(&buffers, inputs, False)
        l.n_step, l.n_row, l.n_state = view.shape[0], view.shape[1], view.shape[2] // 4
        l.inputs = <const float *>view.buf
        l.weight = <const float *>acquire(&buffers, panels, False).buf
        l.backward = backward
        l.out = <float *>acquire(&buffers, out, True).buf
        with nogil:
            table.lstm(&l)
    finally:
        release(&buffers)
