"""The modules and names of openai-whisper 20250625.

`whisper_apr.compat.install()` makes this package what `import whisper` gives. What it cannot have raises an
AttributeError that says why.
"""

from . import tokenizer  # noqa: F401 - an attribute of the package, as the other modules below
from ._hub import alignment_heads as _heads
from ._hub import download as _download  # noqa: F401
from ._hub import model_sources as _sources
from ._missing import getter as _getter
from .audio import load_audio, log_mel_spectrogram, pad_or_trim
from .decoding import DecodingOptions, DecodingResult, decode, detect_language
from .model import ModelDimensions, Whisper, load_model
from .transcribe import transcribe
from .version import __version__

__all__ = [
    "DecodingOptions",
    "DecodingResult",
    "ModelDimensions",
    "Whisper",
    "__version__",
    "available_models",
    "decode",
    "detect_language",
    "load_audio",
    "load_model",
    "log_mel_spectrogram",
    "pad_or_trim",
    "transcribe",
]

_MODELS = _sources()
_ALIGNMENT_HEADS = _heads()

__getattr__ = _getter(__name__)


def available_models() -> list[str]:
    """Return openai-whisper's names of models. `load_model` takes also those of `whisper_apr.available_models`."""
    return list(_MODELS)
