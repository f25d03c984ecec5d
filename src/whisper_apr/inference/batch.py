"""Decode windows of several sequences in one batch: each weight is read from memory once for all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heapreplace

import numpy as np

from ..audio import N_FRAMES
from ..model import Whisper
from .decode import DecodingResult, FloatArray, Request
from .fallback import FallbackDecoder
from .journal import Journal
from .language import LanguageDetector, encode
from .results import Segment
from .windows import Aligner, FrameReader, SeekWindow, WindowSequence

MIN_SLICE = 2 * N_FRAMES // 3  # frames of a slice that are kept before a cut is looked for
QUIET_FRAMES = 30  # frames that a cut's loudness is averaged over: 0.3 s, longer than the closure of a consonant

Pending = tuple[WindowSequence, SeekWindow]  # a window to be decoded, and its sequence
Decode = Callable[[list[Pending]], list[DecodingResult]]


@dataclass
class BatchSlot:
    """A sequence in the batch."""

    sequence: WindowSequence
    window: SeekWindow | None  # the next one to be decoded; None if the sequence has ended
    segments: list[Segment] = field(default_factory=list)  # decoded and not yet returned


class BatchDecoder:
    """Decodes sequences of windows, several windows at a time.

    Args:
        decoder: Decodes windows.
        size: Windows in a batch, each of another sequence.
        check_cancelled: Called before every token; an exception that it raises is passed on.
        detector: Detects the language of each window; None to use the language of its sequence.
        aligner: Adds word times; None for none.
        journal: Windows that it has are not decoded again, and those that are decoded are added to it.
    """

    def __init__(
        self,
        decoder: FallbackDecoder,
        size: int,
        check_cancelled: Callable[[], object],
        detector: LanguageDetector | None = None,
        aligner: Aligner | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._decoder = decoder
        self._size = size
        self._check_cancelled = check_cancelled
        self._detector = detector
        self._aligner = aligner
        self._journal = journal
        self._slots: list[BatchSlot] = []  # in the order of the sequences

    def run(self, sequences: Iterator[WindowSequence]) -> Iterator[tuple[WindowSequence, list[Segment]]]:
        """Yield the sequences' segments, each list with its sequence.

        The text is the same as if the sequences were decoded one after another. They may belong to several recordings;
        those of one recording must follow each other. Recordings are yielded in order, and the channels of one
        recording as they are decoded, each channel's sequences in order. Each sequence is yielded a last time when it
        has `ended`.
        """
        while True:
            self._fill(sequences)
            if not self._slots:
                return
            self._decode_windows()
            yield from self._take_decoded()

    def _fill(self, sequences: Iterator[WindowSequence]) -> None:
        """Add sequences until there are enough windows for a batch."""
        n_window = sum(slot.window is not None for slot in self._slots)
        while n_window < self._size and (sequence := next(sequences, None)) is not None:
            slot = BatchSlot(sequence, sequence.next_window())
            self._slots.append(slot)
            n_window += slot.window is not None

    def _decode_windows(self) -> None:
        """Decode each slot's window and fetch its next one."""
        slots = [slot for slot in self._slots if slot.window is not None]
        if not slots:
            return
        pending = [(slot.sequence, slot.window) for slot in slots if slot.window is not None]
        if self._journal is None:
            results, aligners = self._decode(pending), [self._aligner] * len(pending)
        else:
            results, aligners = _decode_with_journal(
                self._journal, pending, self._decode, self._decoder.model, self._aligner
            )
        for slot, (sequence, window), result, aligner in zip(slots, pending, results, aligners, strict=True):
            self._check_cancelled()
            segments = sequence.advance(window, result, aligner)
            if self._detector is not None:
                segments = [replace(segment, language=result.language) for segment in segments]
            slot.segments += segments
            slot.window = sequence.next_window()

    def _decode(self, pending: list[Pending]) -> list[DecodingResult]:
        mel = np.stack([window.mel for _, window in pending])
        features = encode(self._decoder.model, mel, self._check_cancelled)
        if self._detector is None:
            languages = [sequence.tokenizer.language for sequence, _ in pending]
        else:
            languages = list(self._detector.detect(features))
        requests = [
            Request(window.prompt, language, window.prefix)
            for (_, window), language in zip(pending, languages, strict=True)
        ]
        return self._decoder(features, requests, self._check_cancelled)

    def _take_decoded(self) -> Iterator[tuple[WindowSequence, list[Segment]]]:
        """Yield the segments of the first recording that has not ended, and remove the slots of sequences that have."""
        while self._slots:
            recording, unfinished = self._slots[0].sequence.recording, set()
            for slot in [slot for slot in self._slots if slot.sequence.recording == recording]:
                if slot.sequence.channel in unfinished:
                    continue
                segments, slot.segments = slot.segments, []
                yield slot.sequence, segments
                if slot.window is None:
                    self._slots.remove(slot)
                else:
                    unfinished.add(slot.sequence.channel)
            if unfinished:
                return


