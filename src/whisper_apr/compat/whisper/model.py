"""openai-whisper's `whisper.model`. What is a tensor there is an array here, and the model has no torch modules."""

import base64
import gzip
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any, Self

import numpy as np

from ...checkpoint import Checkpoint, ModelDimensions, make_checkpoint
from ...errors import FormatError
from ...model.decoder import TextDecoder
from ...model.encoder import AudioEncoder
from ...recognizer import ComputeType, Recognizer, load_as
from ._arrays import CPU, Array, Device, as_array, check_device
from ._hub import renamed_errors
from ._missing import Layer, explain, getter, model_attribute_error
from .decoding import decode, detect_language
from .transcribe import transcribe

__all__ = [
    "SDPA_AVAILABLE",
    "AudioEncoder",
    "Conv1d",
    "LayerNorm",
    "Linear",
    "ModelDimensions",
    "MultiHeadAttention",
    "ResidualAttentionBlock",
    "TextDecoder",
    "Whisper",
    "disable_sdpa",
    "sinusoids",
]

SDPA_AVAILABLE = False
_MAX_HEADS = 1 << 16  # bytes of an unpacked mask: 128 layers of 128 heads are 2**14

__getattr__ = getter(__name__)


def sinusoids(length: int, channels: int, max_timescale: int = 10000) -> Array:
    """Return the sinusoidal positional embedding `(length, channels)`, in float32; `channels` must be even."""
    if channels % 2:
        raise AssertionError(f"channels must be even, not {channels}")
    rates = np.exp(-np.log(max_timescale) / (channels // 2 - 1) * np.arange(channels // 2))
    angles = np.arange(length)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32).view(Array)


@contextmanager
def disable_sdpa() -> Iterator[None]:
    """Do nothing: attention weights are always available to `timing.find_alignment`."""
    yield


class Conv1d(Layer):
    """A name for `isinstance`."""


class LayerNorm(Layer):
    """A name for `isinstance`."""


class Linear(Layer):
    """A name for `isinstance`."""


class MultiHeadAttention(Layer):
    """A name for `isinstance`."""


class ResidualAttentionBlock(Layer):
    """A name for `isinstance`."""


class Whisper(Recognizer):
    """A model with the methods of openai-whisper's `Whisper`. Made by `load_model`."""

    device: Device = CPU

    def __init__(self, dims: ModelDimensions | Checkpoint, compute_type: str = "float32") -> None:
        """Make a model, whose weights `load_state_dict` sets unless a checkpoint is given."""
        self._requested_type = compute_type
        if isinstance(dims, Checkpoint):
            super().__init__(dims, compute_type)
            explain(self.encoder)
        else:
            self.dims = dims

    @property
    def decoder(self) -> TextDecoder:
        """The text decoder."""
        decoder = super().decoder
        explain(decoder)
        return decoder

    def __getattr__(self, name: str) -> Any:
        if name in ("encoder", "is_multilingual", "num_languages", "_tensors"):
            raise AttributeError(f"the model has no {name!r} before load_state_dict has set its weights", name=name)
        raise model_attribute_error(name)

    def __reduce__(self) -> tuple[Any, ...]:
        _, arguments = super().__reduce__()
        return _reload, arguments

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Set the weights, tensors or arrays by openai-whisper's names. Other names are ignored."""
        tensors = {name: as_array(tensor) for name, tensor in state_dict.items()}
        super().__init__(make_checkpoint(self.dims, tensors, "the state"), self._requested_type)
        explain(self.encoder)

    def set_alignment_heads(self, dump: bytes) -> None:
        """Set the attention heads that word times come from.

        Args:
            dump: A boolean array `(n_text_layer, n_text_head)`, compressed by gzip, in base 85.

        Raises:
            FormatError: It is anything else.
        """
        shape = self.dims.n_text_layer, self.dims.n_text_head
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(base64.b85decode(dump))) as file:
                data = file.read(_MAX_HEADS)
        except (ValueError, OSError, EOFError) as error:
            raise FormatError(f"the alignment heads are not a compressed array in base 85 ({error})") from error
        if len(data) != shape[0] * shape[1]:
            raise FormatError(f"the alignment heads have {len(data)} entries; this model has {shape[0]} x {shape[1]}")
        heads = np.argwhere(np.frombuffer(data, bool).reshape(shape))
        self.alignment_heads = tuple((int(layer), int(head)) for layer, head in heads)

    def embed_audio(self, mel: Any) -> Array:
        """Return features `(1500, n_state)` of `mel` `(n_mels, 3000)`; of a batch, `(batch, 1500, n_state)`."""
        return super().embed_audio(as_array(mel)).view(Array)

    def logits(self, tokens: Any, audio_features: Any) -> Array:
        """Return the logits `(batch, n, n_vocab)` of tokens `(batch, n)`, given features `(batch, 1500, n_state)`.

        Either batch may be 1 if the other is larger.
        """
        ids, features = as_array(tokens), np.ascontiguousarray(as_array(audio_features), np.float32)
        if ids.ndim == 2 and features.ndim == 3 and 1 in (len(ids), len(features)):
            n = max(len(ids), len(features))
            ids = np.broadcast_to(ids, (n, *ids.shape[1:]))
            features = np.ascontiguousarray(np.broadcast_to(features, (n, *features.shape[1:])))
        return super().logits(ids, features).view(Array)

    def forward(self, mel: Any, tokens: Any) -> Array:
        """Return the logits of tokens `(batch, n)`, given the spectrograms `(batch, n_mels, 3000)`."""
        return self.logits(tokens, self.embed_audio(mel))

    __call__ = forward

    detect_language = detect_language  # type: ignore[assignment]
    decode = decode  # type: ignore[assignment]
    transcribe = transcribe  # type: ignore[assignment]

    # ---- what has no effect ----

    def to(self, *args: Any, **_: Any) -> Self:
        """Return the model; a device must be the CPU, and a dtype has no effect."""
        for arg in args:
            if isinstance(arg, str) or hasattr(arg, "type"):
                check_device(arg)
        return self

    def cpu(self) -> Self:
        """Return the model."""
        return self

    def cuda(self, *_: Any) -> Self:
        """Raise OptionError: there is no GPU support."""
        check_device("cuda")
        return self

    def eval(self) -> Self:
        """Return the model, which cannot be trained."""
        return self

    def half(self) -> Self:
        """Return the model; the compute type of `load_model` decides on precision."""
        return self

    def float(self) -> Self:
        """Return the model; the compute type of `load_model` decides on precision."""
        return self

    def requires_grad_(self, requires_grad: bool = False) -> Self:
        """Return the model, which has no gradients."""
        return self


def load_model(
    name: str | PathLike[str],
    device: object = None,
    download_root: str | PathLike[str] | None = None,
    in_memory: bool = False,
    *,
    compute_type: ComputeType = "default",
) -> Whisper:
    """Load a model as `whisper_apr.load_model` does, with openai-whisper's methods.

    Args:
        name: A name, a path, or `org/name` of the Hugging Face hub.
        device: The CPU, as text or as a `torch.device`.
        download_root: Directory of downloaded models. None is huggingface_hub's cache.
        in_memory: It has no effect.
        compute_type: How weights are stored and multiplied; see `whisper_apr.load_model`.

    Raises:
        RuntimeError: No model has this name; it is a ModelNotFoundError too.
    """
    with renamed_errors():
        check_device(device)
        return load_as(Whisper, name, None, download_root, in_memory, compute_type=compute_type)


def _reload(name: str, compute_type: ComputeType, download_root: str | None) -> Whisper:
    """Load a model that is unpickled."""
    return load_model(name, None, download_root, compute_type=compute_type)
