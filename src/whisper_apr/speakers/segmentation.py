"""Who of up to three speakers speaks when within ten seconds: pyannote's segmentation 3.0 (MIT license, CNRS).

The network ("PyanNet") is SincNet, four bidirectional LSTMs, two linear layers, and a classifier of the seven sets of
at most two of three speakers: Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker
diarization", Interspeech 2023.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import simd
from .layers import (
    NORM_EPS,
    FloatArray,
    Linear,
    Tensors,
    absolute,
    instance_norm,
    leaky_relu,
    max_pool,
    pack_kernel,
    windows,
)

WINDOW = 160_000  # samples of a window, 10 s
N_FRAMES = 589  # of a window
FRAME_HOP = 270  # samples from frame to frame: the strides of the convolution and of three poolings
FIRST_CENTER = 495  # sample at the center of the first frame's receptive field, which has 991
N_SPEAKERS = 3
N_FILTERS = 80  # of the first convolution

# Class -> the speakers that it stands for
POWERSET = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]],
    np.float32,
)

_TAPS, _STRIDE = 251, 10  # of the first convolution


class _Norm(NamedTuple):
    weight: FloatArray
    bias: FloatArray


class _Direction(NamedTuple):
    from_input: Linear
    from_state: simd.PackedMatrix


class SegmentationModel:
    """The network.

    Args:
        tensors: The weights by their names in pyannote's checkpoint; `sincnet.filters` `(80, 251)` are SincNet's.
    """

    def __init__(self, tensors: Tensors) -> None:
        def floats(name: str) -> FloatArray:
            values: FloatArray = tensors[name].astype(np.float32)
            return values

        def norm(name: str) -> _Norm:
            return _Norm(floats(f"{name}.weight"), floats(f"{name}.bias"))

        self._wave_norm = norm("sincnet.wav_norm1d")
        self._norms = [norm(f"sincnet.norm1d.{i}") for i in range(3)]
        self._filter_sums = floats("sincnet.filters").sum(axis=1, dtype=np.float64)
        self._convolutions = [Linear(simd.pack(floats("sincnet.filters")))] + [
            Linear(pack_kernel(floats(f"sincnet.conv1d.{i}.weight")), floats(f"sincnet.conv1d.{i}.bias"))
            for i in (1, 2)
        ]
        self._lstm = [[self._direction(floats, f"l{i}{suffix}") for suffix in ("", "_reverse")] for i in range(4)]
        self._linear = [
            Linear(simd.pack(floats(f"{name}.weight")), floats(f"{name}.bias"))
            for name in ("linear.0", "linear.1", "classifier")
        ]

    @staticmethod
    def _direction(floats: Callable[[str], FloatArray], name: str) -> _Direction:
        bias = floats(f"lstm.bias_ih_{name}") + floats(f"lstm.bias_hh_{name}")
        return _Direction(
            Linear(simd.pack(floats(f"lstm.weight_ih_{name}")), bias), simd.pack(floats(f"lstm.weight_hh_{name}"))
        )

    def __call__(self, samples: FloatArray, overlap: int = 0) -> FloatArray:
        """Return log-probabilities of the classes.

        Args:
            samples: `(batch, n)` at 16 kHz; 160,000 samples in training.
            overlap: Samples at the beginning of each row but the first that are also at the end of the row before.
                They are filtered once, if `n - overlap` is a multiple of 10.

        Returns:
            `(batch, frames, 7)`, see `POWERSET`; 589 frames of 160,000 samples.
        """
        shared = 1 + (overlap - _TAPS) // _STRIDE  # positions of the first convolution that two rows share
        if overlap < _TAPS or (samples.shape[1] - overlap) % _STRIDE:
            shared = 0
        rows: list[FloatArray] = []
        filtered = np.zeros((0, N_FILTERS), np.float32)
        for i, row in enumerate(samples):
            known = filtered[len(filtered) - shared :] if i else filtered
            rest = self._convolutions[0](windows(row[len(known) * _STRIDE :].reshape(-1, 1), _TAPS, _STRIDE))
            filtered = np.concatenate([known, rest])
            rows.append(self._convolve(row, filtered))
        x = np.stack(rows, axis=1)  # (frames, batch, 60)
        for directions in self._lstm:
            x = _run_lstm(x, directions)
        for linear in self._linear[:-1]:
            x = leaky_relu(linear(x))
        return simd.log_softmax(self._linear[-1](x)).transpose(1, 0, 2)

    def _convolve(self, samples: FloatArray, filtered: FloatArray) -> FloatArray:
        """Run SincNet on a window: `(n,)`, and its first convolution `(positions, 80)` -> `(frames, 60)`.

        The normalization of the samples is applied to the convolution, which is linear.
        """
        mean = samples.mean(dtype=np.float64)
        scale = self._wave_norm.weight / np.sqrt(samples.var(dtype=np.float64) + NORM_EPS)
        shift = (self._wave_norm.bias - mean * scale) * self._filter_sums
        x = filtered * np.float32(scale[0])
        x += shift.astype(np.float32)
        absolute(x)
        for i, norm in enumerate(self._norms):
            if i:
                x = self._convolutions[i](windows(x, 5))
            x = leaky_relu(instance_norm(max_pool(x, 3), *norm))
        return x


def _run_lstm(x: FloatArray, directions: list[_Direction]) -> FloatArray:
    """Run both directions of a layer: `(time, batch, channel)` -> `(time, batch, 256)`."""
    sides = [
        simd.lstm(direction.from_input(x), direction.from_state, backward=side == 1)
        for side, direction in enumerate(directions)
    ]
    return np.concatenate(sides, axis=-1)
