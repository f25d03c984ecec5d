"""Leave out what is not speech, and convert times in the remaining speech to times in the recording."""

from collections.abc import Iterator

from .. import simd
from ..audio import FRAMES_PER_SECOND, SAMPLE_RATE, SpeechFilter, SpeechMap, VadOptions
from .audio_source import Blocks
from .record import changed
from .results import DroppedText, Segment, Word

FloatArray = simd.FloatArray


class SpeechTimeMap:
    """Converts times in the speech of a recording to times in the recording. `filter_speech` fills it in."""

    def __init__(self) -> None:
        self.map = SpeechMap()
        self.n_samples = 0  # of the whole recording

    def original_time(self, seconds: float, is_end: bool = False) -> float:
        """Return the time in the recording, rounded to a millisecond. See `SpeechMap.original` for `is_end`."""
        return min(round(self.map.original(seconds, is_end), 3), self.n_samples / SAMPLE_RATE)

    def restore_times(self, segment: Segment) -> Segment:
        """Return a segment of the speech with times and seek in the recording."""

        def restored(word: Word) -> Word:
            start = self.original_time(word.start)
            return changed(word, start=start, end=max(start, self.original_time(word.end, True)))

        start = self.original_time(segment.start)
        words = None if segment.words is None else list(map(restored, segment.words))
        # a word that lies between two stretches of speech begins with the second, where its segment then ends
        end = max([start, self.original_time(segment.end, True), *(word.end for word in (words or ())[-1:])])
        return changed(
            segment,
            seek=round(self.original_time(segment.seek / FRAMES_PER_SECOND) * FRAMES_PER_SECOND),
            start=start,
            end=end,
            words=words,
        )

    def restore_span(self, dropped: DroppedText) -> DroppedText:
        """Return dropped text with its times in the recording."""
        start = self.original_time(dropped.start)
        return changed(dropped, start=start, end=max(start, self.original_time(dropped.end, True)))


def filter_speech(blocks: Blocks, options: VadOptions, time_map: SpeechTimeMap) -> Blocks:
    """Return a function that reads the recording's blocks without silence, and fills in `time_map` at their end."""

    def read() -> Iterator[FloatArray]:
        speech = SpeechFilter(options)
        for block in blocks():
            yield speech.push(block)
        yield speech.finish()
        time_map.map, time_map.n_samples = speech.map, speech.n_samples

    return read
