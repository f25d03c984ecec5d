"""Transcription of live audio by local agreement.

Voice activity detection cuts the audio into utterances. The current utterance is transcribed again each time enough new
audio has arrived. The words that two transcriptions in a row have in common at their beginning become final: local
agreement, as in Liu, Spanakis and Niehues, "Low-latency sequence-to-sequence speech recognition and translation by
partial hypothesis selection", 2020. At the end of the utterance its remaining words become final.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Annotated, Any, Unpack

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE, Resampler, SpeechDetector, VadOptions, vad_kind
from ..audio.diagnostics import Diagnostics
from ..audio.load import RATE
from ..audio.samples import CHANNEL, EACH, MIX, Channel, ChannelSelector, as_array
from ..errors import OptionError
from ..model import Whisper
from ..option_docs import list_options
from ..option_values import FloatLike, boolean, kinds_of, number, parse, parse_fields
from ..simd import FloatArray
from .bounds import clamp_words
from .keywords import LiveKeywords
from .options import DecodingOptions, TranscribeOptions
from .results import Word
from .transcribe import Pipeline, TranscriptionJob

LONGEST = 25 * SAMPLE_RATE  # samples: a longer utterance is cut after its final words, as a window is 30 s long
# seconds by which a new word may begin before the final words end, as times differ between transcriptions
OVERLAP = 0.1

# options of `transcribe` that refer to positions in a recording
_WHOLE_ONLY = frozenset({"clip_timestamps", "initial_prefix"})


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
        vad_options: When an utterance ends: a VadOptions, or a dictionary of its fields. Defaults that differ from
            VadOptions are a pause of 800 ms (`min_silence_duration_ms`) and a padding of 300 ms (`speech_pad_ms`).
    """

    sampling_rate: Annotated[float, RATE] = SAMPLE_RATE
    channel: Annotated[Channel, CHANNEL] = MIX
    strict: Annotated[bool, boolean] = False
    step: Annotated[float, number(above=0, high=30)] = 1.0
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
    return own, options | {"word_timestamps": True}


@dataclass(frozen=True)
class LiveText:
    """The text after one call: words that are final, and a guess at the words after them.

    Times are seconds from the beginning of the audio.

    Attributes:
        settled: Words that became final in this call.
        tentative: Words that may still change. They replace those of the previous call.
    """

    settled: tuple[Word, ...]
    tentative: tuple[Word, ...]

    @property
    def settled_text(self) -> str:
        """The text of `settled`, with its leading space. Those of all calls, joined, are the whole text."""
        return "".join(word.word for word in self.settled)

    @property
    def tentative_text(self) -> str:
        """The text of `tentative`, with its leading space."""
        return "".join(word.word for word in self.tentative)


def _same(a: Word, b: Word) -> bool:
    return a.word.strip().lower() == b.word.strip().lower()


class LiveTranscriber:
    """A transcriber of live audio, which is pushed in blocks. Its memory does not grow with the audio."""

    @list_options(TranscribeOptions, DecodingOptions)
    def __init__(
        self,
        model: Whisper,
        *,
        sampling_rate: FloatLike = SAMPLE_RATE,
        channel: Channel = MIX,
        strict: bool = False,
        step: FloatLike = 1.0,
        vad_options: VadOptions | Mapping[str, Any] | None = None,
        check_cancelled: Callable[[], object] = lambda: None,
        **options: Unpack[LiveKeywords],
    ) -> None:
        """Prepare to transcribe live audio.

        Args:
            model: The model, from `load_model`.
            sampling_rate: Rate of the samples in Hz, 1000 to 1,000,000.
            channel: Number of the channel to transcribe, from 0, or "mix" for the mean of all.
            strict: Whether to raise AudioError for what is otherwise an AudioWarning.
            step: Seconds of new speech between two transcriptions of the current utterance, above 0 and at most 30. A
                longer step costs less, and words become final later.
            vad_options: When an utterance ends: a VadOptions, or a dictionary of its fields. Defaults that differ from
                VadOptions are a pause of 800 ms (`min_silence_duration_ms`) and a padding of 300 ms (`speech_pad_ms`).
            check_cancelled: Called before each token. What it raises ends the call of `push` or `finish`.
            **options: Fields of TranscribeOptions and of DecodingOptions, except `clip_timestamps`, `initial_prefix`
                and `prompt`. `word_timestamps` is always True.

        Raises:
            OptionError: An option is unknown, has a value that is not allowed, or conflicts with another.
        """
        own, for_transcribe = live_options(
            sampling_rate=sampling_rate, channel=channel, strict=strict, step=step, vad_options=vad_options, **options
        )
        self._pipeline = Pipeline(model, check_cancelled, for_transcribe)
        self._step = round(own.step * SAMPLE_RATE)
        self._selector = ChannelSelector("the audio", own.channel, Diagnostics(own.strict))
        self._resampler = Resampler(own.sampling_rate, SAMPLE_RATE)
        self._detector = SpeechDetector(own.vad_options)
        self._kept: FloatArray = np.zeros(0, np.float32)
        self._first = 0  # index of the first sample kept
        self._transcribed = 0  # number of samples at the last transcription
        self._begin = 0  # index of the first sample whose words are not final
        self._settled: list[Word] = []  # final words of the current utterance
        self._until = 0.0  # seconds at which the last final word ends
        self._guess: list[Word] = []  # the utterance's other words, from the last transcription

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
        if since is not None and now - self._transcribed >= self._step:
            settled += self._agree(max(since, self._begin), now)
        needed = max(self._begin, self._detector.undecided_from)
        self._kept = self._kept[needed - self._first :].copy() if needed > self._first else self._kept
        self._first = max(self._first, needed)
        return LiveText(settled, tuple(self._guess))

    def _transcribe(self, start: int, end: int) -> list[Word]:
        """Transcribe samples `start` to `end` and return the words after the final ones."""
        self._transcribed = end
        if end - start < SAMPLE_RATE // 100:
            return []
        samples = self._kept[start - self._first : end - self._first]
        offset = start / SAMPLE_RATE
        words = [
            replace(word, start=word.start + offset, end=word.end + offset)
            for segment in TranscriptionJob(self._pipeline, [lambda: iter([samples])]).segments()
            for word in segment.words or ()
        ]
        n = len(self._settled)
        if all(map(_same, self._settled, words[:n])) and len(words) >= n:
            words = words[n:]
        else:  # the final words are different this time: keep them as they were, and continue after them
            words = [word for word in words if word.start >= self._until - OVERLAP]
        return clamp_words(words, self._until)

    def _agree(self, start: int, end: int) -> tuple[Word, ...]:
        """Transcribe the current utterance and return the words that became final."""
        words = self._transcribe(start, end)
        agreed = [a for a, _ in takewhile(lambda pair: _same(*pair), zip(words, self._guess, strict=False))]
        if end - start >= LONGEST and not self._settled and not agreed:
            agreed = words  # no agreement although the utterance is long: accept the last transcription
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
        """Return the remaining words of an utterance that has ended."""
        words = self._transcribe(max(start, self._begin), end)
        self._settle(words)
        self._settled, self._guess = [], []
        self._begin = max(self._begin, end)
        return tuple(words)
