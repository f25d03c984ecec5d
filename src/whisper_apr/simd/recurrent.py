"""Recurrent networks."""

import numpy as np
import numpy.typing as npt

from . import dispatch
from .checks import FloatArray, as_float32, expect, expect_type, result_array
from .layout import PANEL
from .weights import PackedMatrix


def lstm(
    inputs: npt.ArrayLike, weight: PackedMatrix, *, backward: bool = False, out: FloatArray | None = None
) -> FloatArray:
    """Run the recurrent part of a layer of long short-term memory, from a state of zeros.

    The gates are those of `torch.nn.LSTM`, in its order: input, forget, cell, output. With `g = inputs[t] + h @
    weight.T`, a step computes `c = sigmoid(g_forget) * c + sigmoid(g_input) * tanh(g_cell)` and
    `h = sigmoid(g_output) * tanh(c)`.

    Args:
        inputs: `(time, batch, 4 * n_state)`, the part of the gates that does not depend on the state: `linear` of the
            layer's input, with both biases.
        weight: `(4 * n_state, n_state)`, float32, packed by `pack`; `n_state` is a multiple of 16.
        backward: Whether to begin with the last step.
        out: Array for the result, or None.

    Returns:
        `h` after each step, `(time, batch, n_state)`.

    Raises:
        TypeError: `weight` is not packed, or `inputs` is not an array of real numbers.
        ValueError: The shapes do not fit, the weight is not float32, or `out` is unsuitable.
    """
    x = as_float32(inputs, "inputs", 3)
    expect_type(weight, "weight", PackedMatrix, "; pack it once with simd.pack")
    n_gate, n_state = weight.shape
    expect(
        weight.panels.dtype == np.float32 and n_gate == 4 * n_state and n_state % PANEL == 0,
        f"weight must be float32 of shape (4 n, n), n a multiple of {PANEL}, not {weight.shape}",
    )
    expect(x.shape[2] == n_gate, f"inputs of shape {x.shape} do not fit a weight of shape {weight.shape}")
    out = result_array(out, (*x.shape[:2], n_state), x, weight.panels)
    if out.size:
        dispatch.impl.lstm(x, weight.panels, backward, out)
    return out
