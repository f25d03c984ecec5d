"""Windows decoded in sequence: the seek loop of openai-whisper's transcribe.py.

A window is at most 30 s of a recording (`chunk_length`). Its text decides where the next one starts, so the windows of
one sequence are decoded one after another; `batch` decodes windows of several sequences together.

Where the seek is decided: `WindowSequence.next_window` returns the window at `seek`, and `WindowSequence.advance` takes
its decoded text and moves `seek`. The rules, in the order in which `advance` applies them:

1. A silent window is skipped as a whole (`fallback.is_silence`).
2. Without word timestamps, the next window starts at the last timestamp if text follows it, otherwise after this window
   (`split_segments`).
3. With word timestamps, the next window starts at the end of the last word if the text ends without a timestamp
   (`_covered_frames`). With `word_timing="openai"`, it does so unless the text ends with a single timestamp, that is,
   one that does not follow another (`_openai_seek`).
4. `hallucination.filter_hallucinations` may move the seek to skip silence.
5. In a batch of slices of one recording, the next window does not start in the last 0.3 s of this one (`REST`).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..audio import FRAMES_PER_SECOND, N_FRAMES, pad_or_trim
from ..errors import AudioError
from ..model.encoder import TIME_STRIDE
from ..tokenizer import Tokenizer
from .bounds import clamp_segments, clamp_timed_segments
from .decode import DecodingResult, FloatArray
from .fallback import is_silence, needs_fallback
from .hallucination import FilteredSegments, filter_hallucinations
from .options import TranscribeOptions
from .prompts import PromptContext
from .record import changed
from .results import DroppedText, DropReason, Segment
from .window_text import SeekWindow, split_segments
from .word_timestamps.loudness import Loudness

_log = logging.getLogger(__name__)

REST = 30  # frames at the end of a slice that are not decoded again by themselves: 0.3 s
MIN_STEP = 20  # frames: the least by which the seek advances if word times determine it
MIN_STEP_AT_LOOP = 500  # frames: the least to a timestamp before a repetition for the seek to continue there


@dataclass(frozen=True)
class EncodedWindow:
    """The features of a window, from the detection of the language."""

    seek: int  # as in SeekWindow
    size: int
    features: FloatArray  # (n_ctx, n_audio_state)


class FrameReader(Protocol):
    """A log-mel spectrogram that is read forward."""

    def read(self, start: int, size: int) -> FloatArray:
        """Return frames `start` to `start + size`, `(n_mels, size)`. Frames before `start` may be discarded."""


class WindowSequence:
    """Windows of one recording, or of one slice of it, each of which starts where the one before it ends.

    Call `next_window`, decode the window, pass the result to `advance`, and so on until `next_window` returns None. At
    the end the sequence releases its spectrogram. `error` is set if the recording could not be read to the end.
    """

    def __init__(
        self,
        frames: FrameReader | None,
        clips: Sequence[tuple[int, int]],
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        context: PromptContext,
        content_frames: int,
    ) -> None:
        """Make a sequence.

        Args:
            frames: The spectrogram; None for an empty sequence.
            clips: First frame and end frame of each stretch to transcribe.
            tokenizer: For the sequence's language and task.
            options: Those of the transcription.
            context: The prompts.
            content_frames: Frames of the whole recording, without padding.
        """
        self.frames = frames  # None at the end
        self.clips = list(clips)
        self.tokenizer = tokenizer
        self.options = options
        self.context = context
        self.content_frames = content_frames
        self.clip = 0  # index in `clips`
        self.seek = self.clips[0][0] if self.clips else 0
        self.encoded: EncodedWindow | None = None  # if it is one of the sequence's windows, it is not encoded again
        self.draft: tuple[int, ...] = ()  # tokens that the text of the next window is expected to begin with
        # its text is only a guess, which is decoded once, and dropped if it repeats itself
        self.is_provisional = False
        self.last_word_end = 0.0  # seconds: end of the last word before the window
        self.last_segment_end = 0.0  # seconds: end of the last segment before the window
        self.text_filter: TextFilter | None = None  # with `hallucination_filter`
        self.dropped: list[DroppedText] = []  # what it dropped, until `RecordingInfo` takes it
        self.error: AudioError | None = None
        # called by `advance` with the window, its text and its segments
        self.on_decoded: Callable[[SeekWindow, DecodingResult, list[Segment]], object] | None = None
        # where the sequence belongs among those of its recording, see `RecordingInfo`
        self.recording = 0  # index of the recording, if several are transcribed together
        self.channel = 0  # index of the channel, if channels are transcribed separately
        self.is_last = False  # the channel has no further sequences
        self.clip_number = 0  # index of the clip that this is a slice of, in the order asked for
        self.ends_clip = False  # this is the clip's last slice
        self.next_start: int | None = None  # first frame of the channel's next sequence, if known

    @property
    def ended(self) -> bool:
        """Whether there are no more windows."""
        return self.frames is None

    def cancel(self) -> None:
        """Let the sequence end before its next window."""
        self.frames = None

    def next_window(self) -> SeekWindow | None:
        """Return the window at `seek`, or None at the end or after a read error. Takes the context's next prompt."""
        while self.clip < len(self.clips) and self.seek >= min(self.clips[self.clip][1], self.content_frames):
            self.clip += 1
            if self.clip < len(self.clips):
                self.seek = self.clips[self.clip][0]  # also back, after a timestamp beyond the end of the clip
        if self.frames is None or self.clip == len(self.clips):
            self.frames = None
            return None
        size = min(self.options.window_frames, self._clip_end - self.seek)
        try:
            mel = pad_or_trim(self.frames.read(self.seek, size), N_FRAMES)
        except AudioError as error:
            self.error, self.frames = error, None
            return None
        encoded, self.encoded = self.encoded, None
        is_encoded = encoded is not None and (encoded.seek, encoded.size) == (self.seek, size)
        features = encoded.features if encoded is not None and is_encoded else None
        draft, self.draft = self.draft, ()
        # the end of a slice is a pause, so that the text can go on until there
        is_slice = self.options.batch_size is not None
        text_until = (size - REST) // TIME_STRIDE if is_slice else None
        return SeekWindow(self.seek, size, mel, *self.context.next_prompt(), features, draft, text_until)

    @property
    def _clip_end(self) -> int:
        return min(self.clips[self.clip][1], self.content_frames)

    def advance(self, window: SeekWindow, result: DecodingResult, aligner: "Aligner | None" = None) -> list[Segment]:
        """Return the window's segments and move `seek` to the start of the next window.

        Args:
            window: The one that `next_window` returned last.
            result: Its decoded text.
            aligner: Adds word times to the segments; None without word timestamps.
        """
        n_dropped = len(self.dropped)
        if is_silence(result, self.options):
            _log.debug(
                "skipped the window at %.2f s as silence: no-speech probability %.3f, mean log-probability %.3f",
                *(window.start, result.no_speech_prob, result.avg_logprob),
            )
            if self.text_filter is not None:
                self._drop(split_segments(result, window, self.tokenizer).segments, "silent_window", result)
            if len(self.dropped) > n_dropped:
                self.context.clear()
            self.seek = window.seek + window.size
            return []
        if self.text_filter is not None:
            result, repetition = self.text_filter.cut_repetition(window, result, self.tokenizer)
            self.dropped += [repetition] if repetition else []
        if aligner is None:
            placed = self._place(window, result)
        elif self.options.word_timing == "openai":
            placed = self._place_by_openai_words(window, result, aligner)
        else:
            placed = self._place_by_words(window, result, aligner)
        self.seek = placed.seek
        if window.text_until is not None and self.seek >= window.seek + TIME_STRIDE * window.text_until:
            self.seek = window.seek + window.size
        if len(self.dropped) > n_dropped and self.seek < window.seek + MIN_STEP_AT_LOOP:
            self.seek = window.seek + window.size  # the same sound would be decoded again and again
        self._drop(placed.anomalous, "anomalous_words", result)
        if placed.is_rejected:
            return []
        segments = placed.segments
        if self.text_filter is not None:
            unspoken = self.text_filter.unspoken(segments, window, result, self.tokenizer)
            self._drop(unspoken, "no_speech", result)
            segments = [segment for segment in segments if not any(segment is each for each in unspoken)]
        if segments:
            self.last_segment_end = segments[-1].end
        self.context.add([token for segment in segments for token in segment.tokens])
        is_unsure = result.temperature > self.options.prompt_reset_on_temperature
        if self.text_filter is not None:
            is_second_attempt = result.temperature > self.options.temperatures[0]
            is_unsure |= is_second_attempt or needs_fallback(result, self.options) or len(self.dropped) > n_dropped
        if is_unsure or not self.options.condition_on_previous_text:
            self.context.clear()
        if self.on_decoded is not None:
            self.on_decoded(window, result, segments)
        return segments

    def _drop(self, segments: Sequence[Segment], reason: DropReason, result: DecodingResult) -> None:
        """Record segments that are left out."""
        if self.text_filter is not None:
            self.dropped += self.text_filter.dropped(segments, reason, result, self.tokenizer)

    def _place(self, window: SeekWindow, result: DecodingResult) -> "PlacedSegments":
        """Divide the text by its timestamps alone."""
        text = split_segments(result, window, self.tokenizer)
        segments = self._clamped([_clear_if_empty(segment) for segment in text.segments], window)
        return PlacedSegments(segments, window.seek + text.n_frames)

    def _place_by_words(self, window: SeekWindow, result: DecodingResult, aligner: "Aligner") -> "PlacedSegments":
        """Add word times and continue after the last word if the text does not say where it ends."""
        text = split_segments(result, window, self.tokenizer, continues=result.is_cut)
        seek = window.seek + text.n_frames
        segments = self._clamped([_clear_if_empty(segment) for segment in text.segments], window)
        segments = aligner(segments, window, result, self.tokenizer, self.last_segment_end, text.end_is_unknown)
        if text.end_is_unknown:
            is_last = window.seek + window.size >= self._clip_end
            seek = window.seek + _covered_frames(segments, window, is_last)
        filtered = self._filtered(segments, window)
        if filtered.seek is not None:
            seek = max(window.seek + MIN_STEP, round(filtered.seek * FRAMES_PER_SECOND))
        if not filtered.is_rejected:
            self.last_word_end = next(
                (s.words[-1].end for s in reversed(filtered.segments) if s.words), self.last_word_end
            )
        return PlacedSegments(
            filtered.segments, seek, segments[len(filtered.segments) :], is_rejected=filtered.is_rejected
        )

    def _place_by_openai_words(
        self, window: SeekWindow, result: DecodingResult, aligner: "Aligner"
    ) -> "PlacedSegments":
        """Add openai-whisper's word times and follow its seek rules, in its order: segments are cleared last."""
        text = split_segments(result, window, self.tokenizer)
        segments = aligner(text.segments, window, result, self.tokenizer, self.last_word_end, text.end_is_unknown)
        seek = window.seek + text.n_frames
        if not text.ends_with_single_timestamp:
            seek = self._openai_seek(segments, window, seek)
        filtered = self._filtered(segments, window)
        anomalous = segments[len(filtered.segments) :]
        if filtered.seek is not None:
            # both round as openai-whisper does
            seek = window.seek + round((filtered.seek - window.start) * FRAMES_PER_SECOND)
            if not filtered.is_rejected:
                seek = round(filtered.seek * FRAMES_PER_SECOND)
        if seek <= window.seek:  # openai-whisper would decode the same window forever
            seek = window.seek + window.size
        if not filtered.is_rejected and filtered.segments:
            self.last_word_end = _last_end(filtered.segments)
        segments = [_clear_if_empty(segment) for segment in filtered.segments]
        if self.options.clamps_times:
            segments = clamp_timed_segments(segments, max(window.start, self.last_segment_end), window.end)
        return PlacedSegments(segments, seek, anomalous, is_rejected=filtered.is_rejected)

    def _openai_seek(self, segments: Sequence[Segment], window: SeekWindow, seek: int) -> int:
        """Return the frame at which openai-whisper continues after a text that ends without a single timestamp."""
        end = _last_end(segments)
        if end <= window.start:
            return seek
        threshold = self.options.hallucination_silence_threshold
        if threshold is not None and window.start + self.options.chunk_length - end <= threshold:
            return window.seek + window.size
        return round(end * FRAMES_PER_SECOND)

    def _clamped(self, segments: list[Segment], window: SeekWindow) -> list[Segment]:
        if not self.options.clamps_times:
            return segments
        return clamp_segments(segments, max(window.start, self.last_segment_end), window.end)

    def _filtered(self, segments: list[Segment], window: SeekWindow) -> FilteredSegments:
        threshold = self.options.hallucination_silence_threshold
        if threshold is None:
            return FilteredSegments(segments)
        recording_end = self.content_frames / FRAMES_PER_SECOND
        return filter_hallucinations(
            segments,
            window.start,
            window.duration,
            self.last_word_end,
            recording_end,
            threshold,
            self.options.chunk_length,
        )


