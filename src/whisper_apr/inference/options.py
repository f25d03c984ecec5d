"""Options for decoding a window and for transcribing a recording.

Names and defaults are openai-whisper's, and faster-whisper's for options that openai-whisper lacks. Each option is a
field of one of the two classes; its annotation says which values are allowed, by the kinds of `option_values.py`. Only
`temperature` is a field of both: of the temperatures in TranscribeOptions, each attempt at a window is given one.

To add an option, add a field with its description under Attributes, the same name and type in `keywords.py`, and a
command-line flag in `cli/decoding.py`. Add rows to the tables of `tests/test_option_wiring.py` and
`tests/test_flag_wiring.py`, which fail for an option that has no effect.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from os import PathLike
from typing import Annotated, Any, Literal, cast, get_args

from ..audio import CHUNK_LENGTH, FRAMES_PER_SECOND, AudioLike, VadOptions, vad_kind
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
from ..simd import FloatArray
from ..speakers.turns import SPEAKERS, Diarization, Turn
from ..tokenizer import TASKS, Task, Tokenizer, to_language_code

# punctuation that belongs to the word after it, and to the word before it
PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001

WordTiming = Literal["default", "openai"]
WORD_TIMINGS: tuple[WordTiming, ...] = get_args(WordTiming)

AudioContext = Literal["full", "auto"]
AUDIO_CONTEXTS: tuple[AudioContext, ...] = get_args(AudioContext)

# Values of `speakers`
SpeakersLike = (
    bool
    | int
    | str
    | PathLike[str]
    | Diarization
    | Mapping[str, AudioLike | FloatArray]
    | Iterable[tuple[float, float, str] | Turn]
)

MAX_GROUP = 1000  # beams or samples per window; each has its own rows in the KV cache


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
    """Strip each word and drop the empty ones. Returns None if no word is left."""
    if isinstance(value, str):
        return value.strip() or None
    return tuple(filter(None, (text.convert(word).strip() for word in items_of(value)))) or None


WORDS = optional(Kind("a string, or a sequence of strings", _words))


def _prompt(value: Any) -> str | tuple[int, ...]:
    return value if isinstance(value, str) else tuple(map(whole(0).convert, items_of(value)))


PROMPT = optional(Kind("a string, or a sequence of token numbers", _prompt))


def _suppressed(value: Any) -> tuple[int, ...]:
    token = whole(-1)
    if isinstance(value, str):
        return numbers_in(value, token, int)
    return () if value is None else tuple(map(token.convert, items_of(value, ordered=False)))


SUPPRESSED = Kind("token numbers as a sequence or a comma-separated string, or None", _suppressed)


def _clips(value: Any) -> tuple[float, ...] | None:
    """Return start, end, start, end and so on in seconds; the last end may be missing. None is the whole recording."""
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
    "start, end, start, end and so on in seconds, as a sequence or a comma-separated string, "
    "none of them negative and no end before its start",
    _clips,
)


@dataclass(frozen=True)
class DecodingOptions:
    """Options for decoding one window of at most 30 s.

    Raises OptionError for a value that is not allowed and for options that conflict.

    Attributes:
        task: "transcribe" writes the words in the language spoken; "translate" writes them in English.
        language: Language spoken, as a code ("de") or an English name ("German"). None detects it.
        temperature: 0 chooses the most probable tokens; above 0, tokens are sampled from the softmax of the logits
            divided by the temperature.
        sample_len: Most tokens decoded for a window. None is half of the text context: 224 tokens. The rest of a
            window whose text is cut is not transcribed, as in openai-whisper, unless `word_timestamps` is given.
        best_of: Number of samples drawn at a temperature above 0, of which the likeliest is kept. None is 1.
        beam_size: Number of beams searched at temperature 0. None is greedy decoding.
        patience: The beam search ends once round(patience * beam_size) sequences are complete (Kasai et al. 2022).
            None is 1.
        length_penalty: Exponent a, 0 to 1: candidates are ranked by log-probability over ((5 + length) / 6)^a, as in
            Wu et al. 2016, equation 14. None divides by the length.
        prompt: Text or tokens given to the model as the text before the window.
        prefix: Text or tokens that the window's text continues; they are not part of the result. `transcribe` gives
            them to every window, as openai-whisper does.
        suppress_tokens: Token numbers that are never chosen, as a sequence or as text with commas between. -1 stands
            for the model's list of symbols that are not speech.
        suppress_blank: Whether a window's text must not begin with a space or end at once.
        without_timestamps: Whether to decode without timestamp tokens. A text that stops before its window does then
            loses the rest of the window, unless `word_timestamps` finds where it stopped.
        max_initial_timestamp: Latest time of a window's first timestamp, in seconds. None and 0 are no limit.
        fp16: Accepted for scripts written for openai-whisper; it has no effect, as the model's compute type decides.
        length_exponent: Exponent e, 0 to 100: candidates are ranked by log-probability over length^e, as by
            faster-whisper's `length_penalty`; above 1 favors longer texts. None is 1.
        repetition_penalty: Factor that lowers the logits of tokens chosen before; 1 is none, above 1 repeats less.
        no_repeat_ngram_size: Length in tokens of sequences that must not occur twice in a window; 0 is no limit.
        hotwords: Words to expect, as text with commas between or as a sequence. They are put before the prompt.
        hotword_bias: If not 0, it is added to the logits of tokens that begin or continue a hotword, instead of the
            prompt. Values of 1 to 4 help; larger ones invent the words.
        seed: Seed of the sampling, which makes it reproducible. None samples differently each time.
    """

    task: Annotated[Task, choice(*TASKS)] = "transcribe"
    language: Annotated[str | None, optional(LANGUAGE)] = None
    temperature: Annotated[float, TEMPERATURE] = 0.0
    sample_len: Annotated[int | None, optional(whole(1))] = None
    best_of: Annotated[int | None, optional(whole(1, MAX_GROUP))] = None
    beam_size: Annotated[int | None, optional(whole(1, MAX_GROUP))] = None
    patience: Annotated[float | None, optional(number(above=0, high=MAX_GROUP))] = None
    length_penalty: Annotated[float | None, optional(number(0, 1))] = None
    prompt: Annotated[str | Iterable[int] | None, PROMPT] = None
    prefix: Annotated[str | Iterable[int] | None, PROMPT] = None
    suppress_tokens: Annotated[str | Iterable[int] | None, SUPPRESSED] = "-1"
    suppress_blank: Annotated[bool, boolean] = True
    without_timestamps: Annotated[bool, boolean] = False
    max_initial_timestamp: Annotated[float | None, optional(number(0))] = 1.0
    fp16: Annotated[bool, boolean] = True
    length_exponent: Annotated[float | None, optional(number(0, 100))] = None
    repetition_penalty: Annotated[float, number(0.001, 1000)] = 1.0
    no_repeat_ngram_size: Annotated[int, whole(0)] = 0
    hotwords: Annotated[str | Sequence[str] | None, WORDS] = None
    hotword_bias: Annotated[float, number(-1000, 1000)] = 0.0
    seed: Annotated[int | None, optional(whole(0, 2**64))] = None

    def __post_init__(self) -> None:
        parse_fields(self)
        if self.beam_size is not None and self.best_of is not None:
            raise OptionError("beam_size and best_of cannot be given together")
        if self.temperature == 0 and self.best_of is not None:
            raise OptionError("best_of needs a temperature above 0, at which tokens are sampled")
        if self.patience is not None and self.beam_size is None:
            raise OptionError("patience needs beam_size")
        if self.patience is not None and round((self.beam_size or 1) * self.patience) < 1:
            raise OptionError(f"patience * beam_size must be at least 1, not {self.patience} * {self.beam_size}")
        if self.hotword_bias and not self.hotwords:
            raise OptionError("hotword_bias needs hotwords")
        if self.length_penalty is not None and self.length_exponent is not None:
            raise OptionError("length_penalty and length_exponent cannot be given together")


@dataclass(frozen=True)
class TranscribeOptions:
    """Options for transcribing a recording.

    Raises OptionError for a value that is not allowed and for options that conflict.

    Attributes:
        temperature: Temperatures at which to decode a window, one after the other, until its result passes the
            thresholds below. A single number is allowed.
        compression_ratio_threshold: A window whose text compresses by more than this ratio is too repetitive and is
            decoded again. None turns the check off.
        logprob_threshold: A window whose mean log-probability per token is below this is decoded again. None turns
            the check off.
        no_speech_threshold: A window with a no-speech probability above this, and a mean log-probability not above
            `logprob_threshold`, is silence and has no text. None turns the check off.
        condition_on_previous_text: Whether each window is given the text before it as a prompt. Ignored with
            `batch_size`.
        prompt_reset_on_temperature: Text that was decoded at a temperature above this does not prompt the next window.
        chunk_length: Length of a window in seconds, 1 to 30. A shorter window is padded to 30 s.
        initial_prompt: Text or tokens given to the first window as the text before it.
        carry_initial_prompt: Whether to give `initial_prompt` to every window.
        initial_prefix: Text or tokens with which the first window's text begins; they are part of the result. This is
            faster-whisper's `prefix`.
        clip_timestamps: Parts to transcribe, in seconds: start, end, start, end and so on, as a sequence, as text with
            commas between, or as dictionaries with "start" and "end". The last end may be missing. With `batch_size`
            the parts may overlap and be in any order.
        word_timestamps: Whether to find the times of words.
        word_timing: With `word_timestamps`, how to find the times. "default" aligns each segment by itself and moves
            times to where speech starts and ends in the audio. "openai" gives exactly openai-whisper's times, which may
            overlap or lie beyond the end unless `clamp_times`, `vad_filter` or `batch_size` is given.
        clamp_times: Whether to keep times within the recording. `word_timestamps` (unless `word_timing="openai"`),
            `vad_filter` and `batch_size` do this anyway; otherwise they are openai-whisper's times, which may lie
            beyond the end.
        prepend_punctuations: With `word_timestamps`, punctuation that belongs to the word after it.
        append_punctuations: With `word_timestamps`, punctuation that belongs to the word before it.
        hallucination_silence_threshold: With `word_timestamps`, seconds of silence around improbable text above which
            the text is dropped as a hallucination. None keeps it.
        hallucination_filter: Whether to leave out text that nobody says: segments that are improbable and in which
            voice activity detection finds no speech, and repetitions that a window's text ends with at every
            temperature. Decoding stops at a repetition, and text of a window that was decoded again or lost text does
            not prompt the next one. `Transcription.dropped` has what was left out.
        batch_size: Number of windows decoded at once, at most 64. The recording is cut where it is quiet, and no window
            is given the text before it. None decodes window after window.
        languages: Languages among which to detect, as codes or English names. None is all that the model knows.
        multilingual: Whether to detect the language of every window anew.
        language_detection_segments: Most windows used to detect the language.
        language_detection_threshold: Probability above which the language of one window is accepted without looking
            at the next one.
        vad_filter: Whether to leave out parts without speech before transcribing, by voice activity detection. Ignored
            with `clip_timestamps`.
        vad_parameters: With `vad_filter`, a VadOptions or a dictionary of its fields. None is the defaults.
        audio_context: "full" pads a window that is shorter than 30 s to 30 s, as openai-whisper does. "auto" encodes
            the sound and 4 s of padding, at least 8 s, which is several times as fast for short recordings, and does so
            again with 30 s if the text does not end, is repetitive or improbable, or is taken for silence. Texts may
            differ from openai-whisper's.
        speakers: Who speaks: True to find out, which needs the extra `speakers`, a number of speakers, known voices by
            their names (recordings, or vectors that `whisper_apr.speakers.embed_voice` returned), what
            `whisper_apr.speakers.diarize` returned, turns (start, end, speaker) in seconds, or the path of an RTTM
            file. Words and segments then have a `speaker`; with `word_timestamps`, a segment is split where the speaker
            changes. None leaves speakers out.
    """

    temperature: Annotated[float | Iterable[float], TEMPERATURES] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: Annotated[float | None, optional(number(infinite=True))] = 2.4
    logprob_threshold: Annotated[float | None, optional(number(infinite=True))] = -1.0
    no_speech_threshold: Annotated[float | None, optional(number(infinite=True))] = 0.6
    condition_on_previous_text: Annotated[bool, boolean] = True
    prompt_reset_on_temperature: Annotated[float, number(0, infinite=True)] = 0.5
    chunk_length: Annotated[float, number(1, CHUNK_LENGTH)] = CHUNK_LENGTH
    initial_prompt: Annotated[str | Iterable[int] | None, PROMPT] = None
    carry_initial_prompt: Annotated[bool, boolean] = False
    initial_prefix: Annotated[str | Iterable[int] | None, PROMPT] = None
    clip_timestamps: Annotated[str | Iterable[float | Mapping[str, float]] | None, CLIPS] = "0"
    word_timestamps: Annotated[bool, boolean] = False
    word_timing: Annotated[WordTiming, choice(*WORD_TIMINGS)] = "default"
    clamp_times: Annotated[bool, boolean] = False
    prepend_punctuations: Annotated[str, text] = PREPENDED
    append_punctuations: Annotated[str, text] = APPENDED
    hallucination_silence_threshold: Annotated[float | None, optional(number(0, infinite=True))] = None
    hallucination_filter: Annotated[bool, boolean] = False
    batch_size: Annotated[int | None, optional(whole(1))] = None
    languages: Annotated[
        Sequence[str] | None, optional(sequence(LANGUAGE, "a sequence of at least one language", least=1))
    ] = None
    multilingual: Annotated[bool, boolean] = False
    language_detection_segments: Annotated[int, whole(1)] = 1
    language_detection_threshold: Annotated[float, number(infinite=True)] = 0.5
    vad_filter: Annotated[bool, boolean] = False
    vad_parameters: Annotated[VadOptions | Mapping[str, Any] | None, vad_kind()] = None
    audio_context: Annotated[AudioContext, choice(*AUDIO_CONTEXTS)] = "full"
    speakers: Annotated[SpeakersLike | None, SPEAKERS] = None

    def __post_init__(self) -> None:
        parse_fields(self)
        if self.hallucination_silence_threshold is not None and not self.word_timestamps:
            raise OptionError("hallucination_silence_threshold needs word_timestamps=True")
        if self.word_timing != "default" and not self.word_timestamps:
            raise OptionError(f"word_timing={self.word_timing!r} needs word_timestamps=True")
        if self.batch_size is None and self.clips is not None and any(a > b for a, b in pairwise(self.clips)):
            raise OptionError(f"clip_timestamps must be in order unless batch_size is given, not {self.clips}")

    @property
    def clamps_times(self) -> bool:
        """Whether times are kept within the recording."""
        words_clamp = self.word_timestamps and self.word_timing == "default"
        return self.clamp_times or words_clamp or self.vad_filter or self.batch_size is not None

    @property
    def window_frames(self) -> int:
        """The most frames of a window."""
        return round(self.chunk_length * FRAMES_PER_SECOND)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try, in order."""
        return cast(tuple[float, ...], self.temperature)  # parsed

    @property
    def clips(self) -> tuple[float, ...] | None:
        """The parts to transcribe, in seconds: start, end, start, end and so on; the last end may be missing.

        None is the whole recording.
        """
        return cast(tuple[float, ...] | None, self.clip_timestamps)  # parsed

    @property
    def vad(self) -> VadOptions | None:
        """Options of the voice activity filter, or None if it is off or `clip_timestamps` is given."""
        return cast(VadOptions, self.vad_parameters) if self.vad_filter and self.clips is None else None


