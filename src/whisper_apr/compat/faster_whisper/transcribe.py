"""faster_whisper.transcribe: the classes, with the steps of a transcription that programs call by themselves."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np

from ... import faster_whisper as door
from ...audio import FRAMES_PER_SECOND, HOP_LENGTH, SAMPLE_RATE
from ...audio.samples import detached
from ...errors import OptionError
from ...inference.decode import DecodingResult, compression_ratio
from ...inference.language import tokenizer_of
from ...inference.options import TranscribeOptions
from ...inference.window_text import SeekWindow
from ...inference.word_timestamps.openai_timing import add_openai_words, find_alignment
from ...model.encoder import TIME_STRIDE
from ...option_docs import described_by
from ...simd import FloatArray
from ._absent import absent
from ._engine import StorageView, Whisper, WhisperGenerationResult
from ._functions import (
    as_segment,
    get_compression_ratio,
    get_ctranslate2_storage,
    get_suppressed_tokens,
    mean_logprob,
    merge_punctuations,
    needs_fallback,
    restore_speech_timestamps,
    set_words,
)
from ._tokenizers import HfTokenizer
from .audio import decode_audio, pad_or_trim
from .feature_extractor import FeatureExtractor
from .tokenizer import _LANGUAGE_CODES, Tokenizer
from .utils import _MODELS, download_model, format_timestamp, get_end, get_logger
from .vad import SpeechTimestampsMap, VadOptions, collect_chunks, get_speech_timestamps

__all__ = [
    "_LANGUAGE_CODES",
    "BatchedInferencePipeline",
    "FeatureExtractor",
    "Segment",
    "SpeechTimestampsMap",
    "Tokenizer",
    "TranscriptionInfo",
    "TranscriptionOptions",
    "VadOptions",
    "WhisperModel",
    "Word",
    "collect_chunks",
    "decode_audio",
    "download_model",
    "format_timestamp",
    "get_compression_ratio",
    "get_ctranslate2_storage",
    "get_end",
    "get_logger",
    "get_speech_timestamps",
    "get_suppressed_tokens",
    "merge_punctuations",
    "pad_or_trim",
    "restore_speech_timestamps",
]

Segment = door.Segment
TranscriptionInfo = door.TranscriptionInfo
TranscriptionOptions = door.TranscriptionOptions
Word = door.Word

__getattr__ = absent(
    "faster_whisper.transcribe",
    {"ctranslate2": "CTranslate2", "tokenizers": "Hugging Face's tokenizers", "tqdm": "an import of tqdm"},
)

# what the steps of faster-whisper's own loop would need; `transcribe` has a loop of its own
_STEPS = ("generate_segments", "_split_segments_by_timestamps")


class WhisperModel(door.WhisperModel):
    """A model with faster-whisper's methods and attributes.

    Attributes:
        model: The network, with the methods of CTranslate2's that programs use.
        hf_tokenizer: The vocabulary.
        feature_extractor: Computes spectrograms.
        feat_kwargs: The arguments of `feature_extractor`.
        logger: The logger "faster_whisper".
        input_stride: Frames of a position of the encoder.
        num_samples_per_token: Samples of a step of the timestamps.
        frames_per_second: Frames of the spectrogram.
        tokens_per_second: Steps of the timestamps.
        time_precision: Seconds of a step of the timestamps.
        max_length: Most tokens of prompt and text.
    """

    input_stride = TIME_STRIDE
    num_samples_per_token = HOP_LENGTH * TIME_STRIDE
    frames_per_second = FRAMES_PER_SECOND
    tokens_per_second = SAMPLE_RATE // num_samples_per_token
    time_precision = 0.02

    @described_by(door.WhisperModel.__init__)
    def __init__(
        self,
        model_size_or_path: str | PathLike[str],
        device: Any = "auto",
        device_index: int | Sequence[int] = 0,
        compute_type: Any = "default",
        cpu_threads: int = 0,
        num_workers: int = 1,
        download_root: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        files: Mapping[str, Any] | None = None,
        revision: str | None = None,
        use_auth_token: str | bool | None = None,
        **model_kwargs: Any,
    ) -> None:
        """Load a model. A name that only faster-whisper knows stands for its repository on the Hugging Face hub.

        A folder comes before a model of its name.
        """
        name = model_size_or_path
        if isinstance(name, str) and os.path.isdir(name):
            name = os.path.abspath(name)
        elif isinstance(name, str) and name.startswith("distil-"):
            name = _MODELS.get(name, name)
        super().__init__(
            name,
            device,
            device_index,
            compute_type,
            cpu_threads,
            num_workers,
            download_root,
            local_files_only,
            files,
            revision,
            use_auth_token,
            **model_kwargs,
        )
        self.model = Whisper(self.recognizer, compute_type, num_workers)
        self.feat_kwargs = {"feature_size": self.recognizer.dims.n_mels}
        self.feature_extractor = FeatureExtractor(**self.feat_kwargs)
        self.max_length = self.recognizer.dims.n_text_ctx
        self.logger: logging.Logger = get_logger()

    def __getattr__(self, name: str) -> Any:
        if name in _STEPS:
            raise AttributeError(
                f"WhisperModel.{name} is a step of faster-whisper's loop over windows, which whisper_apr does without; "
                "see the guide on switching"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @cached_property
    def hf_tokenizer(self) -> HfTokenizer:
        """The vocabulary."""
        return HfTokenizer(tokenizer_of(self.recognizer))

    @property
    def supported_languages(self) -> list[str]:
        """Codes of the languages, in faster-whisper's order."""
        known = set(super().supported_languages)
        return [code for code in _LANGUAGE_CODES if code in known]

    def encode(self, features: Any) -> StorageView:
        """Return the encoder's output of a spectrogram `(n_mels, 3000)` or of a batch of them."""
        mel = np.asarray(detached(features), np.float32)
        return self.model.encode(mel[None] if mel.ndim == 2 else mel)

    def get_prompt(
        self,
        tokenizer: Tokenizer,
        previous_tokens: Sequence[int],
        without_timestamps: bool = False,
        prefix: str | None = None,
        hotwords: str | None = None,
    ) -> list[int]:
        """Return the tokens that a window's text follows.

        Args:
            tokenizer: For the language and task.
            previous_tokens: Of the text before the window; the last 223 are used.
            without_timestamps: Whether to decode without timestamps.
            prefix: Text that the result begins with.
            hotwords: Words to expect; ignored with a prefix.
        """
        half = self.max_length // 2 - 1
        hints = tokenizer.encode(" " + hotwords.strip())[:half] if hotwords and not prefix else []
        before = [*hints, *previous_tokens[-half:]]
        prompt = [tokenizer.sot_prev, *before] if before else []
        prompt += tokenizer.sot_sequence
        if without_timestamps:
            prompt.append(tokenizer.no_timestamps)
        if prefix:
            begin = [] if without_timestamps else [tokenizer.timestamp_begin]
            prompt += [*begin, *tokenizer.encode(" " + prefix.strip())[:half]]
        return prompt

    def generate_with_fallback(
        self, encoder_output: Any, prompt: list[int], tokenizer: Tokenizer, options: TranscriptionOptions
    ) -> tuple[WhisperGenerationResult, float, float, float]:
        """Decode a window at rising temperatures until its text passes the thresholds of the options.

        Args:
            encoder_output: Of one window.
            prompt: As `get_prompt` returns it.
            tokenizer: For the language and task.
            options: The options.

        Returns:
            The result, its mean log-probability, the temperature and the compression ratio. If no text passes, the
            likeliest of those that are not too repetitive, with the last temperature.

        Raises:
            OptionError: The prompt and `max_new_tokens` exceed `max_length`.
        """
        max_length = self._max_length(prompt, options)
        latest = round((options.max_initial_timestamp or 0) / self.time_precision)
        attempts: list[tuple[WhisperGenerationResult, float, float, float]] = []
        for temperature in options.temperatures:
            search: dict[str, Any] = {"beam_size": options.beam_size, "patience": options.patience}
            if temperature > 0:
                search = {"beam_size": 1, "num_hypotheses": options.best_of, "sampling_topk": 0}
                search["sampling_temperature"] = temperature
            (result,) = self._generate(encoder_output, [prompt], options, max_length, latest, search)
            score = mean_logprob(result, options.length_penalty)
            ratio = compression_ratio(tokenizer.decode(result.sequences_ids[0]).strip())
            attempts.append((result, score, temperature, ratio))
            if not needs_fallback(attempts[-1], options):
                return attempts[-1]
        limit = options.compression_ratio_threshold
        varied = [attempt for attempt in attempts if limit is not None and attempt[3] <= limit]
        best = max(varied or attempts, key=lambda attempt: attempt[1])
        return best[0], best[1], options.temperatures[-1], best[3]

    def _max_length(self, prompt: Sequence[int], options: TranscriptionOptions) -> int:
        if options.max_new_tokens is None:
            return self.max_length
        max_length = len(prompt) + options.max_new_tokens
        if max_length > self.max_length:
            raise OptionError(
                f"a prompt of {len(prompt)} tokens and max_new_tokens={options.max_new_tokens} exceed the model's "
                f"{self.max_length}; shorten one of them"
            )
        return max_length

    def _generate(
        self,
        encoder_output: Any,
        prompts: list[list[int]],
        options: TranscriptionOptions,
        max_length: int,
        latest: int,
        search: dict[str, Any],
    ) -> list[WhisperGenerationResult]:
        return self.model.generate(
            encoder_output,
            prompts,
            length_penalty=options.length_penalty,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            max_length=max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=options.suppress_blank,
            suppress_tokens=options.suppress_tokens,
            max_initial_timestamp_index=latest,
            **search,
        )

    def find_alignment(
        self,
        tokenizer: Tokenizer,
        text_tokens: Sequence[Sequence[int]],
        encoder_output: Any,
        num_frames: int | Sequence[int],
        median_filter_width: int = 7,
    ) -> list[list[dict[str, Any]]]:
        """Return the words of texts, each a dictionary of "word", "tokens", "start", "end" and "probability".

        Args:
            tokenizer: For the language and task.
            text_tokens: The text of each window, without timestamps.
            encoder_output: Of the windows.
            num_frames: Frames of 10 ms of each window that are not padding, or one number for all.
            median_filter_width: Must be 7.
        """
        if median_filter_width != 7:
            raise OptionError(f"median_filter_width must be 7, not {median_filter_width!r}")
        sizes = [num_frames] * len(text_tokens) if isinstance(num_frames, int) else num_frames
        ours = self._ours(tokenizer)
        return [
            [asdict(timing) | {"tokens": list(timing.tokens)} for timing in timings]
            for timings in (
                find_alignment(self.recognizer, ours, list(tokens), features, size)
                for tokens, features, size in zip(text_tokens, np.asarray(encoder_output), sizes, strict=True)
            )
        ]

    def add_word_timestamps(
        self,
        segments: list[list[dict[str, Any]]],
        tokenizer: Tokenizer,
        encoder_output: Any,
        num_frames: int | Sequence[int],
        prepend_punctuations: str,
        append_punctuations: str,
        last_speech_timestamp: float,
    ) -> float:
        """Add "words" to the segments of windows, and correct their "start" and "end".

        Args:
            segments: Of each window a list of dictionaries of "seek", "start", "end" and "tokens".
            tokenizer: For the language and task.
            encoder_output: Of the windows.
            num_frames: Frames of 10 ms of each window that are not padding, or one number for all.
            prepend_punctuations: Punctuation that belongs to the word after it.
            append_punctuations: Punctuation that belongs to the word before it.
            last_speech_timestamp: Seconds at which the text before them ends.

        Returns:
            Seconds at which their text ends.
        """
        sizes = [num_frames] * len(segments) if isinstance(num_frames, int) else num_frames
        ours = self._ours(tokenizer)
        options = TranscribeOptions(
            prepend_punctuations=prepend_punctuations, append_punctuations=append_punctuations, word_timestamps=True
        )
        for window, features, size in zip(segments, np.asarray(encoder_output), sizes, strict=True):
            seek = window[0]["seek"] if window else 0
            result = DecodingResult(features, ours.language or "en")
            found = add_openai_words(
                [as_segment(entry) for entry in window],
                SeekWindow(seek, size, np.zeros((0, 0), np.float32), ()),
                result,
                ours,
                last_speech_timestamp,
                False,
                model=self.recognizer,
                options=options,
            )
            for entry, timed in zip(window, found, strict=True):
                set_words(entry, timed)
                if timed.words:
                    last_speech_timestamp = timed.end
        return last_speech_timestamp

    def _ours(self, tokenizer: Tokenizer) -> Any:
        is_translation = tokenizer.task is not None and tokenizer.task == tokenizer.translate
        return tokenizer_of(self.recognizer, tokenizer.language_code, "translate" if is_translation else "transcribe")


