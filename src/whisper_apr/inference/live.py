"""Text while somebody speaks: words are settled once two hearings in a row agree on them.

Voice activity cuts the sound into utterances. The utterance that goes on is transcribed anew each time enough sound has come; the words
that a hearing has in common with the one before it, from the first on, settle (local agreement: Liu, Spanakis and Niehues, Low-latency
sequence-to-sequence speech recognition, 2020). At the utterance's end, what is left of its last hearing settles.
"""

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE, Resampler, SpeechDetector, VadOptions
from ..errors import AudioError, OptionError
from ..model import Whisper
from ..simd import FloatArray
from .results import Word
from .transcribe import transcribe

UTTERANCE = VadOptions(min_silence_duration_ms=800, speech_pad_ms=300)  # a pause that ends an utterance
LONGEST = 25 * SAMPLE_RATE  # samples: a longer utterance is cut after its settled words, for a window holds 30 s
OVERLAP = (
    0.1  # seconds by which a word's beginning may lie before the settled words' end: its time varies between hearings
)


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
        sampling_rate: int = SAMPLE_RATE,
        step: float = 1.0,
        vad_options: VadOptions = UTTERANCE,
        **options: Any,
    ) -> None:
        """`sampling_rate`: of the samples to come, in Hz. `step`: seconds of speech between two hearings; more costs less, and settles
        later. `options`: those of `transcribe`, for each hearing.

        Raises AudioError for a rate that cannot be resampled, OptionError for a step that is not above 0.
        """
        if not step > 0:
            raise OptionError(f"step must be above 0 seconds, not {step}")
        self._model, self._options = model, options | {"word_timestamps": True}
        self._step = round(step * SAMPLE_RATE)
        self._resampler = Resampler(sampling_rate, SAMPLE_RATE)
        self._detector = SpeechDetector(vad_options)
        self._kept: FloatArray = np.zeros(0, np.float32)
        self._first = 0  # the number of the sample that is kept first
        self._heard = 0  # samples that were there at the last hearing
        self._begin = 0  # before this sample all is settled
        self._settled: list[Word] = []  # of the utterance that goes on
        self._guess: list[Word] = []  # its other words, as they were heard last

    def push(self, samples: npt.ArrayLike) -> LiveText:
        """Samples `(n,)`, or `(n, channels)`: floats with full scale at 1, or integers. At most one hearing of the utterance that goes on.

        Raises AudioError for samples of another shape or kind, and for those that are not finite.
        """
        return self._take(self._resampler.push(_mono(samples)))

    def finish(self) -> LiveText:
        """Settle what is left. Nothing may be pushed after it."""
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
        result = transcribe(self._model, self._kept[start - self._first : end - self._first], **self._options)
        offset = start / SAMPLE_RATE
        words = [
            replace(word, start=word.start + offset, end=word.end + offset)
            for segment in result.segments
            for word in segment.words or ()
        ]
        n = len(self._settled)
        if all(map(_same, self._settled, words[:n])) and len(words) >= n:
            return words[n:]
        # heard otherwise this time: what was settled stays, and words after it follow
        until = self._settled[-1].end - OVERLAP
        return [word for word in words if word.start >= until]

    def _listen(self, start: int, end: int) -> tuple[Word, ...]:
        words = self._hear(start, end)
        agreed = [a for a, _ in takewhile(lambda pair: _same(*pair), zip(words, self._guess, strict=False))]
        if end - start >= LONGEST and not self._settled and not agreed:
            agreed = words  # nothing is certain after so long: what was heard has to do
        self._settled += agreed
        self._guess = words[len(agreed) :]
        if end - start >= LONGEST:
            until = self._settled[-1].end if self._settled else end / SAMPLE_RATE
            self._begin = min(end, max(start + SAMPLE_RATE, round(until * SAMPLE_RATE)))
            self._settled = []
        return tuple(agreed)

    def _close(self, start: int, end: int) -> tuple[Word, ...]:
        """An utterance has ended."""
        words = self._hear(max(start, self._begin), end)
        self._settled, self._guess = [], []
        self._begin = max(self._begin, end)
        return tuple(words)


def _mono(samples: npt.ArrayLike) -> FloatArray:
    x = np.asarray(samples)
    if x.ndim not in (1, 2) or x.dtype.kind not in "fi":
        raise AudioError(f"samples must be floats or signed integers (n,) or (n, channels), not {x.dtype} {x.shape}")
    scaled = x.astype(np.float32) / (np.float32(1) if x.dtype.kind == "f" else np.float32(-np.iinfo(x.dtype).min))
    mono: FloatArray = scaled if x.ndim == 1 else scaled.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError("samples must be finite numbers")
    return mono
