"""BatchedInferencePipeline: several windows of a recording decoded at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .. import audio as sound
from ..audio import CHUNK_LENGTH, SAMPLE_RATE, AudioLike, vad_kind
from ..audio.samples import MIX, Channel
from ..errors import OptionError
from ..inference.options import APPENDED, PREPENDED, SpeakersLike, TranscribeOptions
from ..option_docs import described_by
from ..option_values import kinds_of, optional, parse, shown, whole
from ..tokenizer import Task
from .results import Segment, TranscriptionInfo, VadOptions
from .transcribe import SUPPRESSED, TEMPERATURES, Clips, WhisperModel

# faster-whisper's batched pipeline cuts a recording at pauses of at least this length
BATCH_SILENCE_MS = 160


class BatchedInferencePipeline:
    """A model with faster-whisper's method for decoding several windows of a recording at once."""

    def __init__(self, model: WhisperModel) -> None:
        """Use a model, which may be shared with other pipelines."""
        if not isinstance(model, WhisperModel):
            raise OptionError(f"model must be a WhisperModel, not {shown(model)}")
        self.model = model

    def __repr__(self) -> str:
        return f"BatchedInferencePipeline({self.model!r})"

    @described_by(WhisperModel.transcribe)
    def transcribe(
        self,
        audio: AudioLike,
        language: str | None = None,
        task: Task = "transcribe",
        log_progress: bool = False,
        beam_size: int = 5,
        best_of: int = 5,
        patience: float = 1,
        length_penalty: float = 1,
        repetition_penalty: float = 1,
        no_repeat_ngram_size: int = 0,
        temperature: float | Iterable[float] = TEMPERATURES,
        compression_ratio_threshold: float | None = 2.4,
        log_prob_threshold: float | None = -1.0,
        no_speech_threshold: float | None = 0.6,
        condition_on_previous_text: bool = True,
        prompt_reset_on_temperature: float = 0.5,
        initial_prompt: str | Iterable[int] | None = None,
        prefix: str | Iterable[int] | None = None,
        suppress_blank: bool = True,
        suppress_tokens: Iterable[int] | None = SUPPRESSED,
        without_timestamps: bool = True,
        max_initial_timestamp: float | None = 1.0,
        word_timestamps: bool = False,
        prepend_punctuations: str = PREPENDED,
        append_punctuations: str = APPENDED,
        multilingual: bool = False,
        vad_filter: bool = True,
        vad_parameters: VadOptions | sound.VadOptions | Mapping[str, Any] | None = None,
        max_new_tokens: int | None = None,
        chunk_length: int | None = None,
        clip_timestamps: Clips = None,
        hallucination_silence_threshold: float | None = None,
        batch_size: int = 8,
        hotwords: str | Sequence[str] | None = None,
        language_detection_threshold: float | None = 0.5,
        language_detection_segments: int = 1,
        *,
        sampling_rate: float = SAMPLE_RATE,
        channel: Channel = MIX,
        track: int | None = None,
        strict: bool = False,
        speakers: SpeakersLike | None = None,
        hallucination_filter: bool = False,
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """Transcribe a recording, several windows at once. See `WhisperModel.transcribe`.

        Windows are not given the text before them. Without timestamps, a text may stop before its window does. The rest
        of the window is then not transcribed, unless `word_timestamps=True` or `without_timestamps=False` is given.

        Args:
            audio: The recording, as `load_audio` takes it.
            language: Language spoken, as a code or an English name. None detects it.
            task: "transcribe", or "translate" into English.
            condition_on_previous_text: Accepted for scripts written for faster-whisper; it has no effect.
            prompt_reset_on_temperature: Likewise.
            initial_prompt: Text or tokens given to every window as the text before it.
            without_timestamps: Whether to decode without timestamp tokens.
            vad_filter: Whether to leave out parts without speech.
            vad_parameters: A VadOptions or a dictionary of its fields. Defaults that differ from VadOptions are speech
                of at most `chunk_length` (`max_speech_duration_s`) and pauses of at least 160 ms
                (`min_silence_duration_ms`).
            clip_timestamps: Parts to transcribe, as a list of `{"start": seconds, "end": seconds}`, in any order, which
                is that of their segments. They may overlap.
            batch_size: Number of windows decoded at once.

        Returns:
            An iterator of segments, numbered from 1, and what is known of the recording.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: An option has a value that is not allowed, or conflicts with another.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "audio", "batch_size")}
        batch_size = parse("batch_size", whole(1), batch_size)
        seconds = parse("chunk_length", optional(kinds_of(TranscribeOptions)["chunk_length"]), chunk_length)
        pieces = vad_kind(
            max_speech_duration_s=float(seconds or CHUNK_LENGTH), min_silence_duration_ms=BATCH_SILENCE_MS
        )
        if isinstance(vad_parameters, VadOptions):
            vad_parameters = asdict(vad_parameters)
        given["vad_parameters"] = parse("vad_parameters", pieces, vad_parameters)
        return self.model._transcribe(audio, given, batch_size)
