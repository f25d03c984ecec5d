"""Decoding options as command-line flags, under the names and with the defaults of openai-whisper's command."""

import argparse
from dataclasses import fields
from typing import Any

import numpy as np

from ..audio import ReadingOptions, VadOptions
from ..errors import OptionError
from ..inference.options import AUDIO_CONTEXTS, WORD_TIMINGS, split_options
from ..option_values import number, parse
from ..option_values import optional as or_none
from .arguments import boolean, channel, comma_separated, language, languages, option, optional, speakers, switch

# openai-whisper's command, unlike its Python function, uses five beams, and five samples above temperature 0
BEAM_SIZE = 5
BEST_OF = 5
READING_OPTIONS = ("channel", "track", "strict")  # those of ReadingOptions that are flags

VAD_HELP = {
    "threshold": "probability at or above which speech begins, 0 to 1",
    "neg_threshold": "probability below which speech may end, 0 to 1",
    "min_speech_duration_ms": "shortest speech to keep, in ms",
    "max_speech_duration_s": "longest speech in one piece, in s; longer speech is cut",
    "min_silence_duration_ms": "shortest silence to leave out, in ms",
    "speech_pad_ms": "padding before and after speech, in ms",
}
VAD_DEFAULTS = {
    "neg_threshold": "0.15 below --vad-threshold",
    "max_speech_duration_s": "no limit",
}  # in place of the fields' own


