"""WhisperModel: a model with faster-whisper's methods, names and defaults."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from typing import Any, Literal, TypedDict, Unpack, cast

from .. import audio as sound
from .. import simd
from ..audio import CHUNK_LENGTH, SAMPLE_RATE, AudioLike
from ..audio.samples import MIX, Channel
from ..errors import ModelNotFoundError, OptionError
from ..hub import cached_folder, converted_files, find_model
from ..inference.options import (
    APPENDED,
    LANGUAGE,
    MAX_GROUP,
    PREPENDED,
    DecodingOptions,
    SpeakersLike,
    TranscribeOptions,
)
from ..inference.transcribe import transcriber
from ..option_values import boolean, either, kinds_of, optional, parse, path, sequence, text, whole
from ..recognizer import ComputeType, Device, Recognizer, load_model
from ..simd import FloatArray
from ..tokenizer import Task, to_language_code
from .results import Segment, TranscriptionInfo, VadOptions, by_likelihood, numbered_segments, used_options

_log = logging.getLogger(__name__)

# lists, as in faster-whisper, whose signatures are compared; they are never changed
TEMPERATURES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
SUPPRESSED = [-1]

# options of faster-whisper and their names in `transcribe`: those with another name, and those with the same
RENAMED = {
    "length_penalty": "length_exponent",
    "log_prob_threshold": "logprob_threshold",
    "prefix": "initial_prefix",
    "max_new_tokens": "sample_len",
}
UNCHANGED = (
    "language",
    "task",
    "best_of",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "temperature",
    "compression_ratio_threshold",
    "no_speech_threshold",
    "condition_on_previous_text",
    "prompt_reset_on_temperature",
    "initial_prompt",
    "suppress_blank",
    "suppress_tokens",
    "without_timestamps",
    "max_initial_timestamp",
    "word_timestamps",
    "prepend_punctuations",
    "append_punctuations",
    "multilingual",
    "vad_filter",
    "clip_timestamps",
    "hallucination_silence_threshold",
    "hotwords",
    "language_detection_segments",
)
READING = ("sampling_rate", "channel", "track", "strict")

# CTranslate2's compute types that `load_model` lacks, and those that are used for them
_COMPUTE_TYPES: dict[str, ComputeType] = {"int16": "float16", "bfloat16": "float16", "int8_bfloat16": "int8"}
FasterComputeType = ComputeType | Literal["int16", "bfloat16", "int8_bfloat16"]

Clips = str | Iterable[float | Mapping[str, float]] | None


def _expect_cached(name: str, root: str | PathLike[str] | None) -> None:
    model = find_model(name)
    if model is not None and cached_folder(model, root) is None and not converted_files(model, root):
        raise ModelNotFoundError(f"{name}: not in the cache; without local_files_only it would be downloaded")


class UnsupportedKeywords(TypedDict, total=False):
    """Arguments of faster-whisper's `WhisperModel` that must be None or empty here."""

    max_queued_batches: int
    flash_attention: bool
    tensor_parallel: bool


