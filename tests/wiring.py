"""Traces of calls: everything that a call passes to the network and the search, and everything it returns.

`run(function, source, options)` calls a public function or the command and returns the trace. Calls that differ in an
option that has an effect have different traces.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import whisper_apr
from encoded import digest, digits, encode_once, faster
from recordings import noise, silence, speech
from whisper_apr import BatchedInferencePipeline, LiveTranscriber, Recognizer, Transcription, simd
from whisper_apr.audio import log_mel_spectrogram, pad_or_trim
from whisper_apr.audio.containers import AudioFile
from whisper_apr.cli import main
from whisper_apr.errors import AudioWarning, WhisperAprError
from whisper_apr.inference.search import BeamSearch, GreedySearch
from whisper_apr.model.decoder import TextDecoder
from whisper_apr.model.encoder import AudioEncoder

DATA = Path(__file__).parent / "data"

Trace = list[Any]


@lru_cache
def sound(name: str) -> Any:
    """Return the recording of a name."""
    if name == "short":
        return speech("en")
    if name == "brief":  # the word ends after the recording, by the model's timestamp
        return speech("en")[8000:11200]
    if name == "silent":
        return silence(3)
    if name == "long":  # two windows in two languages
        return np.concatenate([speech("en"), silence(29.9 - len(speech("en")) / 16000), speech("de")])
    if name == "unbroken":  # speech without a pause: two windows of one utterance for the live transcriber
        return np.concatenate([speech("en")] * 11)
    if name == "unclear":
        return speech("en") + noise(10, 0.3)[: len(speech("en"))]
    if name == "stereo":
        return np.stack([speech("en"), np.roll(speech("en"), 4000)], axis=1)
    if name == "loud":  # floats at the scale of integers: an AudioWarning, or with strict=True an AudioError
        return speech("en") * 32767
    if name == "file":
        return str(DATA / "en.wav")
    return name


@contextmanager
def traced() -> Iterator[Trace]:
    """Collect what is passed to the reader of files, the network and the search. Sampling uses seed 0 by default."""
    trace: Trace = []
    decode, scores = TextDecoder.__call__, TextDecoder.cross_attention_scores
    recording = AudioFile.__init__
    greedy, beams, begin = GreedySearch.update, BeamSearch.update, GreedySearch.__init__

    def reader(self: Any, source: Any, **settings: Any) -> None:
        trace.append(("recording", settings))
        recording(self, source, **settings)

    def encoder(self: Any, mel: np.ndarray, *rest: Any) -> np.ndarray:
        trace.extend(("encoder", len(mel), digest(window)) for window in mel)
        return encode_once(self, mel, *rest)

    def decoder(self: Any, tokens: np.ndarray, *rest: Any) -> np.ndarray:
        trace.append(("decoder", np.asarray(tokens).tolist()))
        return decode(self, tokens, *rest)

    def alignment(self: Any, tokens: np.ndarray, *rest: Any) -> Any:
        trace.append(("alignment", np.asarray(tokens).tolist()))
        return scores(self, tokens, *rest)

    def update(original: Callable[..., Any]) -> Callable[..., Any]:
        def search(self: Any, sampled: np.ndarray, logits: np.ndarray, cache: Any) -> Any:
            trace.append((type(self).__name__, digest(logits)))
            return original(self, sampled, logits, cache)

        return search

    def seeded(self: Any, n_audio: int, group: int, eot: int, temperature: float, seed: int | None = None) -> None:
        begin(self, n_audio, group, eot, temperature, 0 if seed is None else seed)

    with (
        mock.patch.object(AudioFile, "__init__", reader),
        mock.patch.object(AudioEncoder, "__call__", encoder),
        mock.patch.object(TextDecoder, "__call__", decoder),
        mock.patch.object(TextDecoder, "cross_attention_scores", alignment),
        mock.patch.object(GreedySearch, "__init__", seeded),
        mock.patch.object(GreedySearch, "update", update(greedy)),
        mock.patch.object(BeamSearch, "update", update(beams)),
    ):
        yield trace


class Failed(WhisperAprError):
    """The exit status of the command was not 0."""


class Calls:
    """A function to pass as an option; it records its arguments."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, *arguments: Any) -> None:
        self.seen.append(repr(arguments))


