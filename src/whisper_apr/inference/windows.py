"""A passage of a recording: windows that are decoded in order, because each one begins where the one before it lets it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..audio import HOP_LENGTH, N_FRAMES, SAMPLE_RATE, pad_or_trim
from ..errors import AudioError
from ..model.encoder import TIME_STRIDE
from ..tokenizer import Tokenizer
from .bounds import clamp_segments
from .decode import DecodingResult, FloatArray
from .fallback import is_silence
from .hallucination import without_hallucinations
from .options import TranscribeOptions
from .results import Segment
from .word_timestamps.loudness import Loudness

_log = logging.getLogger(__name__)

FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH
SECONDS_PER_POSITION = TIME_STRIDE * HOP_LENGTH / SAMPLE_RATE
RELIABLE_TEMPERATURE = 0.5  # text sampled above it is not told to the next window
SHORTEST_STEP = 20  # frames at least between two windows' beginnings, where words say where the next one begins


@dataclass(frozen=True)
class SeekWindow:
    seek: int  # where it begins, in frames of the recording
    size: int  # its frames; what is missing to 30 s was filled up
    mel: FloatArray  # (n_mels, 3000)
    prompt: tuple[int, ...]  # the text before it
    prefix: tuple[int, ...] = ()  # tokens that its result must begin with

    @property
    def start(self) -> float:
        return self.seek * HOP_LENGTH / SAMPLE_RATE

    @property
    def duration(self) -> float:
        return self.size * HOP_LENGTH / SAMPLE_RATE

    @property
    def end(self) -> float:
        return (self.seek + self.size) * HOP_LENGTH / SAMPLE_RATE


class Frames(Protocol):
    def window(self, start: int, size: int) -> FloatArray:
        """Frames of the recording's spectrogram, `(n_mels, size)`."""


