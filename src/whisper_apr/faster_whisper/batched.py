"""BatchedInferencePipeline: several windows of a recording decoded at once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from ..audio import CHUNK_LENGTH, AudioLike, VadOptions, vad_kind
from ..audio.samples import Channel
from ..errors import OptionError
from ..inference.results import Segment
from ..option_docs import list_options
from ..option_values import parse, shown, whole
from ..tokenizer import Task
from .transcribe import Clips, TranscriptionInfo, WhisperModel

# faster-whisper's batched pipeline cuts a recording at pauses of at least this length
BATCH_SILENCE_MS = 160


class BatchedKeywords(TypedDict, total=False):
    """Parameters of `WhisperModel.transcribe` that `BatchedInferencePipeline.transcribe` passes on."""

    log_progress: bool
    beam_size: int
    best_of: int
    patience: float
    length_penalty: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    temperature: float | Iterable[float]
    compression_ratio_threshold: float | None
    log_prob_threshold: float | None
    no_speech_threshold: float | None
    condition_on_previous_text: bool
    prompt_reset_on_temperature: float
    initial_prompt: str | Iterable[int] | None
    prefix: str | Iterable[int] | None
    suppress_blank: bool
    suppress_tokens: Iterable[int] | None
    max_initial_timestamp: float | None
    word_timestamps: bool
    prepend_punctuations: str
    append_punctuations: str
    multilingual: bool
    max_new_tokens: int | None
    chunk_length: int | None
    hallucination_silence_threshold: float | None
    hotwords: str | Sequence[str] | None
    language_detection_threshold: float | None
    language_detection_segments: int
    sampling_rate: float
    channel: Channel
    track: int | None
    strict: bool


class BatchedInferencePipeline:
    """A model with faster-whisper's method for decoding several windows of a recording at once."""

    def __init__(self, model: WhisperModel) -> None:
        """Use a model, which may be shared with other pipelines."""
        if not isinstance(model, WhisperModel):
            raise OptionError(f"model must be a WhisperModel, not {shown(model)}")
        self.model = model

    def __repr__(self) -> str:
        return f"BatchedInferencePipeline({self.model!r})"

    @list_options(WhisperModel.transcribe)
    def transcribe(
        self,
        audio: AudioLike,
        language: str | None = None,
        task: Task = "transcribe",
        *,
        batch_size: int = 8,
        without_timestamps: bool = True,
        vad_filter: bool = True,
        vad_parameters: VadOptions | Mapping[str, Any] | None = None,
        clip_timestamps: Clips = None,
        **options: Unpack[BatchedKeywords],
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """Transcribe a recording, several windows at once. See `WhisperModel.transcribe`.

        Without timestamps, a text may stop before its window does. The rest of the window is then not transcribed,
        unless `word_timestamps=True` or `without_timestamps=False` is given.

        Args:
            audio: The recording, as `load_audio` takes it.
            language: Language spoken, as a code or an English name. None detects it.
            task: "transcribe", or "translate" into English.
            batch_size: Number of windows decoded at once.
            without_timestamps: Whether to decode without timestamp tokens.
            vad_filter: Whether to leave out parts without speech.
            vad_parameters: A VadOptions or a dictionary of its fields. Defaults that differ from VadOptions are speech
                of at most 30 s (`max_speech_duration_s`) and pauses of at least 160 ms (`min_silence_duration_ms`).
            clip_timestamps: Parts to transcribe, as a list of `{"start": seconds, "end": seconds}`, in any order, which
                is that of their segments. They may overlap.
            **options: The other options of `WhisperModel.transcribe`.

        Returns:
            An iterator of segments, numbered from 1, and what is known of the recording.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: An option has a value that is not allowed, or conflicts with another.
        """
        batch_size = parse("batch_size", whole(1), batch_size)
        pieces = vad_kind(max_speech_duration_s=float(CHUNK_LENGTH), min_silence_duration_ms=BATCH_SILENCE_MS)
        return self.model.transcribe(
            audio,
            language,
            task,
            batch_size=batch_size,
            without_timestamps=without_timestamps,
            vad_filter=vad_filter,
            vad_parameters=parse("vad_parameters", pieces, vad_parameters),
            clip_timestamps=clip_timestamps,
            **options,
        )
