"""Silero VAD v6, a small network that estimates the probability of speech in each frame of 32 ms.

The weights (assets/silero_vad.npz, MIT license, from the PyPI package silero-vad 6) are for 16 kHz. The input is a
frame and the 64 samples before it. The layers are the magnitudes of four short-time spectra, four convolutions with
ReLU, an LSTM cell whose state is carried from frame to frame, and a sigmoid.
"""

from functools import lru_cache
from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .. import simd
from .mel import hann_window

FloatArray = simd.FloatArray

FRAME = 512  # samples, 32 ms
CONTEXT = 64  # samples of the previous frame
N_FFT = 256
HOP = 128
N_SPECTRA = 4  # per frame
N_STATE = 128
STRIDES = (1, 2, 2, 1)  # of the convolutions, which reduce four positions to one
BLOCK_FRAMES = 256  # frames convolved at once, 8 s


class _Layer(NamedTuple):
    weight: simd.PackedMatrix
    bias: FloatArray


class _Network(NamedTuple):
    convolutions: tuple[_Layer, ...]
    from_input: _Layer  # LSTM gates `(512,)` from the input
    from_state: simd.PackedMatrix  # and from the hidden state
    gate_scale: FloatArray  # `(512,)`: 0.5 for sigmoid gates, because sigmoid(x) = (1 + tanh(x / 2)) / 2, else 1
    output: FloatArray  # `(128,)`
    output_bias: float


@lru_cache(maxsize=1)
def _network() -> _Network:
    with as_file(files("whisper_apr").joinpath("assets", "silero_vad.npz")) as path, np.load(path) as tensors:
        weights = {name: tensors[name] for name in tensors.files}
    convolutions = []
    for i in range(1, 1 + len(STRIDES)):
        kernel = weights[f"conv{i}.weight"]  # (n_out, n_in, 3)
        panels = simd.pack(np.ascontiguousarray(kernel.transpose(0, 2, 1)).reshape(len(kernel), -1))
        convolutions.append(_Layer(panels, weights[f"conv{i}.bias"].astype(np.float32)))
    scale = np.full(4 * N_STATE, 0.5, np.float32)
    scale[2 * N_STATE : 3 * N_STATE] = 1  # PyTorch's order of gates: input, forget, cell, output
    bias = weights["lstm_cell.bias_ih"].astype(np.float32) + weights["lstm_cell.bias_hh"]
    return _Network(
        tuple(convolutions),
        _Layer(simd.pack(weights["lstm_cell.weight_ih"]), bias),
        simd.pack(weights["lstm_cell.weight_hh"]),
        scale,
        weights["final_conv.weight"].reshape(-1).astype(np.float32),
        float(weights["final_conv.bias"][0]),
    )


def _convolve(x: FloatArray, layer: _Layer, stride: int) -> FloatArray:
    """Convolve with 3 taps and padding 1, then ReLU: `(n, positions, n_in)` -> `(n, positions / stride, n_out)`."""
    n, positions, n_in = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0))).reshape(n, -1)
    starts = range(0, positions * n_in, stride * n_in)
    columns = [simd.linear(padded[:, i : i + 3 * n_in], layer.weight, layer.bias) for i in starts]
    return np.maximum(np.stack(columns, axis=1), 0)


def _encode(frames: FloatArray) -> FloatArray:
    """Encode frames with their context, `(n, 576)`, as the input's contribution to the LSTM gates, `(n, 512)`."""
    network = _network()
    mirrored = np.pad(frames, ((0, 0), (0, CONTEXT)), mode="reflect")
    width = mirrored.shape[1]
    spectra = np.sqrt(simd.power_spectrum(mirrored.reshape(-1), hann_window(N_FFT), HOP))
    # each frame has width / HOP spectra, of which those after the first four extend into the next frame
    x = np.zeros((len(frames), width // HOP, len(spectra)), np.float32)
    x.reshape(-1, len(spectra))[: spectra.shape[1]] = spectra.T
    x = x[:, :N_SPECTRA]
    for layer, stride in zip(network.convolutions, STRIDES, strict=True):
        x = _convolve(x, layer, stride)
    return simd.linear(x[:, 0], network.from_input.weight, network.from_input.bias)


class SpeechProbabilities:
    """The probability of speech in each frame of a stream of samples. Memory use is constant."""

    def __init__(self) -> None:
        self._kept = np.zeros(CONTEXT, np.float32)  # the context, and the samples of an incomplete frame
        self._hidden = np.zeros((1, N_STATE), np.float32)
        self._cell = np.zeros(N_STATE, np.float32)

    def push(self, samples: npt.ArrayLike) -> FloatArray:
        """Append samples `(n,)` at 16 kHz and return the probability of speech in each frame that is complete."""
        x = np.concatenate([self._kept, np.asarray(samples, np.float32)])
        n_frame = (len(x) - CONTEXT) // FRAME
        self._kept = x[n_frame * FRAME :].copy()
        if n_frame == 0:
            return np.zeros(0, np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(x, CONTEXT + FRAME)[::FRAME][:n_frame]
        return np.concatenate([self._run(frames[i : i + BLOCK_FRAMES]) for i in range(0, n_frame, BLOCK_FRAMES)])

    def finish(self) -> FloatArray:
        """Return the probability for an incomplete last frame, padded with zeros; empty if there is none."""
        left = len(self._kept) - CONTEXT
        return self.push(np.zeros(FRAME - left, np.float32)) if left else np.zeros(0, np.float32)

    def _run(self, frames: FloatArray) -> FloatArray:
        network = _network()
        inputs = _encode(frames)
        states = np.empty((len(frames), N_STATE), np.float32)
        hidden, cell, scale = self._hidden, self._cell, network.gate_scale
        for i in range(len(frames)):
            gates = np.tanh(simd.linear(hidden, network.from_state, inputs[i])[0] * scale)
            enter, forget, update, leave = gates.reshape(4, N_STATE)
            cell = 0.5 * ((1 + forget) * cell + (1 + enter) * update)
            states[i] = 0.5 * (1 + leave) * np.tanh(cell)
            hidden = states[i : i + 1]
        self._hidden, self._cell = hidden.copy(), cell
        logits = np.maximum(states, 0) @ network.output + np.float32(network.output_bias)
        speech: FloatArray = (0.5 + 0.5 * np.tanh(0.5 * logits)).astype(np.float32)
        return speech
