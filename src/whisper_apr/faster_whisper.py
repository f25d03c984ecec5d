"""faster-whisper's names and defaults over this package's engine.

from whisper_apr import WhisperModel

segments, info = WhisperModel("digits").transcribe("recording.wav")
for segment in segments:
    print(segment.start, segment.end, segment.text)

The segments are made as they are asked for. Where this engine decides otherwise: every window is a fixed 30 s (`chunk_length`), a text
resets the prompt at temperatures above 0.5 (`prompt_reset_on_temperature`), and a `length_penalty` other than 1 is Wu et al.'s exponent.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from . import simd
from .audio import CHUNK_LENGTH, SAMPLE_RATE, AudioLike, AudioReader, ReadingOptions, VadOptions, check_rate, vad_kind
from .audio.samples import EACH, MIX, Channel
from .errors import AudioError, ModelNotFoundError, OptionError
from .hub import cached_folder, converted_files, find_model
from .inference.options import APPENDED, MAX_GROUP, PREPENDED, DecodingOptions, TranscribeOptions
from .inference.results import Segment
from .inference.transcribe import TranscriptionJob, transcriber
from .option_values import boolean, either, kinds_of, number, optional, parse, path, sequence, text, whole
from .recognizer import Recognizer, load_model
from .simd import FloatArray
from .tokenizer import LANGUAGES

# a window of its own for each piece of speech: what faster-whisper's batched pipeline cuts a recording by
BATCH_SILENCE_MS = 160
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

Clips = str | Sequence[float | Mapping[str, float]] | None


@dataclass(frozen=True)
class TranscriptionInfo:
    """What is known of a recording before its text."""

    language: str
    language_probability: float
    duration: float  # seconds
    duration_after_vad: float  # seconds of speech
    all_language_probs: list[tuple[str, float]] | None  # likeliest first; None where the language was given
    transcription_options: dict[str, Any]
    vad_options: VadOptions | None


def _expect_cached(name: str, root: str | None) -> None:
    model = find_model(name)
    if model is not None and cached_folder(model, root) is None and not converted_files(model, root):
        raise ModelNotFoundError(f"{name}: not in the cache, and local_files_only forbids to fetch it")


class WhisperModel:
    """A model under faster-whisper's name. `recognizer` is the model itself."""

    def __init__(
        self,
        model_size_or_path: str | PathLike[str],
        device: str = "auto",
        device_index: int | Sequence[int] = 0,
        compute_type: str = "default",
        cpu_threads: int = 0,
        num_workers: int = 1,
        download_root: str | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **unsupported: Any,
    ) -> None:
        """Arguments as `load_model`'s. cpu_threads sets the whole process's threads, where it is above 0; device_index and
        num_workers change nothing: there is one device, and a model may be used by any number of Python threads.
        local_files_only: ModelNotFoundError where a model would have to be fetched. revision: of an `org/name` of the hub.
        """
        if wanted := [name for name, value in unsupported.items() if value]:
            raise OptionError(f"WhisperModel does not know the argument {', '.join(wanted)}; load_model opens models")
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

    @property
    def is_multilingual(self) -> bool:
        return self.recognizer.is_multilingual

    @property
    def supported_languages(self) -> list[str]:
        """The codes of the languages that the model knows."""
        return list(LANGUAGES)[: self.recognizer.num_languages] if self.is_multilingual else ["en"]

    def transcribe(
        self,
        audio: AudioLike,
        language: str | None = None,
        task: str = "transcribe",
        log_progress: bool = False,
        beam_size: int = 5,
        best_of: int = 5,
        patience: float = 1,
        length_penalty: float = 1,
        repetition_penalty: float = 1,
        no_repeat_ngram_size: int = 0,
        temperature: float | Sequence[float] = TEMPERATURES,
        compression_ratio_threshold: float | None = 2.4,
        log_prob_threshold: float | None = -1.0,
        no_speech_threshold: float | None = 0.6,
        condition_on_previous_text: bool = True,
        prompt_reset_on_temperature: float = 0.5,
        initial_prompt: str | Iterable[int] | None = None,
        prefix: str | None = None,
        suppress_blank: bool = True,
        suppress_tokens: Sequence[int] | None = (-1,),
        without_timestamps: bool = False,
        max_initial_timestamp: float = 1.0,
        word_timestamps: bool = False,
        prepend_punctuations: str = PREPENDED,
        append_punctuations: str = APPENDED,
        multilingual: bool = False,
        vad_filter: bool = False,
        vad_parameters: VadOptions | dict[str, Any] | None = None,
        max_new_tokens: int | None = None,
        chunk_length: int | None = None,
        clip_timestamps: Clips = "0",
        hallucination_silence_threshold: float | None = None,
        hotwords: str | None = None,
        language_detection_threshold: float | None = 0.5,
        language_detection_segments: int = 1,
        batch_size: int | None = None,
        sampling_rate: float = SAMPLE_RATE,
        channel: Channel = MIX,
        track: int | None = None,
        strict: bool = False,
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """-> (segments, info): the language is known at once, segments are made while they are iterated over.

        Arguments are those of `whisper_apr.transcribe` under faster-whisper's names. Times are held within the sound, and text that begins
        behind its end is dropped. A recording without samples has no segments. Raises OptionError and AudioError.
        """
        if parse("chunk_length", optional(number()), chunk_length) not in (None, CHUNK_LENGTH):
            raise OptionError(
                f"chunk_length must be {CHUNK_LENGTH} seconds, which Whisper's encoder takes, not {chunk_length}"
            )
        if parse("prompt_reset_on_temperature", number(), prompt_reset_on_temperature) != 0.5:
            raise OptionError("prompt_reset_on_temperature must be 0.5; no other value is supported")
        log_progress = parse("log_progress", boolean, log_progress)
        beam_size = parse("beam_size", whole(1, MAX_GROUP), beam_size)
        length_penalty = parse("length_penalty", number(0, 1), length_penalty)
        vad = parse("vad_parameters", vad_kind(), vad_parameters)
        # what has another name in the engine, so that an error has the name that is known here
        of_recording, of_window = kinds_of(TranscribeOptions), kinds_of(DecodingOptions)
        log_prob_threshold = parse("log_prob_threshold", of_recording["logprob_threshold"], log_prob_threshold)
        prefix = parse("prefix", of_recording["initial_prefix"], prefix)
        max_new_tokens = parse("max_new_tokens", of_window["sample_len"], max_new_tokens)
        patience = parse("patience", of_window["patience"], patience)
        options: dict[str, Any] = {
            "language": language,
            "task": task,
            # one beam is greedy decoding, which does not copy caches
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
            # windows of a batch are told nothing of each other: as in faster-whisper, each is told the prompt
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
            vad_options=job.engine.vad,
        )
        return _segments(job, log_progress), info

    def detect_language(
        self,
        audio: AudioLike | None = None,
        features: FloatArray | None = None,
        vad_filter: bool = False,
        vad_parameters: VadOptions | dict[str, Any] | None = None,
        language_detection_segments: int = 1,
        language_detection_threshold: float = 0.5,
        sampling_rate: float = SAMPLE_RATE,
        channel: Channel = MIX,
        track: int | None = None,
        strict: bool = False,
    ) -> tuple[str, float, list[tuple[str, float]]]:
        """-> (code, probability, all codes and probabilities, likeliest first), of a recording or of a window's mel `(n_mels, 3000)`.

        Of channel "each": those of the channel whose language is the most certain.
        """
        if features is not None:
            _, probabilities = self.recognizer.detect_language(features)
            assert isinstance(probabilities, dict)  # of one window
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
            raise OptionError("detect_language needs audio or features")
        ranked = _by_likelihood(probabilities) or []
        return *ranked[0], ranked


class BatchedInferencePipeline:
    """faster-whisper's name for transcription with windows decoded together."""

    def __init__(self, model: WhisperModel) -> None:
        self.model = model

    def transcribe(
        self,
        audio: AudioLike,
        language: str | None = None,
        task: str = "transcribe",
        *,
        batch_size: int = 8,
        without_timestamps: bool = True,
        vad_filter: bool = True,
        vad_parameters: VadOptions | dict[str, Any] | None = None,
        clip_timestamps: Clips = None,
        **options: Any,
    ) -> tuple[Iterator[Segment], TranscriptionInfo]:
        """As `WhisperModel.transcribe`, `batch_size` windows at a time.

        clip_timestamps is a list of `{"start": s, "end": s}`; clips may overlap and be in any order, which is that of their segments. Where
        a text stops before its window's sound does, which is possible without timestamps, the rest of the window is not transcribed;
        `word_timestamps=True` or `without_timestamps=False` finds it.
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


def _by_likelihood(probabilities: dict[str, float] | None) -> list[tuple[str, float]] | None:
    return None if probabilities is None else sorted(probabilities.items(), key=lambda item: -item[1])


def _segments(job: TranscriptionJob, log_progress: bool) -> Iterator[Segment]:
    """Numbered from 1, as faster-whisper does, and without the empty ones."""
    if log_progress:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread to watch a bar
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


def decode_audio(
    input_file: AudioLike,
    sampling_rate: float = SAMPLE_RATE,
    split_stereo: bool = False,
    *,
    channel: Channel = MIX,
    track: int | None = None,
    strict: bool = False,
) -> FloatArray | tuple[FloatArray, FloatArray]:
    """Decode a recording to float32 samples `(n,)` at `sampling_rate`, 1000 to 1,000,000 Hz.

    With `split_stereo`, returns the left and the right channel; those of a mono recording are the same. `channel`, `track` and `strict`
    are `load_audio`'s. Raises AudioError for a recording that cannot be read, and for more than two channels that are to be split.
    """
    if not split_stereo:
        reader = AudioReader(input_file, ReadingOptions(channel=channel, track=track, strict=strict))
        return np.concatenate(list(reader.blocks(rate=check_rate(sampling_rate))))
    reader = AudioReader(input_file, ReadingOptions(channel=EACH, track=track, strict=strict))
    samples = np.concatenate(list(reader.blocks(rate=check_rate(sampling_rate))))
    if samples.shape[1] > 2:
        raise AudioError(
            f"{reader.name}: {samples.shape[1]} channels, which are no stereo; load_audio(..., channel='each') gives them all"
        )
    return np.ascontiguousarray(samples[:, 0]), np.ascontiguousarray(samples[:, -1])
