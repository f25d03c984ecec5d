"""What openai-whisper has and whisper_apr cannot have, and the errors that say so."""

from collections.abc import Callable
from typing import Any

_SEARCH = "decoding runs in compiled code; filter logits with DecodingTask.logit_filters"
_LAYERS = "the model consists of packed arrays and has no torch modules"

# name in the module -> why it does not exist
MISSING: dict[str, dict[str, str]] = {
    "decoding": dict.fromkeys(
        ("BeamSearchDecoder", "GreedyDecoder", "Inference", "PyTorchInference", "TokenDecoder"), _SEARCH
    ),
}

# attributes of torch modules that programs ask a model for
MODEL_ATTRIBUTES = frozenset(
    {
        *("add_module", "apply", "bfloat16", "buffers", "children", "compile", "get_parameter", "get_submodule"),
        *("install_kv_cache_hooks", "modules", "named_buffers", "named_children", "named_modules", "named_parameters"),
        *("parameters", "register_buffer", "register_forward_hook", "register_forward_pre_hook", "register_module"),
        *("register_parameter", "state_dict", "train", "zero_grad"),
    }
)


class Layer:
    """A kind of torch module that no model here has: programs may import it and test for it, but cannot make one."""

    def __init__(self, *_: Any, **__: Any) -> None:
        name = type(self).__name__
        raise AttributeError(f"whisper_apr has no {name!r} of openai-whisper: {_LAYERS}", name=name)


class Explained:
    """A part of a model whose missing attributes, such as `cross_attn` to hook, are errors that say why."""

    def __getattr__(self, name: str) -> Any:
        part = type(self).__name__
        if name.startswith("__"):
            raise AttributeError(f"{part!r} object has no attribute {name!r}", name=name)
        raise AttributeError(f"whisper_apr's {part} has no {name!r}: {_LAYERS}", name=name)


def explain(part: Any) -> None:
    """Make an encoder or a decoder, and its blocks, `Explained`. They are made below this package, as other classes."""
    if not isinstance(part, Explained):
        for each in (*part.blocks, part):
            each.__class__ = type(type(each).__name__, (Explained, type(each)), {})


def getter(module: str) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module of this package, whose errors say why a name is missing."""
    known = MISSING.get(module.rpartition(".")[2], {})

    def get(name: str) -> Any:
        if name in known:
            raise AttributeError(f"whisper_apr has no {name!r} of openai-whisper: {known[name]}", name=name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}", name=name)

    return get


def model_attribute_error(name: str) -> AttributeError:
    """Return the error for an attribute that a model of torch has, or for an unknown one."""
    if name in MODEL_ATTRIBUTES:
        return AttributeError(f"whisper_apr's Whisper has no {name!r}: {_LAYERS}", name=name)
    return AttributeError(f"'Whisper' object has no attribute {name!r}", name=name)
