"""Decode windows with temperature fallback, as `decode_with_fallback` in openai-whisper's transcribe.py does."""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from ..model import Whisper
from .decode import DecodingResult, DecodingTask, FloatArray, Request
from .options import DecodingOptions, TranscribeOptions

_log = logging.getLogger(__name__)


def needs_fallback(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Return whether a text is too repetitive or too improbable, and is to be decoded at the next temperature."""
    is_repetitive = (
        options.compression_ratio_threshold is not None
        and result.compression_ratio > options.compression_ratio_threshold
    )
    is_improbable = options.logprob_threshold is not None and result.avg_logprob < options.logprob_threshold
    is_silent = options.no_speech_threshold is not None and result.no_speech_prob > options.no_speech_threshold
    # improbable text over probable silence: no other temperature improves it
    return (is_repetitive or is_improbable) and not (is_improbable and is_silent)


def is_silence(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Return whether a window is to be skipped: its no-speech probability is high, and its text improbable."""
    if options.no_speech_threshold is None or result.no_speech_prob <= options.no_speech_threshold:
        return False
    return options.logprob_threshold is None or result.avg_logprob <= options.logprob_threshold


class FallbackDecoder:
    """Decodes windows at rising temperatures. The task of each temperature is made when it is first needed."""

    def __init__(self, model: Whisper, options: TranscribeOptions, attempts: Sequence[DecodingOptions]) -> None:
        """Make a decoder.

        Args:
            model: The model.
            options: The thresholds.
            attempts: Options at each temperature, in the order in which they are tried.

        Raises:
            OptionError: An option is not supported by the model.
        """
        self.model = model
        self.options = options
        self.attempts = attempts
        self._tasks = [DecodingTask(model, attempts[0])]  # made here, so that a wrong option is found at once

    @property
    def max_prompt_tokens(self) -> int:
        """The most tokens that a window's prompt and prefix may have together."""
        return self._tasks[0].max_prompt_tokens

    def __call__(
        self, features: FloatArray, requests: Sequence[Request], check_cancelled: Callable[[], object]
    ) -> list[DecodingResult]:
        """Decode windows, and decode those that fail again together at the next temperature.

        Args:
            features: `(batch, 1500, n_audio_state)`.
            requests: Prompt and language of each window.
            check_cancelled: Called before every token.

        Returns:
            Each window's result at the first temperature that does not fail, or at the last.
        """
        results: dict[int, DecodingResult] = {}
        left = list(range(len(requests)))
        for i, options in enumerate(self.attempts):
            if i == len(self._tasks):
                self._tasks.append(DecodingTask(self.model, options))
            decoded = self._tasks[i].run(features[np.array(left)], check_cancelled, [requests[k] for k in left])
            results |= dict(zip(left, decoded, strict=True))
            left = [k for k in left if needs_fallback(results[k], self.options)]
            if not left or i + 1 == len(self.attempts):
                break
            for k in left:
                _log.debug(
                    "decoding a window again at temperature %g: its compression ratio is %.2f (threshold %s), "
                    "its mean log-probability %.3f (threshold %s)",
                    self.attempts[i + 1].temperature,
                    *(results[k].compression_ratio, self.options.compression_ratio_threshold),
                    *(results[k].avg_logprob, self.options.logprob_threshold),
                )
        return [results[k] for k in range(len(requests))]
