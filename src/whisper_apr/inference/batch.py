"""Decode windows of several sequences in one batch: each weight is read from memory once for all of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from ..audio import N_FRAMES
from ..model.decoder_cache import AudioSlot
from ..model.encoder import TIME_STRIDE
from .audio_context import context_frames, encode_window, looks_right, most_tokens
from .decode import DecodingResult, FloatArray, Request
from .fallback import FallbackDecoder, is_repetitive
from .generation import ContinuousBatch, Decoding
from .journal import Journal, JournalEntry
from .language import LanguageDetector
from .record import changed
from .results import Segment
from .window_text import SeekWindow
from .windows import Aligner, WindowSequence

# More windows gain nothing, since the products are then limited by arithmetic, and each has its part of the KV cache.
MAX_WINDOWS = 64
MAX_ROWS = 1024  # candidates of all windows


@dataclass(eq=False)
class BatchSlot:
    """A sequence in the batch."""

    sequence: WindowSequence
    window: SeekWindow | None  # the one that is being decoded; None if the sequence has ended
    entry: JournalEntry | None = None  # the window's, with a journal
    segments: list[Segment] = field(default_factory=list)  # decoded and not yet returned


class BatchDecoder:
    """Decodes sequences of windows, several windows at a time.

    Args:
        decoder: Decodes windows.
        size: Windows in a batch, each of another sequence. Fewer if there are more than `MAX_WINDOWS` or `MAX_ROWS`.
        check_cancelled: Called before every token; an exception that it raises is passed on.
        detector: Detects the language of each window; None to use the language of its sequence.
        aligner: Adds word times: an `Aligner` that also takes `audio_cache`; None for none.
        journal: Windows that it has are not decoded again, and those that are decoded are added to it.
        in_order: Yield segments in the order of the recordings; otherwise as they are decoded. Then all sequences that
            the iterator has are accepted, and take turns if they are more than `size`.

    Attributes:
        size: Windows in a batch.
    """

    def __init__(
        self,
        decoder: FallbackDecoder,
        size: int,
        check_cancelled: Callable[[], object],
        detector: LanguageDetector | None = None,
        aligner: Callable[..., list[Segment]] | None = None,
        journal: Journal | None = None,
        in_order: bool = True,
    ) -> None:
        self._decoder = decoder
        self.size = max(1, min(size, MAX_WINDOWS, MAX_ROWS // decoder.n_row))
        self._check_cancelled = check_cancelled
        self._detector = detector
        self._journal = journal
        self._in_order = in_order
        self._batch: ContinuousBatch[DecodingResult] = ContinuousBatch(
            decoder.model.decoder, self.size, decoder.n_row, check_cancelled
        )
        self._aligner: Aligner | None = None
        if aligner is not None:
            self._aligner = partial(aligner, audio_cache=self._batch.audio_cache)
        self._slots: list[BatchSlot] = []  # in the order of the sequences
        self._decoding: dict[int, BatchSlot] = {}  # slots by the number of their window in `_batch`

    def run(self, sequences: Iterator[WindowSequence]) -> Iterator[tuple[WindowSequence, list[Segment]]]:
        """Yield the sequences' segments, each list with its sequence.

        The text is the same as if the sequences were decoded one after another. They may belong to several recordings;
        those of one recording must follow each other. Recordings are yielded in order, and the channels of one
        recording as they are decoded, each channel's sequences in order. Without `in_order`, all sequences are yielded
        as they are decoded. Each sequence is yielded a last time when it has `ended`.

        More sequences are asked for whenever a window ends, and without `in_order` before every token, even if the
        iterator was exhausted before: it may yield sequences that have arrived in the meantime.
        """
        try:
            while True:
                self._fill(sequences)
                if not self._slots:
                    return
                self._start()
                self._decode_windows()
                yield from self._take_decoded() if self._in_order else self._take_all()
        finally:
            self._batch.close()  # so that its memory is free at once, not when the garbage collector runs

    def _fill(self, sequences: Iterator[WindowSequence]) -> None:
        """Add sequences until there are enough windows for a batch, and drop the windows of cancelled ones."""
        for number, slot in list(self._decoding.items()):
            if slot.sequence.ended:
                del self._decoding[number]
                self._batch.cancel(number)
        for slot in self._slots:
            if slot.sequence.ended:
                slot.window = None
        n_window = sum(slot.window is not None for slot in self._slots)
        while (n_window < self.size or not self._in_order) and (sequence := next(sequences, None)) is not None:
            slot = BatchSlot(sequence, sequence.next_window())
            self._slots.append(slot)
            n_window += slot.window is not None

    def _start(self) -> None:
        """Let the next windows join the batch, as many as fit, and finish those that the journal has."""
        waiting = [slot for slot in self._slots if slot.window and slot not in self._decoding.values()]
        new: list[tuple[BatchSlot, SeekWindow]] = []
        for slot in waiting[: self.size - len(self._decoding)]:
            assert slot.window is not None
            result = None
            if self._journal is not None:
                slot.entry = self._journal.entry(slot.sequence, slot.window)
                result = slot.entry.result
            if result is None:
                new.append((slot, slot.window))
            else:
                self._advance(slot, slot.window, self._with_features(slot, slot.window, result))
        numbers = self._batch.add([self._decode(slot.sequence, window) for slot, window in new])
        self._decoding |= {number: slot for number, (slot, _) in zip(numbers, new, strict=True)}

    def _with_features(self, slot: BatchSlot, window: SeekWindow, result: DecodingResult) -> DecodingResult:
        """Return a result of the journal with audio features if they are needed to align words."""
        assert slot.entry is not None
        if self._aligner is None or slot.entry.has_words:
            return result
        # interrupted between decoding and alignment
        n_frames = TIME_STRIDE * len(result.audio_features)
        return replace(result, audio_features=encode_window(self._decoder.model, window, n_frames))

    def _decode_windows(self) -> None:
        """Decode until a window is finished, or one token without `in_order`, and fetch the sequence's next window."""
        finished = self._batch.step()
        while self._decoding and not finished and self._in_order:
            finished = self._batch.step()
        for number, result in finished:
            slot = self._decoding.pop(number)
            assert slot.window is not None
            if slot.entry is not None:
                slot.entry.keep(result)
            self._advance(slot, slot.window, result)
            if not self._in_order:  # others that wait come first
                self._slots.remove(slot)
                self._slots.append(slot)

    def _advance(self, slot: BatchSlot, window: SeekWindow, result: DecodingResult) -> None:
        """Add a window's segments to its slot, and fetch the next window of its sequence."""
        self._check_cancelled()
        aligner = self._aligner
        if aligner is not None and slot.entry is not None:
            aligner = slot.entry.aligner(aligner)
        segments = slot.sequence.advance(window, result, aligner)
        if self._detector is not None:
            segments = [changed(segment, language=result.language) for segment in segments]
        slot.segments += segments
        slot.window, slot.entry = slot.sequence.next_window(), None

    def _decode(self, sequence: WindowSequence, window: SeekWindow) -> Decoding[DecodingResult]:
        """Decode a window, first in part with `audio_context="auto"`."""
        decoder = self._decoder
        n_frames = context_frames(window.size) if decoder.options.audio_context == "auto" else N_FRAMES
        if n_frames < N_FRAMES or sequence.is_provisional:
            result = yield from self._decode_frames(sequence, window, n_frames, decoder.first_attempt)
            if looks_right(result, decoder.options):
                return result
            if sequence.is_provisional:
                is_loop = result.is_cut or is_repetitive(result, decoder.options)
                return replace(result, tokens=[], text="") if is_loop else result
        # a better text would be dropped, too
        is_once = sequence.text_filter is not None and sequence.text_filter.has_no_speech(window)
        decode = decoder.first_attempt if is_once else decoder.decoding
        return (yield from self._decode_frames(sequence, window, N_FRAMES, decode))

    def _decode_frames(
        self,
        sequence: WindowSequence,
        window: SeekWindow,
        n_frames: int,
        decode: Callable[[AudioSlot, FloatArray, Request], Decoding[DecodingResult]],
    ) -> Decoding[DecodingResult]:
        """Encode the first `n_frames` frames of a window, and decode them."""
        features = encode_window(self._decoder.model, window, n_frames, self._check_cancelled)
        language = sequence.tokenizer.language
        if self._detector is not None:
            (language,) = self._detector.detect(features[None])
        max_tokens = most_tokens(window.duration) if sequence.is_provisional else None
        stops_at_loop = self._decoder.options.hallucination_filter
        request = Request(
            *(window.prompt, language, window.prefix, window.draft, window.text_until, max_tokens, stops_at_loop)
        )
        with self._batch.slot(features) as slot:
            return (yield from decode(slot, features, request))

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

    def _take_all(self) -> Iterator[tuple[WindowSequence, list[Segment]]]:
        """Yield every slot's segments, and remove the slots of sequences that have ended."""
        slots, self._slots = self._slots, [slot for slot in self._slots if slot.window is not None]
        for slot in slots:
            segments, slot.segments = slot.segments, []
            if segments or slot.window is None:
                yield slot.sequence, segments
