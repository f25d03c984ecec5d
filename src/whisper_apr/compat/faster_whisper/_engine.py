"""`WhisperModel.model`: the methods of `ctranslate2.models.Whisper` that programs use, over whisper_apr's network."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ... import simd
from ...audio.samples import detached
from ...errors import OptionError
from ...inference.decode import DecodingTask
from ...inference.language import LanguageDetector, encode, tokenizer_of
from ...inference.options import DecodingOptions
from ...inference.word_timestamps.alignment import MEDIAN_FILTER_WIDTH, align_attention
from ...model.encoder import TIME_STRIDE
from ...recognizer import Recognizer
from ...simd import FloatArray
from ...tokenizer import Task, Tokenizer


class StorageView(np.ndarray[Any, np.dtype[Any]]):
    """A NumPy array with the methods of `ctranslate2.StorageView` that programs use."""

    device = "cpu"
    device_index = 0

    @classmethod
    def from_array(cls, array: Any) -> "StorageView":
        """Return a view of an array, or of an object with `__array__` or `__array_interface__`."""
        return np.asarray(array).view(cls)


class EncoderOutput(StorageView):
    """What `Whisper.encode` returns, for its other methods to tell it from spectrograms."""


@dataclass
class WhisperGenerationResult:
    """The texts of a window.

    Attributes:
        sequences: The tokens' names, the best sequence first.
        sequences_ids: The tokens.
        scores: Log-probabilities of the sequences over length^length_penalty; empty without `return_scores`.
        no_speech_prob: Probability of no speech; 0 without `return_no_speech_prob`.
    """

    sequences: list[list[str]]
    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float

    def __getattr__(self, name: str) -> Any:
        if name == "logits":
            raise AttributeError("logits of a result are not kept by whisper_apr; see the guide on switching")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


@dataclass
class WhisperAlignmentResult:
    """Where the tokens of a text are spoken.

    Attributes:
        alignments: Pairs of a token's index and an encoder position (20 ms), along the path of the alignment.
        text_token_probs: Probabilities of the tokens.
    """

    alignments: list[tuple[int, int]]
    text_token_probs: list[float]


class Whisper:
    """A model's encoder, decoder and alignment.

    Attributes:
        compute_type: As it was asked for.
        device: "cpu".
        device_index: Always [0].
    """

    device = "cpu"
    device_index = (0,)

    def __init__(self, recognizer: Recognizer, compute_type: str, num_workers: int) -> None:
        self._model = recognizer
        self.compute_type = compute_type
        self.num_workers = num_workers

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"WhisperModel.model.{name} is CTranslate2's, which whisper_apr does without; see the guide on switching"
        )

    @property
    def is_multilingual(self) -> bool:
        """Whether the model knows other languages than English."""
        return self._model.is_multilingual

    @property
    def n_mels(self) -> int:
        """Mel bands of the spectrogram."""
        return self._model.dims.n_mels

    @property
    def num_languages(self) -> int:
        """Languages that the model has tokens for."""
        return self._model.num_languages if self.is_multilingual else 0

    @property
    def num_active_batches(self) -> int:
        """Batches that are being processed: none, as calls return when they are done."""
        return 0

    num_queued_batches = num_active_batches

    @property
    def tensor_parallel(self) -> bool:
        """Whether the model is divided among devices: it is not."""
        return False

    @property
    def model_is_loaded(self) -> bool:
        """Whether the weights are in memory: they are."""
        return True

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return tokenizer_of(self._model)

    def encode(self, features: Any, to_cpu: bool = False) -> StorageView:
        """Return the encoder's output `(batch, n_position, n_state)` of spectrograms `(batch, n_mels, n_frame)`.

        Args:
            features: The spectrograms, of at most 3000 frames. A last frame without a pair is used twice.
            to_cpu: It has no effect, as there is one device.
        """
        return self._encoded(features).view(EncoderOutput)

    def detect_language(self, features: Any) -> list[list[tuple[str, float]]]:
        """Return each window's language tokens, such as `<|en|>`, and their probabilities, most probable first.

        Args:
            features: Spectrograms, or the encoder's output.

        Raises:
            OptionError: The model knows English only.
        """
        if not self.is_multilingual:
            raise OptionError("this model knows English only, so there is no language to detect")
        detector = LanguageDetector(self._model)
        names = [f"<|{code}|>" for code in detector.tokenizer.all_language_codes]
        probabilities, _ = detector.probabilities(self._encoded(features))
        return [sorted(zip(names, map(float, row), strict=True), key=lambda pair: -pair[1]) for row in probabilities]

    def generate(
        self,
        features: Any,
        prompts: Sequence[Sequence[int]] | Sequence[Sequence[str]],
        *,
        asynchronous: bool = False,
        beam_size: int = 5,
        patience: float = 1,
        num_hypotheses: int = 1,
        length_penalty: float = 1,
        repetition_penalty: float = 1,
        no_repeat_ngram_size: int = 0,
        max_length: int = 448,
        return_scores: bool = False,
        return_logits_vocab: bool = False,
        return_no_speech_prob: bool = False,
        max_initial_timestamp_index: int = 50,
        suppress_blank: bool = True,
        suppress_tokens: Iterable[int] | None = (-1,),
        sampling_topk: int = 1,
        sampling_temperature: float = 1,
    ) -> list[WhisperGenerationResult]:
        """Decode windows after their prompts.

        Args:
            features: Spectrograms `(batch, n_mels, 3000)`, or the encoder's output.
            prompts: Of each window the tokens, or their names: optionally `<|startofprev|>` and text, then
                `<|startoftranscript|>`, language, task, `<|notimestamps|>` or not, and text that the result begins
                with. From `<|startoftranscript|>` to the task they must be equally long.
            asynchronous: Must be False.
            beam_size: Number of beams; 1 is greedy decoding or sampling.
            patience: The beam search ends once round(patience * beam_size) sequences are complete.
            num_hypotheses: Sampled texts, of which the best is returned. With beams, 1.
            length_penalty: Exponent of the length by which log-probabilities are divided.
            repetition_penalty: Factor that lowers the logits of tokens chosen before; 1 is none.
            no_repeat_ngram_size: Length of sequences that must not occur twice; 0 is no limit.
            max_length: Most tokens of prompt and text. A text has at most half as many.
            return_scores: Whether to return the scores.
            return_logits_vocab: Must be False.
            return_no_speech_prob: Whether to return the probability of no speech.
            max_initial_timestamp_index: Latest first timestamp, in steps of 0.02 s.
            suppress_blank: Whether a text must not begin with a space or end at once.
            suppress_tokens: Tokens that are never chosen; -1 stands for symbols that are not speech.
            sampling_topk: 1 chooses the likeliest token; 0 samples from all.
            sampling_temperature: Temperature of the sampling.

        Raises:
            OptionError: An argument has a value that is not allowed.
        """
        if asynchronous or return_logits_vocab:
            raise OptionError("generate supports neither asynchronous=True nor return_logits_vocab=True")
        if sampling_topk > 1:
            raise OptionError(f"sampling_topk must be 1 (the likeliest token) or 0 (from all), not {sampling_topk}")
        batch = self._encoded(features)
        given = [self._ids(prompt) for prompt in prompts]
        if len(given) != len(batch):
            raise OptionError(f"there are {len(batch)} windows and {len(given)} prompts; give one for each window")
        split = [self._split(prompt) for prompt in given]
        samples = sampling_topk == 0 and beam_size == 1
        options = DecodingOptions(
            language="en",
            temperature=sampling_temperature if samples else 0.0,
            beam_size=beam_size if beam_size > 1 else None,
            patience=patience if beam_size > 1 else None,
            best_of=num_hypotheses if samples else None,
            length_exponent=length_penalty,
            repetition_penalty=repetition_penalty,
            no_repeat_ngram_size=no_repeat_ngram_size,
            without_timestamps=self._tokenizer.no_timestamps in given[0],
            max_initial_timestamp=max_initial_timestamp_index * 0.02,
            suppress_blank=suppress_blank,
            suppress_tokens=tuple(suppress_tokens or ()),
            sample_len=max(1, min(max_length // 2, max_length - max(map(len, given)))),
        )
        task = DecodingTask(self._model, options)
        found = task.sample_prompts(
            batch,
            [prompt for prompt, _ in split],
            [len(prompt) - prompt.index(self._tokenizer.sot) for prompt, _ in split],
            [prefix for _, prefix in split],
        )
        results = []
        for candidates, sums, probability in found:
            scores = [total / max(1, len(c)) ** length_penalty for c, total in zip(candidates, sums, strict=True)]
            best = int(np.argmax(scores))
            tokens = list(candidates[best])
            results.append(
                WhisperGenerationResult(
                    sequences=[[self._tokenizer.encoding.decode([token]) for token in tokens]],
                    sequences_ids=[tokens],
                    scores=[scores[best]] if return_scores else [],
                    no_speech_prob=probability if return_no_speech_prob else 0.0,
                )
            )
        return results

    def align(
        self,
        features: Any,
        start_sequence: Sequence[int],
        text_tokens: Sequence[Sequence[int]],
        num_frames: int | Sequence[int],
        *,
        median_filter_width: int = MEDIAN_FILTER_WIDTH,
    ) -> list[WhisperAlignmentResult]:
        """Align texts with their windows.

        Args:
            features: Spectrograms `(batch, n_mels, 3000)`, or the encoder's output.
            start_sequence: `<|startoftranscript|>`, language and task.
            text_tokens: The text of each window, without timestamps.
            num_frames: Frames of 10 ms of each window that are not padding, or one number for all.
            median_filter_width: Encoder positions over which attention is smoothed, an odd number from 1 to 63.

        Raises:
            OptionError: An argument has a value that is not allowed.
        """
        if median_filter_width not in range(1, 64, 2):
            raise OptionError(f"median_filter_width must be an odd number from 1 to 63, not {median_filter_width!r}")
        batch = self._encoded(features)
        sizes = [num_frames] * len(batch) if isinstance(num_frames, int) else list(num_frames)
        if not len(batch) == len(text_tokens) == len(sizes):
            raise OptionError(f"{len(batch)} windows need as many text_tokens and num_frames")
        tokenizer = self._tokenizer_for(start_sequence)
        results = []
        for window, text, size in zip(batch, text_tokens, sizes, strict=True):
            if not len(text):
                results.append(WhisperAlignmentResult([], []))
                continue
            alignment = align_attention(
                self._model,
                tokenizer,
                list(text),
                window,
                min(max(1, size // TIME_STRIDE), len(window)),
                filter_width=median_filter_width,
            )
            rows, positions = simd.dtw(-alignment.matrix)
            pairs = list(zip(rows.tolist(), positions.tolist(), strict=True))
            results.append(WhisperAlignmentResult(pairs, alignment.probabilities.tolist()))
        return results

    def _tokenizer_for(self, start_sequence: Sequence[int]) -> Tokenizer:
        names = [self._tokenizer.encoding.decode([token])[2:-2] for token in start_sequence]
        codes = [name for name in names if name in self._tokenizer.all_language_codes]
        task: Task = "translate" if "translate" in names else "transcribe"
        return tokenizer_of(self._model, codes[0] if codes else None, task)

    def _encoded(self, features: Any) -> FloatArray:
        """Return the encoder's output of spectrograms, or of what is one already."""
        batch: FloatArray = np.asarray(detached(features), np.float32)
        if batch.ndim != 3:
            raise OptionError(f"features must have three axes, (batch, n_mels, 3000), not shape {batch.shape}")
        if isinstance(features, EncoderOutput):
            return batch
        is_short = batch.shape[1] == self.n_mels and 0 < batch.shape[2] < TIME_STRIDE * self._model.dims.n_audio_ctx
        if not is_short:
            return encode(self._model, batch)
        last = batch[:, :, -1:]
        return self._model.encoder(np.concatenate([batch, last], axis=2) if batch.shape[2] % TIME_STRIDE else batch)

    def _ids(self, prompt: Sequence[int] | Sequence[str]) -> list[int]:
        special = self._tokenizer.special_tokens
        if unknown := [token for token in prompt if isinstance(token, str) and token not in special]:
            raise OptionError(f"prompts by name may have special tokens only, not {unknown[0]!r}")
        return [special[token] if isinstance(token, str) else int(token) for token in prompt]

    def _split(self, prompt: list[int]) -> tuple[list[int], tuple[int, ...]]:
        """Return a prompt up to the last of its special tokens, and the text after it, which the result begins with."""
        sot, last = self._tokenizer.sot, self._tokenizer.no_timestamps
        if sot not in prompt:
            raise OptionError("a prompt must have the token <|startoftranscript|>")
        end = prompt.index(sot)
        while end < len(prompt) and sot <= prompt[end] <= last:
            end += 1
        return prompt[:end], tuple(prompt[end:])
