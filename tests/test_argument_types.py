"""Arguments of any other type are errors of the caller: never an AttributeError, or another one, from within.

One table holds a valid call of each public function of `whisper_apr`, `whisper_apr.audio` and `whisper_apr.output`, and
of the methods of their classes. tests/simd_calls.py has that of `whisper_apr.simd`; tests/test_invalid_options.py tries
every option of a transcription.
"""

import inspect
import io
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import whisper_apr
from encoded import digits, faster
from recordings import speech
from test_results import RESULT
from whisper_apr import Journal, LineOptions, LiveTranscriber, VadOptions, audio, output, tokenizer
from whisper_apr.audio.vad import Span
from whisper_apr.errors import WhisperAprError

pytestmark = pytest.mark.usefixtures("encoded_once")

JUNK = [
    *(None, True, 5, -1, 1.5, math.nan, 1j, "junk", b"junk", [], [1, 2], ["a"], (3,), {}, {"a": 1}, {1}, object(), int),
    *(
        np.zeros(3),
        np.zeros((2, 2)),
        np.zeros((1, 2, 3), np.float32),
        np.array("x"),
        np.array(None),
        np.datetime64(1, "s"),
    ),
    *(whisper_apr, print, LineOptions(), VadOptions(), Span(1, 2)),
]
SAMPLES = speech("en")[:4000]
MEL = np.zeros((1, 5), np.float32)

Call = tuple[Callable[..., Any], dict[str, Any]]


def quick(**options: Any) -> dict[str, Any]:
    return {"temperature": 0.0, "language": "en", "sample_len": 1} | options


def features() -> np.ndarray:
    return digits().embed_audio(np.zeros((80, 3000), np.float32))


def english() -> tokenizer.Tokenizer:
    return tokenizer.get_tokenizer(True)


def live() -> LiveTranscriber:
    return LiveTranscriber(digits(), **quick())


