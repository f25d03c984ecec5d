"""Per-recording metadata: numbers segments, converts their times to the recording's, and merges channels."""

from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import chain
from math import inf

from ..audio import FRAMES_PER_SECOND
from ..tokenizer import Tokenizer
from .record import changed
from .results import DroppedText, Progress, Segment, Transcription
from .speaker_labels import SpeakerLabeler
from .vad_filter import SpeechTimeMap
from .windows import WindowSequence


class RecordingInfo:
    """Metadata of one channel of a recording. Holds neither audio nor, once they are in order, segments."""

    def __init__(
        self,
        duration: float,
        tokenizer: Tokenizer,
        language: str,
        language_probability: float,
        time_map: SpeechTimeMap | None,
        labeler: SpeakerLabeler | None = None,
        *,
        keeps_dropped: bool = False,
    ) -> None:
        """Make the metadata of a channel.

        Args:
            duration: Seconds.
            tokenizer: For the channel's language.
            language: Its code.
            language_probability: 1 if the language was given.
            time_map: Converts times, if only the speech was transcribed.
            labeler: Tells who speaks, if that is known.
            keeps_dropped: The result has the text that `hallucination_filter` drops.
        """
        self.duration = duration
        self.tokenizer = tokenizer
        self.language = language
        self.language_probability = language_probability
        self._time_map = time_map
        self._labeler = labeler
        self._dropped: list[DroppedText] | None = [] if keeps_dropped else None
        self._n_segment = 0
        self._clip = 0  # index of the clip whose segments are returned as they come
        self._waiting: dict[int, list[Segment]] = {}  # segments of later clips
        self._ended: set[int] = set()  # later clips that have ended

    def add_segments(self, sequence: WindowSequence, segments: Sequence[Segment]) -> list[Segment]:
        """Take the next segments of a sequence, and return the recording's next segments.

        Those are in the order of the clips, numbered, and have the recording's times. Segments of a clip are held back
        until all clips before it have ended.
        """
        self._take_dropped(sequence)
        return self.number_segments(self._in_clip_order(sequence, self.restore_times(segments)))

    def _take_dropped(self, sequence: WindowSequence) -> None:
        dropped, sequence.dropped = sequence.dropped, []
        if self._dropped is not None:
            self._dropped += map(self._time_map.restore_span, dropped) if self._time_map else dropped

    @property
    def dropped(self) -> list[DroppedText] | None:
        """What was dropped so far, ordered by start; None without `hallucination_filter`."""
        return None if self._dropped is None else sorted(self._dropped, key=lambda each: each.start)

    def restore_times(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return the segments with times in the recording, and with speakers if they are known."""
        restored = list(map(self._time_map.restore_times, segments) if self._time_map else segments)
        return self._labeler.label(restored) if self._labeler else restored

    def number_segments(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return the segments with the next ids."""
        first, self._n_segment = self._n_segment, self._n_segment + len(segments)
        return [changed(segment, id=first + i) for i, segment in enumerate(segments)]

    def _in_clip_order(self, sequence: WindowSequence, segments: list[Segment]) -> list[Segment]:
        self._waiting.setdefault(sequence.clip_number, []).extend(segments)
        if sequence.ended and sequence.ends_clip:
            self._ended.add(sequence.clip_number)
        ready = self._waiting.pop(self._clip, [])
        while self._clip in self._ended:
            self._ended.remove(self._clip)
            self._clip += 1
            ready += self._waiting.pop(self._clip, [])
        return ready

    def progress(self, sequence: WindowSequence) -> Progress:
        """Return the progress of the recording after a sequence was decoded up to its `seek`. It never decreases."""
        frames = sequence.seek if sequence.next_start is None else min(sequence.seek, sequence.next_start)
        done = frames / FRAMES_PER_SECOND
        done = self._time_map.original_time(done, True) if self._time_map else done
        return Progress(min(done, self.duration), self.duration)

    def result(self, segments: Sequence[Segment]) -> Transcription:
        """Return the recording's segments as a transcription."""
        text = self.tokenizer.decode([token for segment in segments for token in segment.tokens])
        return Transcription(text, segments, self.language, self.duration, self.language_probability, self.dropped)


class MultichannelInfo(RecordingInfo):
    """Metadata of several channels of a recording, whose segments are merged by their start.

    A segment is held back until all other channels have been decoded up to its start. Its `speaker` is the index of its
    channel, as text, and if the channels differ in language, its `language` is its channel's.
    """

    def __init__(self, channels: Sequence[RecordingInfo]) -> None:
        """Make the metadata of a recording from that of its channels, in order. Its language is their most probable."""
        surest = max(channels, key=lambda channel: channel.language_probability)
        duration = max(channel.duration for channel in channels)
        super().__init__(duration, surest.tokenizer, surest.language, surest.language_probability, None)
        self._channels = channels
        self._languages_differ = len({each.language for each in channels}) > 1
        self._decoded_until = [0.0] * len(channels)  # seconds: no later segment of the channel starts before
        self._held: list[tuple[float, int, int, Segment]] = []  # a heap: start, channel, id in the channel

    def add_segments(self, sequence: WindowSequence, segments: Sequence[Segment]) -> list[Segment]:
        """Take a sequence's next segments, and return the recording's next segments, ordered by start."""
        channel = sequence.channel
        info = self._channels[channel]
        info._take_dropped(sequence)
        for segment in info.number_segments(info.restore_times(segments)):  # in any order of the clips
            heappush(self._held, (segment.start, channel, segment.id, self._with_speaker(segment, channel)))
        self._decoded_until[channel] = inf if sequence.ended and sequence.is_last else info.progress(sequence).done
        ready = []
        # of segments with the same start, that of the first channel comes first, whichever was decoded first
        certain = min((until, index) for index, until in enumerate(self._decoded_until))
        while self._held and self._held[0][:2] <= certain:
            ready.append(heappop(self._held)[-1])
        return self.number_segments(ready)

    @property
    def dropped(self) -> list[DroppedText] | None:
        """What was dropped so far from all channels, ordered by start; None without `hallucination_filter`."""
        found = [dropped for info in self._channels if (dropped := info.dropped) is not None]
        return sorted(chain.from_iterable(found), key=lambda each: each.start) if found else None

    def _with_speaker(self, segment: Segment, channel: int) -> Segment:
        speaker = str(channel)
        words = None if segment.words is None else [changed(word, speaker=speaker) for word in segment.words]
        language = segment.language
        if self._languages_differ and language is None:
            language = self._channels[channel].language
        return changed(segment, speaker=speaker, words=words, language=language)

    def progress(self, sequence: WindowSequence) -> Progress:
        """Return the mean of the channels' progress. Call it after `add_segments`."""
        done = [min(until, self.duration) for until in self._decoded_until]
        return Progress(sum(done) / len(done), self.duration)