class WhisperModel:
    """A model with faster-whisper's methods.

    Attributes:
        recognizer: The model, as `load_model` returns it.
    """

    def __init__(
        self,
        model_size_or_path: str | PathLike[str],
        device: Device = "auto",
        device_index: int | Sequence[int] = 0,
        compute_type: FasterComputeType = "default",
        cpu_threads: int = 0,
        num_workers: int = 1,
        download_root: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        files: Mapping[str, Any] | None = None,
        revision: str | None = None,
        use_auth_token: str | bool | None = None,
        **unsupported: Unpack[UnsupportedKeywords],
    ) -> None:
        """Load a model.

        Args:
            model_size_or_path: Name, path or `org/name` of the model; see `load_model`.
            device: "cpu" or "auto".
            device_index: Accepted for scripts written for faster-whisper; it has no effect, as there is one device.
            compute_type: Type of the weights and of the KV cache; see `load_model`. CTranslate2's other types are read
                as the nearest that is as exact: "int16" and "bfloat16" as "float16", "int8_bfloat16" as "int8".
            cpu_threads: Number of threads of the whole process. 0 leaves it as it is.
            num_workers: Accepted for scripts written for faster-whisper; it has no effect, as any number of Python
                threads can use a model.
            download_root: Directory of downloaded models. None is huggingface_hub's cache.
            local_files_only: Whether to raise ModelNotFoundError instead of downloading a model.
            files: Not supported: must be None or empty. Give a path instead.
            revision: Revision of an `org/name` of the Hugging Face hub.
            use_auth_token: True, False or None, which mean the same: huggingface_hub's own token is used, that of
                HF_TOKEN or of a login.
            **unsupported: Other arguments of faster-whisper, which must be None or empty.

        Raises:
            ModelNotFoundError: No model has this name or path.
            FormatError: The file is damaged or is not a Whisper model.
            OptionError: An argument has a value that is not allowed.
        """
        if isinstance(use_auth_token, str):
            raise OptionError("use_auth_token must be True, False or None; set the token as HF_TOKEN")
        if wanted := [name for name, value in {"files": files, **unsupported}.items() if value]:
            raise OptionError(f"WhisperModel does not support the argument {', '.join(wanted)}; leave it out")
        cpu_threads = parse("cpu_threads", whole(0), cpu_threads)
        parse("device_index", either(whole(0), sequence(whole(0), "a sequence of them", least=1)), device_index)
        parse("num_workers", whole(1), num_workers)
        download_root = parse("download_root", optional(path), download_root)
        local_files_only = parse("local_files_only", boolean, local_files_only)
        revision = parse("revision", optional(text), revision)
        if isinstance(compute_type, str):
            compute_type = _COMPUTE_TYPES.get(compute_type, cast(ComputeType, compute_type))
        if cpu_threads > 0:
            simd.set_num_threads(cpu_threads)
        name = f"{model_size_or_path}@{revision}" if revision else model_size_or_path
        if local_files_only and isinstance(name, str) and not os.path.exists(name):
            _expect_cached(name, download_root)
        self.recognizer: Recognizer = load_model(
            name, device=device, download_root=download_root, compute_type=compute_type
        )

    def __repr__(self) -> str:
        return f"WhisperModel({self.recognizer!r})"

    @property
    def is_multilingual(self) -> bool:
        """Whether the model knows languages other than English."""
        return self.recognizer.is_multilingual

    @property
    def supported_languages(self) -> list[str]:
        """Codes of the languages that the model knows."""
        return list(self.recognizer.languages) if self.is_multilingual else ["en"]

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
        without_timestamps: bool = False,
        max_initial_timestamp: float | None = 1.0,
        word_timestamps: bool = False,
        prepend_punctuations: str = PREPENDED,
        append_punctuations: str = APPENDED,
        multilingual: bool = False,
        vad_filter: bool = False,
        vad_parameters: VadOptions | sound.VadOptions | Mapping[str, Any] | None = None,
        max_new_tokens: int | None = None,
        chunk_length: int | None = None,
        clip_timestamps: Clips = "0",
        hallucination_silence_threshold: float | None = None,
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
        """Transcribe a recording. The language is detected at once; segments are decoded as they are iterated over.

        Times are clamped to the recording, and text that begins after its end is dropped. A recording without samples
        has no segments.

        Args:
            audio: The recording, as `load_audio` takes it.
            language: Language spoken, as a code or an English name. None detects it. A model that knows English only
                logs a warning for another one, and for `multilingual`, and transcribes English.
            task: "transcribe", or "translate" into English.
            log_progress: Whether to show a progress bar.
            beam_size: Number of beams searched at temperature 0. 1 is greedy decoding.
            best_of: Number of samples drawn at a temperature above 0, of which the likeliest is kept.
            patience: The beam search ends once round(patience * beam_size) sequences are complete.
            length_penalty: Exponent e: candidates are ranked by log-probability over length^e. Above 1 favors longer
                texts.
            repetition_penalty: Factor that lowers the logits of tokens chosen before; 1 is none.
            no_repeat_ngram_size: Length in tokens of sequences that must not occur twice in a window; 0 is no limit.
            temperature: Temperatures at which to decode a window, one after the other, until it passes the thresholds.
            compression_ratio_threshold: A window whose text compresses by more than this ratio is decoded again.
            log_prob_threshold: A window whose mean log-probability per token is below this is decoded again.
            no_speech_threshold: A window with a no-speech probability above this, and a mean log-probability not above
                `log_prob_threshold`, is silence.
            condition_on_previous_text: Whether each window is given the text before it.
            prompt_reset_on_temperature: Text that was decoded at a temperature above this is not given to the next
                window.
            initial_prompt: Text or tokens given to the first window as the text before it.
            prefix: Text with which the first window's text begins; it is part of the result.
            suppress_blank: Whether a window's text must not begin with a space or end at once.
            suppress_tokens: Tokens that are never chosen; -1 stands for symbols that are not speech.
            without_timestamps: Whether to decode without timestamp tokens.
            max_initial_timestamp: Latest time of a window's first timestamp, in seconds.
            word_timestamps: Whether to find the times of words.
            prepend_punctuations: Punctuation that belongs to the word after it.
            append_punctuations: Punctuation that belongs to the word before it.
            multilingual: Whether to detect the language of every window anew.
            vad_filter: Whether to leave out parts without speech; ignored with `clip_timestamps`.
            vad_parameters: A VadOptions or a dictionary of its fields. None is the defaults.
            max_new_tokens: Most tokens decoded for a window. None is 224.
            chunk_length: Length of a window in seconds, 1 to 30. None is 30.
            clip_timestamps: Parts to transcribe, in seconds: start, end, start, end and so on.
            hallucination_silence_threshold: With `word_timestamps`, seconds of silence around improbable text above
                which the text is dropped.
            hotwords: Words to expect, given to every window before the prompt.
            language_detection_threshold: Probability above which the language of one window is accepted.
            language_detection_segments: Most windows used to detect the language.
            sampling_rate: Rate of samples in Hz, 1000 to 1,000,000. Files state their own.
            channel: Number of the channel to transcribe, from 0; "mix" for their mean; "each" for every one by itself.
            track: Number of the file's audio track, from 0. None is the one that a player would choose.
            strict: Whether to raise AudioError for what is otherwise an AudioWarning.
            speakers: Who speaks, as for `whisper_apr`'s `transcribe`; segments and words then have a `speaker`.
            hallucination_filter: Whether to leave out text that nobody says, as for `whisper_apr`'s `transcribe`;
                `dropped` of the TranscriptionInfo has it as soon as all segments were iterated over.

        Returns:
            An iterator of segments, numbered from 1, and what is known of the recording.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: An option has a value that is not allowed, or conflicts with another.
        """
        given = {name: value for name, value in locals().items() if name not in ("self", "audio")}
        return self._transcribe(audio, given)

    def _transcribe(
        self, audio: AudioLike, given: dict[str, Any], batch_size: int | None = None
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """Transcribe a recording.

        Args:
            audio: As for `transcribe`.
            given: All other arguments of `transcribe` by name.
            batch_size: Number of windows decoded at once, without the text before them. None decodes them in sequence.
        """
        log_progress = parse("log_progress", boolean, given["log_progress"])
        beam_size = parse("beam_size", whole(1, MAX_GROUP), given["beam_size"])
        # options with another name in `transcribe` are parsed here, so that errors use faster-whisper's name
        kinds = kinds_of(TranscribeOptions) | kinds_of(DecodingOptions)
        renamed = {ours: parse(name, kinds[ours], given[name]) for name, ours in RENAMED.items()}
        patience = parse("patience", kinds["patience"], given["patience"])
        vad_parameters = given["vad_parameters"]
        chunk_length, threshold = given["chunk_length"], given["language_detection_threshold"]
        english_only = {} if self.is_multilingual else self._english_only(given["language"], given["multilingual"])
        options: dict[str, Any] = {
            **{name: given[name] for name in UNCHANGED},
            **renamed,
            **english_only,
            # one beam is greedy decoding, which need not reorder the KV cache
            **({"beam_size": beam_size, "patience": patience} if beam_size != 1 else {}),
            # as in faster-whisper, every window of a batch is given the prompt
            "carry_initial_prompt": batch_size is not None,
            "chunk_length": CHUNK_LENGTH if chunk_length is None else chunk_length,
            "vad_parameters": asdict(vad_parameters) if isinstance(vad_parameters, VadOptions) else vad_parameters,
            "language_detection_threshold": 1.0 if threshold is None else threshold,
            "batch_size": batch_size,
            "speakers": given["speakers"],
            "hallucination_filter": given["hallucination_filter"],
            "clamp_times": True,
        }
        reading = {name: given[name] for name in READING}
        job = transcriber(self.recognizer, audio, allow_empty=True, **reading, **options)
        vad = job.pipeline.vad
        info = TranscriptionInfo(
            language=job.language,
            language_probability=job.language_probability,
            duration=job.duration,
            duration_after_vad=job.duration_after_vad,
            all_language_probs=by_likelihood(job.language_probabilities),
            transcription_options=used_options(given, job),
            vad_options=None if vad is None else VadOptions(**asdict(vad)),
        )
        return numbered_segments(job, info, log_progress), info

    def _english_only(self, language: object, multilingual: object) -> dict[str, Any]:
        """Return the language options of a model that knows English only, and warn of others, as faster-whisper."""
        code = parse("language", LANGUAGE, "en" if language is None else language)
        if to_language_code(code) != "en":
            _log.warning("this model knows English only: language %r is ignored", language)
        if parse("multilingual", boolean, multilingual):
            _log.warning("this model knows English only: multilingual is ignored")
        return {"language": None if language is None else "en", "multilingual": False}

    def detect_language(
        self,
        audio: AudioLike | None = None,
        features: FloatArray | None = None,
        vad_filter: bool = False,
        vad_parameters: VadOptions | sound.VadOptions | Mapping[str, Any] | None = None,
        language_detection_segments: int = 1,
        language_detection_threshold: float = 0.5,
        *,
        sampling_rate: float = SAMPLE_RATE,
        channel: Channel = MIX,
        track: int | None = None,
        strict: bool = False,
    ) -> tuple[str, float, list[tuple[str, float]]]:
        """Detect the language of a recording or of a window.

        Args:
            audio: The recording, as `load_audio` takes it; ignored if `features` is given.
            features: Log-mel spectrogram of a window, `(n_mels, 3000)`.
            vad_filter: Whether to leave out parts without speech.
            vad_parameters: A VadOptions or a dictionary of its fields. None is the defaults.
            language_detection_segments: Most windows used to detect the language.
            language_detection_threshold: Probability above which the language of one window is accepted.
            sampling_rate: Rate of samples in Hz, 1000 to 1,000,000. Files state their own.
            channel: Number of the channel, from 0; "mix" for the mean of all; "each" for the channel whose language is
                most certain.
            track: Number of the file's audio track, from 0. None is the one that a player would choose.
            strict: Whether to raise AudioError for what is otherwise an AudioWarning.

        Returns:
            The language code, its probability, and all codes with their probabilities, most probable first.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: The model knows English only, or an option has a value that is not allowed.
        """
        if features is not None:
            _, probabilities = self.recognizer.detect_language(features)
            assert isinstance(probabilities, dict)  # one window
        elif audio is not None:
            job = transcriber(
                self.recognizer,
                audio,
                vad_filter=vad_filter,
                vad_parameters=asdict(vad_parameters) if isinstance(vad_parameters, VadOptions) else vad_parameters,
                language_detection_segments=language_detection_segments,
                language_detection_threshold=language_detection_threshold,
                sampling_rate=sampling_rate,
                channel=channel,
                track=track,
                strict=strict,
                allow_empty=True,
            )
            probabilities = job.language_probabilities or {job.language: 1.0}
        else:
            raise OptionError("detect_language needs audio or features; both are None")
        ranked = by_likelihood(probabilities) or []
        return *ranked[0], ranked
