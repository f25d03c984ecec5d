"""Text while somebody speaks: words are settled once two hearings in a row agree on them.

Voice activity cuts the sound into utterances. The utterance that goes on is transcribed anew each time enough sound has come; the words
that a hearing has in common with the one before it, from the first on, settle (local agreement: Liu, Spanakis and Niehues, Low-latency
sequence-to-sequence speech recognition, 2020). At the utterance's end, what is left of its last hearing settles.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio import SAMPLE_RATE, ReadingOptions, Resampler, SpeechDetector, VadOptions
from ..audio.notices import Notices
from ..audio.samples import EACH, MIX, Channel, ChannelSelector, as_array
from ..errors import OptionError
from ..model import Whisper
from ..simd import FloatArray
from .results import Word
from .transcribe import Engine, Job

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
        sampling_rate: float = SAMPLE_RATE,
        channel: Channel = MIX,
        strict: bool = False,
        step: float = 1.0,
        vad_options: VadOptions = UTTERANCE,
        checkpoint: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        """Make a transcriber of sound that is to come.

        `sampling_rate`: of the samples, in Hz, 1000 to 1,000,000. `channel`: the one to be transcribed, a number from 0, or "mix" for the
        mean of all. `strict`: raise AudioError for what is otherwise an AudioWarning. `step`: seconds of speech between two hearings; more
        costs less, and settles later. `checkpoint`: called before each token; what it raises ends the call of `push` or `finish`.
        `options`: those of TranscribeOptions and DecodingOptions, for each hearing.

        Raises OptionError for an option that is unknown or has a value that is not allowed.
        """
        ReadingOptions(sampling_rate, channel, strict=strict)
        if channel == EACH:
            raise OptionError("channel='each' needs a whole recording; make a LiveTranscriber for each channel")
        if not step > 0:
            raise OptionError(f"step must be above 0 seconds, not {step}")
        self._engine = Engine(model, checkpoint, options | {"word_timestamps": True})
        self._step = round(step * SAMPLE_RATE)
        self._selector = ChannelSelector("the sound", channel, Notices(strict))
        self._resampler = Resampler(sampling_rate, SAMPLE_RATE)
        self._detector = SpeechDetector(vad_options)
        self._kept: FloatArray = np.zeros(0, np.float32)
        self._first = 0  # the number of the sample that is kept first
        self._heard = 0  # samples that were there at the last hearing
        self._begin = 0  # before this sample all is settled
        self._settled: list[Word] = []  # of the utterance that goes on
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
            for segment in Job(self._engine, [lambda: iter([samples])]).segments()
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
