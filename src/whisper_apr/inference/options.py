"""What a window and a recording can be decoded with. Names and defaults are openai-whisper's; those it lacks are faster-whisper's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..errors import OptionError
from ..tokenizer import TASKS, Task, Tokenizer

# marks that belong to the word after them, and to the word before them
PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001


@dataclass(frozen=True)
class DecodingOptions:
    """How a window is decoded."""

    task: Task = "transcribe"  # or "translate": into English
    language: str | None = None  # detected where None
    temperature: float = 0.0
    sample_len: int | None = None  # tokens at most; half of the text context where None
    best_of: int | None = None  # samples to choose from, at a temperature above 0
    beam_size: int | None = None  # beams, at temperature 0
    patience: float | None = None  # a beam search goes on until patience * beam_size sequences have ended
    length_penalty: float | None = None  # see search.rank
    prompt: str | Sequence[int] | None = None  # text that came before
    prefix: str | Sequence[int] | None = None  # text that the window begins with
    suppress_tokens: str | Iterable[int] | None = "-1"  # -1: what is not speech
    suppress_blank: bool = True
    without_timestamps: bool = False
    max_initial_timestamp: float | None = 1.0  # seconds; 0 is no limit, as None is
    fp16: bool = True  # for openai-whisper's scripts; the model's compute type decides
    repetition_penalty: float = 1.0  # above 1, a token that was already chosen becomes less likely
    no_repeat_ngram_size: int = 0  # so many tokens in a row never come twice
    hotwords: str | Sequence[str] | None = None  # words to expect: given as a prompt before the text that came before
    # above 0, added to the logits of the hotwords' next tokens, in place of that prompt; 1 to 4 helps, more invents them
    hotword_bias: float = 0.0
    seed: int | None = None  # of the samples: the same seed gives the same text

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise OptionError(f"task must be 'transcribe' or 'translate', not {self.task!r}")
        if self.beam_size is not None and self.best_of is not None:
            raise OptionError("beam_size and best_of cannot be given together")
        if self.temperature == 0 and self.best_of is not None:
            raise OptionError("best_of chooses among samples: it needs a temperature above 0")
        if self.patience is not None and self.beam_size is None:
            raise OptionError("patience needs beam_size")
        if self.patience is not None and round((self.beam_size or 1) * self.patience) < 1:
            raise OptionError(f"patience * beam_size must be at least 1, not {self.patience} * {self.beam_size}")
        if self.length_penalty is not None and not 0 <= self.length_penalty <= 1:
            raise OptionError(f"length_penalty must be between 0 and 1, not {self.length_penalty}")
        if not self.temperature >= 0:
            raise OptionError(f"temperature must not be negative, not {self.temperature}")
        if not self.repetition_penalty > 0:
            raise OptionError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")
        if self.no_repeat_ngram_size < 0:
            raise OptionError(f"no_repeat_ngram_size must not be negative, not {self.no_repeat_ngram_size}")
        for name in ("beam_size", "best_of", "sample_len"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be at least 1, not {value}")


@dataclass(frozen=True)
class TranscribeOptions:
    """How a recording is transcribed."""

    temperature: float | Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # each next one where a window fails
    compression_ratio_threshold: float | None = 2.4  # above it, a window's text repeats itself: it fails
    logprob_threshold: float | None = -1.0  # below it, a window's text is unlikely: it fails
    no_speech_threshold: float | None = 0.6  # above it, an unlikely text is taken for silence
    condition_on_previous_text: bool = True  # each window is told the text before it; not where batch_size is given
    initial_prompt: str | None = None  # what the first window is told
    carry_initial_prompt: bool = False  # and every other one
    initial_prefix: str | Sequence[int] | None = None  # text that the first window's result begins with
    clip_timestamps: str | Sequence[float] = "0"  # start, end, start, end ... in seconds; the last end may be missing
    word_timestamps: bool = False
    prepend_punctuations: str = PREPENDED
    append_punctuations: str = APPENDED
    hallucination_silence_threshold: float | None = None  # with word_timestamps: seconds of silence around false text
    batch_size: int | None = None  # windows decoded at once: cut where it is quiet, each without the text before it
    languages: Sequence[str] | None = None  # to choose among where the language is detected
    multilingual: bool = False  # the language is detected anew for each window
    language_detection_segments: int = 1  # windows to listen to at most, until one language is likely enough
    language_detection_threshold: float = 0.5
    vad_filter: bool = False  # leave out what is not speech
    vad_parameters: Any = None  # a VadOptions, or a dictionary of its fields

    def __post_init__(self) -> None:
        for name in ("batch_size", "language_detection_segments"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be at least 1, not {value}")
        if self.hallucination_silence_threshold is not None and not self.word_timestamps:
            raise OptionError("hallucination_silence_threshold needs word_timestamps=True")
        if not self.temperatures:
            raise OptionError("temperature must be a number, or a sequence of at least one")

    @property
    def temperatures(self) -> tuple[float, ...]:
        if isinstance(self.temperature, int | float):
            return (float(self.temperature),)
        return tuple(map(float, self.temperature))


def split_options(options: dict[str, Any]) -> tuple[TranscribeOptions, tuple[DecodingOptions, ...]]:
    """`transcribe`'s options as those of the recording, and those of its windows at each temperature.

    Beams belong to temperature 0, `best_of` to the others, as openai-whisper has it. OptionError for an option that is not known.
    """
    ours = {field.name for field in fields(TranscribeOptions)}
    windows = {field.name for field in fields(DecodingOptions)} - {"prompt"}
    if unknown := sorted(options.keys() - ours - windows):
        raise OptionError(f"unknown options: {', '.join(unknown)}")
    recording = TranscribeOptions(**{k: v for k, v in options.items() if k in ours})
    shared = {k: v for k, v in options.items() if k in windows}
    attempts = []
    for temperature in recording.temperatures:
        unwanted = ("beam_size", "patience") if temperature > 0 else ("best_of",)
        changes = {"temperature": temperature} | dict.fromkeys(unwanted)
        attempts.append(DecodingOptions(**(shared | changes)))
    return recording, tuple(attempts)


def prompt_tokens(text: str | Sequence[int] | None, tokenizer: Tokenizer) -> list[int]:
    """A prompt's or prefix's tokens: text is begun with one space."""
    if not text:
        return []
    return tokenizer.encode(" " + text.strip()) if isinstance(text, str) else list(text)
