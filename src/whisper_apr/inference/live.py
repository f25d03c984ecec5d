"""Text while somebody speaks: words are settled once two hearings in a row agree on them.

Voice activity cuts the sound into utterances. The utterance that goes on is transcribed anew each time enough sound has come; the words
that a hearing has in common with the one before it, from the first on, settle (local agreement: Liu, Spanakis and Niehues, Low-latency
sequence-to-sequence speech recognition, 2020). At the utterance's end, what is left of its last hearing settles.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE, Resampler, SpeechDetector, VadOptions, vad_kind
from ..audio.diagnostics import Diagnostics
from ..audio.load import RATE
from ..audio.samples import CHANNEL, EACH, MIX, Channel, ChannelSelector, as_array
from ..errors import OptionError
from ..model import Whisper
from ..option_values import boolean, kinds_of, number, parse, parse_fields
from ..simd import FloatArray
from .bounds import clamp_words
from .results import Word
from .transcribe import Pipeline, TranscriptionJob

LONGEST = 25 * SAMPLE_RATE  # samples: a longer utterance is cut after its settled words, for a window holds 30 s
OVERLAP = (
    0.1  # seconds by which a word's beginning may lie before the settled words' end: its time varies between hearings
)


# options of `transcribe` that say where something is in a recording
_WHOLE_ONLY = frozenset({"clip_timestamps", "initial_prefix"})


@dataclass(frozen=True)
class LiveOptions:
    """How sound is taken, and cut into hearings; see LiveTranscriber."""

    sampling_rate: Annotated[float, RATE] = SAMPLE_RATE
    channel: Annotated[Channel, CHANNEL] = MIX
    strict: Annotated[bool, boolean] = False
    step: Annotated[float, number(above=0, high=30)] = 1.0
    vad_options: Annotated[Any, vad_kind(min_silence_duration_ms=800, speech_pad_ms=300)] = None

    def __post_init__(self) -> None:
        parse_fields(self)
        if self.channel == EACH:
            raise OptionError("channel='each' needs a whole recording; make a LiveTranscriber for each channel")


def live_options(**options: Any) -> tuple[LiveOptions, dict[str, Any]]:
    """Return a LiveTranscriber's own options and those of `transcribe`, for its hearings. Raises OptionError for what is not allowed."""
    own = LiveOptions(**{name: options.pop(name) for name in kinds_of(LiveOptions) if name in options})
    if whole_only := sorted(options.keys() & _WHOLE_ONLY):
        raise OptionError(f"{whole_only[0]} is for whole recordings, and cannot be used while somebody speaks")
    if not parse("word_timestamps", boolean, options.get("word_timestamps", True)):
        raise OptionError("word_timestamps must be True here: words are what settles")
    return own, options | {"word_timestamps": True}


@dataclass(frozen=True)
class LiveText:
    """What one call gave: words that will never change, and the guess at those after them. Times are seconds from the beginning."""

    settled: tuple[Word, ...]  # since the call before
    tentative: tuple[Word, ...]  # takes the place of the call's before

    @property
    def settled_text(self) -> str:
        """With the space before its first word: what the calls give, joined, is the whole text."""
        return "".join(word.word for word in self.settled)

    @property
    def tentative_text(self) -> str:
        return "".join(word.word for word in self.tentative)


def _same(a: Word, b: Word) -> bool:
    return a.word.strip().lower() == b.word.strip().lower()