# fields of DecodingOptions that `transcribe` sets for each window itself
_OF_EACH_WINDOW = frozenset({"temperature", "prompt"})


def split_options(options: dict[str, Any]) -> tuple[TranscribeOptions, tuple[DecodingOptions, ...]]:
    """Split the options of `transcribe` into those for the recording and those for a window at each temperature.

    As in openai-whisper, `beam_size` and `patience` apply at temperature 0 only, and `best_of` above 0 only.

    Raises:
        OptionError: An option is unknown or has a value that is not allowed.
    """
    ours = {field.name for field in fields(TranscribeOptions)}
    windows = {field.name for field in fields(DecodingOptions)} - _OF_EACH_WINDOW
    refuse_unknown("options", options, ours | windows)
    recording = TranscribeOptions(**{k: v for k, v in options.items() if k in ours})
    # parsed before the loop: an iterator can be read only once, and options that no temperature uses are checked too
    kinds = kinds_of(DecodingOptions)
    shared = {k: parse(k, kinds[k], v) for k, v in options.items() if k in windows}
    attempts = []
    for temperature in recording.temperatures:
        unwanted = ("beam_size", "patience") if temperature > 0 else ("best_of",)
        changes = {"temperature": temperature} | dict.fromkeys(unwanted)
        attempts.append(DecodingOptions(**(shared | changes)))
    return recording, tuple(attempts)


def prompt_tokens(name: str, value: str | Iterable[int] | None, tokenizer: Tokenizer, n_token: int) -> list[int]:
    """Return the tokens of a prompt or prefix; text is encoded with one space before it.

    Args:
        name: Name of the option, for the error message.
        value: Text or token numbers.
        tokenizer: Tokenizer that encodes text.
        n_token: Number of tokens allowed: the first `n_token` of the vocabulary.

    Raises:
        OptionError: A token is not among the first `n_token`.
    """
    if not value:
        return []
    tokens = tokenizer.encode(" " + value.strip()) if isinstance(value, str) else list(value)
    if wrong := [token for token in tokens if not 0 <= token < n_token]:
        raise OptionError(f"{name} contains the token {wrong[0]}; use tokens from 0 to {n_token - 1}")
    return tokens
