"""The encoder: a log-mel spectrogram becomes audio features."""

import math
from collections.abc import Callable

import numpy as np

from .. import simd
from ..checkpoint import ModelDimensions
from .layers import FloatArray, LayerNorm, Linear, Mlp, Tensors, stacked

KERNEL = 3  # positions that each of the two convolutions sees
TIME_STRIDE = 2  # of the second convolution: two frames of mel become one position


class Convolution:
    """A convolution over time as one matrix product: each row is a window of three positions, read where they lie."""

    def __init__(self, tensors: Tensors, name: str, stride: int) -> None:
        self.linear = Linear.read(tensors, name)
        self.stride = stride

    def __call__(self, padded: FloatArray, out: FloatArray, residual: FloatArray | None = None) -> FloatArray:
        """`(n + 2, n_in)`, the first and the last row being zeros -> `(n / stride, n_out)`, GELU included, plus `residual`, in `out`."""
        n, n_in = len(padded) - KERNEL + 1, padded.shape[1]
        row, item = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded, ((n - 1) // self.stride + 1, KERNEL * n_in), (self.stride * row, item), writeable=False
        )
        return self.linear(windows, gelu=True, residual=residual, out=out)


class Block:
    def __init__(self, tensors: Tensors, block: str, n_head: int) -> None:
        self.n_head = n_head
        self.norm = LayerNorm(tensors, f"{block}.attn_ln")
        self.project = stacked(tensors, f"{block}.attn", ("query", "key", "value"))
        self.out = Linear.read(tensors, f"{block}.attn.out")
        # quantized weights already cost more than bfloat16 does here; float ones promise float32
        self.precision: simd.Precision = "bfloat16" if self.project.weight.dtype in ("int8", "int4") else "float32"
        self.mlp = Mlp(tensors, block)

    def __call__(self, x: FloatArray, work: "EncoderWorkspace") -> FloatArray:
        """`(batch, n_ctx, n_state)` -> the same shape, in `work.x`, which x may be."""
        batch, n_ctx, _ = x.shape
        heads = self.project(self.norm(x, work.norm), out=work.heads).reshape(batch, n_ctx, 3, self.n_head, -1)
        q, k, v = (heads[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
        lines = work.attended.reshape(batch, n_ctx, self.n_head, -1)
        simd.attention(q, k, v, precision=self.precision, out=lines)
        y = self.out(work.attended, residual=x, out=work.y)
        return self.mlp(y, norm=work.norm, hidden=work.hidden, out=work.x)


class EncoderWorkspace:
    """The arrays between mel and features, made once for all blocks: new memory costs more than writing it.

    Three are of the residual stream's shape. What is not needed at the same time shares the rest: what the first convolution makes of
    one window; an attention's projections and its result; the hidden layer.
    """

    def __init__(self, batch: int, n_ctx: int, n_state: int, n_hidden: int) -> None:
        n_frame = TIME_STRIDE * n_ctx + KERNEL - 1
        n = batch * n_ctx * n_state
        shared = max(n_frame * n_state, 4 * n, batch * n_ctx * n_hidden)
        piece = simd.huge_zeros((3 * n + shared,), np.float32)

        def part(start: int, *shape: int) -> FloatArray:
            return piece[start : start + math.prod(shape)].reshape(shape)

        self.x, self.y, self.norm = (part(i * n, batch, n_ctx, n_state) for i in range(3))
        self.frames = part(3 * n, n_frame, n_state)
        self.heads = part(3 * n, batch, n_ctx, 3 * n_state)
        self.attended = part(6 * n, batch, n_ctx, n_state)
        self.hidden = part(3 * n, batch, n_ctx, n_hidden)


class AudioEncoder:
    def __init__(self, tensors: Tensors, dims: ModelDimensions) -> None:
        self.dims = dims
        self.conv1 = Convolution(tensors, "encoder.conv1", 1)
        self.conv2 = Convolution(tensors, "encoder.conv2", TIME_STRIDE)
        self.positions = tensors.array("encoder.positional_embedding")
        self.blocks = [Block(tensors, f"encoder.blocks.{i}", dims.n_audio_head) for i in range(dims.n_audio_layer)]
        self.norm = LayerNorm(tensors, "encoder.ln_post")
        self.n_hidden = max(block.mlp.up.weight.shape[0] for block in self.blocks)

    def __call__(self, mel: FloatArray, check_cancelled: Callable[[], None] = lambda: None) -> FloatArray:
        """mel `(batch, n_mels, 2 * n_audio_ctx)` -> features `(batch, n_audio_ctx, n_audio_state)`.

        `check_cancelled` is called before every layer: what it raises ends the run.
        """
        dims = self.dims
        shape = (dims.n_mels, TIME_STRIDE * dims.n_audio_ctx)
        if mel.ndim != 3 or mel.shape[1:] != shape:
            raise ValueError(f"this model takes a mel spectrogram (batch, {shape[0]}, {shape[1]}), not {mel.shape}")
        work = EncoderWorkspace(len(mel), dims.n_audio_ctx, dims.n_audio_state, self.n_hidden)
        x = work.x
        # spectrum and work.frames lie between two rows of zeros, which are new and never written
        spectrum = np.zeros((len(work.frames), shape[0]), np.float32)
        for window, line in zip(mel, x, strict=True):
            spectrum[1:-1] = window.T
            self.conv1(spectrum, out=work.frames[1:-1])
            self.conv2(work.frames, out=line, residual=self.positions)
        for block in self.blocks:
            check_cancelled()
            x = block(x, work)
        return self.norm(x)