def add_decoding_options(parser: argparse.ArgumentParser, batch_size: int | None = None) -> list[str]:
    """Add the flags to a parser.

    Args:
        parser: The parser of a subcommand.
        batch_size: Default of `--batch-size`; None to decode one window after the other.

    Returns:
        The names of the options. Those without a default here are absent from the namespace unless they are given, so
        that the defaults of `transcribe` apply.
    """
    group = parser.add_argument_group("decoding")
    words = parser.add_argument_group("word timestamps")
    names: list[str] = []

    def add(name: str, kind: Any, help: str, group: Any = group, **settings: Any) -> None:
        names.append(name.replace("-", "_"))
        if kind is boolean:
            switch(group, name, help=help, default=argparse.SUPPRESS)
        else:
            option(group, name, type=kind, help=help, **({"default": argparse.SUPPRESS} | settings))

    add("language", language, "language spoken, as a code or an English name (default: detect it)")
    add(
        "task",
        str,
        "transcribe, or translate into English (default: transcribe)",
        choices=("transcribe", "translate"),
    )
    add(
        "best-of",
        optional(int),
        f"number of samples drawn at a temperature above 0, or None for one (default: {BEST_OF})",
        default=BEST_OF,
    )
    add(
        "beam-size",
        optional(int),
        f"number of beams at temperature 0, or None for greedy decoding (default: {BEAM_SIZE})",
        default=BEAM_SIZE,
    )
    add("patience", float, "end the beam search after patience x beam-size complete texts (default: 1)")
    add(
        "length-penalty",
        float,
        "exponent of the length penalty of Wu et al. 2016, 0 to 1 (default: divide by the length)",
    )
    add(
        "length-exponent",
        float,
        "divide log-probabilities by length^exponent; above 1 favors longer texts (default: 1)",
    )
    add("sample-len", optional(int), "maximum tokens per window (default: half of the model's text context)")
    add("suppress-tokens", str, "token numbers never to choose; -1: all symbols that are not speech (default: -1)")
    add("suppress-blank", boolean, "forbid a window's text to begin with a space or to be empty (default: True)")
    add("initial-prompt", str, "text given to the model as context before the first window")
    add("carry-initial-prompt", boolean, "give the initial prompt to every window (default: False)")
    add("initial-prefix", str, "beginning of the first window's text")
    add("prefix", str, "text that every window's text continues; not part of the output")
    add("without-timestamps", boolean, "decode without timestamps, one segment per window (default: False)")
    add("max-initial-timestamp", optional(float), "latest start of a window's first segment, in s (default: 1)")
    add("condition-on-previous-text", boolean, "give each window the text before it as context (default: True)")
    add(
        "prompt-reset-on-temperature",
        float,
        "text decoded at a higher temperature is not context for the next window (default: 0.5)",
    )
    add("chunk-length", float, "length of a window in s, 1 to 30 (default: 30)")
    add(
        "compression-ratio-threshold",
        optional(float),
        "compression ratio above which a window counts as repetitive and is decoded again (default: 2.4)",
    )
    add(
        "logprob-threshold",
        optional(float),
        "mean log-probability below which a window counts as failed and is decoded again (default: -1)",
    )
    add(
        "no-speech-threshold",
        optional(float),
        "no-speech probability above which a window that also fails the logprob threshold is silence (default: 0.6)",
    )
    add(
        "hallucination-filter",
        boolean,
        "leave out text that nobody says: improbable text without speech, and repetitions; json lists it as dropped "
        "(default: False)",
    )
    add("clip-timestamps", str, "parts to transcribe, as start,end,start,end,... in s (default: everything)")
    add("repetition-penalty", float, "penalty on tokens chosen before; above 1 repeats less (default: 1)")
    add("no-repeat-ngram-size", int, "length in tokens of sequences that may not repeat; 0: no limit (default: 0)")
    add("hotwords", comma_separated, "words to expect, separated by commas; given to the model as context")
    add("hotword-bias", float, "increase of the hotwords' logits, in place of context; 1 to 4 helps (default: 0)")
    add("languages", languages, "languages to detect among, separated by commas (default: all)")
    add("multilingual", boolean, "detect the language of each window (default: False)")
    add("language-detection-segments", int, "maximum windows used to detect the language (default: 1)")
    add(
        "language-detection-threshold",
        float,
        "probability at which a detected language is accepted without another window, 0 to 1 (default: 0.5)",
    )
    if batch_size is None:
        add(
            "batch-size",
            int,
            "number of windows decoded at once, of one or several recordings; they are not given the text before them "
            "(default: decode one window after the other, each with the text before it)",
        )
    else:
        add(
            "batch-size",
            int,
            f"number of windows decoded at once; they are not given the text before them (default: {batch_size})",
            default=batch_size,
        )
    add(
        "audio-context",
        str,
        "full: encode short windows as 30 s; auto: encode the sound and 4 s of padding, at least 8 s, which is faster "
        "(default: full)",
        choices=AUDIO_CONTEXTS,
    )
    add("seed", int, "seed of the random numbers for sampling (default: 0)", default=0)
    add("word-timestamps", boolean, "find the time of each word (default: False)", words)
    add(
        "word-timing",
        str,
        "default: times adjusted to the sound; openai: those of openai-whisper; needs --word-timestamps (default: "
        "default)",
        words,
        choices=WORD_TIMINGS,
    )
    add("prepend-punctuations", str, "punctuation that belongs to the word after it", words)
    add("append-punctuations", str, "punctuation that belongs to the word before it", words)
    add(
        "hallucination-silence-threshold",
        optional(float),
        "silence, in s, around improbable text above which the text is dropped (default: None, keep it)",
        words,
    )
    recording = parser.add_argument_group("recordings")
    add(
        "channel",
        channel,
        "channel to transcribe: its number from 0, mix (the mean of all), or each (every channel separately, with its "
        "number as speaker) (default: mix)",
        recording,
    )
    add(
        "track",
        int,
        "audio track to transcribe, from 0, of a file with several (default: the one a player chooses)",
        recording,
    )
    add(
        "speakers",
        speakers,
        "tell speakers apart: auto, their number, or an RTTM file with their turns; auto and a number need the extra "
        "speakers (default: no speakers)",
        recording,
    )
    add("strict", boolean, "fail on recordings that would only cause a warning (default: False)", recording)
    speech = parser.add_argument_group("voice activity detection")
    add("vad-filter", boolean, "leave out parts without speech (default: False)", speech)
    for field in fields(VadOptions):
        kind = int if field.name.endswith("_ms") else float
        default = VAD_DEFAULTS.get(field.name, field.default)
        help = f"{VAD_HELP[field.name]} (default: {default})"
        add(f"vad-{field.name.replace('_', '-')}", kind, help, speech)

    option(
        group,
        "temperature",
        type=float,
        default=0.0,
        help="0: choose the most probable tokens; above 0, up to 1: sample (default: 0)",
    )
    option(
        group,
        "temperature-increment-on-fallback",
        type=optional(float),
        default=0.2,
        help="increase of the temperature, up to 1, each time a window fails; None: no second try (default: 0.2)",
    )
    return names


def decoding_options(args: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Return the options for `transcribe`.

    Args:
        args: The parsed arguments.
        names: What `add_decoding_options` returned.

    Returns:
        The options by their names in Python.

    Raises:
        OptionError: A value is not allowed or options conflict, as far as that is known without a model.
    """
    options = {name: getattr(args, name) for name in names if hasattr(args, name)}
    vad = {f.name: options.pop(f"vad_{f.name}") for f in fields(VadOptions) if f"vad_{f.name}" in options}
    if vad and not options.get("vad_filter"):
        raise OptionError(f"--vad-{next(iter(vad)).replace('_', '-')} needs --vad-filter True")
    if vad:
        options["vad_parameters"] = vad
    ReadingOptions(**{name: options[name] for name in READING_OPTIONS if name in options})
    start = parse("temperature", number(0, 1), args.temperature)
    step = parse("temperature_increment_on_fallback", or_none(number(0.01)), args.temperature_increment_on_fallback)
    options["temperature"] = (start,) if step is None else tuple(float(t) for t in np.arange(start, 1 + 1e-6, step))
    options["clamp_times"] = True  # subtitles must not end after the recording
    split_options({name: value for name, value in options.items() if name not in READING_OPTIONS})
    return options