def _decode_with_journal(
    journal: Journal, pending: list[Pending], decode: Decode, model: Whisper, aligner: Aligner | None
) -> tuple[list[DecodingResult], list[Aligner | None]]:
    """Return the windows' results, decoding those that the journal does not have, and an aligner for each."""
    entries = [journal.entry(*each) for each in pending]
    known = [entry.result for entry in entries]
    missing = [each for each, result in zip(pending, known, strict=True) if result is None]
    decoded = iter(decode(missing) if missing else [])
    results = []
    for (_, window), entry, result in zip(pending, entries, known, strict=True):
        if result is None:
            result = next(decoded)
            entry.keep(result)
        elif aligner is not None and not entry.has_words:  # interrupted between decoding and alignment
            result = replace(result, audio_features=encode(model, window.mel[None])[0])
        results.append(result)
    return results, [None if aligner is None else entry.aligner(aligner) for entry in entries]


class SpectrogramSlice:
    """Up to 30 s of a clip with its spectrogram, which can be decoded however far the recording was read since."""

    def __init__(self, start: int, mel: FloatArray, clip: int, next_start: int | None, *, ends_clip: bool) -> None:
        """Make a slice.

        Args:
            start: Its first frame.
            mel: `(n_mels, n_frame)`.
            clip: Index of the clip.
            next_start: First frame of the next slice; None if this is the last.
            ends_clip: This is the clip's last slice.
        """
        self.start = start
        self.mel = mel
        self.clip = clip
        self.next_start = next_start
        self.ends_clip = ends_clip

    @property
    def end(self) -> int:
        """The frame after the last."""
        return self.start + int(self.mel.shape[1])

    def read(self, start: int, size: int) -> FloatArray:
        """Return frames `start` to `start + size` of the recording, `(n_mels, size)`."""
        return self.mel[:, start - self.start : start - self.start + size]


def split_clips(frames: FrameReader, clips: Sequence[tuple[int, int]]) -> Iterator[SpectrogramSlice]:
    """Cut clips into slices of at most 30 s, at the quietest point of each one's last 10 s.

    Args:
        frames: The recording's spectrogram, which is read forward once.
        clips: First frame and end frame of each; they may overlap and be in any order.

    Yields:
        The slices of all clips, ordered by their start.
    """
    left = [(start, number, end) for number, (start, end) in enumerate(clips) if start < end]
    heapify(left)
    while left:
        start, number, end = left[0]
        mel = frames.read(start, min(N_FRAMES, end - start))
        size = mel.shape[1]
        if size < 1:
            return
        if end - start > N_FRAMES:
            loudness = np.convolve(mel.mean(axis=0), np.full(QUIET_FRAMES, 1 / QUIET_FRAMES), mode="valid")
            size = MIN_SLICE + int(np.argmin(loudness[MIN_SLICE:])) + QUIET_FRAMES // 2
        if start + size < end:
            heapreplace(left, (start + size, number, end))
        else:
            heappop(left)
        next_start = left[0][0] if left else None
        yield SpectrogramSlice(start, mel[:, :size], number, next_start, ends_clip=start + size >= end)
