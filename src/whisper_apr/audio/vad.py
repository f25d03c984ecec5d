"""Where somebody speaks: Silero's probabilities become spans, spans are cut out and joined, and times lead back to the recording.

All of it works on a stream (SpeechDetector, SpeechFilter); `speech_timestamps` and `join_spans` are for what is in memory whole.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import simd
from ..errors import OptionError
from ..option_values import Kind, Refused, kinds_of, number, optional, parse_fields, refuse_unknown, whole
from .load import SAMPLE_RATE
from .silero import FRAME, SpeechProbabilities

FloatArray = simd.FloatArray

HYSTERESIS = 0.15  # how far below the threshold speech goes on, unless neg_threshold says it
SHORT_PAUSE = SAMPLE_RATE * 98 // 1000  # samples: a pause that a span which grows too long may be cut at


@dataclass(frozen=True)
class VadOptions:
    """What counts as speech; names and defaults are faster-whisper's."""

    threshold: Annotated[float, number(above=0, high=1)] = 0.5  # a probability of at least this begins speech
    # one below this may end it; None: threshold - 0.15
    neg_threshold: Annotated[float | None, optional(number(0, 1))] = None
    min_speech_duration_ms: Annotated[int, whole(0)] = 0  # shorter speech is dropped
    # longer speech is cut, at a short pause where there is one
    max_speech_duration_s: Annotated[float, number(above=0, infinite=True)] = math.inf
    min_silence_duration_ms: Annotated[int, whole(0)] = 2000  # shorter silence is part of the speech around it
    speech_pad_ms: Annotated[int, whole(0)] = 400  # added before and after each span

    def __post_init__(self) -> None:
        parse_fields(self)
        if not self.max_speech_duration_s * 1000 > 2 * self.speech_pad_ms + 32:
            raise OptionError(
                "max_speech_duration_s must be longer than twice speech_pad_ms and a frame of 32 ms, "
                f"not {self.max_speech_duration_s} s with {self.speech_pad_ms} ms"
            )


