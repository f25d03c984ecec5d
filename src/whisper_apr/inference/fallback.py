"""Windows decoded at rising temperatures, until each one's text is likely and does not repeat itself."""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from ..model import Whisper
from .decode import DecodingResult, DecodingTask, FloatArray, Request
from .options import DecodingOptions, TranscribeOptions

_log = logging.getLogger(__name__)


def _failed(result: DecodingResult, options: TranscribeOptions) -> bool:
    repeats = (
        options.compression_ratio_threshold is not None
        and result.compression_ratio > options.compression_ratio_threshold
    )
    unlikely = options.logprob_threshold is not None and result.avg_logprob < options.logprob_threshold
    silent = options.no_speech_threshold is not None and result.no_speech_prob > options.no_speech_threshold
    # an unlikely text over what is probably silence: no other temperature makes it better
    return (repeats or unlikely) and not (unlikely and silent)


def is_silence(result: DecodingResult, options: TranscribeOptions) -> bool:
    """Whether a window is to be passed over: probably nobody speaks, and its text is unlikely."""
    if options.no_speech_threshold is None or result.no_speech_prob <= options.no_speech_threshold:
        return False
    return options.logprob_threshold is None or result.avg_logprob <= options.logprob_threshold


class FallbackDecoder:
    """Decodes windows by fallback: one task for each temperature, made when it is first needed."""

    def __init__(self, model: Whisper, options: TranscribeOptions, attempts: Sequence[DecodingOptions]) -> None:
        self.model = model
        self.options = options
        self.attempts = attempts
        self._tasks = [DecodingTask(model, attempts[0])]  # made now, so that a bad option is found at once

    @property
    def prompt_room(self) -> int:
        """How many tokens a window's prompt and prefix may have."""
        return self._tasks[0].prompt_room

    def __call__(
        self, features: FloatArray, requests: Sequence[Request], check_cancelled: Callable[[], None]
    ) -> list[DecodingResult]:
        """Features of windows and what each is told -> each one's result at the first temperature at which it does not fail; else at the
        last. Those that fail are decoded again together."""
        results: dict[int, DecodingResult] = {}
        left = list(range(len(requests)))
        for i, options in enumerate(self.attempts):
            if i == len(self._tasks):
                self._tasks.append(DecodingTask(self.model, options))
            again = self._tasks[i].run(features[np.array(left)], check_cancelled, [requests[k] for k in left])
            results |= dict(zip(left, again, strict=True))
            left = [k for k in left if _failed(results[k], self.options)]
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
