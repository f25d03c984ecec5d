"""A window, and its text divided into segments by its timestamps."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..audio import HOP_LENGTH, SAMPLE_RATE
from ..model.encoder import TIME_STRIDE
from ..tokenizer import Tokenizer
from .decode import DecodingResult, FloatArray
from .results import Segment

SECONDS_PER_POSITION = TIME_STRIDE * HOP_LENGTH / SAMPLE_RATE  # 0.02 s: the step of a timestamp token


@dataclass(frozen=True)
class SeekWindow:
    """A window of a recording, ready to be decoded."""

    seek: int  # its first frame, counted from the start of the recording
    size: int  # its frames; the rest of `mel` is padding
    mel: FloatArray  # (n_mels, 3000)
    prompt: tuple[int, ...]  # tokens of the text before it
    prefix: tuple[int, ...] = ()  # tokens that its text must begin with
    features: FloatArray | None = None  # (n_ctx, n_audio_state) if it was encoded already
    draft: tuple[int, ...] = ()  # tokens that its text is expected to begin with
    text_until: int | None = None  # encoder position before which its text must not end, see `ContinueUntil`

    @property
    def start(self) -> float:
        """Seconds from the start of the recording."""
        return self.seek * HOP_LENGTH / SAMPLE_RATE

    @property
    def duration(self) -> float:
        """Seconds, without the padding."""
        return self.size * HOP_LENGTH / SAMPLE_RATE

    @property
    def end(self) -> float:
        """Seconds from the start of the recording."""
        return (self.seek + self.size) * HOP_LENGTH / SAMPLE_RATE


@dataclass(frozen=True)
class WindowText:
    """A window's text, divided into segments by its timestamps."""

    segments: list[Segment]
    n_frames: int  # frames of the window that the segments cover; the next window starts after them
    ends_with_single_timestamp: bool  # the text ends with one timestamp, not two: no speech follows it
    end_is_unknown: bool  # one segment, whose text ended without a timestamp


def split_segments(
    result: DecodingResult, window: SeekWindow, tokenizer: Tokenizer, *, continues: bool = False
) -> WindowText:
    """Divide a window's text into segments at pairs of timestamps, by openai-whisper's rules.

    The next window starts at the last timestamp if text follows it, otherwise after this window.

    Args:
        result: The window's decoded text.
        window: Where it is in the recording.
        tokenizer: Knows which tokens are timestamps.
        continues: Speech follows even though the text ends with a single timestamp, because it was cut at `sample_len`.
    """
    begin, tokens = tokenizer.timestamp_begin, result.tokens
    is_timestamp = [tokenizer.is_timestamp(token) for token in tokens]

    def segment(start: float, end: float, part: Sequence[int]) -> Segment:
        return Segment(
            id=0,
            seek=window.seek,
            start=start,
            end=end,
            text=tokenizer.decode([token for token in part if tokenizer.is_text(token)]),
            tokens=part,
            temperature=result.temperature,
            avg_logprob=result.avg_logprob,
            compression_ratio=result.compression_ratio,
            no_speech_prob=result.no_speech_prob,
        )

    def time(token: int) -> float:
        return window.start + (token - begin) * SECONDS_PER_POSITION

    def frames_until(last: int) -> int:
        # 0 only if the tokens break the timestamp rules: skip the window, or it would be decoded again and again
        return (tokens[last] - begin) * TIME_STRIDE or window.size

    single = is_timestamp[-2:] == [False, True]
    ends = [i + 1 for i in range(len(tokens) - 1) if is_timestamp[i] and is_timestamp[i + 1]]
    if ends:
        if single:
            ends.append(len(tokens))
        parts = [tokens[first:last] for first, last in zip([0, *ends], ends, strict=False)]
        segments = [segment(time(part[0]), time(part[-1]), part) for part in parts]
        n_frames = frames_until(ends[-1] - 1) if continues or not single else window.size
        return WindowText(segments, n_frames, single, end_is_unknown=False)
    timestamps = [i for i in range(len(tokens)) if is_timestamp[i]]
    end = window.start + window.duration
    if timestamps and tokens[timestamps[-1]] != begin:
        end = time(tokens[timestamps[-1]])
    n_frames = frames_until(timestamps[-1]) if continues and single else window.size
    return WindowText([segment(window.start, end, tokens)], n_frames, single, end_is_unknown=not single)
