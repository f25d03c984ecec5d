"""Voice activity detection: spans of speech, the speech alone, and the mapping of its times to the recording.

Speech probabilities are Silero VAD's (`silero.py`); the rules that turn them into spans are those of its
`get_speech_timestamps`, with faster-whisper's options. SpeechDetector and SpeechFilter process streams;
`speech_timestamps` and `join_spans` are for recordings in memory.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import OptionError
from ..option_values import Kind, Refused, kinds_of, number, optional, parse, parse_fields, refuse_unknown, shown, whole
from .load import SAMPLE_RATE
from .samples import as_mono
from .silero import FRAME, SpeechProbabilities

FloatArray = simd.FloatArray

HYSTERESIS = 0.15  # default of threshold - neg_threshold, as in Silero VAD
SHORT_PAUSE = SAMPLE_RATE * 98 // 1000  # samples; Silero VAD's min_silence_at_max_speech, where long speech is cut


@dataclass(frozen=True)
class VadOptions:
    """Options of voice activity detection; names and defaults are faster-whisper's.

    Args:
        threshold: The probability of speech, above 0 and at most 1, from which on a frame begins speech.
        neg_threshold: The probability, 0 to 1, below which a frame may end speech; None for `threshold - 0.15`, but at
            least 0.01.
        min_speech_duration_ms: Shorter speech is dropped, in milliseconds.
        max_speech_duration_s: Longer speech is cut, at the last short pause if there is one, in seconds.
        min_silence_duration_ms: Shorter silence is part of the speech around it, in milliseconds.
        speech_pad_ms: Added before and after each span, in milliseconds.

    Raises:
        OptionError: A value is not allowed, or max_speech_duration_s is not longer than twice the padding and a frame.
    """

    threshold: Annotated[float, number(above=0, high=1)] = 0.5
    neg_threshold: Annotated[float | None, optional(number(0, 1))] = None
    min_speech_duration_ms: Annotated[int, whole(0)] = 0
    max_speech_duration_s: Annotated[float, number(above=0, infinite=True)] = math.inf
    min_silence_duration_ms: Annotated[int, whole(0)] = 2000
    speech_pad_ms: Annotated[int, whole(0)] = 400

    def __post_init__(self) -> None:
        parse_fields(self)
        if not self.max_speech_duration_s * 1000 > 2 * self.speech_pad_ms + 32:
            raise OptionError(
                "max_speech_duration_s must be longer than twice speech_pad_ms and a frame of 32 ms, "
                f"not {self.max_speech_duration_s} s with {self.speech_pad_ms} ms"
            )


def vad_kind(**defaults: Any) -> Kind:
    """Return the kind of an option that accepts a VadOptions, a mapping of some of its fields, or None.

    Every function with such an option uses it, so that they parse it alike.

    Args:
        **defaults: Values of the fields that a mapping does not set, where they differ from those of VadOptions.
    """

    def convert(value: Any) -> VadOptions:
        if isinstance(value, VadOptions):
            return value
        if value is not None and not isinstance(value, Mapping):
            raise Refused
        given = dict(value or {})
        refuse_unknown("VAD parameters", given, kinds_of(VadOptions))
        return VadOptions(**(defaults | given))

    return Kind("a VadOptions, a dictionary of its fields, or None", convert)


class Span(NamedTuple):
    """A range of samples of a recording at 16 kHz, from `start` to `end`, exclusive."""

    start: int
    end: int


def _check_span(span: object) -> None:
    if not isinstance(span, tuple) or list(map(type, span)) != [int, int]:
        raise OptionError(f"a span must be a Span, of two numbers of samples, not {shown(span)}")


class SpeechDetector:
    """Detects spans of speech in a stream. Memory use is constant.

    The spans do not depend on how the recording is divided into blocks. They are in order and do not overlap.
    """

    def __init__(self, options: VadOptions | Mapping[str, Any] | None = None) -> None:
        """Start a recording; None for the default options. Raises OptionError if they are of another type."""
        options = cast(VadOptions, parse("options", vad_kind(), options))
        self.options = options
        self._probabilities = SpeechProbabilities()
        self._pad = SAMPLE_RATE * options.speech_pad_ms // 1000
        self._min_speech = SAMPLE_RATE * options.min_speech_duration_ms / 1000
        self._min_silence = SAMPLE_RATE * options.min_silence_duration_ms / 1000
        self._max_speech = SAMPLE_RATE * options.max_speech_duration_s - FRAME - 2 * self._pad
        low = options.neg_threshold
        self._low = max(options.threshold - HYSTERESIS, 0.01) if low is None else low
        self.n_samples = 0  # pushed so far
        # all positions are in samples
        self._time = 0  # beginning of the next frame
        self._start: int | None = None  # of the current speech
        self._silent_since: int | None = None  # beginning of the pause that may end it
        self._cut: int | None = None  # beginning of the last short pause in it, where it may be cut
        self._resumed: int | None = None  # end of that pause
        self._last: Span | None = None  # the last span, without padding, until its padded end is known
        self._last_start = 0  # its start, with padding

    def push(self, samples: npt.ArrayLike) -> list[Span]:
        """Append samples `(n,)` at 16 kHz and return the spans that no later sample can change.

        Raises:
            AudioError: `samples` is not an array of numbers `(n,)`.
        """
        x = as_mono(samples)
        self.n_samples += len(x)
        return self._add_frames(self._probabilities.push(x))

    def finish(self) -> list[Span]:
        """Return the remaining spans."""
        final = self._add_frames(self._probabilities.finish())
        if self._start is not None and self.n_samples - self._start > self._min_speech:
            final += self._add_span(Span(self._start, self.n_samples))
        self._start = None
        if self._last is not None:
            final.append(Span(self._last_start, min(self.n_samples, self._last.end + self._pad)))
            self._last = None
        return final

    @property
    def undecided_from(self) -> int:
        """The first sample at which a later span may begin."""
        if self._last is not None:
            return self._last_start
        start = self._time if self._start is None else self._start
        return max(0, start - self._pad)

    @property
    def speaking_since(self) -> int | None:
        """The sample at which the current speech begins, with padding; None during silence."""
        return None if self._start is None else max(0, self._start - self._pad)

    @property
    def certain(self) -> Span | None:
        """The part of the next span that is already certain: it starts there, and does not end earlier; or None."""
        if self._last is not None or self._start is None or self._max_speech < math.inf:
            return None
        end = self._time if self._silent_since is None else self._silent_since
        return Span(max(0, self._start - self._pad), end) if end - self._start > self._min_speech else None

    def _add_frames(self, probabilities: FloatArray) -> list[Span]:
        final: list[Span] = []
        for probability in probabilities.tolist():
            final += self._add_frame(probability)
            self._time += FRAME
            # the next span begins here at the earliest, too far away for its padding to overlap the last one's
            if self._last is not None and self._start is None and self._time - self._last.end >= 2 * self._pad:
                final.append(Span(self._last_start, self._last.end + self._pad))
                self._last = None
        return final

    def _add_frame(self, probability: float) -> list[Span]:
        time, final = self._time, list[Span]()
        is_speech = probability >= self.options.threshold
        if is_speech and self._silent_since is not None:
            self._silent_since = None
            if self._cut is not None and self._resumed is None:
                self._resumed = time
        if is_speech and self._start is None:
            self._start = time
            return final
        if self._start is None:
            return final
        if time - self._start > self._max_speech:
            if self._cut is None:
                final = self._add_span(Span(self._start, time))
                self._set_start(None)
                return final
            final = self._add_span(Span(self._start, self._cut))
            self._set_start(self._resumed)
        if probability < self._low and self._start is not None:
            if self._silent_since is None:
                self._silent_since = time
            silence = time - self._silent_since
            if silence > SHORT_PAUSE:
                self._cut, self._resumed = self._silent_since, None
            if silence >= self._min_silence:
                if self._silent_since - self._start > self._min_speech:
                    final = [*final, *self._add_span(Span(self._start, self._silent_since))]
                self._set_start(None)
        return final

    def _set_start(self, start: int | None) -> None:
        """End the current speech, and begin the next one if `start` is not None."""
        self._start, self._silent_since, self._cut, self._resumed = start, None, None, None

    def _add_span(self, span: Span) -> list[Span]:
        """Hold a span until its padded end is known, and return the previous one.

        If the padding of the two would overlap, they share the gap equally.
        """
        final, start = list[Span](), max(0, span.start - self._pad)
        if self._last is not None:
            gap = span.start - self._last.end
            is_near = gap < 2 * self._pad
            final.append(Span(self._last_start, self._last.end + (gap // 2 if is_near else self._pad)))
            start = self._last.end + gap // 2 if is_near else start
        self._last, self._last_start = span, start
        return final


class SpeechMap:
    """A mapping from times in concatenated spans to times in the recording."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """Create the mapping for spans, in order."""
        self._joined: list[int] = []  # where each span begins in the concatenated speech, in samples
        self._start: list[int] = []  # where it begins in the recording
        self.n_joined = 0  # samples in all spans
        for span in spans:
            self.add(span)

    def add(self, span: Span) -> None:
        """Append a span, which must begin at or after the end of the last one. Raises OptionError for anything else."""
        _check_span(span)
        span = Span(*span)
        if not self._start or span.start != self._start[-1] + self.n_joined - self._joined[-1]:
            self._joined.append(self.n_joined)
            self._start.append(span.start)
        self.n_joined += span.end - span.start

    def original(self, seconds: float, is_end: bool = False) -> float:
        """Return the time in the recording that corresponds to a time in the concatenated spans.

        Args:
            seconds: The time in the concatenated spans.
            is_end: Whether it is the end of a segment or word. Between two spans, an end belongs to the earlier span,
                and a start to the later.
        """
        if not self._start:
            return seconds
        sample = seconds * SAMPLE_RATE
        # a rounding error must not move a time across the boundary of two spans
        at = round(sample) if abs(sample - round(sample)) < 1e-3 else sample
        index = (bisect_left if is_end else bisect_right)(self._joined, at) - 1
        index = max(0, index)
        return seconds + (self._start[index] - self._joined[index]) / SAMPLE_RATE


class SpeechFilter:
    """Extracts the speech from a stream; `map` maps times in it to times in the recording.

    Memory use is constant, or proportional to a finite max_speech_duration_s.
    """

    def __init__(self, options: VadOptions | Mapping[str, Any] | None = None) -> None:
        """Start a recording; None for the default options. Raises OptionError if they are of another type."""
        self._detector = SpeechDetector(options)
        self.map = SpeechMap()
        self._kept = np.zeros(0, np.float32)  # samples from number _first on
        self._first = 0
        self._passed = 0  # samples before this one have been output or dropped

    @property
    def n_samples(self) -> int:
        """Samples pushed so far."""
        return self._detector.n_samples

    def push(self, samples: npt.ArrayLike) -> FloatArray:
        """Append samples `(n,)` at 16 kHz and return the speech that is certain by now, which continues the last.

        Raises:
            AudioError: `samples` is not an array of numbers `(n,)`.
        """
        x = as_mono(samples)
        self._kept = np.concatenate([self._kept, x])
        return self._pass(self._detector.push(x))

    def finish(self) -> FloatArray:
        """Return the remaining speech."""
        return self._pass(self._detector.finish())

    def _pass(self, spans: list[Span]) -> FloatArray:
        certain = self._detector.certain
        out = [np.zeros(0, np.float32)]
        for start, end in [*spans, *([certain] if certain else [])]:
            span = Span(max(start, self._passed), end)
            if span.end > span.start:
                self.map.add(span)
                out.append(self._kept[span.start - self._first : span.end - self._first])
                self._passed = span.end
        unneeded = max(self._passed, self._detector.undecided_from) - self._first
        joined = np.concatenate(out)
        self._kept = self._kept[max(0, unneeded) :].copy()
        self._first += max(0, unneeded)
        return joined


def speech_timestamps(samples: npt.ArrayLike, options: VadOptions | Mapping[str, Any] | None = None) -> list[Span]:
    """Return the spans of speech in a recording, in order and without overlap.

    Args:
        samples: `(n,)` at 16 kHz.
        options: A VadOptions or a dictionary of its fields; None for the defaults.

    Raises:
        AudioError: `samples` is not an array of numbers `(n,)`.
        OptionError: An option is unknown or has a value that is not allowed.
    """
    detector = SpeechDetector(options)
    return [*detector.push(samples), *detector.finish()]


def join_spans(samples: FloatArray, spans: Sequence[Span]) -> FloatArray:
    """Return the samples of all spans, concatenated; `SpeechMap(spans)` maps times in them to the recording.

    Args:
        samples: `(n,)` at 16 kHz.
        spans: In order.

    Raises:
        AudioError: `samples` is not an array of numbers `(n,)`.
        OptionError: A span is not a Span.
    """
    samples = as_mono(samples)
    for span in spans:
        _check_span(span)
    return np.concatenate([np.zeros(0, np.float32), *(samples[start:end] for start, end in spans)])
