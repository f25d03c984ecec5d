"""Names of tensors as trainers save them: with prefixes, and in Hugging Face's or openai-whisper's terms."""

import re
from collections.abc import Mapping
from typing import TypeVar

from ..checkpoint import OUTPUT

_Tensor = TypeVar("_Tensor")

# A tensor that every model has under the same name, in Hugging Face's terms and in openai-whisper's
_FIRST = "encoder.conv1.weight"

# Substitutions that turn Hugging Face's tensor names into openai-whisper's, applied in order
_PARTS = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.embed_positions\.weight$", ".positional_embedding"),
    (r"\.embed_tokens\.", ".token_embedding."),
    (r"^proj_out\.weight$", OUTPUT),
)


def openai_name(name: str) -> str:
    """Translate Hugging Face's name of a tensor to openai-whisper's."""
    for pattern, replacement in _PARTS:
        name = re.sub(pattern, replacement, name)
    return name


def openai_names(tensors: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Return a model's tensors by openai-whisper's names.

    A prefix that the tensors have in common is removed, such as `module.` of torch's DataParallel, `_orig_mod.` of
    torch.compile, or the name of the attribute in which a trainer keeps the model.
    """
    firsts = [name for name in tensors if name == _FIRST or name.endswith(f".{_FIRST}")]
    prefix = firsts[0].removesuffix(_FIRST) if len(firsts) == 1 else ""
    outer = prefix.removesuffix("model.")  # proj_out is beside Hugging Face's `model`
    return {openai_name(name.removeprefix(prefix).removeprefix(outer)): value for name, value in tensors.items()}
