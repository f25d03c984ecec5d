"""openai-whisper's `whisper.transcribe`: the function, and the command."""

import argparse
import os
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm

from ... import simd
from ...audio import FRAMES_PER_SECOND, AudioLike
from ...errors import OptionError
from ...hub import available_models as _all_models
from ...inference.options import APPENDED, PREPENDED
from ...inference.results import Progress, Transcription
from ...inference.transcribe import transcriber
from ...model import Whisper
from ...tokenizer import LANGUAGES, TO_LANGUAGE_CODE, get_tokenizer
from ._arrays import as_array, is_array_like
from .audio import HOP_LENGTH, N_FRAMES, N_SAMPLES, SAMPLE_RATE, log_mel_spectrogram, pad_or_trim
from .decoding import DecodingOptions, DecodingResult
from .timing import add_word_timestamps
from .utils import (
    exact_div,
    format_timestamp,
    get_end,
    get_writer,
    make_safe,
    optional_float,
    optional_int,
    str2bool,
)

__all__ = [
    "FRAMES_PER_SECOND",
    "HOP_LENGTH",
    "LANGUAGES",
    "N_FRAMES",
    "N_SAMPLES",
    "SAMPLE_RATE",
    "TO_LANGUAGE_CODE",
    "DecodingOptions",
    "DecodingResult",
    "add_word_timestamps",
    "cli",
    "exact_div",
    "format_timestamp",
    "get_end",
    "get_tokenizer",
    "get_writer",
    "log_mel_spectrogram",
    "make_safe",
    "optional_float",
    "optional_int",
    "pad_or_trim",
    "str2bool",
    "transcribe",
]


def transcribe(
    model: Whisper,
    audio: AudioLike,
    *,
    verbose: bool | None = None,
    temperature: float | tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    compression_ratio_threshold: float | None = 2.4,
    logprob_threshold: float | None = -1.0,
    no_speech_threshold: float | None = 0.6,
    condition_on_previous_text: bool = True,
    initial_prompt: str | None = None,
    carry_initial_prompt: bool = False,
    word_timestamps: bool = False,
    prepend_punctuations: str = PREPENDED,
    append_punctuations: str = APPENDED,
    clip_timestamps: str | list[float] = "0",
    hallucination_silence_threshold: float | None = None,
    **decode_options: Any,
) -> Transcription:
    """Transcribe a recording, with openai-whisper's word times.

    Args:
        model: The model, from `load_model`.
        audio: A path, samples at 16 kHz in an array or a tensor, or another source that `whisper_apr.transcribe` takes.
        verbose: True prints the language and the segments; False prints the language and shows a progress bar; None
            prints nothing.
        temperature: As for `whisper_apr.transcribe`, like the arguments after it.
        compression_ratio_threshold: See `whisper_apr.TranscribeOptions`.
        logprob_threshold: See `whisper_apr.TranscribeOptions`.
        no_speech_threshold: See `whisper_apr.TranscribeOptions`.
        condition_on_previous_text: See `whisper_apr.TranscribeOptions`.
        initial_prompt: See `whisper_apr.TranscribeOptions`.
        carry_initial_prompt: See `whisper_apr.TranscribeOptions`.
        word_timestamps: See `whisper_apr.TranscribeOptions`.
        prepend_punctuations: See `whisper_apr.TranscribeOptions`.
        append_punctuations: See `whisper_apr.TranscribeOptions`.
        clip_timestamps: See `whisper_apr.TranscribeOptions`.
        hallucination_silence_threshold: See `whisper_apr.TranscribeOptions`; ignored without `word_timestamps`.
        **decode_options: Fields of DecodingOptions, and other options of `whisper_apr.transcribe`. `word_timing` is
            "openai" unless it is given.

    Returns:
        The text, its segments and the language.
    """
    options: dict[str, Any] = {
        "temperature": temperature,
        "compression_ratio_threshold": compression_ratio_threshold,
        "logprob_threshold": logprob_threshold,
        "no_speech_threshold": no_speech_threshold,
        "condition_on_previous_text": condition_on_previous_text,
        "initial_prompt": initial_prompt,
        "carry_initial_prompt": carry_initial_prompt,
        "word_timestamps": word_timestamps,
        "prepend_punctuations": prepend_punctuations,
        "append_punctuations": append_punctuations,
        "clip_timestamps": clip_timestamps,
        **decode_options,
    }
    if word_timestamps:
        options = {"word_timing": "openai", **options}
        options["hallucination_silence_threshold"] = hallucination_silence_threshold
    if not model.is_multilingual:
        options["language"] = None  # openai-whisper's English models accept and ignore any
    job = transcriber(model, as_array(audio) if is_array_like(audio) else audio, **options)
    if verbose is not None and model.is_multilingual and options.get("language") is None:
        print(f"Detected language: {LANGUAGES[job.language].title()}")
    segments = []
    n_frames = round(job.duration * FRAMES_PER_SECOND)
    with tqdm.tqdm(total=n_frames, unit="frames", disable=verbose is not False) as bar:
        reached = 0

        def show(progress: Progress) -> None:
            nonlocal reached
            now = round(progress.done * FRAMES_PER_SECOND)
            bar.update(now - reached)
            reached = now

        for segment in job.segments(show):
            segments.append(segment)
            if verbose:
                times = f"[{format_timestamp(segment.start)} --> {format_timestamp(segment.end)}]"
                print(make_safe(f"{times} {segment.text}"))
    return job.info.result(segments)


