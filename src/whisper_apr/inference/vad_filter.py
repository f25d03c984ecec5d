"""Only the speech of a recording, and times in it led back to the recording."""

from collections.abc import Iterator
from dataclasses import replace

from .. import simd
from ..audio import SAMPLE_RATE, SpeechFilter, SpeechMap, VadOptions
from .audio_source import Blocks
from .results import Segment, Word

FloatArray = simd.FloatArray

FRAMES_PER_SECOND = 100


class SpeechTimeMap:
    """Where the speech of a recording was: times in the speech alone, led back to the recording."""

    def __init__(self) -> None:
        self.map = SpeechMap()
        self.n_samples = 0  # of the whole recording

    def original(self, seconds: float, is_end: bool = False) -> float:
        """Return the time in the recording, to a millisecond, of one in the speech. See `SpeechMap.original`."""
        return min(round(self.map.original(seconds, is_end), 3), self.n_samples / SAMPLE_RATE)

    def restored(self, segment: Segment) -> Segment:
        """The segment with the recording's times."""

        def word(w: Word) -> Word:
            start = self.original(w.start)
            return replace(w, start=start, end=max(start, self.original(w.end, True)))

        start = self.original(segment.start)
        return replace(
            segment,
            seek=round(self.original(segment.seek / FRAMES_PER_SECOND) * FRAMES_PER_SECOND),
            start=start,
            end=max(start, self.original(segment.end, True)),
            words=None if segment.words is None else tuple(map(word, segment.words)),
        )


def only_speech(blocks: Blocks, options: VadOptions, spoken: SpeechTimeMap) -> Blocks:
    """A recording's blocks without what is not speech. Each time they have been read to their end, `spoken` knows what was left out."""

    def read() -> Iterator[FloatArray]:
        speech = SpeechFilter(options)
        for block in blocks():
            yield speech.push(block)
        yield speech.finish()
        spoken.map, spoken.n_samples = speech.map, speech.n_samples

    return read
