"""Every option of every public function affects the network, the search or the output, or is listed as having none.

The options are taken from the signatures: an option without a row in the tables below fails.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

import whisper_apr
from encoded import digits
from whisper_apr import BatchedInferencePipeline, LiveTranscriber, WhisperModel
from whisper_apr.errors import AudioError, OptionError
from whisper_apr.inference.journal import Journal
from wiring import Calls, Trace, run, sound


@dataclass(frozen=True)
class Row:
    """A value of an option that has an effect on a call with the options `base` and the recording `source`.

    raises: The effect is this error. is_nothing: There is no effect.
    """

    value: Any
    base: dict[str, Any] = field(default_factory=dict)
    source: str = "short"
    raises: type[Exception] | None = None
    is_nothing: bool = False


def nothing(value: Any) -> Row:
    """Return the row of an option that is documented to have no effect."""
    return Row(value, is_nothing=True)


def refused(value: Any) -> Row:
    """Return the row of an option that accepts no other value than its default."""
    return Row(value, raises=OptionError)


# a temperature at which samples differ in length and from the likeliest text, of which the model is certain
SAMPLES = {"temperature": 2.2, "seed": 0, "sample_len": 12}
TWICE = {"temperature": (0.0, 2.2), "seed": 0, "sample_len": 12}
WORDS = {"word_timestamps": True}
MARKS = WORDS | {"initial_prefix": "one ( two, five"}
# words that are not spoken, with punctuation between them, for functions without a prefix
SAID = {
    "hotwords": ["two, ( three"],
    "hotword_bias": 30,
    "no_repeat_ngram_size": 1,
    "suppress_tokens": "",
    "sample_len": 9,
}
DETECTED = {"language": None, "language_detection_segments": 2, "language_detection_threshold": 1.1}

# DecodingOptions
WINDOW = {
    "task": Row("translate"),
    "language": Row("de"),
    "temperature": Row(2.2, {"seed": 0, "sample_len": 12}),
    "sample_len": Row(2),
    "best_of": Row(3, SAMPLES),
    "beam_size": Row(3),
    "patience": Row(3.0, {"beam_size": 3}),
    "length_penalty": Row(0.0, SAMPLES | {"best_of": 5, "without_timestamps": True}),
    "length_exponent": Row(0.0, SAMPLES | {"best_of": 5, "without_timestamps": True}),
    "prompt": Row("nine"),
    "prefix": Row("nine"),
    "suppress_tokens": Row("5"),
    "suppress_blank": Row(False, {"without_timestamps": True}),
    "without_timestamps": Row(True),
    "max_initial_timestamp": Row(0.2),
    "fp16": nothing(False),  # the model's compute type decides
    "repetition_penalty": Row(5.0),
    "no_repeat_ngram_size": Row(1),
    "hotwords": Row("nine"),
    "hotword_bias": Row(2.0, {"hotwords": "nine"}),
    "seed": Row(2, SAMPLES),
}
# TranscribeOptions
RECORDING = {
    "temperature": Row((2.2,), {"seed": 0, "sample_len": 12}),
    "compression_ratio_threshold": Row(0.1, TWICE),
    "logprob_threshold": Row(0.0, TWICE),
    "no_speech_threshold": Row(0.0, {"logprob_threshold": 0.0}),
    "condition_on_previous_text": Row(False, {}, "long"),
    "prompt_reset_on_temperature": Row(3.0, SAMPLES, "long"),
    "chunk_length": Row(2.0),
    "initial_prompt": Row("nine"),
    "carry_initial_prompt": Row(True, {"initial_prompt": "nine", "condition_on_previous_text": False}, "long"),
    "initial_prefix": Row("nine"),
    "clip_timestamps": Row("0,2"),
    "word_timestamps": Row(True),
    "word_timing": Row("openai", WORDS),
    "clamp_times": Row(True, {}, "brief"),
    "prepend_punctuations": Row("", MARKS),
    "append_punctuations": Row("", MARKS),
    "hallucination_silence_threshold": Row(0.0, WORDS | {"initial_prefix": "zebra zebra zebra"}),
    "hallucination_filter": Row(True, {"initial_prefix": "nine"}, "silent"),
    "batch_size": Row(2, {}, "long"),
    "languages": Row(["de", "fr"], {"language": None}),
    "multilingual": Row(True, {"language": "fr"}, "long"),
    "language_detection_segments": Row(1, DETECTED, "long"),
    "language_detection_threshold": Row(0.1, DETECTED, "long"),
    "vad_filter": Row(True, {}, "long"),
    "vad_parameters": Row({"speech_pad_ms": 0}, {"vad_filter": True}, "long"),
    "audio_context": Row("auto"),
    "speakers": Row([(0.0, 9.0, "Ann")]),
}
# ReadingOptions, and functions that are called during a transcription
READING = {
    "sampling_rate": Row(8000),
    "channel": Row(1, {}, "stereo"),
    "track": Row(1, {}, raises=AudioError),  # there is one, number 0
    "strict": Row(True, {}, "loud", raises=AudioError),
}
CALLED = {"on_segment": Row(Calls), "on_progress": Row(Calls), "check_cancelled": Row(Calls)}

BASE = {"language": "en", "temperature": 0.0}


def finished() -> Journal:
    """Return a journal that holds all windows of the recording."""
    journal = Journal()
    list(whisper_apr.transcribe_many(digits(), [sound("short")] * 3, journal=journal, **BASE))
    return journal


ENGINE = {name: row for name, row in (WINDOW | RECORDING).items() if name != "prompt"}

# faster-whisper's names of options of `transcribe`
RENAMED = {
    "length_penalty": "length_exponent",
    "log_prob_threshold": "logprob_threshold",
    "prefix": "initial_prefix",
    "max_new_tokens": "sample_len",
}
OURS = (
    "prefix",
    "length_penalty",
    "batch_size",
    "fp16",
    "languages",
    "carry_initial_prompt",
    "hotword_bias",
    "seed",
    "clamp_times",
    "word_timing",
    "audio_context",
)  # not in faster-whisper
FASTER = {name: row for name, row in ENGINE.items() if name not in OURS} | {
    "log_progress": Row(True),
    "strict": Row(True, {}, "loud", raises=AudioError),
}

ROWS: dict[str, dict[str, Row]] = {
    "transcribe": ENGINE | READING | CALLED | {"verbose": Row(True)},
    "transcribe_many": ENGINE
    | READING
    | CALLED
    | {
        "batch_size": Row(1),  # one of three recordings at a time
        "independent_windows": Row(True, {}, "long"),
        "return_errors": Row(True, {}, "no.wav"),
        "journal": Row(finished),
    },
    "align": READING
    | {
        "text": Row("three one. four one six"),
        "language": Row("de"),
        "segments": Row("sentences"),
        "on_progress": Row(Calls),
        "check_cancelled": Row(Calls),
    },
    "decode": WINDOW,
    "WhisperModel": FASTER | READING,
    "BatchedInferencePipeline": FASTER
    | READING
    | {
        "condition_on_previous_text": nothing(False),  # windows of a batch are not given the text before them
        "prompt_reset_on_temperature": nothing(3.0),
        "batch_size": Row(1, {"vad_filter": False}, "long"),
        "clip_timestamps": Row([{"start": 0, "end": 2}]),
        "hallucination_filter": Row(True, {"initial_prefix": "nine", "vad_filter": False}, "silent"),
        "without_timestamps": Row(False),
        "vad_filter": Row(False, {}, "long"),
        "language_detection_segments": Row(1, DETECTED | {"vad_filter": False}, "long"),
        "language_detection_threshold": Row(0.1, DETECTED | {"vad_filter": False}, "long"),
        "suppress_blank": Row(False),
        "max_initial_timestamp": Row(0.2, {"without_timestamps": False}),
    },
    "LiveTranscriber": ENGINE
    | {name: READING[name] for name in ("sampling_rate", "channel", "strict")}
    | {
        "check_cancelled": Row(Calls),
        "step": Row(1.0),
        "settle": Row("final", {"step": 0.5}),
        "vad_options": Row({"speech_pad_ms": 0}),
        "vad_filter": Row(True, {"vad_parameters": {"speech_pad_ms": 0}}),
        "vad_parameters": Row({"speech_pad_ms": 0}, {"vad_filter": True}),
        "audio_context": Row("full"),  # the default is "auto"
        "word_timestamps": refused(False),  # words become final one by one
        "clamp_times": nothing(True),  # the times of words are always clamped
        "clip_timestamps": refused("0,2"),  # for recordings only, as initial_prefix
        "initial_prefix": refused("nine"),
        "hallucination_filter": refused(True),
        "speakers": refused([(0.0, 9.0, "Ann")]),
        "prepend_punctuations": Row("", WORDS | SAID),
        "append_punctuations": Row("", WORDS | SAID),
        "hallucination_silence_threshold": Row(0.1, WORDS | SAID | {"sample_len": 3}),
    },
}

BASES = {
    "align": {"language": "en", "text": "three one. four one five"},
    "WhisperModel": BASE | {"beam_size": 1},
    "BatchedInferencePipeline": BASE | {"beam_size": 1},
    "LiveTranscriber": BASE | {"step": 3.0},
}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "transcribe": whisper_apr.transcribe,
    "align": whisper_apr.align,
    "transcribe_many": whisper_apr.transcribe_many,
    "decode": whisper_apr.decode,
    "WhisperModel": WhisperModel.transcribe,
    "BatchedInferencePipeline": BatchedInferencePipeline.transcribe,
    "LiveTranscriber": LiveTranscriber.__init__,
}


@cache
def options_of(entry_point: str) -> set[str]:
    """The names of a function's options, and of those of `transcribe` that it refuses by name."""
    names = set(inspect.signature(FUNCTIONS[entry_point]).parameters)
    refused = {"clip_timestamps", "hallucination_filter", "initial_prefix", "speakers", "word_timestamps"}
    refused = refused if entry_point == "LiveTranscriber" else set()
    return names - {"self", "model", "audio", "audios", "mel", "options"} | refused