@dataclass(frozen=True)
class PlacedSegments:
    """A window's segments with their times, and where the next window starts."""

    segments: list[Segment]
    seek: int  # frame of the recording
    anomalous: Sequence[Segment] = ()  # those that `hallucination_silence_threshold` dropped
    is_rejected: bool = False  # the text is dropped; the next window neither follows it nor is prompted by it


class TextFilter(Protocol):
    """Finds text that nobody says in a recording's windows: `SpokenTextFilter`."""

    def has_no_speech(self, window: SeekWindow) -> bool:
        """Return whether any text of a window would be unspoken, however certain."""

    def cut_repetition(
        self, window: SeekWindow, result: DecodingResult, tokenizer: Tokenizer
    ) -> tuple[DecodingResult, DroppedText | None]:
        """Return a window's text without the copies that it ends with, and these, if there are any."""

    def unspoken(
        self, segments: Sequence[Segment], window: SeekWindow, result: DecodingResult, tokenizer: Tokenizer
    ) -> list[Segment]:
        """Return those of a window's segments that nobody says."""

    def dropped(
        self, segments: Sequence[Segment], reason: DropReason, result: DecodingResult, tokenizer: Tokenizer
    ) -> list[DroppedText]:
        """Return what is to be recorded of segments that are dropped."""