# A name with a dot is a method; a parameter that is not listed is not tried.
CALLS: dict[str, Callable[[], Call]] = {
    # whisper_apr
    "BatchedInferencePipeline": lambda: (whisper_apr.BatchedInferencePipeline, {"model": faster()}),
    "BatchedInferencePipeline.transcribe": lambda: (
        whisper_apr.BatchedInferencePipeline(faster()).transcribe,
        {"audio": SAMPLES, "language": "en", "max_new_tokens": 1},
    ),
    "DecodingOptions": lambda: (whisper_apr.DecodingOptions, {"language": "en", "hotwords": None, "prompt": None}),
    "Journal.dump": lambda: (Journal().dump, {"recording": 0}),
    "Journal.forget": lambda: (Journal().forget, {"recording": 0}),
    "Journal.load": lambda: (Journal().load, {"recording": 0, "content": {}, "n_vocab": 5}),
    "Journal.reached": lambda: (Journal().reached, {"recording": 0}),
    "LiveOptions": lambda: (whisper_apr.LiveOptions, {"step": 1.0, "channel": "mix", "vad_options": None}),
    "LiveTranscriber": lambda: (LiveTranscriber, {"model": digits(), "step": 1.0}),
    "LiveTranscriber.push": lambda: (live().push, {"samples": SAMPLES}),
    "Recognizer": lambda: (whisper_apr.Recognizer, {"checkpoint": None, "compute_type": "float32"}),
    "Recognizer.decode": lambda: (digits().decode, {"mel": features(), "options": None}),
    "Recognizer.detect_language": lambda: (digits().detect_language, {"mel": features(), "tokenizer": None}),
    "Recognizer.embed_audio": lambda: (digits().embed_audio, {"mel": np.zeros((80, 3000), np.float32)}),
    "Recognizer.encode": lambda: (
        digits().encode,
        {"mel": np.zeros((1, 80, 3000), np.float32), "check_cancelled": lambda: None},
    ),
    "Recognizer.logits": lambda: (digits().logits, {"tokens": [[1]], "audio_features": features()[None]}),
    "Recognizer.align": lambda: (digits().align, {"audio": SAMPLES, "text": "one", "segments": "lines", "channel": 0}),
    "Recognizer.transcribe": lambda: (digits().transcribe, quick(audio=SAMPLES)),
    "Recognizer.transcribe_many": lambda: (
        lambda **options: list(digits().transcribe_many(**options)),
        quick(audios=[SAMPLES]),
    ),
    "TranscribeOptions": lambda: (whisper_apr.TranscribeOptions, {"temperature": 0.0, "initial_prompt": "a"}),
    "Transcription.save": lambda: (RESULT.save, {"path": "a.txt", "options": None}),
    "Transcription.to_srt": lambda: (RESULT.to_srt, {"options": None}),
    "Transcription.to_vtt": lambda: (RESULT.to_vtt, {"options": None}),
    "WhisperModel": lambda: (whisper_apr.WhisperModel, {"model_size_or_path": "digits", "device": "cpu"}),
    "WhisperModel.transcribe": lambda: (
        faster().transcribe,
        {"audio": SAMPLES, "language": "en", "max_new_tokens": 1},
    ),
    "WhisperModel.detect_language": lambda: (faster().detect_language, {"audio": SAMPLES, "features": None}),
    "align": lambda: (whisper_apr.align, {"model": digits(), "audio": SAMPLES, "text": "one", "language": "en"}),
    "decode": lambda: (whisper_apr.decode, {"model": digits(), "mel": features(), "options": None}),
    "decode_audio": lambda: (whisper_apr.decode_audio, {"input_file": SAMPLES, "sampling_rate": 8000}),
    "detect_language": lambda: (
        whisper_apr.detect_language,
        {"model": digits(), "mel": features(), "tokenizer": english()},
    ),
    "load_model": lambda: (
        whisper_apr.load_model,
        {"name": "digits", "device": None, "download_root": None, "compute_type": "default", "on_progress": None},
    ),
    "transcribe": lambda: (whisper_apr.transcribe, quick(model=digits(), audio=SAMPLES)),
    "transcribe_many": lambda: (
        lambda **options: list(whisper_apr.transcribe_many(**options)),
        quick(model=digits(), audios=[SAMPLES], journal=None),
    ),
    # whisper_apr.tokenizer and whisper_apr.utils
    "Tokenizer.encode": lambda: (english().encode, {"text": "a"}),
    "Tokenizer.decode": lambda: (english().decode, {"token_ids": [1]}),
    "Tokenizer.decode_with_timestamps": lambda: (english().decode_with_timestamps, {"token_ids": [1]}),
    "Tokenizer.split_to_word_tokens": lambda: (english().split_to_word_tokens, {"tokens": [1]}),
    "Tokenizer.to_language_token": lambda: (english().to_language_token, {"language": "en"}),
    "get_encoding": lambda: (tokenizer.get_encoding, {"name": "gpt2", "num_languages": 99, "vocabulary": b""}),
    "get_tokenizer": lambda: (
        tokenizer.get_tokenizer,
        {"multilingual": True, "num_languages": 99, "language": "en", "task": None, "vocabulary": b""},
    ),
    "get_writer": lambda: (whisper_apr.utils.get_writer, {"output_format": "txt", "output_dir": "."}),
    "get_writer()": lambda: (
        whisper_apr.utils.get_writer("txt", "."),
        {"result": RESULT, "audio_path": "a.wav", "options": None},
    ),
    "to_language_code": lambda: (tokenizer.to_language_code, {"language": "en"}),
    # whisper_apr.audio
    "AudioReader": lambda: (audio.AudioReader, {"source": SAMPLES, "options": audio.ReadingOptions()}),
    "AudioReader.blocks": lambda: (
        lambda **options: list(audio.AudioReader(SAMPLES, audio.ReadingOptions()).blocks(**options)),
        {"channel": None, "rate": 8000, "allow_empty": False},
    ),
    "MelStream": lambda: (audio.MelStream, {"n_mels": 80}),
    "MelStream.finish": lambda: (mel_stream().finish, {"padding": 400}),
    "MelStream.push": lambda: (audio.MelStream().push, {"samples": SAMPLES}),
    "ReadingOptions": lambda: (
        audio.ReadingOptions,
        {"sampling_rate": 8000, "channel": 0, "track": None, "strict": False},
    ),
    "Resampler": lambda: (audio.Resampler, {"rate_in": 8000, "rate_out": 16000, "axis": 0}),
    "Resampler.push": lambda: (audio.Resampler(8000, 16000).push, {"x": SAMPLES}),
    "Resampler.whole": lambda: (audio.Resampler(8000, 16000).whole, {"x": SAMPLES}),
    "SpeechDetector": lambda: (audio.SpeechDetector, {"options": None}),
    "SpeechDetector.push": lambda: (audio.SpeechDetector().push, {"samples": SAMPLES}),
    "SpeechFilter": lambda: (audio.SpeechFilter, {"options": None}),
    "SpeechFilter.push": lambda: (audio.SpeechFilter().push, {"samples": SAMPLES}),
    "SpeechMap": lambda: (audio.SpeechMap, {"spans": [Span(0, 5)]}),
    "SpeechMap.add": lambda: (audio.SpeechMap().add, {"span": Span(0, 5)}),
    "SpeechMap.original": lambda: (audio.SpeechMap([Span(0, 5)]).original, {"seconds": 0.1, "is_end": False}),
    "VadOptions": lambda: (VadOptions, {"threshold": 0.5, "speech_pad_ms": 400}),
    "check_rate": lambda: (audio.check_rate, {"rate": 8000}),
    "join_spans": lambda: (audio.join_spans, {"samples": SAMPLES, "spans": [Span(0, 5)]}),
    "load_audio": lambda: (
        whisper_apr.load_audio,
        {"source": SAMPLES, "sampling_rate": 8000, "channel": 0, "track": None, "strict": False},
    ),
    "log_mel_spectrogram": lambda: (
        whisper_apr.log_mel_spectrogram,
        {"audio": SAMPLES, "n_mels": 80, "padding": 0, "device": None},
    ),
    "mel_filters": lambda: (audio.mel_filters, {"n_mels": 80}),
    "normalize_log_mel": lambda: (audio.normalize_log_mel, {"log_mel": MEL.copy(), "maximum": 1.0}),
    "pad_or_trim": lambda: (whisper_apr.pad_or_trim, {"array": MEL, "length": 3, "axis": 1}),
    "resample": lambda: (audio.resample, {"x": SAMPLES, "rate_in": 8000, "rate_out": 16000, "axis": 0}),
    "speech_timestamps": lambda: (audio.speech_timestamps, {"samples": SAMPLES, "options": None}),
    "stream_audio": lambda: (
        lambda **options: list(audio.stream_audio(**options)),
        {"source": SAMPLES, "sampling_rate": 8000, "channel": 0, "track": None, "strict": False},
    ),
    # whisper_apr.output
    "LineOptions": lambda: (LineOptions, {"max_line_width": 5, "max_line_count": 5, "highlight_words": False}),
    "format_timestamp": lambda: (
        whisper_apr.format_timestamp,
        {"seconds": 1.0, "always_include_hours": False, "decimal_marker": "."},
    ),
    "prefix_speaker": lambda: (output.prefix_speaker, {"speaker": "0", "text": "a"}),
    "write": lambda: (
        output.write,
        {"result": RESULT, "format": "srt", "file": io.StringIO(), "options": LineOptions()},
    ),
    "write_files": lambda: (
        output.write_files,
        {"result": RESULT, "format": "txt", "directory": ".", "name": "a", "options": LineOptions()},
    ),
}
# made by the package, or with keywords of any names
UNTRIED = {
    "AddedSpeech",
    "Alignment",
    "DecodingResult",
    "DroppedText",
    "LiveText",
    "Progress",
    "Segment",
    "Tokenizer",
    "Transcription",
    "TranscriptionInfo",
    "Utterance",
    "Word",
}
UNTRIED |= {"vad_kind", "available_models"}
NO_VALID_CALL = ("Recognizer",)  # it takes a checkpoint, which is large