def named(entry_point: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return options of `transcribe` under the function's names, without those that it does not have."""
    theirs = {ours: name for name, ours in RENAMED.items()} if "fp16" not in options_of(entry_point) else {}
    renamed = {theirs.get(name, name): value for name, value in options.items()}
    return {name: value for name, value in renamed.items() if name in options_of(entry_point)}


def rows_of(entry_point: str) -> dict[str, Row]:
    return named(entry_point, ROWS[entry_point])


@pytest.mark.parametrize("entry_point", ROWS)
def test_every_option_has_a_row(entry_point: str) -> None:
    assert set(rows_of(entry_point)) == options_of(entry_point)
    assert set(ROWS[entry_point]) - set(RENAMED.values()) <= options_of(
        entry_point
    )  # no row is for an option that was removed


_seen: dict[tuple[str, str, str], Trace] = {}  # traces of calls without the option


@pytest.mark.parametrize(
    ("entry_point", "name"), [(entry_point, name) for entry_point in ROWS for name in sorted(rows_of(entry_point))]
)
def test_option_has_an_effect(entry_point: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = rows_of(entry_point)[name]
    base = BASES.get(entry_point, BASE) | named(entry_point, row.base)
    source = row.source
    if entry_point == "LiveTranscriber" and source == "long":
        source, base = "unbroken", base | {"step": 30, "vad_options": {"min_silence_duration_ms": 20_000}}
    key = entry_point, source, repr(base)
    if key not in _seen:
        _seen[key] = run(entry_point, sound(source), base, capsys)[0]
    value = row.value() if callable(row.value) else row.value
    changed, error = run(entry_point, sound(source), base | {name: value}, capsys)
    assert isinstance(error, row.raises or type(None)), error
    assert (changed == _seen[key]) == row.is_nothing


@pytest.mark.parametrize("entry_point", ROWS)
def test_equal_calls_have_equal_traces(entry_point: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a difference would not be the effect of the option."""
    options = BASES.get(entry_point, BASE) | named(entry_point, SAMPLES | TWICE if entry_point != "decode" else SAMPLES)
    first, error = run(entry_point, sound("short"), options, capsys)
    assert error is None
    assert run(entry_point, sound("short"), options, capsys)[0] == first
    assert len(first) > 10
