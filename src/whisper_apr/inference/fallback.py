"""Decode windows with temperature fallback, as `decode_with_fallback` in openai-whisper's transcribe.py does."""

import logging
from collections.abc import Sequence

from ..model import Whisper
from ..model.decoder_cache import AudioSlot
from .decode import DecodingResult, DecodingTask, FloatArray, Request
from .generation import Decoding
from .options import DecodingOptions, TranscribeOptions

_log = logging.getLogger(__name__)


def is_repetitive(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Return whether a text compresses too well."""
    threshold = options.compression_ratio_threshold
    return threshold is not None and result.compression_ratio > threshold


def needs_fallback(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Return whether a text is too repetitive or too improbable, and is to be decoded at the next temperature."""
    is_improbable = options.logprob_threshold is not None and result.avg_logprob < options.logprob_threshold
    is_silent = options.no_speech_threshold is not None and result.no_speech_prob > options.no_speech_threshold
    # improbable text over probable silence: no other temperature improves it
    return (is_repetitive(result, options) or is_improbable) and not (is_improbable and is_silent)


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

    @property
    def n_row(self) -> int:
        """The most candidates of a window that are generated at the same time."""
        return max(options.beam_size or options.best_of or 1 for options in self.attempts)

    def first_attempt(self, slot: AudioSlot, features: FloatArray, request: Request) -> Decoding[DecodingResult]:
        """Decode a window at the first temperature only. The arguments are those of `decoding`."""
        return self._tasks[0].decoding(slot, features, request)

    @property
    def suppressed_tokens(self) -> tuple[int, ...]:
        """The tokens that are never chosen."""
        return self._tasks[0].suppressed_tokens

    def decoding(self, slot: AudioSlot, features: FloatArray, request: Request) -> Decoding[DecodingResult]:
        """Decode a window at rising temperatures, and return its result at the first that does not fail, or the last.

        Args:
            slot: Where the window's audio is.
            features: `(n_ctx, n_audio_state)`, for the result.
            request: Prompt and language of the window.
        """
        for i, options in enumerate(self.attempts):
            if i == len(self._tasks):
                self._tasks.append(DecodingTask(self.model, options))
            result = yield from self._tasks[i].decoding(slot, features, request)
            is_loop = self.options.hallucination_filter and self._tasks[i].is_loop(result.tokens)
            if i + 1 == len(self.attempts) or not (needs_fallback(result, self.options) or is_loop):
                break
            _log.debug(
                "decoding a window again at temperature %g: its compression ratio is %.2f (threshold %s), "
                "its mean log-probability %.3f (threshold %s)",
                self.attempts[i + 1].temperature,
                *(result.compression_ratio, self.options.compression_ratio_threshold),
                *(result.avg_logprob, self.options.logprob_threshold),
            )
        return result
