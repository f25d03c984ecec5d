"""WhisperModel: a model with faster-whisper's methods, names and defaults."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, TypedDict, Unpack

from .. import simd
from ..audio import CHUNK_LENGTH, SAMPLE_RATE, AudioLike, VadOptions, vad_kind
from ..audio.samples import MIX, Channel
from ..errors import ModelNotFoundError, OptionError
from ..hub import cached_folder, converted_files, find_model
from ..inference.options import APPENDED, MAX_GROUP, PREPENDED, DecodingOptions, TranscribeOptions
from ..inference.results import Segment
from ..inference.transcribe import TranscriptionJob, transcriber
from ..option_values import boolean, either, kinds_of, number, optional, parse, path, sequence, text, whole
from ..recognizer import ComputeType, Device, Recognizer, load_model
from ..simd import FloatArray
from ..tokenizer import LANGUAGES, Task

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

Clips = str | Iterable[float | Mapping[str, float]] | None


@dataclass(frozen=True)
class TranscriptionInfo:
    """Properties of a recording that are known before its text.

    Attributes:
        language: Language code, for example "en".
        language_probability: Probability of `language`, 0 to 1; 1 if the language was given.
        duration: Length of the recording in seconds.
        duration_after_vad: Seconds that are left after `vad_filter`.
        all_language_probs: Language codes and their probabilities, most probable first. None if the language was given.
        transcription_options: The options under the names of `whisper_apr.transcribe`.
        vad_options: The options of the voice activity filter, or None without `vad_filter`.
    """

    language: str
    language_probability: float
    duration: float
    duration_after_vad: float
    all_language_probs: list[tuple[str, float]] | None = field(repr=False)
    transcription_options: dict[str, Any] = field(repr=False)
    vad_options: VadOptions | None


def _expect_cached(name: str, root: str | PathLike[str] | None) -> None:
    model = find_model(name)
    if model is not None and cached_folder(model, root) is None and not converted_files(model, root):
        raise ModelNotFoundError(f"{name}: not in the cache; without local_files_only it would be downloaded")


class UnsupportedKeywords(TypedDict, total=False):
    """Arguments of faster-whisper's `WhisperModel` that must be None or empty here."""

    files: Mapping[str, Any] | None
    use_auth_token: str | bool | None
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
        compute_type: ComputeType = "default",
        cpu_threads: int = 0,
        num_workers: int = 1,
        download_root: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **unsupported: Unpack[UnsupportedKeywords],
    ) -> None:
        """Load a model.

        Args:
            model_size_or_path: Name, path or `org/name` of the model; see `load_model`.
            device: "cpu" or "auto".
            device_index: Accepted for scripts written for faster-whisper; it has no effect, as there is one device.
            compute_type: Type of the weights and of the KV cache; see `load_model`.
            cpu_threads: Number of threads of the whole process. 0 leaves it as it is.
            num_workers: Accepted for scripts written for faster-whisper; it has no effect, as any number of Python
                threads can use a model.
            download_root: Directory of downloaded models. None is huggingface_hub's cache.
            local_files_only: Whether to raise ModelNotFoundError instead of downloading a model.
            revision: Revision of an `org/name` of the Hugging Face hub.
            **unsupported: Other arguments of faster-whisper, which must be None or empty.

        Raises:
            ModelNotFoundError: No model has this name or path.
            FormatError: The file is damaged or is not a Whisper model.
            OptionError: An argument has a value that is not allowed.
        """
        if wanted := [name for name, value in unsupported.items() if value]:
            raise OptionError(f"WhisperModel does not support the argument {', '.join(wanted)}; leave it out")
        cpu_threads = parse("cpu_threads", whole(0), cpu_threads)
        parse("device_index", either(whole(0), sequence(whole(0), "a sequence of them", least=1)), device_index)
        parse("num_workers", whole(1), num_workers)
        download_root = parse("download_root", optional(path), download_root)
        local_files_only = parse("local_files_only", boolean, local_files_only)
        revision = parse("revision", optional(text), revision)
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
        return list(LANGUAGES)[: self.recognizer.num_languages] if self.is_multilingual else ["en"]

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
        suppress_tokens: Iterable[int] | None = (-1,),
        without_timestamps: bool = False,
        max_initial_timestamp: float | None = 1.0,
        word_timestamps: bool = False,
        prepend_punctuations: str = PREPENDED,
        append_punctuations: str = APPENDED,
        multilingual: bool = False,
        vad_filter: bool = False,
        vad_parameters: VadOptions | Mapping[str, Any] | None = None,
        max_new_tokens: int | None = None,
        chunk_length: int | None = None,
        clip_timestamps: Clips = "0",
        hallucination_silence_threshold: float | None = None,
        hotwords: str | Sequence[str] | None = None,
        language_detection_threshold: float | None = 0.5,
        language_detection_segments: int = 1,
        batch_size: int | None = None,
        sampling_rate: float = SAMPLE_RATE,
        channel: Channel = MIX,
        track: int | None = None,
        strict: bool = False,
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """Transcribe a recording. The language is detected at once; segments are decoded as they are iterated over.

        Times are clamped to the recording, and text that begins after its end is dropped. A recording without samples
        has no segments.

        Args:
            audio: The recording, as `load_audio` takes it.
            language: Language spoken, as a code or an English name. None detects it.
            task: "transcribe", or "translate" into English.
            log_progress: Whether to show a progress bar.
            beam_size: Number of beams searched at temperature 0. 1 is greedy decoding.
            best_of: Number of samples drawn at a temperature above 0, of which the likeliest is kept.
            patience: The beam search ends once round(patience * beam_size) sequences are complete.
            length_penalty: 1 ranks candidates by log-probability over length; another value of 0 to 1 is the exponent a
                of ((5 + length) / 6)^a in place of the length.
            repetition_penalty: Factor that lowers the logits of tokens chosen before; 1 is none.
            no_repeat_ngram_size: Length in tokens of sequences that must not occur twice in a window; 0 is no limit.
            temperature: Temperatures at which to decode a window, one after the other, until it passes the thresholds.
            compression_ratio_threshold: A window whose text compresses by more than this ratio is decoded again.
            log_prob_threshold: A window whose mean log-probability per token is below this is decoded again.
            no_speech_threshold: A window with a no-speech probability above this, and a mean log-probability not above
                `log_prob_threshold`, is silence.
            condition_on_previous_text: Whether each window is given the text before it; ignored with `batch_size`.
            prompt_reset_on_temperature: 0.5; no other value is supported.
            initial_prompt: Text or tokens given to the first window as the text before it; with `batch_size`, to all.
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
            chunk_length: 30, the seconds of a window, or None; no other value is supported.
            clip_timestamps: Parts to transcribe, in seconds: start, end, start, end and so on.
            hallucination_silence_threshold: With `word_timestamps`, seconds of silence around improbable text above
                which the text is dropped.
            hotwords: Words to expect, given to every window before the prompt.
            language_detection_threshold: Probability above which the language of one window is accepted.
            language_detection_segments: Most windows used to detect the language.
            batch_size: Number of windows decoded at once, without the text before them. None decodes them in sequence.
            sampling_rate: Rate of samples in Hz, 1000 to 1,000,000. Files state their own.
            channel: Number of the channel to transcribe, from 0; "mix" for their mean; "each" for every one by itself.
            track: Number of the file's audio track, from 0. None is the one that a player would choose.
            strict: Whether to raise AudioError for what is otherwise an AudioWarning.

        Returns:
            An iterator of segments, numbered from 1, and what is known of the recording.

        Raises:
            AudioError: The recording cannot be read.
            OptionError: An option has a value that is not allowed, or conflicts with another.
        """
        if parse("chunk_length", optional(number()), chunk_length) not in (None, CHUNK_LENGTH):
            raise OptionError(
                f"chunk_length must be {CHUNK_LENGTH} seconds, the length of Whisper's windows, not {chunk_length}"
            )
        if parse("prompt_reset_on_temperature", number(), prompt_reset_on_temperature) != 0.5:
            raise OptionError("prompt_reset_on_temperature must be 0.5; no other value is supported")
        log_progress = parse("log_progress", boolean, log_progress)
        beam_size = parse("beam_size", whole(1, MAX_GROUP), beam_size)
        length_penalty = parse("length_penalty", number(0, 1), length_penalty)
        vad = parse("vad_parameters", vad_kind(), vad_parameters)
        # options with another name in `transcribe` are parsed here, so that errors use faster-whisper's name
        of_recording, of_window = kinds_of(TranscribeOptions), kinds_of(DecodingOptions)
        log_prob_threshold = parse("log_prob_threshold", of_recording["logprob_threshold"], log_prob_threshold)
        prefix = parse("prefix", of_recording["initial_prefix"], prefix)
        max_new_tokens = parse("max_new_tokens", of_window["sample_len"], max_new_tokens)
        patience = parse("patience", of_window["patience"], patience)
        options: dict[str, Any] = {
            "language": language,
            "task": task,
            # one beam is greedy decoding, which need not reorder the KV cache
            **({"beam_size": beam_size, "patience": patience} if beam_size != 1 else {}),
            "best_of": best_of,
            "length_penalty": None if length_penalty == 1 else length_penalty,
            "repetition_penalty": repetition_penalty,
            "no_repeat_ngram_size": no_repeat_ngram_size,
            "temperature": temperature,
            "compression_ratio_threshold": compression_ratio_threshold,
            "logprob_threshold": log_prob_threshold,
            "no_speech_threshold": no_speech_threshold,
            "condition_on_previous_text": condition_on_previous_text,
            "initial_prompt": initial_prompt,
            # as in faster-whisper, every window of a batch is given the prompt
            "carry_initial_prompt": batch_size is not None,
            "initial_prefix": prefix,
            "suppress_blank": suppress_blank,
            "suppress_tokens": suppress_tokens,
            "without_timestamps": without_timestamps,
            "max_initial_timestamp": max_initial_timestamp,
            "word_timestamps": word_timestamps,
            "prepend_punctuations": prepend_punctuations,
            "append_punctuations": append_punctuations,
            "multilingual": multilingual,
            "vad_filter": vad_filter,
            "vad_parameters": vad,
            "sample_len": max_new_tokens,
            "clip_timestamps": clip_timestamps,
            "hallucination_silence_threshold": hallucination_silence_threshold,
            "hotwords": hotwords,
            "language_detection_threshold": 1.0
            if language_detection_threshold is None
            else language_detection_threshold,
            "language_detection_segments": language_detection_segments,
            "batch_size": batch_size,
            "clamp_times": True,
        }
        reading: dict[str, Any] = {"sampling_rate": sampling_rate, "channel": channel, "track": track, "strict": strict}
        job = transcriber(self.recognizer, audio, allow_empty=True, **reading, **options)
        info = TranscriptionInfo(
            language=job.language,
            language_probability=job.language_probability,
            duration=job.duration,
            duration_after_vad=job.duration_after_vad,
            all_language_probs=_by_likelihood(job.language_probabilities),
            transcription_options=options | reading,
            vad_options=job.pipeline.vad,
        )
        return _segments(job, log_progress), info

    def detect_language(
        self,
        audio: AudioLike | None = None,
        features: FloatArray | None = None,
        vad_filter: bool = False,
        vad_parameters: VadOptions | Mapping[str, Any] | None = None,
        language_detection_segments: int = 1,
        language_detection_threshold: float = 0.5,
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
                vad_parameters=vad_parameters,
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
        ranked = _by_likelihood(probabilities) or []
        return *ranked[0], ranked


def _by_likelihood(probabilities: dict[str, float] | None) -> list[tuple[str, float]] | None:
    return None if probabilities is None else sorted(probabilities.items(), key=lambda item: -item[1])


def _segments(job: TranscriptionJob, log_progress: bool) -> Iterator[Segment]:
    """Yield the segments that are not empty, numbered from 1 as in faster-whisper."""
    if log_progress:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # starts no monitor thread
        with tqdm(total=round(job.duration, 2), unit="s") as bar:
            settled = job.segments(lambda progress: bar.update(progress.done - bar.n))
            yield from _numbered(settled)
    else:
        yield from _numbered(job.segments())


def _numbered(segments: Iterator[Segment]) -> Iterator[Segment]:
    number = 0
    for segment in segments:
        if segment.text.strip():
            number += 1
            yield replace(segment, id=number)