class LiveTranscriber:
    """Transcribes sound as it comes. Memory does not grow with its length."""

    def __init__(
        self,
        model: Whisper,
        *,
        sampling_rate: float = SAMPLE_RATE,
        channel: Channel = MIX,
        strict: bool = False,
        step: float = 1.0,
        vad_options: VadOptions | Mapping[str, Any] | None = None,
        check_cancelled: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        """Make a transcriber of sound that is to come.

        Args:
            sampling_rate: of the samples, in Hz, 1000 to 1,000,000.
            channel: the one to be transcribed, a number from 0, or "mix" for the mean of all.
            strict: raise AudioError for what is otherwise an AudioWarning.
            step: seconds of speech between two hearings; more costs less, and settles later. At most 30.
            vad_options: what ends an utterance: a VadOptions, or a dictionary of the fields that differ from the defaults here, which
                are a pause of 800 ms and a padding of 300 ms.
            checkpoint: called before each token; what it raises ends the call of `push` or `finish`.
            options: those of TranscribeOptions and DecodingOptions, for each hearing. word_timestamps is always True; clip_timestamps
                and initial_prefix are for whole recordings.

        Raises OptionError for an option that is unknown or has a value that is not allowed.
        """
        own, for_hearings = live_options(
            sampling_rate=sampling_rate, channel=channel, strict=strict, step=step, vad_options=vad_options, **options
        )
        self._engine = Pipeline(model, check_cancelled, for_hearings)
        self._step = round(own.step * SAMPLE_RATE)
        self._selector = ChannelSelector("the sound", own.channel, Diagnostics(own.strict))
        self._resampler = Resampler(own.sampling_rate, SAMPLE_RATE)
        self._detector = SpeechDetector(own.vad_options)
        self._kept: FloatArray = np.zeros(0, np.float32)
        self._first = 0  # the number of the sample that is kept first
        self._heard = 0  # samples that were there at the last hearing
        self._begin = 0  # before this sample all is settled
        self._settled: list[Word] = []  # of the utterance that goes on
        self._until = 0.0  # seconds: where the last settled word ends
        self._guess: list[Word] = []  # its other words, as they were heard last

    def push(self, samples: npt.ArrayLike) -> LiveText:
        """Take the next samples, `(n,)` or `(n, channels)`: floats with full scale at 1, or integers, in any form that `load_audio` takes.

        Makes at most one hearing of the utterance that goes on. Raises AudioError for samples of another shape or kind, for those that are
        not finite, and for a channel that is not there; nothing of them is taken then.
        """
        return self._take(self._resampler.push(self._selector.push(as_array(samples, "the sound"))))

    def finish(self) -> LiveText:
        """Settle what is left. Nothing may be pushed after it."""
        self._selector.finish()
        settled = self._take(self._resampler.finish()).settled
        for span in self._detector.finish():
            settled += self._close(*span)
        return LiveText(settled, ())

    def _take(self, x: FloatArray) -> LiveText:
        self._kept = np.concatenate([self._kept, x])
        settled: tuple[Word, ...] = ()
        for span in self._detector.push(x):
            settled += self._close(*span)
        since, now = self._detector.speaking_since, self._detector.n_samples
        if since is not None and now - self._heard >= self._step:
            settled += self._listen(max(since, self._begin), now)
        needed = max(self._begin, self._detector.undecided_from)
        self._kept = self._kept[needed - self._first :].copy() if needed > self._first else self._kept
        self._first = max(self._first, needed)
        return LiveText(settled, tuple(self._guess))

    def _hear(self, start: int, end: int) -> list[Word]:
        """The words of the samples that are not settled yet."""
        self._heard = end
        if end - start < SAMPLE_RATE // 100:
            return []
        samples = self._kept[start - self._first : end - self._first]
        offset = start / SAMPLE_RATE
        words = [
            replace(word, start=word.start + offset, end=word.end + offset)
            for segment in TranscriptionJob(self._engine, [lambda: iter([samples])]).segments()
            for word in segment.words or ()
        ]
        n = len(self._settled)
        if all(map(_same, self._settled, words[:n])) and len(words) >= n:
            words = words[n:]
        else:  # heard otherwise this time: what was settled stays, and words after it follow
            words = [word for word in words if word.start >= self._until - OVERLAP]
        return clamp_words(words, self._until)

    def _listen(self, start: int, end: int) -> tuple[Word, ...]:
        words = self._hear(start, end)
        agreed = [a for a, _ in takewhile(lambda pair: _same(*pair), zip(words, self._guess, strict=False))]
        if end - start >= LONGEST and not self._settled and not agreed:
            agreed = words  # nothing is certain after so long: what was heard has to do
        self._settle(agreed)
        self._settled += agreed
        self._guess = words[len(agreed) :]
        if end - start >= LONGEST:
            until = self._until if self._settled else end / SAMPLE_RATE
            self._begin = min(end, max(start + SAMPLE_RATE, round(until * SAMPLE_RATE)))
            self._settled = []
        return tuple(agreed)

    def _settle(self, words: list[Word]) -> None:
        if words:
            self._until = words[-1].end

    def _close(self, start: int, end: int) -> tuple[Word, ...]:
        """An utterance has ended."""
        words = self._hear(max(start, self._begin), end)
        self._settle(words)
        self._settled, self._guess = [], []
        self._begin = max(self._begin, end)
        return tuple(words)
