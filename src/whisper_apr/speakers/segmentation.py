"""Who of up to three speakers speaks when within ten seconds: pyannote's segmentation 3.0 (MIT license, CNRS).

The network ("PyanNet") is SincNet, four bidirectional LSTMs, two linear layers, and a classifier of the seven sets of
at most two of three speakers: Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker
diarization", Interspeech 2023.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import simd
from .layers import FloatArray, Linear, Tensors, instance_norm, leaky_relu, max_pool, pack_kernel, windows

WINDOW = 160_000  # samples of a window, 10 s
N_FRAMES = 589  # of a window
FRAME_HOP = 270  # samples from frame to frame: the strides of the convolution and of three poolings
FIRST_CENTER = 495  # sample at the center of the first frame's receptive field, which has 991
N_SPEAKERS = 3

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

    def __call__(self, samples: FloatArray) -> FloatArray:
        """Return log-probabilities of the classes.

        Args:
            samples: `(batch, n)` at 16 kHz; 160,000 samples in training.

        Returns:
            `(batch, frames, 7)`, see `POWERSET`; 589 frames of 160,000 samples.
        """
        x = np.stack([self._convolve(row) for row in samples], axis=1)  # (frames, batch, 60)
        for directions in self._lstm:
            x = _run_lstm(x, directions)
        for linear in self._linear[:-1]:
            x = leaky_relu(linear(x))
        return simd.log_softmax(self._linear[-1](x)).transpose(1, 0, 2)

    def _convolve(self, samples: FloatArray) -> FloatArray:
        """Run SincNet on a window: `(n,)` -> `(frames, 60)`."""
        wave = instance_norm(samples[:, None], *self._wave_norm)
        x = np.abs(self._convolutions[0](windows(wave, _TAPS, _STRIDE)))
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
