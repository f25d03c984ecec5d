"""A recording of any length becomes segments, window by window, by openai-whisper's rules."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from os import PathLike
from typing import IO

import numpy as np
import numpy.typing as npt

from ..audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, load_audio, log_mel_spectrogram, pad_or_trim
from ..errors import OptionError
from ..model import Whisper
from ..model.encoder import TIME_STRIDE
from ..tokenizer import LANGUAGES, TO_LANGUAGE_CODE
from .decode import DecodingOptions, DecodingResult, DecodingTask, detect_language, tokenizer_of
from .results import Segment, Transcription

Source = str | PathLike[str] | bytes | IO[bytes] | npt.NDArray[np.generic]

FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH


@dataclass(frozen=True)
class TranscribeOptions:
    """How a recording is transcribed; names and defaults are openai-whisper's."""

    temperature: float | Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # each next one where a window fails
    compression_ratio_threshold: float | None = 2.4  # above it, a window's text repeats itself: it fails
    logprob_threshold: float | None = -1.0  # below it, a window's text is unlikely: it fails
    no_speech_threshold: float | None = 0.6  # above it, an unlikely text is taken for silence
    condition_on_previous_text: bool = True  # each window is told the text before it
    initial_prompt: str | None = None  # what the first window is told
    carry_initial_prompt: bool = False  # and every other one
    clip_timestamps: str | Sequence[float] = "0"  # start, end, start, end ... in seconds; the last end may be missing


@dataclass(frozen=True)
class Progress:
    """Where a transcription is: seconds of the recording."""

    done: float
    total: float


def _clips(clip_timestamps: str | Sequence[float], content_frames: int) -> list[tuple[int, int]]:
    """The stretches to transcribe, in frames."""
    if isinstance(clip_timestamps, str):
        try:
            clip_timestamps = [float(t) for t in clip_timestamps.split(",")] if clip_timestamps else []
        except ValueError:
            raise OptionError(f"clip_timestamps must be seconds with commas between, not {clip_timestamps!r}") from None
    points = [round(t * FRAMES_PER_SECOND) for t in clip_timestamps] or [0]
    if any(a > b for a, b in pairwise(points)) or points[0] < 0:
        raise OptionError(f"clip_timestamps must not be negative and must not go back: {clip_timestamps}")
    if len(points) % 2:
        points.append(content_frames)
    return list(zip(points[::2], points[1::2], strict=True))


