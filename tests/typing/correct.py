"""Uses of whisper_apr about which type checkers must not complain; see check.py."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import whisper_apr
from whisper_apr import (
    AudioError,
    BatchedInferencePipeline,
    DecodingOptions,
    DecodingResult,
    Journal,
    LineOptions,
    LiveTranscriber,
    OptionError,
    Progress,
    Recognizer,
    Segment,
    TranscribeOptions,
    Transcription,
    VadOptions,
    WhisperAprError,
    WhisperModel,
    Word,
    simd,
)

logging.getLogger("whisper_apr").setLevel(logging.INFO)

model: Recognizer = whisper_apr.load_model("digits", device="cpu", compute_type="int8", download_root=Path("models"))
samples = np.zeros(16_000, np.float32)


def report(progress: Progress) -> None:
    print(f"{progress.done:.1f} of {progress.total:.1f} s")


def show(segment: Segment) -> None:
    print(segment.start, segment.end, segment.text)


def check() -> None:
    """Called before each token."""


# ---- transcribe ----
def whole() -> Transcription:
    found: list[Segment] = []
    whisper_apr.transcribe(model, b"RIFF", on_segment=found.append, on_progress=report, check_cancelled=check)
    model.transcribe(samples, sampling_rate=8000, temperature=0, language="en", beam_size=5, patience=2.0)
    model.transcribe(Path("a.wav"), temperature=(0.0, 0.5), best_of=3, seed=1, suppress_tokens=[-1, 5])
    model.transcribe("a.wav", channel="each", track=1, strict=True, vad_filter=True, vad_parameters=VadOptions())
    model.transcribe(
        "a.wav", clip_timestamps=[{"start": 0.0, "end": 2.5}], batch_size=4, vad_parameters={"threshold": 0.4}
    )
    model.transcribe([samples, samples], hotwords=["three", "four"], hotword_bias=2.0, initial_prompt="Digits:")
    with open("a.wav", "rb") as file:
        model.transcribe(file, task="translate", verbose=True, fp16=False)
    return model.transcribe("a.wav", word_timestamps=True)


def results(result: Transcription) -> None:
    words: tuple[Word, ...] = result.words
    seconds: float = result.duration
    probability: float = result.language_probability
    print(words, seconds, probability, result["text"], result.to_dict(), result.to_srt(), result.to_vtt())
    result.save("a.srt")
    result.save(Path("a.vtt"), LineOptions(max_line_width=42))
    for segment in result.segments:
        for word in segment.words or ():
            print(word.start, word.word)


def as_dictionary(result: Transcription) -> dict[str, object]:
    segment: Segment = result["segments"][0]
    start: float = segment["start"]
    words: list[Word] = segment["words"]
    tokens: list[int] = segment["tokens"] + segment.tokens
    text: str = result["text"] + segment["text"] + words[0]["word"]
    result.text, segment["text"], segment["note"] = text, text, (start, tokens, words)
    segment.words = None
    result["segments"].append(segment)
    plain: dict[str, object] = {**result}
    print(plain, json.dumps(result), result.copy().duration)
    print(result.keys(), "words" in result.segments[0], result.get("language"), list(result))
    return dict(result)


# ---- NumPy's numbers and arrays; callbacks that return something ----
def counted(segment: Segment) -> int:
    return segment.id


def numbers() -> None:
    model.transcribe(samples, sampling_rate=np.int32(8000), beam_size=np.int64(5), temperature=np.float32(0))
    model.transcribe(samples, temperature=np.arange(0, 1, 0.2), clip_timestamps=np.array([0.5, 2]), seed=np.uint8(1))
    model.transcribe(samples, initial_prompt=np.array([5, 6]), clip_timestamps=[1, 2.5], language=None)
    LiveTranscriber(model, sampling_rate=np.int64(8000), step=np.float32(0.5))
    model.transcribe("a.wav", on_segment=counted, on_progress=print)
    simd.linear(samples, simd.pack([[1.0, 2.0]]), [0.5], residual=[[1.0]])
    print(simd.top_k(samples, np.int64(3)), simd.layer_norm(samples, [1.0], [0.0], np.float32(1e-5)))
    simd.set_num_threads(np.int64(2))


# ---- transcribe_many ----
def many() -> None:
    all_good: Iterator[Transcription] = model.transcribe_many(["a.wav", "b.wav"], batch_size=4, journal=Journal())
    for result in all_good:
        print(result.text)
    for maybe in whisper_apr.transcribe_many(model, (Path(name) for name in "ab"), return_errors=True):
        print(maybe if isinstance(maybe, AudioError) else maybe.text)


def some(return_errors: bool) -> list[Transcription | AudioError]:
    return list(model.transcribe_many([samples], return_errors=return_errors, independent_windows=True))


# ---- decode ----
def one_window() -> str:
    mel = whisper_apr.log_mel_spectrogram(whisper_apr.pad_or_trim(whisper_apr.load_audio("a.wav")))
    result = whisper_apr.decode(model, mel, DecodingOptions(language="en"), without_timestamps=True)
    checked: DecodingResult = result
    whisper_apr.decode(model, mel).text.strip()
    batch = np.zeros((2, 80, 3000), np.float32)
    language, probabilities = model.detect_language(mel)
    print(language, max(probabilities.values()), [each.text for each in model.decode(batch)])
    model.decode(mel, temperature=0.5, best_of=5, prompt="Digits:")
    print(TranscribeOptions(batch_size=4).batch_size)
    return checked.text


# ---- live audio ----
def live() -> None:
    stream = LiveTranscriber(model, sampling_rate=44_100, step=0.5, vad_options={"speech_pad_ms": 200}, language="en")
    text = stream.push(samples)
    print(text.settled_text, text.tentative_text, stream.finish().settled)


# ---- faster-whisper's classes ----
def faster() -> None:
    speech = WhisperModel("digits", device="auto", compute_type="int8_float32", cpu_threads=2)
    WhisperModel("digits", download_root=Path("models"), flash_attention=False)
    left, right = whisper_apr.decode_audio("a.wav", split_stereo=True)
    print(whisper_apr.decode_audio("a.wav").shape, left.shape, right.shape, whisper_apr.__version__)
    segments, info = speech.transcribe("a.wav", beam_size=5, vad_filter=True, vad_parameters={"threshold": 0.4})
    print(info.language, info.language_probability, [segment.text for segment in segments])
    segments, _ = BatchedInferencePipeline(model=speech).transcribe("a.wav", batch_size=16, word_timestamps=True)
    for segment in segments:
        print(segment.start, segment.end, segment.text, [word.word for word in segment.words or ()])


# ---- errors ----
def careful() -> None:
    try:
        whole()
    except AudioError as error:
        print(error)
    except (OptionError, WhisperAprError):
        raise
