"""The engine's options as flags, under the names that openai-whisper's command gives them."""

import argparse
from dataclasses import fields
from typing import Any

import numpy as np

from ..audio import ReadingOptions, VadOptions
from ..errors import OptionError
from ..inference.options import WORD_TIMINGS, split_options
from ..option_values import number, parse
from ..option_values import optional as or_none
from .arguments import boolean, channel, language, languages, listed, option, optional, switch

# openai-whisper's command, unlike its function, searches with five beams, and samples five times where it falls back
N_BEAM = 5
N_SAMPLE = 5
READING = ("channel", "track", "strict")  # the options of ReadingOptions


def add_decoding(parser: argparse.ArgumentParser) -> list[str]:
    """Add the options and return their names. One that is not given is left out of the namespace: the engine knows its default."""
    group = parser.add_argument_group("decoding")
    words = parser.add_argument_group("word times")
    names: list[str] = []

    def add(name: str, kind: Any, help: str, group: Any = group, **settings: Any) -> None:
        names.append(name.replace("-", "_"))
        if kind is boolean:
            switch(group, name, help=help, default=argparse.SUPPRESS)
        else:
            option(group, name, type=kind, help=help, **({"default": argparse.SUPPRESS} | settings))

    add("language", language, "language spoken, as a code or in English (default: detected)")
    add("task", str, "transcribe, or translate into English", choices=("transcribe", "translate"))
    samples = f"samples to choose from at a temperature above 0 (default: {N_SAMPLE})"
    add("best-of", optional(int), samples, default=N_SAMPLE)
    add("beam-size", optional(int), f"beams at temperature 0 (default: {N_BEAM}; None: greedy)", default=N_BEAM)
    add("patience", float, "search until patience x beam-size texts have ended (default: 1)")
    add("length-penalty", float, "Wu et al.'s exponent, 0 to 1 (default: divide by the length)")
    add("sample-len", optional(int), "tokens of a window at most (default: half of the text context)")
    add("suppress-tokens", str, "token numbers never to be written (default: -1, what is not speech)")
    add("suppress-blank", boolean, "no text begins with a space or is empty (default: True)")
    add("initial-prompt", str, "text that the first window is told came before it")
    add("carry-initial-prompt", boolean, "tell every window the initial prompt")
    add("initial-prefix", str, "text that the first window's text begins with")
    add("prefix", str, "text that each window's text follows, and that is not written")
    add("without-timestamps", boolean, "decode without timestamps: a segment for each window")
    add("max-initial-timestamp", optional(float), "seconds within which a window's first segment begins (default: 1)")
    add("condition-on-previous-text", boolean, "tell each window the text before it (default: True)")
    add("compression-ratio-threshold", optional(float), "above it a text repeats itself: it fails (default: 2.4)")
    add("logprob-threshold", optional(float), "below it a text is unlikely: the window fails (default: -1)")
    add("no-speech-threshold", optional(float), "above it an unlikely text is silence (default: 0.6)")
    add("clip-timestamps", str, "start,end,start,end,... in seconds: what is to be transcribed (default: all)")
    add("repetition-penalty", float, "above 1, tokens that were written become less likely (default: 1)")
    add("no-repeat-ngram-size", int, "so many tokens in a row are never written twice (default: 0, any)")
    add("hotwords", listed, "words to expect, with commas between")
    add("hotword-bias", float, "instead of a prompt, raise their likelihood by this; 1 to 4 helps")
    add("languages", languages, "codes to choose among where the language is detected")
    add("multilingual", boolean, "detect the language of each window anew")
    add("language-detection-segments", int, "windows to detect the language by (default: 1)")
    add("language-detection-threshold", float, "a probability that is enough for a language (default: 0.5)")
    add(
        "batch-size",
        int,
        "windows decoded at once, of all the recordings; each is then told nothing of the text before it",
    )
    add("seed", int, "of the samples: the same seed gives the same text (default: 0)", default=0)
    add("word-timestamps", boolean, "find when each word is spoken", words)
    add("word-timing", str, "default, or openai: exactly openai-whisper's word times", words, choices=WORD_TIMINGS)
    add("prepend-punctuations", str, "marks that belong to the word after them", words)
    add("append-punctuations", str, "marks that belong to the word before them", words)
    add(
        "hallucination-silence-threshold",
        optional(float),
        "skip silence longer than this many seconds where text may be invented",
        words,
    )
    recording = parser.add_argument_group("recordings")
    of_each = "a channel's number, from 0, or each: every channel apart, with its number as speaker (default: mix)"
    add("channel", channel, of_each, recording)
    add(
        "track",
        int,
        "number of the audio track, from 0, of a file with several (default: as players choose)",
        recording,
    )
    add("strict", boolean, "a recording that is damaged, cut short or doubtful is an error, not a warning", recording)
    speech = parser.add_argument_group("voice activity")
    add("vad-filter", boolean, "leave out what is not speech", speech)
    for field in fields(VadOptions):
        kind = int if field.name.endswith("_ms") else float
        add(f"vad-{field.name.replace('_', '-')}", kind, f"(default: {field.default})", speech)

    option(group, "temperature", type=float, default=0.0, help="0: the likeliest text; above: samples (default: 0)")
    option(
        group,
        "temperature-increment-on-fallback",
        type=optional(float),
        default=0.2,
        help="added to the temperature each time a window fails, up to 1 (default: 0.2; None: no second try)",
    )
    return names


def decoding_options(args: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Return what the engine is to be told. Raises OptionError for what is not allowed, as far as that can be said without a model."""
    options = {name: getattr(args, name) for name in names if hasattr(args, name)}
    vad = {f.name: options.pop(f"vad_{f.name}") for f in fields(VadOptions) if f"vad_{f.name}" in options}
    if vad and not options.get("vad_filter"):
        raise OptionError(f"--vad-{next(iter(vad)).replace('_', '-')} needs --vad-filter True")
    if vad:
        options["vad_parameters"] = vad
    ReadingOptions(**{name: options[name] for name in READING if name in options})
    start = parse("temperature", number(0, 1), args.temperature)
    step = parse("temperature_increment_on_fallback", or_none(number(0.01)), args.temperature_increment_on_fallback)
    options["temperature"] = (start,) if step is None else tuple(float(t) for t in np.arange(start, 1 + 1e-6, step))
    options["clamp_times"] = True  # subtitles must not go on behind the sound
    split_options({name: value for name, value in options.items() if name not in READING})
    return options
