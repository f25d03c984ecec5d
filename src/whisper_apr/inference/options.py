"""What a window and a recording can be decoded with. Names and defaults are openai-whisper's; those it lacks are faster-whisper's.

Each option is a field of one class, and its annotation says which values it takes. `temperature` alone is a field of both: transcribe's is
a sequence, of which each window's decoding is given one after the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Annotated, Any, cast

from ..audio import VadOptions, vad_kind
from ..errors import OptionError
from ..option_values import (
    Kind,
    Refused,
    boolean,
    choice,
    items_of,
    kinds_of,
    number,
    numbers_in,
    optional,
    parse,
    parse_fields,
    refuse_unknown,
    sequence,
    text,
    whole,
)
from ..tokenizer import TASKS, Task, Tokenizer, to_language_code

# marks that belong to the word after them, and to the word before them
PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001

MAX_GROUP = 1000  # beams or samples of a window; memory grows with each


def _temperature(value: Any) -> float:
    temperature: float = number(0, 1e6).convert(value)
    if 0 < temperature < 1e-6:  # float32 logits divided by it could overflow
        raise Refused
    return temperature


def _temperatures(value: Any) -> tuple[float, ...]:
    try:
        return (_temperature(value),)
    except Refused:
        temperatures: tuple[float, ...] = sequence(TEMPERATURE, "", least=1).convert(value)
        return temperatures


TEMPERATURE = Kind("0, or a number between 1e-06 and 1e+06", _temperature)
TEMPERATURES = Kind(f"{TEMPERATURE.accepts}, or a sequence of at least one", _temperatures)
LANGUAGE = Kind("a language's code or English name", lambda value: to_language_code(text.convert(value)))


def _words(value: Any) -> str | tuple[str, ...] | None:
    """Without blanks around a word, and without empty words; None where nothing is left."""
    if isinstance(value, str):
        return value.strip() or None
    return tuple(filter(None, (text.convert(word).strip() for word in items_of(value)))) or None


WORDS = optional(Kind("text, or a sequence of texts", _words))


def _prompt(value: Any) -> str | tuple[int, ...]:
    return value if isinstance(value, str) else tuple(map(whole(0).convert, items_of(value)))


PROMPT = optional(Kind("text, or a sequence of token numbers", _prompt))


def _suppressed(value: Any) -> tuple[int, ...]:
    token = whole(-1)
    if isinstance(value, str):
        return numbers_in(value, token, int)
    return () if value is None else tuple(map(token.convert, items_of(value, ordered=False)))


SUPPRESSED = Kind("token numbers, as a sequence or as text with commas between, or None", _suppressed)


def _clips(value: Any) -> tuple[float, ...] | None:
    """The clips' edges in seconds: start, end, start, end ... the last end may be missing. None is the whole recording."""
    second = number(0)
    if value is None:
        return None
    if isinstance(value, str):
        points = numbers_in(value, second, float)
    else:
        flat: list[Any] = []
        for item in items_of(value):
            if isinstance(item, Mapping) and set(item) != {"start", "end"}:
                raise Refused
            flat += [item["start"], item["end"]] if isinstance(item, Mapping) else [item]
        points = tuple(map(second.convert, flat))
    if any(end < start for start, end in zip(points[::2], points[1::2], strict=False)):
        raise Refused
    return None if points in ((), (0.0,)) else points


CLIPS = Kind(
    "start, end, start, end ... in seconds, as a sequence or as text with commas between; none is negative, "
    "and no end before its start",
    _clips,
)