class BatchedInferencePipeline(door.BatchedInferencePipeline):
    """A model with faster-whisper's method for decoding several windows of a recording at once."""

    model: WhisperModel

    def __getattr__(self, name: str) -> Any:
        if name == "forward":
            raise AttributeError(
                "BatchedInferencePipeline.forward is a step of faster-whisper's loop over windows, which whisper_apr "
                "does without; see the guide on switching"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def generate_segment_batched(
        self, features: FloatArray, tokenizer: Tokenizer, options: TranscriptionOptions
    ) -> tuple[StorageView, list[dict[str, Any]]]:
        """Decode windows at the first temperature.

        Args:
            features: Spectrograms `(batch, n_mels, 3000)`.
            tokenizer: For the language and task.
            options: The options.

        Returns:
            The encoder's output, and of each window a dictionary of "tokens", "avg_logprob" and "no_speech_prob".
        """
        model = self.model
        given = options.initial_prompt
        previous = tokenizer.encode(given) if isinstance(given, str) else list(given or ())
        hotwords = options.hotwords if isinstance(options.hotwords, str) else ", ".join(options.hotwords or ())
        prompt = model.get_prompt(tokenizer, previous, options.without_timestamps, hotwords=hotwords or None)
        max_length = model._max_length(prompt, options)
        encoded = model.encode(features)
        prompts = [list(prompt) for _ in encoded]
        if options.multilingual and tokenizer.language is not None:
            at = prompt.index(tokenizer.language)
            for row, languages in zip(prompts, model.model.detect_language(encoded), strict=True):
                row[at] = tokenizer.tokenizer.token_to_id(languages[0][0])
        search: dict[str, Any] = {"beam_size": options.beam_size, "patience": options.patience}
        if options.temperatures[0] > 0:
            search |= {"sampling_temperature": options.temperatures[0]}
        results = model._generate(encoded, prompts, options, max_length, 50, search)
        return encoded, [
            {
                "avg_logprob": mean_logprob(result, options.length_penalty),
                "no_speech_prob": result.no_speech_prob,
                "tokens": result.sequences_ids[0],
            }
            for result in results
        ]
