"""openai-whisper and torch, for the tests that compare with them."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whisper_apr import Recognizer
from whisper_apr.formats import Checkpoint


@dataclass(frozen=True)
class Pair:
    """The same weights in both engines."""

    ours: Recognizer
    theirs: Any


@contextmanager
def torch_with(threads: int) -> Iterator[Any]:
    """Import `torch`; in the block, gradients are disabled and this many threads are used."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with torch.inference_mode():
        yield torch
    torch.set_num_threads(before)


def openai_whisper() -> Any:
    """Import `whisper` and load its vocabularies, whose files it leaves open, without the warnings about that."""
    import whisper
    from whisper.tokenizer import get_tokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for multilingual, num_languages in ((False, 99), (True, 99), (True, 100)):
            get_tokenizer(multilingual, num_languages=num_languages)
        gc.collect()
    return whisper


def openai_model(checkpoint: Checkpoint) -> Any:
    """Return openai-whisper's model with the weights of a checkpoint of any format."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    model = Whisper(ModelDimensions(**asdict(checkpoint.dims)))
    weights = {name: torch.from_numpy(np.array(value)) for name, value in checkpoint.tensors.items()}
    model.load_state_dict(weights)
    return model.eval()


def share_alignment_heads(pair: Pair) -> None:
    """Set the alignment heads of openai-whisper's model to ours, because not every file format names them."""
    import torch

    from whisper_apr.inference.word_timestamps.alignment import alignment_heads

    dims = pair.ours.dims
    mask = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    for layer, head in alignment_heads(pair.ours):
        mask[layer, head] = True
    pair.theirs.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
