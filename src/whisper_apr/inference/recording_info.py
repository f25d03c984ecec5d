"""What is known of a recording apart from its sound: its segments are numbered, timed and, of several channels, merged here."""

from collections.abc import Sequence
from dataclasses import replace
from heapq import heappop, heappush
from math import inf

from ..tokenizer import Tokenizer
from .results import Progress, Segment, Transcription
from .vad_filter import SpeechTimeMap
from .windows import FRAMES_PER_SECOND, WindowSequence


class RecordingInfo:
    """One channel of a recording. Holds neither its sound nor its segments."""

    def __init__(
        self,
        duration: float,
        tokenizer: Tokenizer,
        language: str,
        language_probability: float,
        spoken: SpeechTimeMap | None,
    ) -> None:
        self.duration = duration  # seconds
        self.tokenizer = tokenizer
        self.language = language  # a code
        self.language_probability = language_probability
        self._spoken = spoken  # where only the speech was transcribed
        self._n_segment = 0
        self._place = 0  # whose turn it is
        self._waiting: dict[int, list[Segment]] = {}  # segments of later places
        self._ended: set[int] = set()  # later places that have no more segments to come

    def settle(self, passage: WindowSequence, segments: Sequence[Segment]) -> list[Segment]:
        """Take the passage's next segments; return the recording's: in the order asked for, numbered, with the recording's times."""
        return self.numbered(self._in_turn(passage, self.restored(segments)))

    def restored(self, segments: Sequence[Segment]) -> list[Segment]:
        return list(map(self._spoken.restored, segments) if self._spoken else segments)

    def numbered(self, segments: Sequence[Segment]) -> list[Segment]:
        first, self._n_segment = self._n_segment, self._n_segment + len(segments)
        return [replace(segment, id=first + i) for i, segment in enumerate(segments)]

    def _in_turn(self, passage: WindowSequence, segments: list[Segment]) -> list[Segment]:
        """Hold back the segments of a place until all before it have ended."""
        self._waiting.setdefault(passage.place, []).extend(segments)
        if passage.ended and passage.ends_place:
            self._ended.add(passage.place)
        settled = self._waiting.pop(self._place, [])
        while self._place in self._ended:
            self._ended.remove(self._place)
            self._place += 1
            settled += self._waiting.pop(self._place, [])
        return settled

    def progress(self, passage: WindowSequence) -> Progress:
        """Return how much of the recording is done, the passage having come so far. It never goes back."""
        frames = passage.seek if passage.next_start is None else min(passage.seek, passage.next_start)
        done = frames / FRAMES_PER_SECOND
        done = self._spoken.original(done, True) if self._spoken else done
        return Progress(min(done, self.duration), self.duration)

    def result(self, segments: Sequence[Segment]) -> Transcription:
        """Return the recording's segments as a transcription."""
        text = self.tokenizer.decode([token for segment in segments for token in segment.tokens])
        return Transcription(text, tuple(segments), self.language, self.duration, self.language_probability)


class MultichannelInfo(RecordingInfo):
    """Several channels of a recording, whose segments become one sequence, by the times at which they begin.

    A segment is held back until every other channel has come to its beginning. Each one's `speaker` is its channel's number, as text;
    where the channels' languages differ, its `language` is its channel's.
    """

    def __init__(self, channels: Sequence[RecordingInfo]) -> None:
        """`channels` in their order. The transcription's language is that of the channel where it is most certain."""
        surest = max(channels, key=lambda channel: channel.language_probability)
        duration = max(channel.duration for channel in channels)
        super().__init__(duration, surest.tokenizer, surest.language, surest.language_probability, None)
        self._channels = channels
        self._differ = len({each.language for each in channels}) > 1
        self._come = [0.0] * len(channels)  # seconds: no later segment of the channel begins before
        self._held: list[tuple[float, int, int, Segment]] = []  # a heap: start, channel, number in it

    def settle(self, passage: WindowSequence, segments: Sequence[Segment]) -> list[Segment]:
        channel = passage.channel
        heard = self._channels[channel]
        for segment in heard.numbered(heard.restored(segments)):  # by time, whatever order was asked for
            heappush(self._held, (segment.start, channel, segment.id, self._marked(segment, channel)))
        self._come[channel] = inf if passage.ended and passage.is_last else heard.progress(passage).done
        settled = []
        while self._held and self._held[0][0] <= min(self._come):
            settled.append(heappop(self._held)[-1])
        return self.numbered(settled)

    def _marked(self, segment: Segment, channel: int) -> Segment:
        speaker = str(channel)
        words = None if segment.words is None else tuple(replace(word, speaker=speaker) for word in segment.words)
        language = self._channels[channel].language if self._differ and segment.language is None else segment.language
        return replace(segment, speaker=speaker, words=words, language=language)

    def progress(self, passage: WindowSequence) -> Progress:
        """Return the mean of the channels' progress, the passage having been settled."""
        done = [min(come, self.duration) for come in self._come]
        return Progress(sum(done) / len(done), self.duration)