@dataclass(frozen=True)
class DecodingOptions:
    """How a window is decoded."""

    task: Annotated[Task, choice(*TASKS)] = "transcribe"  # or "translate": into English
    language: Annotated[str | None, optional(LANGUAGE)] = None  # detected where None
    temperature: Annotated[float, TEMPERATURE] = 0.0
    sample_len: Annotated[int | None, optional(whole(1))] = None  # tokens at most; half of the text context where None
    # samples to choose from, at a temperature above 0
    best_of: Annotated[int | None, optional(whole(1, MAX_GROUP))] = None
    beam_size: Annotated[int | None, optional(whole(1, MAX_GROUP))] = None  # beams, at temperature 0
    # a beam search goes on until patience * beam_size sequences have ended
    patience: Annotated[float | None, optional(number(above=0, high=MAX_GROUP))] = None
    length_penalty: Annotated[float | None, optional(number(0, 1))] = None  # see search.rank
    prompt: Annotated[str | Sequence[int] | None, PROMPT] = None  # text that came before
    # text that the window's own is to follow, and that is not in the result; openai-whisper's `transcribe` gives it to each window
    prefix: Annotated[str | Sequence[int] | None, PROMPT] = None
    suppress_tokens: Annotated[str | Iterable[int] | None, SUPPRESSED] = "-1"  # -1: what is not speech
    suppress_blank: Annotated[bool, boolean] = True
    # a text that stops before its window's sound does then loses the rest, unless word_timestamps says where it stopped
    without_timestamps: Annotated[bool, boolean] = False
    max_initial_timestamp: Annotated[float | None, optional(number(0))] = 1.0  # seconds; 0 is no limit, as None is
    fp16: Annotated[bool, boolean] = True  # for openai-whisper's scripts; the model's compute type decides
    # above 1, a token that was already chosen becomes less likely
    repetition_penalty: Annotated[float, number(0.001, 1000)] = 1.0
    no_repeat_ngram_size: Annotated[int, whole(0)] = 0  # so many tokens in a row never come twice
    hotwords: Annotated[str | Sequence[str] | None, WORDS] = None  # words to expect: a prompt before all other text
    # other than 0, added to the logits of the hotwords' next tokens, in place of that prompt; 1 to 4 helps, more invents them
    hotword_bias: Annotated[float, number(-1000, 1000)] = 0.0
    seed: Annotated[int | None, optional(whole(0, 2**64))] = None  # of the samples: the same seed gives the same text

    def __post_init__(self) -> None:
        parse_fields(self)
        if self.beam_size is not None and self.best_of is not None:
            raise OptionError("beam_size and best_of cannot be given together")
        if self.temperature == 0 and self.best_of is not None:
            raise OptionError("best_of chooses among samples: it needs a temperature above 0")
        if self.patience is not None and self.beam_size is None:
            raise OptionError("patience needs beam_size")
        if self.patience is not None and round((self.beam_size or 1) * self.patience) < 1:
            raise OptionError(f"patience * beam_size must be at least 1, not {self.patience} * {self.beam_size}")
        if self.hotword_bias and not self.hotwords:
            raise OptionError("hotword_bias needs hotwords")


