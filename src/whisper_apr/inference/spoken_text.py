"""Text that nobody says, for `hallucination_filter`: improbable text without speech, and repetitions.

Over silence, noise and music, Whisper now and then writes what it often saw at such places, or repeats itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from ..model import Whisper
from ..model.encoder import TIME_STRIDE
from ..tokenizer import Tokenizer
from .audio_context import encode_window
from .decode import DecodingResult, compression_ratio
from .language import tokenizer_of
from .repetition import loop_start
from .results import DroppedText, DropReason, Segment
from .speech_evidence import SpeechEvidence
from .window_text import SECONDS_PER_POSITION, SeekWindow
from .word_timestamps.alignment import text_tokens
from .word_timestamps.openai_timing import find_alignment

# A segment is dropped if its mean log-probability is below a limit: 0 up to NO_SPEECH, and lower by LOGPROB_SLOPE for
# each unit of its probability of speech above. The less speech there seems to be, the more certain the text must be. In
# the recordings of docs/guides/hallucinations.md, text over noise has a probability of speech below 0.1, or a
# log-probability of -5, and what people say over a radio link one of 0.3 to 0.4 and a log-probability of -0.7.
NO_SPEECH = 0.1
LOGPROB_SLOPE = -3.5
MAX_SPEECH = 0.5  # probability of speech above which no segment is dropped


class SpokenTextFilter:
    """Finds text that nobody says in a recording's windows. See `windows.TextFilter`."""

    def __init__(self, model: Whisper, evidence: SpeechEvidence) -> None:
        self._model = model
        self._evidence = evidence

    def has_no_speech(self, window: SeekWindow) -> bool:
        """Return whether any text of a window would be unspoken, however certain."""
        return self._evidence.speech_prob(window.start, window.end, 0) < NO_SPEECH

    def cut_repetition(
        self, window: SeekWindow, result: DecodingResult, tokenizer: Tokenizer
    ) -> tuple[DecodingResult, DroppedText | None]:
        """Return a window's text without the copies that it ends with, and these, if there are any."""
        first = loop_start(result.tokens, tokenizer.is_text)
        if first is None:
            return result, None
        kept, copies = result.tokens[:first], result.tokens[first:]
        times = [token for token in kept if tokenizer.is_timestamp(token)]
        start = window.start + (times[-1] - tokenizer.timestamp_begin) * SECONDS_PER_POSITION if times else window.start
        dropped = self._dropped(min(start, window.end), window.end, copies, "repetition", result, tokenizer)
        text = tokenizer.decode(kept).strip()
        return replace(result, tokens=kept, text=text, compression_ratio=compression_ratio(text)), dropped

    def dropped(
        self, segments: Sequence[Segment], reason: DropReason, result: DecodingResult, tokenizer: Tokenizer
    ) -> list[DroppedText]:
        """Return what is to be recorded of segments that are dropped."""
        return [
            self._dropped(segment.start, segment.end, segment.tokens, reason, result, tokenizer)
            for segment in segments
            if segment.text.strip()
        ]

    def _dropped(
        self,
        start: float,
        end: float,
        tokens: Sequence[int],
        reason: DropReason,
        result: DecodingResult,
        tokenizer: Tokenizer,
    ) -> DroppedText:
        text = [token for token in tokens if tokenizer.is_text(token)]
        speech = self._evidence.speech_prob(start, end, len(text))
        return DroppedText(start, end, tokenizer.decode(text), reason, speech, float(result.avg_logprob))

    def unspoken(
        self, segments: Sequence[Segment], window: SeekWindow, result: DecodingResult, tokenizer: Tokenizer
    ) -> list[Segment]:
        """Return those of a window's segments that nobody says.

        The model's times of segments may be wrong by seconds, mostly where silence comes before speech. So where a
        segment seems to be unspoken in a window that has speech, the cross-attention tells when it is spoken.
        """
        texts = text_tokens(list(segments), tokenizer)
        speech = [
            self._evidence.speech_prob(segment.start, segment.end, len(text))
            for segment, text in zip(segments, texts, strict=True)
        ]
        seems_unspoken = [_is_unspoken(p, segment) for p, segment in zip(speech, segments, strict=True)]
        if any(seems_unspoken) and self._evidence.speech_prob(window.start, window.end, 0) > MAX_SPEECH:
            attended = self._attended_speech(texts, window, result, tokenizer)
            speech = [max(pair) for pair in zip(speech, attended, strict=True)]
        return [segment for p, segment in zip(speech, segments, strict=True) if _is_unspoken(p, segment)]

    def _attended_speech(
        self, texts: Sequence[Sequence[int]], window: SeekWindow, result: DecodingResult, tokenizer: Tokenizer
    ) -> list[float]:
        """Return the probability of speech where the decoder attends to when it writes each segment's text."""
        features = result.audio_features
        if not features.shape[1]:  # the result is from a journal
            features = encode_window(self._model, window, TIME_STRIDE * len(features))
        tokenizer = tokenizer_of(self._model, result.language, tokenizer.task)
        timings = iter(find_alignment(self._model, tokenizer, list(chain(*texts)), features, window.size))
        found = []
        for text in texts:
            words, n_token = [], 0
            while n_token < len(text) and (timing := next(timings, None)) is not None:
                words.append(timing)
                n_token += len(timing.tokens)
            spoken = [word for word in words if word.end > word.start]
            if spoken:
                span = window.start + spoken[0].start, window.start + spoken[-1].end
                found.append(self._evidence.speech_prob(*span, len(text)))
            else:
                found.append(0.0)
        return found


def _is_unspoken(speech_prob: float, segment: Segment) -> bool:
    limit = LOGPROB_SLOPE * max(0.0, speech_prob - NO_SPEECH)
    return speech_prob < MAX_SPEECH and segment.avg_logprob < limit