def mel_stream() -> audio.MelStream:
    stream = audio.MelStream()
    stream.push(SAMPLES)
    return stream


def takes_arguments(value: object) -> bool:
    """Return whether a value is a function or class with parameters, and not an exception or a type alias."""
    if isinstance(value, type) and issubclass(value, Exception):
        return False
    return (inspect.isclass(value) or inspect.isroutine(value)) and bool(inspect.signature(value).parameters)


@pytest.mark.parametrize("module", [whisper_apr, audio, output, tokenizer, whisper_apr.utils], ids=lambda m: m.__name__)
def test_every_public_function_is_in_the_table(module: ModuleType) -> None:
    public = {name: getattr(module, name) for name in module.__all__}
    functions = {name for name, value in public.items() if takes_arguments(value)}
    assert functions - {name.partition(".")[0] for name in CALLS} - UNTRIED == set()
    for name, value in public.items():
        if isinstance(value, type) and name not in UNTRIED and takes_arguments(value):
            methods = inspect.getmembers(value, lambda member: inspect.isfunction(member))
            own = {f"{name}.{each}" for each, method in methods if not each.startswith("_") and takes_arguments(method)}
            with_arguments = {
                each for each in own if len(inspect.signature(getattr(value, each.split(".")[1])).parameters) > 1
            }
            assert with_arguments - CALLS.keys() == set()


def refusal(name: str, parameter: str, value: Any) -> str | None:
    """Return the message of the error that a value gives, or None if it is accepted."""
    function, valid = CALLS[name]()
    try:
        function(**valid | {parameter: value})
    except (WhisperAprError, TypeError, ValueError) as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"{name}({parameter}={value!r:.80}) raised {error!r}") from error
    return None


@pytest.mark.filterwarnings("ignore::whisper_apr.AudioWarning")
@pytest.mark.parametrize("name", CALLS)
def test_other_types_are_errors_in_one_sentence(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name not in NO_VALID_CALL:
        function, valid = CALLS[name]()
        function(**valid)
    refused = [
        message
        for parameter in CALLS[name]()[1]
        for value in JUNK
        if (message := refusal(name, parameter, value)) is not None
    ]
    assert refused
    assert [message for message in refused if not message or "\n" in message] == []