@dataclass(frozen=True)
class TranscribeOptions:
    """How a recording is transcribed."""

    # each next one where a window fails
    temperature: Annotated[float | Sequence[float], TEMPERATURES] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    # above it, a window's text repeats itself: it fails
    compression_ratio_threshold: Annotated[float | None, optional(number(infinite=True))] = 2.4
    # below it, a window's text is unlikely: it fails
    logprob_threshold: Annotated[float | None, optional(number(infinite=True))] = -1.0
    # above it, an unlikely text is taken for silence
    no_speech_threshold: Annotated[float | None, optional(number(infinite=True))] = 0.6
    # each window is told the text before it; not where batch_size is given
    condition_on_previous_text: Annotated[bool, boolean] = True
    initial_prompt: Annotated[str | Sequence[int] | None, PROMPT] = None  # what the first window is told
    carry_initial_prompt: Annotated[bool, boolean] = False  # and every other one
    # text that the first window begins with, and that is in the result: faster-whisper's prefix
    initial_prefix: Annotated[str | Sequence[int] | None, PROMPT] = None
    # start, end, start, end ... in seconds; the last end may be missing. With batch_size, clips may overlap and be in any order
    clip_timestamps: Annotated[str | Sequence[float | Mapping[str, float]] | None, CLIPS] = "0"
    word_timestamps: Annotated[bool, boolean] = False
    # hold times within the sound, as word_timestamps, vad_filter and batch_size do anyway: openai-whisper's may lie beyond its end
    clamp_times: Annotated[bool, boolean] = False
    prepend_punctuations: Annotated[str, text] = PREPENDED
    append_punctuations: Annotated[str, text] = APPENDED
    # with word_timestamps: seconds of silence around false text
    hallucination_silence_threshold: Annotated[float | None, optional(number(0, infinite=True))] = None
    # windows decoded at once: cut where it is quiet, each without the text before it
    batch_size: Annotated[int | None, optional(whole(1))] = None
    # to choose among where the language is detected
    languages: Annotated[
        Sequence[str] | None, optional(sequence(LANGUAGE, "a sequence of languages, of at least one", least=1))
    ] = None
    multilingual: Annotated[bool, boolean] = False  # the language is detected anew for each window
    # windows to listen to at most, until one language is likely enough
    language_detection_segments: Annotated[int, whole(1)] = 1
    language_detection_threshold: Annotated[float, number(infinite=True)] = 0.5
    vad_filter: Annotated[bool, boolean] = False  # leave out what is not speech
    vad_parameters: Annotated[VadOptions | Mapping[str, Any] | None, vad_kind()] = None

    def __post_init__(self) -> None:
        parse_fields(self)
        if self.hallucination_silence_threshold is not None and not self.word_timestamps:
            raise OptionError("hallucination_silence_threshold needs word_timestamps=True")
        if self.batch_size is None and self.clips is not None and any(a > b for a, b in pairwise(self.clips)):
            raise OptionError(f"clip_timestamps must not go back, unless batch_size is given: {self.clips}")

    @property
    def clamps_times(self) -> bool:
        return self.clamp_times or self.word_timestamps or self.vad_filter or self.batch_size is not None

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try, one after the other."""
        return cast(tuple[float, ...], self.temperature)  # parsed

    @property
    def clips(self) -> tuple[float, ...] | None:
        """The edges of the clips to transcribe, in seconds: start, end, start, end ... the last end may be missing.

        None is the whole recording.
        """
        return cast(tuple[float, ...] | None, self.clip_timestamps)  # parsed

    @property
    def vad(self) -> VadOptions | None:
        """What counts as speech, where the rest is to be left out. Clips say what to transcribe: then nothing is left out."""
        return cast(VadOptions, self.vad_parameters) if self.vad_filter and self.clips is None else None


# fields of DecodingOptions that transcribe sets for each window
_OF_EACH_WINDOW = frozenset({"temperature", "prompt"})


def split_options(options: dict[str, Any]) -> tuple[TranscribeOptions, tuple[DecodingOptions, ...]]:
    """`transcribe`'s options as those of the recording, and those of its windows at each temperature.

    Beams belong to temperature 0, `best_of` to the others, as openai-whisper has it. OptionError for an option that is not known.
    """
    ours = {field.name for field in fields(TranscribeOptions)}
    windows = {field.name for field in fields(DecodingOptions)} - _OF_EACH_WINDOW
    refuse_unknown("options", options, ours | windows)
    recording = TranscribeOptions(**{k: v for k, v in options.items() if k in ours})
    # converted here: an iterator can be read once, and what is not wanted at a temperature is to be checked all the same
    kinds = kinds_of(DecodingOptions)
    shared = {k: parse(k, kinds[k], v) for k, v in options.items() if k in windows}
    attempts = []
    for temperature in recording.temperatures:
        unwanted = ("beam_size", "patience") if temperature > 0 else ("best_of",)
        changes = {"temperature": temperature} | dict.fromkeys(unwanted)
        attempts.append(DecodingOptions(**(shared | changes)))
    return recording, tuple(attempts)


def prompt_tokens(name: str, value: str | Sequence[int] | None, tokenizer: Tokenizer, n_token: int) -> list[int]:
    """Return the tokens of the prompt or prefix that the option `name` gives; text is begun with one space.

    Raises OptionError for a token that is not among the first `n_token`.
    """
    if not value:
        return []
    tokens = tokenizer.encode(" " + value.strip()) if isinstance(value, str) else list(value)
    if wrong := [token for token in tokens if not 0 <= token < n_token]:
        raise OptionError(f"{name} has the token {wrong[0]}, but the tokens it may have go from 0 to {n_token - 1}")
    return tokens