# ---- the functions --------------------------------------------------------------------------------------------------


def _mel(source: Any) -> np.ndarray:
    return pad_or_trim(log_mel_spectrogram(source), 3000)


def _decode(source: Any, options: dict[str, Any]) -> Any:
    result = whisper_apr.decode(digits(), _mel(source), **options)
    assert not isinstance(result, list)
    return result.tokens, result.text, result.language, result.avg_logprob


def _all_of(result: Any) -> str:
    """Return all fields of a transcription, whose repr shows only some, or the repr of an error."""
    if not isinstance(result, Transcription):
        return repr(result)
    return repr([*result.items(), result.duration, result.language_probability])


def _many(source: Any, options: dict[str, Any]) -> Any:
    return [_all_of(result) for result in whisper_apr.transcribe_many(digits(), [source] * 3, **options)]


def _faster_result(found: Any) -> Any:
    iterator, info = found
    segments = list(iterator)
    speakers = [segment.speaker for segment in segments]  # no fields
    return segments, speakers, info.language, info.duration, info.duration_after_vad, info.all_language_probs


def _live(source: Any, options: dict[str, Any]) -> Any:
    stream = LiveTranscriber(digits(), **options)
    return [stream.push(part) for part in np.array_split(np.asarray(source), 4)] + [stream.finish()]


def _command(source: Any, options: dict[str, Any]) -> Any:
    """Run the command line options["argv"] in options["folder"], with the file `source` as the standard input.

    The bundled model replaces the one named; how that was to be opened is returned. Raises Failed for a status
    other than 0.
    """
    opened: list[Any] = []

    def load(name: Any, **settings: Any) -> Recognizer:
        opened.append((name, settings))
        return digits()

    threads = simd.get_num_threads()
    patches = (
        mock.patch("whisper_apr.cli.arguments.load_model", load),
        mock.patch("whisper_apr.corpus.work.load_model", load),
        mock.patch.dict("sys.modules", sounddevice=None, pyarrow=None, ray=None),
        simd.use_backend(simd.backend()),
    )
    with ExitStack() as stack, open(source) as file, mock.patch("sys.stdin", file):
        for each in patches:
            stack.enter_context(each)
        status = main(options["argv"])
        state = simd.get_num_threads(), simd.backend()
    simd.set_num_threads(threads)
    if status:
        raise Failed(f"status {status}")
    return opened, state, _contents(options["folder"])


def _contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


ENTRY_POINTS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "transcribe": lambda source, options: _all_of(whisper_apr.transcribe(digits(), source, **options)),
    "align": lambda source, options: _all_of(whisper_apr.align(digits(), source, **options)),
    "transcribe_many": _many,
    "decode": _decode,
    "WhisperModel": lambda source, options: _faster_result(faster().transcribe(source, **options)),
    "BatchedInferencePipeline": lambda source, options: _faster_result(
        BatchedInferencePipeline(faster()).transcribe(source, **options)
    ),
    "LiveTranscriber": _live,
    "command": _command,
}


def run(entry_point: str, source: Any, options: dict[str, Any], capsys: Any) -> tuple[Trace, Exception | None]:
    """Call a function and return the trace and the error, if it raised one.

    The trace has the input of the network and the search, calls of functions passed as options, printed text and the
    result.
    """
    capsys.readouterr()
    result, error = None, None
    with warnings.catch_warnings(), traced() as trace:
        warnings.simplefilter("ignore", AudioWarning)
        try:
            result = ENTRY_POINTS[entry_point](source, options)
        except WhisperAprError as caught:
            error = caught
    calls = {name: value.seen for name, value in options.items() if isinstance(value, Calls) and value.seen}
    out, err = capsys.readouterr()
    untimed = re.sub(r"[\d.:]+", "#", err)  # some numbers are durations
    return [*trace, calls, out, untimed, repr(result), repr(error)], error
