"""The encoder: a log-mel spectrogram becomes audio features."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from .. import simd
from ..formats.checkpoint import ModelDimensions
from .layers import FloatArray, LayerNorm, Linear, Mlp, Tensors, stacked

KERNEL = 3  # positions that each of the two convolutions sees
TIME_STRIDE = 2  # of the second convolution: two frames of mel become one position


class Convolution:
    """A convolution over time as one matrix product: each row is a window of three positions, read where they lie."""

    def __init__(self, tensors: Tensors, name: str, stride: int) -> None:
        self.linear = Linear.read(tensors, name)
        self.stride = stride

    def __call__(self, x: FloatArray) -> FloatArray:
        """`(n, n_in)` -> `(n / stride, n_out)`, GELU included; beyond the ends there are zeros."""
        n, n_in = x.shape
        padded = np.zeros((n + KERNEL - 1, n_in), np.float32)
        padded[1:-1] = x
        row, item = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded, ((n - 1) // self.stride + 1, KERNEL * n_in), (self.stride * row, item), writeable=False
        )
        return self.linear(windows, gelu=True)


class Block:
    def __init__(self, tensors: Tensors, block: str, n_head: int) -> None:
        self.n_head = n_head
        self.norm = LayerNorm(tensors, f"{block}.attn_ln")
        self.project = stacked(tensors, f"{block}.attn", ("query", "key", "value"))
        self.out = Linear.read(tensors, f"{block}.attn.out")
        # quantized weights already cost more than bfloat16 does here; float ones promise float32
        self.precision: Literal["float32", "bfloat16"] = (
            "bfloat16" if self.project.weight.dtype in ("int8", "int4") else "float32"
        )
        self.mlp = Mlp(tensors, block)

    def __call__(self, x: FloatArray) -> FloatArray:
        """`(batch, n_ctx, n_state)` -> the same shape."""
        batch, n_ctx, _ = x.shape
        heads = self.project(self.norm(x)).reshape(batch, n_ctx, 3, self.n_head, -1)
        q, k, v = (heads[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
        attended = simd.attention(q, k, v, precision=self.precision)
        return self.mlp(self.out(attended.transpose(0, 2, 1, 3).reshape(x.shape), residual=x))


class AudioEncoder:
    def __init__(self, tensors: Tensors, dims: ModelDimensions) -> None:
        self.dims = dims
        self.conv1 = Convolution(tensors, "encoder.conv1", 1)
        self.conv2 = Convolution(tensors, "encoder.conv2", TIME_STRIDE)
        self.positions = tensors.array("encoder.positional_embedding")
        self.blocks = [Block(tensors, f"encoder.blocks.{i}", dims.n_audio_head) for i in range(dims.n_audio_layer)]
        self.norm = LayerNorm(tensors, "encoder.ln_post")

    def __call__(self, mel: FloatArray, checkpoint: Callable[[], None] = lambda: None) -> FloatArray:
        """mel `(batch, n_mels, 2 * n_audio_ctx)` -> features `(batch, n_audio_ctx, n_audio_state)`.

        `checkpoint` is called before every layer: what it raises ends the run.
        """
        dims = self.dims
        shape = (dims.n_mels, TIME_STRIDE * dims.n_audio_ctx)
        if mel.ndim != 3 or mel.shape[1:] != shape:
            raise ValueError(f"this model takes a mel spectrogram (batch, {shape[0]}, {shape[1]}), not {mel.shape}")
        x = np.stack([self.conv2(self.conv1(window.T)) for window in mel]) + self.positions
        for block in self.blocks:
            checkpoint()
            x = block(x)
        return self.norm(x)
