"""A vector for a voice: CAM++ (Apache-2.0, Alibaba's 3D-Speaker, "zh_en_common").

The network is a residual convolution over time and frequency, and a densely connected time-delay network with
context-aware masking: Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
Masking", Interspeech 2023.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .. import simd
from .layers import NORM_EPS, FloatArray, Linear, LowerLimit, Tensors, relu, windows

N_BANDS = 80
SEGMENT = 100  # frames of 20 ms that share a context in context-aware masking

_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of the three dense blocks
_GROWTH = 32  # channels that a dense layer adds


class _Threshold(NamedTuple):
    """Batch normalization and ReLU before a product, as limits: relu(s x + b) = |s| (clip(x) + constant).

    The scale and the constant are part of the product that follows.
    """

    low: LowerLimit
    high: FloatArray | None  # None: no scale is negative

    def __call__(self, x: FloatArray) -> FloatArray:
        result = self.low(x)
        return result if self.high is None else np.minimum(result, self.high, out=result)


class _DenseLayer(NamedTuple):
    threshold: _Threshold
    bottleneck: Linear  # with the normalization after it
    local: Linear
    squeeze: Linear
    mask: Linear
    dilation: int


class _Conv2d(NamedTuple):
    """A convolution over three bands, or one.

    The inputs of `linear[i]` are the bands b, b + 1 and b + 2 in the order of their numbers modulo 3, for a band b of
    which the number modulo 3 is i.
    """

    linear: list[Linear]
    stride: int  # along the frequency


class EmbeddingModel:
    """The network.

    Args:
        tensors: The weights by their names in 3D-Speaker's checkpoint.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
        self._head = [self._conv2d("head.conv1", "head.bn1")]
        self._blocks2d = [
            (
                self._conv2d(f"{name}.conv1", f"{name}.bn1", stride),
                self._conv2d(f"{name}.conv2", f"{name}.bn2"),
                self._conv2d(f"{name}.shortcut.0", f"{name}.shortcut.1", stride) if stride > 1 else None,
            )
            for layer in (1, 2)
            for name, stride in ((f"head.layer{layer}.0", 2), (f"head.layer{layer}.1", 1))
        ]
        self._head.append(self._conv2d("head.conv2", "head.bn2", 2))
        kernel = self._tensors["xvector.tdnn.linear.weight"]  # (128, 320, 5); the 320 inputs are (channel, band)
        bands = kernel.reshape(len(kernel), 32, -1, kernel.shape[-1]).transpose(0, 3, 2, 1)
        self._tdnn = self._folded(bands.reshape(len(kernel), -1), "xvector.tdnn.nonlinear.batchnorm")
        self._dense = [
            [self._dense_layer(f"xvector.block{i + 1}.tdnnd{j + 1}", dilation) for j in range(n)]
            for i, (n, dilation) in enumerate(_BLOCKS)
        ]
        self._transits = [
            self._thresholded(f"xvector.transit{i}.nonlinear.batchnorm", f"xvector.transit{i}.linear.weight")
            for i in (1, 2, 3)
        ]
        self._out_scale, self._out_shift = self._scale_shift("xvector.out_nonlinear.batchnorm")
        weight = self._tensors["xvector.dense.linear.weight"][:, :, 0]
        self._output = self._folded(weight, "xvector.dense.nonlinear.batchnorm")
        del self._tensors

    # ---- preparation ------------------------------------------------------------------------------------------------

    def _scale_shift(self, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return batch normalization as a scale and a shift of each channel."""
        mean, variance = self._tensors[f"{name}.running_mean"], self._tensors[f"{name}.running_var"]
        scale = self._tensors.get(f"{name}.weight", 1) / np.sqrt(variance + NORM_EPS)
        return scale, self._tensors.get(f"{name}.bias", 0) - mean * scale

    def _folded(self, weight: npt.NDArray[np.float64], norm: str) -> Linear:
        """Return a matrix with the batch normalization after it."""
        scale, shift = self._scale_shift(norm)
        return Linear(simd.pack((weight * scale[:, None]).astype(np.float32)), shift.astype(np.float32))

    def _conv2d(self, name: str, norm: str, stride: int = 1) -> _Conv2d:
        kernel = self._tensors[f"{name}.weight"]  # (n_out, n_in, bands, time)
        bands = kernel.transpose(0, 3, 2, 1)
        turned = [np.roll(bands, i, axis=2) for i in range(kernel.shape[2])]
        return _Conv2d([self._folded(each.reshape(len(kernel), -1), norm) for each in turned], stride)

    def _thresholded(self, norm: str, weight_name: str, after: str | None = None) -> tuple[_Threshold, Linear]:
        scale, shift = self._scale_shift(norm)
        weight = self._tensors[weight_name][:, :, 0]
        with np.errstate(divide="ignore"):
            limit = -shift / scale
        rising, infinity = scale > 0, np.float64(np.inf)
        low, high = np.where(rising, limit, -infinity), np.where(rising, infinity, limit)
        bias = weight @ shift
        weight = weight * scale
        if after is not None:
            factor, offset = self._scale_shift(after)
            weight, bias = weight * factor[:, None], bias * factor + offset
        threshold = _Threshold(LowerLimit(low.astype(np.float32)), None if rising.all() else high.astype(np.float32))
        return threshold, Linear(simd.pack(weight.astype(np.float32)), bias.astype(np.float32))

    def _dense_layer(self, name: str, dilation: int) -> _DenseLayer:
        threshold, bottleneck = self._thresholded(
            f"{name}.nonlinear1.batchnorm", f"{name}.linear1.weight", f"{name}.nonlinear2.batchnorm"
        )
        cam = f"{name}.cam_layer"
        local = self._tensors[f"{cam}.linear_local.weight"]  # (32, 128, 3)
        squeeze, mask = (
            Linear(
                simd.pack(self._tensors[f"{cam}.{part}.weight"][:, :, 0].astype(np.float32)),
                self._tensors[f"{cam}.{part}.bias"].astype(np.float32),
            )
            for part in ("linear1", "linear2")
        )
        rows = local.transpose(0, 2, 1).reshape(len(local), -1).astype(np.float32)
        return _DenseLayer(threshold, bottleneck, Linear(simd.pack(rows)), squeeze, mask, dilation)

    # ---- the network ------------------------------------------------------------------------------------------------

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return the embeddings of recordings of the same length.

        Args:
            features: `(batch, frames, 80)`, filterbank energies (`audio.fbank`) less their mean over time;
                at least 3 frames.

        Returns:
            `(batch, 192)`.
        """
        x = self._convolve(features)
        for layers, (threshold, transit) in zip(self._dense, self._transits, strict=True):
            x = transit(threshold(_run_dense(x, layers)))
        x = relu(x * self._out_scale.astype(np.float32) + self._out_shift.astype(np.float32))
        statistics = np.concatenate([x.mean(axis=1), x.std(axis=1, ddof=1)], axis=-1)
        return self._output(statistics)

    def _convolve(self, features: FloatArray) -> FloatArray:
        """Run the convolutions over time and frequency, and the first over time: -> `(batch, frames / 2, 128)`."""
        batch, time, n_band = features.shape
        # (band, row, channel); a row before and a row after each recording are zeros
        x = np.zeros((n_band, batch, time + 2, 1), np.float32)
        x[:, :, 1:-1, 0] = features.transpose(2, 0, 1)
        x = _convolve2d(x, self._head[0])
        for first, second, shortcut in self._blocks2d:
            same = x if shortcut is None else np.stack([shortcut.linear[0](band) for band in x[:: shortcut.stride]])
            x = _convolve2d(_convolve2d(x, first), second, same)
        x = _convolve2d(x, self._head[1])
        n_band, _, _, channel = x.shape
        padded = np.zeros((batch, time + 4, n_band * channel), np.float32)
        padded[:, 1:-1] = x.transpose(1, 2, 0, 3).reshape(batch, time + 2, -1)
        return np.stack([relu(self._tdnn(windows(row, 5, 2))) for row in padded])


def _convolve2d(x: FloatArray, convolution: _Conv2d, residual: FloatArray | None = None) -> FloatArray:
    """Convolve over three bands and three positions, then ReLU: `(band, batch, 1 + time + 1, n_in)` -> with `n_out`.

    Bands are computed one by one, so that their inputs stay in the cache. Each band of the input is copied once, to the
    place of one that is no longer needed.

    Args:
        x: Zeros at the first and the last position.
        convolution: The layer.
        residual: Added before the ReLU, of the result's shape.
    """
    n_band, batch, time, n_in = x.shape
    n_out = convolution.linear[0].weight.shape[0]
    out = np.empty(((n_band - 1) // convolution.stride + 1, batch * time, n_out), np.float32)
    taps = np.zeros((batch * time, 3, n_in), np.float32)
    rows = windows(taps.reshape(batch * time, 3 * n_in), 3)
    copied = 0  # bands
    for band, result in enumerate(out):
        first = band * convolution.stride - 1
        for source in range(copied, first + 3):
            taps[:, source % 3] = x[source].reshape(-1, n_in) if source < n_band else 0
        copied = first + 3
        linear = convolution.linear[first % 3]
        added = None if residual is None else residual[band].reshape(-1, n_out)[1:-1]
        simd.linear(rows, linear.weight, linear.bias, residual=added, out=result[1:-1])
        relu(result)
        result.reshape(batch, time, n_out)[:, [0, -1]] = 0
    return out.reshape(-1, batch, time, n_out)


def _run_dense(x: FloatArray, layers: list[_DenseLayer]) -> FloatArray:
    """Run a block whose layers each append channels: `(batch, time, n)` -> `(batch, time, n + 32 * len(layers))`."""
    batch, time, n = x.shape
    every = np.empty((batch, time, n + _GROWTH * len(layers)), np.float32)
    every[..., :n] = x
    for layer in layers:
        narrow = layer.bottleneck(layer.threshold(every[..., :n]))
        relu(narrow)
        np.multiply(
            _convolve_dilated(narrow, layer.local, layer.dilation),
            _mask(narrow, layer),
            out=every[..., n : n + _GROWTH],
        )
        n += _GROWTH
    return every


def _convolve_dilated(x: FloatArray, linear: Linear, dilation: int) -> FloatArray:
    """Convolve over three positions that are `dilation` apart, with zeros around."""
    batch, time, channel = x.shape
    padded = np.zeros((batch, time + 2 * dilation, channel), np.float32)
    padded[:, dilation:-dilation] = x
    rows = np.concatenate([padded[:, i * dilation : i * dilation + time] for i in range(3)], axis=-1)
    return linear(rows)


def _mask(x: FloatArray, layer: _DenseLayer) -> FloatArray:
    """Return the factor of each position and channel, from the means of the whole and of the segment."""
    time = x.shape[1]
    bounds = [*range(0, time, SEGMENT), time]
    means = np.stack([x[:, a:b].mean(axis=1) for a, b in pairwise(bounds)], axis=1)  # (batch, segment, 128)
    context = means + x.mean(axis=1)[:, None]
    logits = layer.mask(relu(layer.squeeze(context)))
    factors = 0.5 + 0.5 * np.tanh(0.5 * logits)
    return np.repeat(factors, np.diff(bounds), axis=1)
