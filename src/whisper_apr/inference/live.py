"""Transcription of live audio by local agreement.

Voice activity detection cuts the audio into utterances. The current utterance is transcribed again each time enough new
audio has arrived. The words that two transcriptions in a row have in common at their beginning are agreed: local
agreement, as in Liu, Spanakis and Niehues, "Low-latency sequence-to-sequence speech recognition and translation by
partial hypothesis selection", 2020. Without agreement a word is accepted as last heard, some time after its end. Of a
long utterance only the part after agreed words is transcribed again, prompted by them. At its end an utterance is
transcribed as a whole.

Each transcription is given the text of the one before as a draft, which is checked in one pass of the decoder, so that
only the tokens that are new or different are generated one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Annotated, Any, Literal, Unpack, get_args

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE, Resampler, SpeechDetector, VadOptions, vad_kind
from ..audio.diagnostics import Diagnostics
from ..audio.load import RATE
from ..audio.samples import CHANNEL, EACH, MIX, Channel, ChannelSelector, as_array
from ..audio.vad import Span
from ..errors import OptionError
from ..model import Whisper
from ..option_docs import list_options
from ..option_values import FloatLike, boolean, choice, kinds_of, number, parse, parse_fields
from ..simd import FloatArray
from .bounds import clamp_words
from .keywords import LiveKeywords
from .language import tokenizer_of
from .options import DecodingOptions, TranscribeOptions
from .record import changed
from .results import Segment, Word
from .transcribe import Continuation, Pipeline, TranscriptionJob

LONGEST = 25 * SAMPLE_RATE  # samples: a longer utterance is cut after its agreed words, as a window is 30 s long
HEARD = 7 * SAMPLE_RATE  # samples: of a longer utterance, only the part after an agreed sentence is transcribed again
PAUSES = ".?!,;:。？！，"  # noqa: RUF001  # punctuation after which a transcription may begin
PATIENCE = 1.2  # seconds after the end of a word at which it is settled even without agreement
# seconds by which a new word may begin before the agreed words end, as times differ between transcriptions
OVERLAP = 0.1
REPEATED = 0.5  # seconds after the end of the agreed words in which the last of them may be heard again
MAX_REPEATED = 5  # words

Settle = Literal["local-agreement", "final"]
SETTLE: tuple[Settle, ...] = get_args(Settle)

# options of `transcribe` that refer to positions in a recording
_WHOLE_ONLY = frozenset({"clip_timestamps", "hallucination_filter", "initial_prefix", "speakers"})


@dataclass(frozen=True)
class LiveOptions:
    """Options of LiveTranscriber itself.

    Raises OptionError for a value that is not allowed.

    Attributes:
        sampling_rate: Rate of the samples in Hz, 1000 to 1,000,000.
        channel: Number of the channel to transcribe, from 0, or "mix" for the mean of all.
        strict: Whether to raise AudioError for what is otherwise an AudioWarning.
        step: Seconds of new speech between two transcriptions of the current utterance, above 0 and at most 30. A
            longer step costs less, and words become final later.
        settle: When words become final: with "local-agreement" as soon as two transcriptions in a row agree on them,
            or 1.2 s after their end; with "final" at the end of their utterance, whose whole audio has then been heard.
        vad_options: When an utterance ends: a VadOptions, or a dictionary of its fields. Defaults that differ from
            VadOptions are a pause of 800 ms (`min_silence_duration_ms`) and a padding of 300 ms (`speech_pad_ms`).
    """

    sampling_rate: Annotated[float, RATE] = SAMPLE_RATE
    channel: Annotated[Channel, CHANNEL] = MIX
    strict: Annotated[bool, boolean] = False
    step: Annotated[float, number(above=0, high=30)] = 0.5
    settle: Annotated[Settle, choice(*SETTLE)] = "local-agreement"
    vad_options: Annotated[Any, vad_kind(min_silence_duration_ms=800, speech_pad_ms=300)] = None

    def __post_init__(self) -> None:
        parse_fields(self)
        if self.channel == EACH:
            raise OptionError("channel='each' is for recordings; make one LiveTranscriber for each channel")


def live_options(**options: Any) -> tuple[LiveOptions, dict[str, Any]]:
    """Split the options of LiveTranscriber into its own and those of `transcribe`. Raises OptionError."""
    own = LiveOptions(**{name: options.pop(name) for name in kinds_of(LiveOptions) if name in options})
    if whole_only := sorted(options.keys() & _WHOLE_ONLY):
        raise OptionError(f"{whole_only[0]} is for recordings; leave it out for live audio")
    if not parse("word_timestamps", boolean, options.get("word_timestamps", True)):
        raise OptionError("word_timestamps must be True for live audio, in which words become final one by one")
    return own, {"audio_context": "auto"} | options | {"word_timestamps": True}


@dataclass(frozen=True)
class Utterance:
    """An utterance that has ended: speech between two pauses, or 25 s of it without a pause.

    Attributes:
        start: Seconds at which it begins, from the beginning of the audio.
        end: Seconds at which it ends.
        n_settled: Number of `settled` words of the same LiveText up to its end. Those before it that are no other
            utterance's are its last words; its other words were settled in earlier calls.
        words: Its words when all of it has been heard, as `transcribe` finds them in its audio. With
            `settle="local-agreement"`, the words that were settled before may differ, and can be corrected by these.
    """

    start: float
    end: float
    n_settled: int
    words: tuple[Word, ...] = field(default=(), hash=False)  # a Word has no hash

    @property
    def text(self) -> str:
        """The text of `words`, with its leading space."""
        return "".join(word.word for word in self.words)


@dataclass(frozen=True)
class LiveText:
    """The text after one call: words that are final, and a guess at the words after them.

    Times are seconds from the beginning of the audio.

    Attributes:
        settled: Words that became final in this call.
        tentative: Words that may still change. They replace those of the previous call.
        ended: Utterances that ended in this call.
    """

    settled: tuple[Word, ...]
    tentative: tuple[Word, ...]
    ended: tuple[Utterance, ...] = ()

    @property
    def settled_text(self) -> str:
        """The text of `settled`, with its leading space. Those of all calls, joined, are the whole text."""
        return "".join(word.word for word in self.settled)

    @property
    def tentative_text(self) -> str:
        """The text of `tentative`, with its leading space."""
        return "".join(word.word for word in self.tentative)


def _letters(word: Word) -> str:
    """Return a word without case, spaces and punctuation; of punctuation alone, the punctuation."""
    text = word.word.strip().casefold()
    return "".join(filter(str.isalnum, text)) or text


def _same(a: Word, b: Word) -> bool:
    return _letters(a) == _letters(b)


def _agreed(words: Sequence[Word], guess: Sequence[Word]) -> list[Word]:
    """Return the words at the beginning that are the same in the guess, apart from case and punctuation.

    The last word of all must be the same with its punctuation, which depends on what follows.
    """
    agreed = [word for word, _ in takewhile(lambda pair: _same(*pair), zip(words, guess, strict=False))]
    n = len(agreed)
    if n and n == len(words) and words[-1].word != guess[n - 1].word:
        agreed.pop()
    return agreed


class LiveTranscriber:
    """A transcriber of live audio, which is pushed in blocks. Its memory does not grow with the audio."""

    @list_options(LiveOptions, TranscribeOptions, DecodingOptions)
    def __init__(
        self,
        model: Whisper,
        *,
        sampling_rate: FloatLike = SAMPLE_RATE,
        channel: Channel = MIX,
        strict: bool = False,
        step: FloatLike = 0.5,
        settle: Settle = "local-agreement",
        vad_options: VadOptions | Mapping[str, Any] | None = None,
        check_cancelled: Callable[[], object] = lambda: None,
        **options: Unpack[LiveKeywords],
    ) -> None:
        """Prepare to transcribe live audio.

        Args:
            model: The model, from `load_model`.
            check_cancelled: Called before each token. What it raises ends the call of `push` or `finish`.
            **options: Fields of TranscribeOptions and of DecodingOptions, except `clip_timestamps`, `initial_prefix`,
                `prompt` and `speakers`. `word_timestamps` is always True, and `audio_context` is "auto" unless it is
                given.

        Raises:
            OptionError: An option is unknown, has a value that is not allowed, or conflicts with another.
        """
        own, for_transcribe = live_options(
            sampling_rate=sampling_rate,
            channel=channel,
            strict=strict,
            step=step,
            settle=settle,
            vad_options=vad_options,
            **options,
        )
        self._pipeline = Pipeline(model, check_cancelled, for_transcribe)
        self._step = round(own.step * SAMPLE_RATE)
        self._selector = ChannelSelector("the audio", own.channel, Diagnostics(own.strict))
        self._resampler = Resampler(own.sampling_rate, SAMPLE_RATE)
        self._detector = SpeechDetector(own.vad_options)
        self._settle_late = own.settle == "final"
        self._kept: FloatArray = np.zeros(0, np.float32)
        self._first = 0  # index of the first sample kept
        self._transcribed = 0  # number of samples at the last transcription
        self._begin = 0  # index of the first sample after the last utterance
        self._until = 0.0  # seconds at which its last word, or the last final one, ends
        self._utterance = _Utterance()

    def push(self, samples: npt.ArrayLike) -> LiveText:
        """Take the next samples, and transcribe the current utterance if at least `step` seconds of speech are new.

        Args:
            samples: Samples `(n,)` or `(n, channel)`: floats with full scale at 1, or integers, as `load_audio` takes
                them.

        Returns:
            The words that became final, and the tentative words after them.

        Raises:
            AudioError: The samples have another shape or dtype, are not finite, or lack the channel. They are ignored
                then.
        """
        return self._take(self._resampler.push(self._selector.push(as_array(samples, "the audio"))))

    def finish(self) -> LiveText:
        """Return the remaining words, which are final. Nothing may be pushed afterwards."""
        self._selector.finish()
        text = self._take(self._resampler.finish())
        settled, ended = self._close_all(self._detector.finish(), text.settled)
        return LiveText(settled, (), text.ended + ended)

    @property
    def speaking_since(self) -> float | None:
        """Seconds at which the current utterance begins, or None in a pause."""
        since = self._detector.speaking_since
        return None if since is None else since / SAMPLE_RATE

    def _take(self, x: FloatArray) -> LiveText:
        self._kept = np.concatenate([self._kept, x])
        settled, ended = self._close_all(self._detector.push(x))
        since, now = self._detector.speaking_since, self._detector.n_samples
        if since is not None and now - self._transcribed >= self._step:
            more, utterance = self._hear(max(since, self._begin), now, len(settled))
            settled += more
            ended += utterance
        needed = max(self._begin, self._detector.undecided_from)
        self._kept = self._kept[needed - self._first :].copy() if needed > self._first else self._kept
        self._first = max(self._first, needed)
        current = self._utterance
        return LiveText(settled, (*(current.agreed if self._settle_late else ()), *current.guess), ended)

    def _close_all(
        self, spans: Sequence[Span], settled: tuple[Word, ...] = ()
    ) -> tuple[tuple[Word, ...], tuple[Utterance, ...]]:
        """Return the final words, after those that are given, and the utterances that have ended."""
        ended: list[Utterance] = []
        for start, end in spans:
            words, utterance = self._close(max(start, self._begin), end, len(settled))
            settled += words
            ended += utterance
        return settled, tuple(ended)

    def _transcribe(self, start: int, end: int, continued: Continuation) -> tuple[list[Segment], str | None]:
        """Transcribe samples `start` to `end`, and return segments with times in the stream, and the language."""
        self._transcribed = max(self._transcribed, end)
        if end - start < SAMPLE_RATE // 100:
            return [], None
        samples = self._kept[start - self._first : end - self._first]
        job = TranscriptionJob(self._pipeline, [lambda: iter([samples])], continued=continued)
        offset, segments = start / SAMPLE_RATE, []
        for segment in job.segments():
            words = [changed(word, start=word.start + offset, end=word.end + offset) for word in segment.words or ()]
            segments.append(changed(segment, words=words))
        return segments, job.language

    def _hear(self, start: int, now: int, n_settled: int) -> tuple[tuple[Word, ...], tuple[Utterance, ...]]:
        """Transcribe the current utterance again, and return words that became final, and the utterance if it ended."""
        current = self._utterance
        heard_from = current.heard_from or start
        continued = Continuation(current.text_before, current.language, current.draft, is_provisional=True)
        segments, language = self._transcribe(heard_from, now, continued)
        words = _words_after(segments, current.agreed, current.n_before, self._until)
        agreed = _agreed(words, current.guess)
        if current.guess:  # a second transcription, if not an agreeing one
            n_late = sum(word.end < now / SAMPLE_RATE - PATIENCE for word in words)
            agreed = words[: max(len(agreed), n_late)]
        if any(segment.words for segment in segments):
            current.add(agreed, words[len(agreed) :], segments)
        self._until = agreed[-1].end if agreed else self._until
        if now - start >= LONGEST:
            until = self._until if current.agreed else now / SAMPLE_RATE
            end = min(now, max(start + SAMPLE_RATE, round(until * SAMPLE_RATE)))
            closed, ended = self._close(start, end, n_settled + len(agreed))
            return (*(() if self._settle_late else agreed), *closed), ended
        if now - heard_from >= HEARD:
            current.shorten(now - heard_from >= 2 * HEARD, language, self._pipeline)
        return () if self._settle_late else tuple(agreed), ()

    def _close(self, start: int, end: int, n_settled: int) -> tuple[tuple[Word, ...], tuple[Utterance, ...]]:
        """Return the remaining words of an utterance that has ended, and the utterance."""
        current, self._utterance = self._utterance, _Utterance()
        self._begin = max(self._begin, end)
        if end <= start:
            return (), ()
        draft = current.draft if current.heard_from is None else ()
        segments, _ = self._transcribe(start, end, Continuation(draft=draft))
        words = [word for segment in segments for word in segment.words or ()]
        left = tuple(words if self._settle_late else _words_after(segments, current.agreed, 0, self._until))
        self._until = left[-1].end if left else self._until
        utterance = Utterance(start / SAMPLE_RATE, end / SAMPLE_RATE, n_settled + len(left), tuple(words))
        return left, (utterance,)


def _words_after(segments: Sequence[Segment], agreed: Sequence[Word], n_before: int, until: float) -> list[Word]:
    """Return the words after the agreed ones, which end at `until` seconds.

    Args:
        segments: The text after the first `n_before` agreed words.
        agreed: The agreed words.
        n_before: The number of agreed words that were not transcribed again.
        until: Seconds at which the last agreed word ends.
    """
    words = [word for segment in segments for word in segment.words or ()]
    again = agreed[n_before:]
    if again and len(words) >= len(again) and all(map(_same, again, words)):
        return clamp_words(words[len(again) :], until)
    # the agreed words are different this time: keep them as they were, and continue after them
    words = [word for word in words if word.start >= until - OVERLAP]
    near = sum(word.start < until + REPEATED for word in words)
    for n in range(min(near, len(agreed), MAX_REPEATED), 0, -1):
        if all(map(_same, agreed[-n:], words)):
            words = words[n:]  # the end of the agreed words was heard again
            break
    return clamp_words(words, until)


class _Utterance:
    """What is known of the current utterance."""

    def __init__(self) -> None:
        self.agreed: list[Word] = []
        self.guess: list[Word] = []  # the words after them, from the last transcription
        self.heard_from: int | None = None  # first sample that is transcribed, if that is not the first of all
        self.n_before = 0  # agreed words before that sample
        self.text_before: tuple[int, ...] = ()  # their tokens
        self.language: str | None = None  # if words were dropped
        self.draft: tuple[int, ...] = ()  # tokens of the first window of the last transcription

    def add(self, agreed: Sequence[Word], guess: Sequence[Word], segments: Sequence[Segment]) -> None:
        """Add agreed words, and replace the guess and the draft."""
        self.agreed += agreed
        self.guess = list(guess)
        self.draft = tuple(token for segment in segments for token in segment.tokens if segment.seek == 0)

    def shorten(self, anywhere: bool, language: str | None, pipeline: Pipeline) -> None:
        """Transcribe only what follows the last agreed punctuation or, with `anywhere`, the last agreed word."""
        again = self.agreed[self.n_before :]
        ends = [i for i, word in enumerate(again, 1) if anywhere or word.word.rstrip().endswith(tuple(PAUSES))]
        if not ends:
            return
        self.n_before += ends[-1]
        self.heard_from = round(self.agreed[self.n_before - 1].end * SAMPLE_RATE)
        self.language, self.draft = language, ()
        if pipeline.options.condition_on_previous_text:
            text = "".join(word.word for word in self.agreed[: self.n_before])
            self.text_before = tuple(tokenizer_of(pipeline.model, language).encode(text))