class Context:
    """The tokens that each window of a passage is given besides its sound.

    Args:
        always: tokens put before every window.
        before: tokens put before the first window, after `always`; the text of earlier windows follows them.
        room: the most tokens that a prompt may have; less where there is a prefix.
        prefix: tokens that the first window's result begins with.
    """

    def __init__(self, always: Sequence[int], before: Sequence[int], room: int, prefix: Sequence[int] = ()) -> None:
        self.always = list(always)
        self.recent = list(before)
        self.room = room
        self._prefix = tuple(prefix)

    def take(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the next window's prompt and prefix. Only the first window has a prefix, which leaves its prompt less room."""
        prefix, self._prefix = self._prefix, ()
        room = max(0, self.room - len(prefix))
        always = self.always[max(0, len(self.always) - room) :]
        recent = self.recent[max(0, len(self.recent) - (room - len(always))) :]
        return (*always, *recent), prefix

    def add(self, tokens: Sequence[int]) -> None:
        self.recent = [*self.recent, *tokens][-max(1, self.room) :]

    def forget(self) -> None:
        self.recent = []


class WindowSequence:
    """Stretches of a recording, in frames, and how far they have come. `window` says what is to be decoded, `settle` takes the result.

    At its end the recording is let go. `error` says why it could not be read to there.
    """

    def __init__(
        self,
        frames: Frames | None,
        clips: Sequence[tuple[int, int]],
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        context: Context,
        content_frames: int,
    ) -> None:
        self.frames = frames  # None at the end
        self.clips = list(clips)
        self.tokenizer = tokenizer
        self.options = options
        self.context = context
        self.content_frames = content_frames
        self.clip = 0
        self.seek = self.clips[0][0] if self.clips else 0
        self.last_speech = 0.0  # seconds: where the last word before the window ends
        self.until = 0.0  # seconds: where the last segment before the window ends
        self.error: AudioError | None = None
        self.place = (
            0  # of passages that are decoded in another order than was asked for: the number of what this is a part of
        )
        self.ends_place = False  # whether it is the last part
        self.next_start: int | None = None  # the frame at which the channel's next passage begins, where that is known
        self.recording = 0  # the number of the recording, of several that are transcribed together
        self.channel = 0  # the number of its channel, of those that are transcribed apart from each other
        self.is_last = False  # whether it is the last one of its channel

    @property
    def ended(self) -> bool:
        return self.frames is None

    def window(self) -> SeekWindow | None:
        """The next one; None at the end, and where no more can be read."""
        while self.clip < len(self.clips) and self.seek >= min(self.clips[self.clip][1], self.content_frames):
            self.clip += 1
            if self.clip < len(self.clips):
                self.seek = self.clips[self.clip][0]  # back, too, where a timestamp lay beyond the clip before
        if self.frames is None or self.clip == len(self.clips):
            self.frames = None
            return None
        size = min(N_FRAMES, self.content_frames - self.seek, self.clips[self.clip][1] - self.seek)
        try:
            mel = pad_or_trim(self.frames.window(self.seek, size), N_FRAMES)
        except AudioError as error:
            self.error, self.frames = error, None
            return None
        return SeekWindow(self.seek, size, mel, *self.context.take())

    def settle(self, window: SeekWindow, result: DecodingResult, aligner: "Aligner | None" = None) -> list[Segment]:
        """The window's segments; the next window begins after them."""
        if is_silence(result, self.options):
            _log.debug(
                "skipped the window at %.2f s as silence: no-speech probability %.3f, mean log-probability %.3f",
                *(window.start, result.no_speech_prob, result.avg_logprob),
            )
            self.seek += window.size
            return []
        # without words, the window is left where openai-whisper leaves it
        text = cut(result, window, self.tokenizer, goes_on=result.is_cut and aligner is not None)
        self.seek = window.seek + text.n_done
        segments = [_without_nothing(segment) for segment in text.segments]
        if self.options.clamps_times:
            segments = clamp_segments(segments, max(window.start, self.until), window.end)
        if aligner is not None:
            earliest = max(window.start, self.until)
            segments = aligner(segments, window, result, self.tokenizer, earliest, text.is_open)
            if text.is_open:
                is_last = window.seek + window.size >= min(self.clips[self.clip][1], self.content_frames)
                self.seek = window.seek + _n_heard(segments, window, is_last)
            threshold = self.options.hallucination_silence_threshold
            if threshold is not None:
                end = self.content_frames / FRAMES_PER_SECOND
                kept = without_hallucinations(segments, window.start, window.duration, self.last_speech, end, threshold)
                if kept.seek is not None:
                    self.seek = max(window.seek + SHORTEST_STEP, round(kept.seek * FRAMES_PER_SECOND))
                if kept.is_rejected:
                    return []
                segments = kept.segments
            self.last_speech = next((s.words[-1].end for s in reversed(segments) if s.words), self.last_speech)
        self.until = segments[-1].end if segments else self.until
        self.context.add([token for segment in segments for token in segment.tokens])
        if not self.options.condition_on_previous_text or result.temperature > RELIABLE_TEMPERATURE:
            self.context.forget()
        return segments


class Aligner(Protocol):
    def __call__(
        self,
        segments: list[Segment],
        window: SeekWindow,
        result: DecodingResult,
        tokenizer: Tokenizer,
        earliest: float,
        is_open: bool,
    ) -> list[Segment]:
        """See `words.add_words`."""


def _without_nothing(segment: Segment) -> Segment:
    """A segment of no length or no text becomes empty."""
    if segment.start != segment.end and segment.text.strip():
        return segment
    return replace(segment, text="", tokens=(), words=None if segment.words is None else ())


def _n_heard(segments: Sequence[Segment], window: SeekWindow, is_last: bool) -> int:
    """Count the frames up to the last word's end, or all of the window's where nothing that may be speech follows it."""
    words = [word for segment in segments for word in segment.words or ()]
    spans = [
        (round((word.start - window.start) * FRAMES_PER_SECOND), round((word.end - window.start) * FRAMES_PER_SECOND))
        for word in words
    ]
    if not spans or not SHORTEST_STEP <= spans[-1][1] < window.size:
        return window.size
    n = spans[-1][1]
    return n if Loudness(window.mel[:, : window.size]).has_speech_after(spans, n, is_last) else window.size


@dataclass(frozen=True)
class WindowText:
    """A window's text in segments, as its timestamps divide it."""

    segments: list[Segment]
    n_done: int  # frames of the window after which the next one begins
    is_open: bool  # it stopped without a timestamp: where it ends is not known; then there is one segment


def cut(result: DecodingResult, window: SeekWindow, tokenizer: Tokenizer, goes_on: bool = False) -> WindowText:
    """Cut a window's text into segments, by openai-whisper's rules.

    The next window begins at the last timestamp where text goes on after it, else behind this window. `goes_on`: it does, although this
    text ends there.
    """
    begin, tokens = tokenizer.timestamp_begin, result.tokens
    stamped = [token >= begin for token in tokens]

    def segment(start: float, end: float, part: Sequence[int]) -> Segment:
        return Segment(
            id=0,
            seek=window.seek,
            start=start,
            end=end,
            text=tokenizer.decode([token for token in part if token < tokenizer.eot]),
            tokens=tuple(part),
            temperature=result.temperature,
            avg_logprob=result.avg_logprob,
            compression_ratio=result.compression_ratio,
            no_speech_prob=result.no_speech_prob,
        )

    def time(token: int) -> float:
        return window.start + (token - begin) * SECONDS_PER_POSITION

    def done(last: int) -> int:
        # nothing is done only where tokens break the rules on timestamps: then this window is passed, as none could follow it
        return (tokens[last] - begin) * TIME_STRIDE or window.size

    ends_with_one = stamped[-2:] == [False, True]
    cuts = [i + 1 for i in range(len(tokens) - 1) if stamped[i] and stamped[i + 1]]
    if cuts:
        if ends_with_one:
            cuts.append(len(tokens))
        parts = [tokens[first:last] for first, last in zip([0, *cuts], cuts, strict=False)]
        segments = [segment(time(part[0]), time(part[-1]), part) for part in parts]
        n_done = done(cuts[-1] - 1) if goes_on or not ends_with_one else window.size
        return WindowText(segments, n_done, is_open=False)
    stamps = [i for i in range(len(tokens)) if stamped[i]]
    end = time(tokens[stamps[-1]]) if stamps and tokens[stamps[-1]] != begin else window.end
    n_done = done(stamps[-1]) if goes_on and ends_with_one else window.size
    return WindowText([segment(window.start, end, tokens)], n_done, is_open=not ends_with_one)