class Aligner(Protocol):
    """Adds word times to a window's segments: `add_words` or, with `word_timing="openai"`, `add_openai_words`."""

    def __call__(
        self,
        segments: list[Segment],
        window: SeekWindow,
        result: DecodingResult,
        tokenizer: Tokenizer,
        previous_end: float,
        end_is_unknown: bool,
    ) -> list[Segment]:
        """Return the segments with their words.

        Args:
            segments: In order.
            window: The window that they are the text of.
            result: The decoded text, with the audio features.
            tokenizer: For the sequence's task.
            previous_end: Seconds of the recording at which the text before the window ends.
            end_is_unknown: The text ended without a timestamp, see `WindowText`.
        """


def _clear_if_empty(segment: Segment) -> Segment:
    """Remove the text and words of a segment that has no duration or only whitespace, as openai-whisper does."""
    if segment.start != segment.end and segment.text.strip():
        return segment
    return changed(segment, text="", tokens=[], words=None if segment.words is None else [])


def _last_end(segments: Sequence[Segment]) -> float:
    """Return the end of the last word in seconds, or of the last segment if there are no words, as `get_end` there."""
    return next((s.words[-1].end for s in reversed(segments) if s.words), segments[-1].end)


def _covered_frames(segments: Sequence[Segment], window: SeekWindow, is_last: bool) -> int:
    """Return the frames up to the end of the last word, or all of the window's if no speech seems to follow."""
    words = [word for segment in segments for word in segment.words or ()]
    spans = [
        (round((word.start - window.start) * FRAMES_PER_SECOND), round((word.end - window.start) * FRAMES_PER_SECOND))
        for word in words
    ]
    if not spans or not MIN_STEP <= spans[-1][1] < window.size:
        return window.size
    n = spans[-1][1]
    return n if Loudness(window.mel[:, : window.size]).has_speech_after(spans, n, is_last) else window.size
