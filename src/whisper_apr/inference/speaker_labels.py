"""Give words and segments of a transcription the speakers of turns."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ..speakers import Turn, known_voices
from ..speakers.weights import load_diarizer
from .audio_source import Blocks
from .record import changed
from .results import Segment

NEAR = 1.0  # seconds; a word that overlaps no turn gets the speaker of the nearest one within this distance


class SpeakerLabeler:
    """Finds who speaks in a stretch of time.

    Args:
        turns: In order of their start.
    """

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = turns
        self._starts = [turn.start for turn in turns]
        self._longest = max((turn.end - turn.start for turn in turns), default=0.0)

    def speaker(self, start: float, end: float) -> str | None:
        """Return the speaker whose turns overlap the stretch the most, or of the nearest turn; None if none is near."""
        overlaps: dict[str, float] = {}
        nearest, distance = None, NEAR
        # no turn that begins earlier than the longest turn before the stretch can reach it
        for i in range(bisect_left(self._starts, start - self._longest - NEAR), len(self._turns)):
            turn = self._turns[i]
            if turn.start > end + NEAR:
                break
            shared = min(end, turn.end) - max(start, turn.start)
            if shared > 0:
                overlaps[turn.speaker] = overlaps.get(turn.speaker, 0.0) + shared
            elif -shared < distance:
                nearest, distance = turn.speaker, -shared
        return max(overlaps, key=overlaps.__getitem__) if overlaps else nearest

    def label(self, segments: Iterable[Segment]) -> list[Segment]:
        """Return segments with speakers; one with words is split where the speaker changes.

        The tokens of a segment that is split stay with its first part.
        """
        return [part for segment in segments for part in self._split(segment)]

    def _split(self, segment: Segment) -> Iterator[Segment]:
        if not segment.words:
            yield changed(segment, speaker=self.speaker(segment.start, segment.end))
            return
        labeled = (changed(word, speaker=self.speaker(word.start, word.end)) for word in segment.words)
        runs = [(speaker, list(words)) for speaker, words in groupby(labeled, key=lambda word: word.speaker)]
        if len(runs) == 1:
            yield changed(segment, speaker=runs[0][0], words=runs[0][1])
            return
        for i, (speaker, words) in enumerate(runs):
            yield changed(
                segment,
                start=segment.start if i == 0 else words[0].start,
                end=segment.end if i == len(runs) - 1 else words[-1].end,
                text="".join(word.word for word in words),
                tokens=segment.tokens if i == 0 else [],
                speaker=speaker,
                words=words,
            )


def speaker_labeler(
    blocks: Blocks, speakers: Any, check_cancelled: Callable[[], object] = lambda: None
) -> SpeakerLabeler | None:
    """Return what tells the speakers of a recording apart.

    Args:
        blocks: The recording, which is read if its speakers are to be found.
        speakers: The option, as `speakers.turns.SPEAKERS` converts it.
        check_cancelled: As for `transcribe`, while the speakers are found.
    """
    if speakers is None:
        return None
    if isinstance(speakers, tuple):
        return SpeakerLabeler(speakers)
    diarizer = load_diarizer()
    if isinstance(speakers, Mapping):
        known = known_voices(speakers)
        return SpeakerLabeler(diarizer(blocks(), known=known, check_cancelled=check_cancelled).turns)
    limits = () if speakers is True else (speakers, speakers)
    return SpeakerLabeler(diarizer(blocks(), *limits, check_cancelled=check_cancelled).turns)
