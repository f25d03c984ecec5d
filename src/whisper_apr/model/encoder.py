"""The audio encoder: from a log-mel spectrogram to features."""

import math
from collections.abc import Callable

import numpy as np

from .. import simd
from ..checkpoint import ModelDimensions
from .layers import FloatArray, LayerNorm, Linear, Mlp, Tensors, stacked

KERNEL_SIZE = 3  # of both convolutions
TIME_STRIDE = 2  # of the second convolution: two frames of 10 ms become one position


class Convolution:
    """A convolution over time and GELU, computed as one matrix product over overlapping views of the input."""

    def __init__(self, tensors: Tensors, name: str, stride: int) -> None:
        self.linear = Linear.read(tensors, name)
        self.stride = stride

    def __call__(self, padded: FloatArray, out: FloatArray, residual: FloatArray | None = None) -> FloatArray:
        """Convolve one window.

        Args:
            padded: `(n + 2, n_in)`, with zeros in the first and last row.
            out: Where the result is written, `(n / stride, n_out)`.
            residual: Added to the result, of the same shape.
        """
        n, n_in = len(padded) - KERNEL_SIZE + 1, padded.shape[1]
        row, item = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded, ((n - 1) // self.stride + 1, KERNEL_SIZE * n_in), (self.stride * row, item), writeable=False
        )
        return self.linear(windows, gelu=True, residual=residual, out=out)


class EncoderBlock:
    """An encoder block: self-attention and MLP, each with layer normalization and a residual."""

    def __init__(self, tensors: Tensors, block: str, n_head: int) -> None:
        self.n_head = n_head
        self.norm = LayerNorm(tensors, f"{block}.attn_ln")
        self.project = stacked(tensors, f"{block}.attn", ("query", "key", "value"))
        self.out = Linear.read(tensors, f"{block}.attn.out")
        # with quantized weights, the error of a reduced attention is the smaller one; float weights promise float32
        self.precision: simd.Precision = "reduced" if self.project.weight.dtype in ("int8", "int4") else "float32"
        self.mlp = Mlp(tensors, block)

    def __call__(self, x: FloatArray, workspace: "EncoderWorkspace") -> FloatArray:
        """Apply the block to `(batch, n_ctx, n_state)` and write the result to `workspace.x`, which may be `x`."""
        batch, n_ctx, _ = x.shape
        heads = self.project(self.norm(x, workspace.norm), out=workspace.heads).reshape(
            batch, n_ctx, 3, self.n_head, -1
        )
        q, k, v = (heads[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
        attended = workspace.attended.reshape(batch, n_ctx, self.n_head, -1)
        simd.attention(q, k, v, precision=self.precision, out=attended)
        y = self.out(workspace.attended, residual=x, out=workspace.y)
        return self.mlp(y, norm=workspace.norm, hidden=workspace.hidden, out=workspace.x)


class EncoderWorkspace:
    """The intermediate arrays of the encoder, allocated once for all blocks, since fresh memory pages are expensive.

    Three have the shape of the residual stream. The others are not needed at the same time and share memory: the output
    of the first convolution, the projections and the output of the attention, and the hidden layer of the MLP.
    """

    def __init__(self, batch: int, n_ctx: int, n_state: int, n_hidden: int) -> None:
        n_frame = TIME_STRIDE * n_ctx + KERNEL_SIZE - 1
        n = batch * n_ctx * n_state
        shared = max(n_frame * n_state, 4 * n, batch * n_ctx * n_hidden)
        buffer = simd.huge_zeros((3 * n + shared,), np.float32)

        def part(start: int, *shape: int) -> FloatArray:
            return buffer[start : start + math.prod(shape)].reshape(shape)

        self.x, self.y, self.norm = (part(i * n, batch, n_ctx, n_state) for i in range(3))
        self.frames = part(3 * n, n_frame, n_state)
        self.heads = part(3 * n, batch, n_ctx, 3 * n_state)
        self.attended = part(6 * n, batch, n_ctx, n_state)
        self.hidden = part(3 * n, batch, n_ctx, n_hidden)


class AudioEncoder:
    """Whisper's audio encoder: two convolutions, then transformer blocks."""

    def __init__(self, tensors: Tensors, dims: ModelDimensions) -> None:
        self.dims = dims
        self.conv1 = Convolution(tensors, "encoder.conv1", 1)
        self.conv2 = Convolution(tensors, "encoder.conv2", TIME_STRIDE)
        self.positions = tensors.array("encoder.positional_embedding")
        self.blocks = [
            EncoderBlock(tensors, f"encoder.blocks.{i}", dims.n_audio_head) for i in range(dims.n_audio_layer)
        ]
        self.norm = LayerNorm(tensors, "encoder.ln_post")
        self.n_hidden = max(block.mlp.up.weight.shape[0] for block in self.blocks)

    def __call__(self, mel: FloatArray, check_cancelled: Callable[[], object] = lambda: None) -> FloatArray:
        """Return the features of windows, `(batch, n_ctx, n_audio_state)`.

        Args:
            mel: Log-mel spectrogram, `(batch, n_mels, 2 * n_ctx)`. `n_ctx` is `n_audio_ctx`, or less to encode only the
                beginning of windows.
            check_cancelled: Called before every layer; an exception that it raises is passed on.

        Raises:
            ValueError: `mel` has another shape.
        """
        n_mels, n_frame = self.dims.n_mels, TIME_STRIDE * self.dims.n_audio_ctx
        if mel.ndim != 3 or mel.shape[1] != n_mels or mel.shape[2] not in range(TIME_STRIDE, n_frame + 1, TIME_STRIDE):
            raise ValueError(
                f"mel must have the shape (batch, {n_mels}, {n_frame}) that this model takes, or an even number of "
                f"fewer frames, not {mel.shape}"
            )
        n_ctx = mel.shape[2] // TIME_STRIDE
        workspace = EncoderWorkspace(len(mel), n_ctx, self.dims.n_audio_state, self.n_hidden)
        x = workspace.x
        # the first and last row of `spectrum` and of `workspace.frames` are the padding: zeros, and never written
        spectrum = np.zeros((len(workspace.frames), self.dims.n_mels), np.float32)
        for window, states in zip(mel, x, strict=True):
            spectrum[1:-1] = window.T
            self.conv1(spectrum, out=workspace.frames[1:-1])
            self.conv2(workspace.frames, out=states, residual=self.positions[:n_ctx])
        for block in self.blocks:
            check_cancelled()
            x = block(x, workspace)
        return self.norm(x)