def vad_kind(**defaults: Any) -> Kind:
    """Return the kind of an option that takes a VadOptions, or a mapping of those fields that differ from the defaults.

    None gives the defaults, which are VadOptions's own unless given here.
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
    """Samples of the recording, at 16 kHz, from `start` up to and without `end`."""

    start: int
    end: int


class SpeechDetector:
    """Spans of speech in a recording that comes in blocks of any size. Memory does not grow.

    The spans of `push` and `finish`, joined, do not depend on how the recording was cut into blocks.
    """

    def __init__(self, options: VadOptions | None = None) -> None:
        self.options = options = options or VadOptions()
        self._probabilities = SpeechProbabilities()
        self._pad = SAMPLE_RATE * options.speech_pad_ms // 1000
        self._least_speech = SAMPLE_RATE * options.min_speech_duration_ms / 1000
        self._least_silence = SAMPLE_RATE * options.min_silence_duration_ms / 1000
        self._most_speech = SAMPLE_RATE * options.max_speech_duration_s - FRAME - 2 * self._pad
        low = options.neg_threshold
        self._low = max(options.threshold - HYSTERESIS, 0.01) if low is None else low
        self.n_samples = 0  # that have come
        self._time = 0  # where the frame to be judged begins
        self._start: int | None = None  # of the speech that goes on
        self._silent_since: int | None = None  # the pause that may be its end
        self._cut: int | None = None  # where a short pause in it began
        self._resumed: int | None = None  # and where speech went on after it
        self._last: Span | None = None  # found; its end is padded when it is known what follows
        self._last_start = 0  # with padding

    def push(self, samples: npt.ArrayLike) -> list[Span]:
        """16 kHz samples `(n,)` -> the spans that are certain now."""
        x = np.asarray(samples, np.float32)
        self.n_samples += len(x)
        return self._judge(self._probabilities.push(x))

    def finish(self) -> list[Span]:
        """The spans that are left."""
        settled = self._judge(self._probabilities.finish())
        if self._start is not None and self.n_samples - self._start > self._least_speech:
            settled += self._found(Span(self._start, self.n_samples))
        self._start = None
        if self._last is not None:
            settled.append(Span(self._last_start, min(self.n_samples, self._last.end + self._pad)))
            self._last = None
        return settled

    @property
    def undecided_from(self) -> int:
        """No span to come begins before this sample."""
        if self._last is not None:
            return self._last_start
        start = self._time if self._start is None else self._start
        return max(0, start - self._pad)

    @property
    def speaking_since(self) -> int | None:
        """Where the speech that goes on now begins, with its padding; None where nobody speaks."""
        return None if self._start is None else max(0, self._start - self._pad)

    @property
    def certain(self) -> Span | None:
        """The beginning of the next span, where it is known already: the span starts there, and does not end before."""
        if self._last is not None or self._start is None or self._most_speech < math.inf:
            return None
        end = self._time if self._silent_since is None else self._silent_since
        return Span(max(0, self._start - self._pad), end) if end - self._start > self._least_speech else None

    def _judge(self, probabilities: FloatArray) -> list[Span]:
        settled: list[Span] = []
        for probability in probabilities.tolist():
            settled += self._step(probability)
            self._time += FRAME
            # the next span can begin here at the earliest: too far away to take a share of the last one's padding
            if self._last is not None and self._start is None and self._time - self._last.end >= 2 * self._pad:
                settled.append(Span(self._last_start, self._last.end + self._pad))
                self._last = None
        return settled

    def _step(self, probability: float) -> list[Span]:
        time, settled = self._time, list[Span]()
        speaks = probability >= self.options.threshold
        if speaks and self._silent_since is not None:
            self._silent_since = None
            if self._cut is not None and self._resumed is None:
                self._resumed = time
        if speaks and self._start is None:
            self._start = time
            return settled
        if self._start is None:
            return settled
        if time - self._start > self._most_speech:
            if self._cut is None:
                settled = self._found(Span(self._start, time))
                self._end(None)
                return settled
            settled = self._found(Span(self._start, self._cut))
            self._end(self._resumed)
        if probability < self._low and self._start is not None:
            if self._silent_since is None:
                self._silent_since = time
            silence = time - self._silent_since
            if silence > SHORT_PAUSE:
                self._cut, self._resumed = self._silent_since, None
            if silence >= self._least_silence:
                if self._silent_since - self._start > self._least_speech:
                    settled = [*settled, *self._found(Span(self._start, self._silent_since))]
                self._end(None)
        return settled

    def _end(self, start: int | None) -> None:
        self._start, self._silent_since, self._cut, self._resumed = start, None, None, None

    def _found(self, span: Span) -> list[Span]:
        """Keep a span until its end is known; the one before it ends halfway between them, or where its padding does."""
        settled, start = list[Span](), max(0, span.start - self._pad)
        if self._last is not None:
            gap = span.start - self._last.end
            is_near = gap < 2 * self._pad
            settled.append(Span(self._last_start, self._last.end + (gap // 2 if is_near else self._pad)))
            start = self._last.end + gap // 2 if is_near else start
        self._last, self._last_start = span, start
        return settled


class SpeechMap:
    """Times in joined speech, in seconds, lead back to the recording. Spans are added in order."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._joined: list[int] = []  # where each span begins in the joined speech
        self._start: list[int] = []  # and in the recording
        self.n_joined = 0
        for span in spans:
            self.add(span)

    def add(self, span: Span) -> None:
        if not self._start or span.start != self._start[-1] + self.n_joined - self._joined[-1]:
            self._joined.append(self.n_joined)
            self._start.append(span.start)
        self.n_joined += span.end - span.start

    def original(self, seconds: float, is_end: bool = False) -> float:
        """A time in the recording. Where two spans meet, a beginning belongs to the later, an end (`is_end`) to the earlier."""
        if not self._start:
            return seconds
        sample = seconds * SAMPLE_RATE
        # a time that was computed may be a rounding beside the seam
        at = round(sample) if abs(sample - round(sample)) < 1e-3 else sample
        index = (bisect_left if is_end else bisect_right)(self._joined, at) - 1
        index = max(0, index)
        return seconds + (self._start[index] - self._joined[index]) / SAMPLE_RATE


class SpeechFilter:
    """Lets speech through and drops the rest, block by block; `map` leads times in what came through back to the recording.

    Memory does not grow with the recording, nor with a speech that does not end (unless max_speech_duration_s bounds it: then by that).
    """

    def __init__(self, options: VadOptions | None = None) -> None:
        self._detector = SpeechDetector(options)
        self.map = SpeechMap()
        self._kept = np.zeros(0, np.float32)
        self._first = 0  # the number of the sample that is kept first
        self._passed = 0  # samples before this one have been let through or dropped

    @property
    def n_samples(self) -> int:
        """Samples that have come."""
        return self._detector.n_samples

    def push(self, samples: npt.ArrayLike) -> FloatArray:
        """16 kHz samples `(n,)` -> the speech that is certain now, joined to what came before."""
        x = np.asarray(samples, np.float32)
        self._kept = np.concatenate([self._kept, x])
        return self._pass(self._detector.push(x))

    def finish(self) -> FloatArray:
        """The speech that is left."""
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


def speech_timestamps(samples: npt.ArrayLike, options: VadOptions | None = None) -> list[Span]:
    """Spans of speech in 16 kHz samples `(n,)`, in order, without overlap."""
    detector = SpeechDetector(options)
    return [*detector.push(samples), *detector.finish()]


def join_spans(samples: FloatArray, spans: Sequence[Span]) -> FloatArray:
    """The spans, joined: `(n,)`. `SpeechMap(spans)` leads times in it back."""
    return np.concatenate([np.zeros(0, np.float32), *(samples[start:end] for start, end in spans)])