class Transcriber:
    """One recording's way through the model. `segments` yields them as they settle; `language` is known once it has begun."""

    def __init__(
        self, model: Whisper, mel: npt.NDArray[np.float32], options: TranscribeOptions, decoding: DecodingOptions
    ) -> None:
        self.model = model
        self.mel = mel  # of the recording and 30 s of zeros after it
        self.options = options
        self.content_frames = mel.shape[-1] - N_FRAMES
        self.decoding = replace(decoding, language=self._language(decoding))
        self.tokenizer = tokenizer_of(model, self.decoding.language, decoding.task)
        self.language = self.decoding.language or "en"
        self.clips = _clips(options.clip_timestamps, self.content_frames)
        self.temperatures = _temperatures(options.temperature)
        prompt = options.initial_prompt
        self.initial_prompt = self.tokenizer.encode(" " + prompt.strip()) if prompt else []
        self.all_tokens = list(self.initial_prompt)
        self.prompt_reset_since = 0
        self.n_segment = 0

    def _language(self, decoding: DecodingOptions) -> str:
        """The language asked for, as its code, or the one that the first window is in."""
        if decoding.language is not None:
            code = decoding.language.lower()
            code = TO_LANGUAGE_CODE.get(code, code)
            if code not in LANGUAGES:
                raise OptionError(
                    f"unknown language {decoding.language!r}; whisper_apr.tokenizer.LANGUAGES lists those that exist"
                )
            if code != "en" and not self.model.is_multilingual:
                raise OptionError(f"this model knows English only, not {LANGUAGES[code]}; name a multilingual one")
            return code
        if not self.model.is_multilingual:
            return "en"
        _, probabilities = detect_language(self.model, pad_or_trim(self.mel, N_FRAMES))
        assert isinstance(probabilities, dict)  # of one window
        return max(probabilities, key=probabilities.__getitem__)

    # ---- one window ---------------------------------------------------------------------------------------------

    def _decode(
        self, window: npt.NDArray[np.float32], prompt: list[int], checkpoint: Callable[[], None]
    ) -> DecodingResult:
        """The window at the first temperature at which it does not fail; else at the last."""
        options, features = self.options, self.model.embed_audio(window)[None]
        for temperature in self.temperatures:
            changes: dict[str, object] = {"temperature": temperature, "prompt": tuple(prompt)}
            # beams belong to temperature 0, samples to the others
            changes |= {"beam_size": None, "patience": None} if temperature > 0 else {"best_of": None}
            task = DecodingTask(self.model, replace(self.decoding, **changes))  # type: ignore[arg-type]
            result = task.run(features, checkpoint)[0]
            threshold = options.compression_ratio_threshold
            failed = threshold is not None and result.compression_ratio > threshold
            unlikely = options.logprob_threshold is not None and result.avg_logprob < options.logprob_threshold
            silent = options.no_speech_threshold is not None and result.no_speech_prob > options.no_speech_threshold
            if not failed and (not unlikely or silent):
                break
        return result

    def _is_silence(self, result: DecodingResult) -> bool:
        options = self.options
        if options.no_speech_threshold is None or result.no_speech_prob <= options.no_speech_threshold:
            return False
        return options.logprob_threshold is None or result.avg_logprob <= options.logprob_threshold

    def _cut(self, result: DecodingResult, seek: int, size: int) -> tuple[list[Segment], int]:
        """A window's segments, and how many frames of it are done: up to the last timestamp where speech goes on after it."""
        begin = self.tokenizer.timestamp_begin
        per_position = TIME_STRIDE * HOP_LENGTH / SAMPLE_RATE
        tokens = result.tokens
        stamped = [t >= begin for t in tokens]
        offset, duration = seek * HOP_LENGTH / SAMPLE_RATE, size * HOP_LENGTH / SAMPLE_RATE

        def segment(start: float, end: float, part: Sequence[int]) -> Segment:
            return Segment(
                id=0,
                seek=seek,
                start=start,
                end=end,
                text=self.tokenizer.decode([t for t in part if t < self.tokenizer.eot]),
                tokens=tuple(part),
                temperature=result.temperature,
                avg_logprob=result.avg_logprob,
                compression_ratio=result.compression_ratio,
                no_speech_prob=result.no_speech_prob,
            )

        ends_with_one = stamped[-2:] == [False, True]
        cuts = [i + 1 for i in range(len(tokens) - 1) if stamped[i] and stamped[i + 1]]
        if cuts:
            if ends_with_one:
                cuts.append(len(tokens))
            segments = []
            for first, last in zip([0, *cuts], cuts, strict=False):
                part = tokens[first:last]
                segments.append(
                    segment(offset + (part[0] - begin) * per_position, offset + (part[-1] - begin) * per_position, part)
                )
            done = size if ends_with_one else (tokens[cuts[-1] - 1] - begin) * TIME_STRIDE
            return segments, done
        stamps = [t for t in tokens if t >= begin]
        if stamps and stamps[-1] != begin:
            duration = (stamps[-1] - begin) * per_position
        return [segment(offset, offset + duration, tokens)], size

    def _prompt(self) -> list[int]:
        """What the next window is told of the text before it."""
        recent = self.all_tokens[self.prompt_reset_since :]
        if not self.options.carry_initial_prompt:
            return recent
        room = self.model.dims.n_text_ctx // 2 - 1 - len(self.initial_prompt)
        recent = self.all_tokens[max(len(self.initial_prompt), self.prompt_reset_since) :]
        return self.initial_prompt + (recent[-room:] if room > 0 else [])

    # ---- the recording ------------------------------------------------------------------------------------------

    def segments(
        self, on_progress: Callable[[Progress], None] | None = None, checkpoint: Callable[[], None] = lambda: None
    ) -> Iterator[Segment]:
        total = self.content_frames / FRAMES_PER_SECOND
        for seek, end in self.clips:
            end = min(end, self.content_frames)
            while seek < end:
                size = min(N_FRAMES, end - seek)
                window = pad_or_trim(self.mel[:, seek : seek + size], N_FRAMES)
                result = self._decode(window, self._prompt(), checkpoint)
                if self._is_silence(result):
                    seek += size
                else:
                    segments, done = self._cut(result, seek, size)
                    seek += done
                    yield from self._settle(segments)
                    if not self.options.condition_on_previous_text or result.temperature > 0.5:
                        self.prompt_reset_since = len(self.all_tokens)
                if on_progress is not None:
                    on_progress(Progress(min(seek, self.content_frames) / FRAMES_PER_SECOND, total))

    def _settle(self, segments: list[Segment]) -> Iterator[Segment]:
        """Number the segments and remember their tokens; one of no length or no text becomes empty."""
        for segment in segments:
            if segment.start == segment.end or not segment.text.strip():
                segment = replace(segment, text="", tokens=())
            self.all_tokens.extend(segment.tokens)
            segment = replace(segment, id=self.n_segment)
            self.n_segment += 1
            yield segment


def _temperatures(temperature: float | Sequence[float]) -> tuple[float, ...]:
    temperatures = (float(temperature),) if isinstance(temperature, int | float) else tuple(map(float, temperature))
    if not temperatures:
        raise OptionError("temperature must be a number, or a sequence of at least one")
    return temperatures


def transcriber(model: Whisper, audio: Source, *, sampling_rate: int = SAMPLE_RATE, **options: object) -> Transcriber:
    """A recording made ready; `transcribe` says what the arguments are."""
    ours = {k: v for k, v in options.items() if k in TranscribeOptions.__dataclass_fields__}
    rest = {k: v for k, v in options.items() if k not in ours}
    unknown = sorted(set(rest) - (set(DecodingOptions.__dataclass_fields__) - {"prompt"}))
    if unknown:
        raise OptionError(f"unknown options: {', '.join(unknown)}")
    samples = load_audio(audio, sampling_rate=sampling_rate)
    mel = log_mel_spectrogram(samples, model.dims.n_mels, padding=N_SAMPLES)
    return Transcriber(model, mel, TranscribeOptions(**ours), DecodingOptions(**rest))  # type: ignore[arg-type]


def transcribe(
    model: Whisper,
    audio: Source,
    *,
    on_segment: Callable[[Segment], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Callable[[], None] = lambda: None,
    **options: object,
) -> Transcription:
    """Transcribe a recording: a path, bytes, a binary file, or samples (`sampling_rate=` says at which rate, 16,000 unless given).

    `options` are those of TranscribeOptions and DecodingOptions. `on_segment` is called with each segment as it settles, `on_progress`
    after each window, `checkpoint` before each token: what it raises ends the transcription.

    Raises AudioError for a recording that cannot be read, OptionError for an option that is unknown or not allowed.
    """
    job = transcriber(model, audio, **options)  # type: ignore[arg-type]
    segments = []
    for segment in job.segments(on_progress, checkpoint):
        segments.append(segment)
        if on_segment is not None:
            on_segment(segment)
    text = job.tokenizer.decode(job.all_tokens[len(job.initial_prompt) :])
    return Transcription(text=text, segments=tuple(segments), language=job.language)
