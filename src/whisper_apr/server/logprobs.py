"""Log-probabilities of the tokens of a decoded window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import simd
from ..inference.decode import DecodingResult
from ..inference.results import Segment
from ..inference.window_text import SeekWindow
from ..model import Whisper
from ..tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenLogprob:
    """A token of the text, its bytes, which may be a part of a character, and its natural log-probability."""

    token: str
    data: bytes
    logprob: float


def token_logprobs(
    model: Whisper,
    tokenizer: Tokenizer,
    hotwords: Sequence[int],
    window: SeekWindow,
    result: DecodingResult,
    segments: Sequence[Segment],
) -> list[TokenLogprob]:
    """Return the log-probabilities of the text tokens of a window, given the sound and all tokens before.

    They are those of the softmax of the logits, to which no rule was applied, and at temperature 1.

    Args:
        model: The model.
        tokenizer: For the language and task of the recording.
        hotwords: Tokens before the prompt.
        window: The window, with the prompt that it was decoded with.
        result: The decoded text, with the audio features.
        segments: The segments of the text that are kept.
    """
    tokens = [token for segment in segments for token in segment.tokens]
    if not tokens:
        return []
    before = [*hotwords[: model.dims.n_text_ctx // 2 - 1], *window.prompt]
    start = tokenizer.sot_sequence if tokenizer.has_timestamps else tokenizer.sot_sequence_including_notimestamps
    prompt = [*([tokenizer.sot_prev, *before] if before else []), *start]
    tokens = tokens[: model.dims.n_text_ctx - len(prompt) + 1]
    read = np.array([[*prompt, *tokens[:-1]]])
    states = model.decoder.read(read, model.decoder.new_cache(result.audio_features[None]))
    logits = model.decoder.logits(states[0, len(prompt) - 1 :])
    logprobs = logits[np.arange(len(tokens)), tokens] - simd.logsumexp(logits)
    return [
        TokenLogprob(data.decode(errors="replace"), data, float(logprob))
        for token, logprob in zip(tokens, logprobs, strict=True)
        if tokenizer.is_text(token)
        for data in [tokenizer.encoding.decode_bytes([token])]
    ]
