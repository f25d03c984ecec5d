"""Windows of several passages decoded at once: each weight is read once for all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heapreplace

import numpy as np

from ..audio import N_FRAMES
from ..model import Whisper
from .decode import DecodingResult, FloatArray, Request
from .fallback import FallbackDecoder
from .journal import Journal
from .language import LanguageChooser, embed
from .results import Segment
from .windows import Aligner, Frames, SeekWindow, WindowSequence

SHORTEST = 2 * N_FRAMES // 3  # frames of a window before which no cut is looked for
QUIET = 30  # frames that must be quiet together: a third of a second, longer than the closure of a consonant


@dataclass
class BatchSlot:
    passage: WindowSequence
    window: SeekWindow | None  # the next one to be decoded; None: the passage has come to its end
    settled: list[Segment] = field(default_factory=list)


def decode_sequences(
    passages: Iterator[WindowSequence],
    size: int,
    decoder: FallbackDecoder,
    check_cancelled: Callable[[], None],
    chooser: LanguageChooser | None,
    aligner: Aligner | None,
    journal: Journal | None = None,
) -> Iterator[tuple[WindowSequence, list[Segment]]]:
    """Segments in the passages' order, `size` windows of different passages at a time; the passages may be of different recordings.

    A recording's passages follow each other. Where they are of several channels, each channel's segments come as they settle, in the
    order of that channel's passages. The text is that of one passage after the other: rows of a batch do not know each other. `chooser`
    detects each window's language; else it is its passage's. A passage that has `ended` comes once more, with its last segments, and then
    no more. Windows that are in the `journal` are taken from it, and the others kept there.
    """

    def decoded(todo: list[tuple[WindowSequence, SeekWindow]]) -> list[DecodingResult]:
        features = embed(decoder.model, np.stack([window.mel for _, window in todo]), check_cancelled)
        spoken = [passage.tokenizer.language for passage, _ in todo] if chooser is None else chooser.best(features)
        requests = [Request(window.prompt, code, window.prefix) for (_, window), code in zip(todo, spoken, strict=True)]
        return decoder(features, requests, check_cancelled)

    lanes: list[BatchSlot] = []
    while True:
        todo = [(lane, lane.window) for lane in lanes if lane.window is not None]
        while len(todo) < size and (passage := next(passages, None)) is not None:
            lanes.append(BatchSlot(passage, passage.window()))
            if lanes[-1].window is not None:
                todo.append((lanes[-1], lanes[-1].window))
        if not lanes:
            return
        if todo:
            turns = [(lane.passage, window) for lane, window in todo]
            if journal is None:
                results, aligners = decoded(turns), [aligner] * len(turns)
            else:
                results, aligners = _remembered(journal, turns, decoded, decoder.model, aligner)
            for (lane, window), result, align in zip(todo, results, aligners, strict=True):
                check_cancelled()
                segments = lane.passage.settle(window, result, align)
                if chooser is not None:
                    segments = [replace(segment, language=result.language) for segment in segments]
                lane.settled += segments
                lane.window = lane.passage.window()
        yield from _settled(lanes)


def _remembered(
    journal: Journal,
    turns: list[tuple[WindowSequence, SeekWindow]],
    decoded: Callable[[list[tuple[WindowSequence, SeekWindow]]], list[DecodingResult]],
    model: Whisper,
    aligner: Aligner | None,
) -> tuple[list[DecodingResult], list[Aligner | None]]:
    """Return the windows' results, those that are not in the journal by `decoded`, and for each what finds its words."""
    places = [journal.place(*turn) for turn in turns]
    known = [place.result for place in places]
    fresh = iter(
        decoded(missing) if (missing := [turn for turn, old in zip(turns, known, strict=True) if not old]) else []
    )
    results = []
    for (_, window), place, old in zip(turns, places, known, strict=True):
        result = next(fresh) if old is None else old
        if old is None:
            place.keep(result)
        elif aligner is not None and not place.has_words:  # it was interrupted between the two
            result = replace(result, audio_features=embed(model, window.mel[None])[0])
        results.append(result)
    return results, [None if aligner is None else place.aligner(aligner) for place in places]


def _settled(lanes: list[BatchSlot]) -> Iterator[tuple[WindowSequence, list[Segment]]]:
    """Yield what has settled of the first recording that has not ended, and take from `lanes` what has ended."""
    while lanes:
        recording, going_on = lanes[0].passage.recording, set()
        for lane in [lane for lane in lanes if lane.passage.recording == recording]:
            if lane.passage.channel in going_on:
                continue
            yield lane.passage, lane.settled
            lane.settled = []
            if lane.window is None:
                lanes.remove(lane)
            else:
                going_on.add(lane.passage.channel)
        if going_on:
            return


class SpectrogramSlice:
    """A part of a clip, of at most 30 s, with its spectrogram: what a passage reads of, however far the others have come."""

    def __init__(self, start: int, mel: FloatArray, clip: int, next_start: int | None, *, ends_clip: bool) -> None:
        """Arguments: the first frame; `(n_mels, n_frame)`; the clip's number; where the next piece begins, None where there is none."""
        self.start = start
        self.mel = mel
        self.clip = clip
        self.next_start = next_start
        self.ends_clip = ends_clip

    @property
    def end(self) -> int:
        return self.start + int(self.mel.shape[1])

    def window(self, start: int, size: int) -> FloatArray:
        return self.mel[:, start - self.start : start - self.start + size]


def quiet_cuts(frames: Frames, clips: Sequence[tuple[int, int]]) -> Iterator[SpectrogramSlice]:
    """Cut clips, in frames, into pieces of at most 30 s where it is quietest.

    The clips may overlap and may be in any order. Pieces come by the time at which they begin, whichever clip they are of, so that the
    recording is read once from its beginning to its end.
    """
    left = [(start, number, end) for number, (start, end) in enumerate(clips) if start < end]
    heapify(left)
    while left:
        start, number, end = left[0]
        mel = frames.window(start, min(N_FRAMES, end - start))
        size = mel.shape[1]
        if size < 1:
            return
        if end - start > N_FRAMES:
            loudness = np.convolve(mel.mean(axis=0), np.full(QUIET, 1 / QUIET), mode="valid")
            size = SHORTEST + int(np.argmin(loudness[SHORTEST:])) + QUIET // 2
        if start + size < end:
            heapreplace(left, (start + size, number, end))
        else:
            heappop(left)
        following = left[0][0] if left else None
        yield SpectrogramSlice(start, mel[:, :size], number, following, ends_clip=start + size >= end)