# ---- the command ----------------------------------------------------------------------------------------------------


def _model_name(name: str) -> str:
    if name in _all_models() or os.path.exists(name):
        return name
    raise ValueError(f"{name!r} is no path; the names of models are {', '.join(_all_models())}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="whisper", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("audio", nargs="+", help="recordings to transcribe")
    add("--model", default="turbo", type=_model_name, help="name or path of the model")
    add("--model_dir", default=None, help="folder of downloaded models")
    add("--device", default="cpu", help="the CPU")
    add("--output_dir", "-o", default=".", help="folder of the files that are written")
    formats = ["txt", "vtt", "srt", "tsv", "json", "all"]
    add("--output_format", "-f", default="all", choices=formats, help="format of the files, or all formats")
    add("--verbose", type=str2bool, default=True, help="whether to print segments; False shows progress")
    add("--task", default="transcribe", choices=["transcribe", "translate"], help="whether to translate into English")
    languages = sorted(LANGUAGES) + sorted(name.title() for name in TO_LANGUAGE_CODE)
    add("--language", default=None, choices=languages, help="language spoken; None detects it")
    add("--temperature", type=float, default=0, help="temperature that is tried first")
    add("--best_of", type=optional_int, default=5, help="samples at a temperature above 0")
    add("--beam_size", type=optional_int, default=5, help="beams at temperature 0")
    add("--patience", type=float, default=None, help="beam search ends after patience * beam_size sequences")
    add("--length_penalty", type=float, default=None, help="exponent of the length by which candidates are ranked")
    add("--suppress_tokens", default="-1", help="tokens that are never chosen; -1 stands for non-speech symbols")
    add("--initial_prompt", default=None, help="text that is given to the first window as the text before it")
    add("--carry_initial_prompt", type=str2bool, default=False, help="whether to give that text to every window")
    add("--condition_on_previous_text", type=str2bool, default=True, help="whether windows are given the text before")
    add("--fp16", type=str2bool, default=True, help="it has no effect")
    add("--temperature_increment_on_fallback", type=optional_float, default=0.2, help="step of the temperatures")
    add("--compression_ratio_threshold", type=optional_float, default=2.4, help="windows above it are decoded again")
    add("--logprob_threshold", type=optional_float, default=-1.0, help="windows below it are decoded again")
    add("--no_speech_threshold", type=optional_float, default=0.6, help="windows above it may be silence")
    add("--word_timestamps", type=str2bool, default=False, help="whether to find the times of words")
    add("--prepend_punctuations", default=PREPENDED, help="marks that belong to the word after them")
    add("--append_punctuations", default=APPENDED, help="marks that belong to the word before them")
    add("--highlight_words", type=str2bool, default=False, help="whether subtitles underline words as they are spoken")
    add("--max_line_width", type=optional_int, default=None, help="most characters in a line of subtitles")
    add("--max_line_count", type=optional_int, default=None, help="most lines in a subtitle")
    add("--max_words_per_line", type=optional_int, default=None, help="most words in a subtitle")
    add("--threads", type=optional_int, default=0, help="threads of the kernels; 0 leaves their number as it is")
    add("--clip_timestamps", default="0", help="parts to transcribe, in seconds: start,end,start,end and so on")
    add("--hallucination_silence_threshold", type=optional_float, help="seconds of silence around text that is dropped")
    return parser


def cli(argv: Sequence[str] | None = None) -> None:
    """Run openai-whisper's command.

    Args:
        argv: The arguments without the program's name. None is `sys.argv[1:]`.
    """
    from .model import load_model

    parser = _parser()
    args = vars(parser.parse_args(argv))
    name, folder = args.pop("model"), args.pop("output_dir")
    os.makedirs(folder, exist_ok=True)
    if name.endswith(".en") and args["language"] not in ("en", "English"):
        if args["language"] is not None:
            warnings.warn(f"{name} knows English only, not {args['language']!r}; English is used", stacklevel=2)
        args["language"] = "en"
    temperature, increment = args.pop("temperature"), args.pop("temperature_increment_on_fallback")
    temperatures = [temperature] if increment is None else np.arange(temperature, 1.0 + 1e-6, increment).tolist()
    if threads := args.pop("threads"):
        simd.set_num_threads(threads)
    layout_names = ("highlight_words", "max_line_count", "max_line_width", "max_words_per_line")
    layout = {option: args.pop(option) for option in layout_names}
    for option, value in layout.items():
        if value and not args["word_timestamps"]:
            parser.error(f"--{option} requires --word_timestamps True")
    if layout["max_line_count"] and not layout["max_line_width"]:
        warnings.warn("--max_line_count has no effect without --max_line_width", stacklevel=2)
    if layout["max_words_per_line"] and layout["max_line_width"]:
        warnings.warn("--max_words_per_line has no effect with --max_line_width", stacklevel=2)
    try:
        model = load_model(name, args.pop("device"), args.pop("model_dir"))
    except OptionError as error:
        parser.error(str(error))
    writer = get_writer(args.pop("output_format"), folder)
    for path in args.pop("audio"):
        try:
            writer(transcribe(model, path, temperature=tuple(temperatures), **args), path, **layout)
        except Exception as error:
            traceback.print_exc()
            print(f"Skipping {path} due to {type(error).__name__}: {error}")


if __name__ == "__main__":
    cli()
