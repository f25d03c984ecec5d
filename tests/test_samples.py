"""Every function that takes a recording reads samples of every type alike, or refuses them with one sentence."""

import array
import io
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import soundfile

import entry_points
from recordings import noise, speech, wav
from whisper_apr import AudioWarning, LiveTranscriber, load_audio, log_mel_spectrogram
from whisper_apr.audio import SAMPLE_RATE, MelStream
from whisper_apr.errors import AudioError, OptionError

pytestmark = pytest.mark.usefixtures("encoded_once")

# half a second and a word, exact in 16 bits and therefore in every dtype
X = (np.round(speech("en")[4000:20_000] * 2**15) / 2**15).astype(np.float32)
AS_INT16 = (X * 2**15).astype(np.int16)


class Tensor:
    """Another library's tensor that converts to an array."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.x if dtype is None else self.x.astype(dtype)


class RequiringGradients:
    """A tensor of torch, of a type that NumPy lacks."""

    ndim = 1

    def __init__(self, x: np.ndarray, dtype: str = "torch.bfloat16", is_detached: bool = False) -> None:
        self.x, self.dtype, self.is_detached = x, dtype, is_detached

    def detach(self) -> "RequiringGradients":
        return RequiringGradients(self.x, self.dtype, is_detached=True)

    def cpu(self) -> "RequiringGradients":
        return self

    def float(self) -> "RequiringGradients":
        return RequiringGradients(self.x, "torch.float32", self.is_detached)

    def numpy(self) -> np.ndarray:
        if not self.is_detached or self.dtype == "torch.bfloat16":
            raise RuntimeError("the tensor requires gradients, or has another type")
        return self.x


class Exchangeable:
    """A tensor that only exports DLPack."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __dlpack__(self, **settings: Any) -> Any:
        return self.x.__dlpack__(**settings)

    def __dlpack_device__(self) -> Any:
        return self.x.__dlpack_device__()


class OnAnotherDevice:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu() first")


def blocks(x: np.ndarray) -> Iterator[np.ndarray]:
    yield from (x[i : i + 777] for i in range(0, len(x), 777))


def of_all_types() -> Iterator[Any]:
    """Yield blocks whose dtype and shape change."""
    forms: list[Callable[[np.ndarray], Any]] = [
        *(lambda x: (x * 2**15).astype(np.int16), lambda x: x.tolist(), lambda x: x.astype(np.float64)),
        *(lambda x: (x * 2.0**31).astype(np.int32), Tensor, lambda x: np.stack([x, x], axis=1)),
        lambda x: (x * 2**15 + 2**15).astype(np.uint16),
    ]
    for i, start in enumerate(range(0, len(X), 1000)):
        yield forms[i % len(forms)](X[start : start + 1000])
        yield X[:0]


SAMPLES: dict[str, Callable[[], Any]] = {
    "float64": lambda: X.astype(np.float64),
    "big-endian": lambda: X.astype(">f4"),
    "not contiguous": lambda: np.repeat(X, 2)[::2],
    "read-only": lambda: np.frombuffer(X.tobytes(), np.float32),
    "int16": lambda: AS_INT16,
    "int32": lambda: AS_INT16.astype(np.int32) << 16,
    "uint16": lambda: (AS_INT16.astype(np.int32) + 2**15).astype(np.uint16),
    "a column": lambda: X[:, None],
    "two equal channels": lambda: np.stack([AS_INT16, AS_INT16], axis=1),
    "a list": lambda: X.tolist(),
    "a tuple": lambda: tuple(X.tolist()),
    "a list of NumPy's numbers": lambda: list(X),
    "a list of rows": lambda: [[x, x] for x in X.tolist()],
    "a memoryview of numbers": lambda: memoryview(X),
    "an array of the standard library": lambda: array.array("h", AS_INT16.tolist()),
    "an object with __array__": lambda: Tensor(AS_INT16),
    "a tensor that requires gradients": lambda: RequiringGradients(X),
    "an object with __dlpack__": lambda: Exchangeable(X),
}
BLOCKS: dict[str, Callable[[], Any]] = {
    "a generator of floats": lambda: blocks(X),
    "a generator of int16": lambda: blocks(AS_INT16),
    "a generator of int64": lambda: blocks(AS_INT16.astype(np.int64) << 48),
    "a generator of stereo blocks": lambda: blocks(np.stack([X, X], axis=1)),
    "a generator of all types": of_all_types,
    "a list of blocks": lambda: list(blocks(X)),
    "a tuple of tensors": lambda: tuple(map(Tensor, blocks(X))),
    "a generator of tensors that require gradients": lambda: map(RequiringGradients, blocks(X)),
    "a list of memoryviews": lambda: list(map(memoryview, blocks(X))),
}
BYTES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: wav(AS_INT16.tobytes()),
    "a bytearray": lambda: bytearray(wav(AS_INT16.tobytes())),
    "a memoryview": lambda: memoryview(wav(AS_INT16.tobytes())),
    "a memoryview of signed bytes": lambda: memoryview(wav(AS_INT16.tobytes())).cast("b"),
    "a file": lambda: io.BytesIO(wav(AS_INT16.tobytes())),
}


# ---- accepted input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry_point", entry_points.ALL)
@pytest.mark.parametrize("form", SAMPLES)
def test_samples_of_every_type_give_the_same_audio(entry_point: str, form: str) -> None:
    np.testing.assert_array_equal(entry_points.sound(entry_point, SAMPLES[form]()), X)


@pytest.mark.parametrize("entry_point", entry_points.FILES)
@pytest.mark.parametrize("form", BLOCKS | BYTES)
def test_blocks_and_bytes_of_every_type_give_the_same_audio(entry_point: str, form: str) -> None:
    np.testing.assert_array_equal(entry_points.sound(entry_point, (BLOCKS | BYTES)[form]()), X)


@pytest.mark.parametrize("entry_point", [*entry_points.TRANSCRIBING, "LiveTranscriber"])
def test_every_type_gives_the_same_text(entry_point: str) -> None:
    expected = entry_points.ALL[entry_point](X)
    assert expected[:1] == " " or entry_point == "detect_language"
    for form in ("two equal channels", "an object with __array__"):
        assert entry_points.ALL[entry_point](SAMPLES[form]()) == expected


@pytest.mark.parametrize("form", SAMPLES)
def test_spectrogram_of_every_type(form: str) -> None:
    if form in ("a column", "two equal channels", "a list of rows"):
        with pytest.raises(AudioError, match="one channel"):
            log_mel_spectrogram(SAMPLES[form]())
    else:
        np.testing.assert_array_equal(log_mel_spectrogram(SAMPLES[form]()), log_mel_spectrogram(X))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_arrays_of_bytes_are_samples_not_a_file(dtype: Any) -> None:
    x = np.frombuffer(wav(AS_INT16.tobytes()), dtype)
    assert len(load_audio(x)) == len(x)


# ---- rejected input -------------------------------------------------------------------------------------------------

ROWS = "rows are samples and columns are channels, so transpose it"
REFUSED: dict[str, tuple[Any, str]] = {
    "complex": (np.zeros(500, complex), "real numbers .* not complex128"),
    "booleans": (np.zeros(500, bool), "real numbers .* not bool"),
    "text": (np.array(["a", "b"]), "real numbers"),
    "objects": (np.array([0.5, None]), "real numbers .* not object"),
    "integers beyond 64 bits": ([2**70, 0], "real numbers .* not object"),
    "dates": (np.zeros(5, "M8[s]"), "real numbers"),
    "a number": (np.array(0.5), r"real numbers .* \(\)"),
    "NumPy's number": (np.float32(0.5), "real numbers"),
    "three axes": (np.zeros((5, 5, 2)), r"real numbers .* \(5, 5, 2\)"),
    "two rows": (np.zeros((2, 500), np.float32), ROWS),
    "one row": (np.zeros((1, 500), np.int16), ROWS),
    "64 rows": (np.zeros((64, 500)), ROWS),
    "two rows in lists": ([[0.0] * 500, [0.0] * 500], ROWS),
    "65 channels": (np.zeros((500, 65)), "65 channels; 1 to 64"),
    "no channels": (np.zeros((500, 0)), "0 channels"),
    "rows of unequal length": ([[0.0, 0.0], [0.0]], "a list that cannot be converted to an array"),
    "a list of text": (["a.wav", "b.wav"], "real numbers"),
    "not a number": (np.array([0, np.nan]), "sample 1 is not a finite number"),
    "infinite": ([0.0, 0.0, float("-inf")], "sample 2 is not a finite number"),
    "too large for float32": (np.array([1e300]), "sample 0 is not a finite number"),
    "a tensor on another device": (
        OnAnotherDevice(),
        r"a OnAnotherDevice that cannot be converted to an array: can't .* numpy\. Use",
    ),
}


@pytest.mark.parametrize("entry_point", entry_points.ALL)
@pytest.mark.parametrize("form", REFUSED)
def test_rejected_samples(entry_point: str, form: str) -> None:
    source, message = REFUSED[form]
    with pytest.raises(AudioError, match=message) as caught:
        entry_points.sound(entry_point, source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry_point", entry_points.FILES)
@pytest.mark.parametrize("form", [form for form, (source, _) in REFUSED.items() if not isinstance(source, list)])
def test_rejected_blocks(entry_point: str, form: str) -> None:
    source, message = REFUSED[form]
    if message.startswith("sample "):
        message = message.replace("sample ", "the stream: sample 2?")
    with pytest.raises(AudioError, match=message):
        entry_points.sound(entry_point, iter([X[:20], source]))


@pytest.mark.parametrize("entry_point", entry_points.FILES)
@pytest.mark.parametrize("source", [None, 3, 1.5, {"array": X, "sampling_rate": 16_000}, io.StringIO("text"), object()])
def test_objects_that_are_not_recordings(entry_point: str, source: Any) -> None:
    with pytest.raises(OptionError if (entry_point, source) == ("detect_language", None) else AudioError):
        entry_points.sound(entry_point, source)


@pytest.mark.parametrize("block", ["a.wav", b"RIFF", {"array": X}, 0.5, None])
def test_objects_that_are_not_blocks(block: Any) -> None:
    with pytest.raises(AudioError, match="block 1 of the stream"):
        load_audio(iter([X, block]))


def test_an_error_of_the_callers_generator_is_not_wrapped() -> None:
    def failing() -> Iterator[np.ndarray]:
        yield X
        raise ConnectionError("the line is down")

    for entry_point in entry_points.FILES.values():
        with pytest.raises(ConnectionError):
            entry_point(failing())


def test_live_transcription_continues_after_a_rejected_block() -> None:
    stream = LiveTranscriber(entry_points.digits(), **entry_points.QUICK)
    for source, message in REFUSED.values():
        with pytest.raises(AudioError, match=message):
            stream.push(source)
    assert stream.push(X).settled_text + stream.finish().settled_text == entry_points.ALL["LiveTranscriber"](X)


# ---- empty recordings -----------------------------------------------------------------------------------------------

EMPTY: dict[str, Callable[[], Any]] = {
    "an array": lambda: np.zeros(0, np.float32),
    "an array of two channels": lambda: np.zeros((0, 2), np.int16),
    "a list": list,
    "no blocks": lambda: iter(()),
    "empty blocks": lambda: iter([X[:0], X[:0]]),
    "a WAV": lambda: wav(b""),
    "a WAV of two channels": lambda: io.BytesIO(wav(b"", channels=2)),
}


@pytest.mark.parametrize("form", EMPTY)
@pytest.mark.parametrize("channel", ["mix", "each"])
def test_empty_recording_gives_no_segments_as_in_faster_whisper(form: str, channel: str) -> None:
    for entry_point in ("WhisperModel", "BatchedInferencePipeline"):
        assert entry_points.FILES[entry_point](EMPTY[form](), channel=channel) == ""
    segments, info = entry_points.faster().transcribe(EMPTY[form](), channel=channel)
    assert list(segments) == []
    assert (info.duration, info.duration_after_vad) == (0, 0)
    assert info.language in entry_points.faster().supported_languages
    code, probability, ranked = entry_points.faster().detect_language(EMPTY[form](), channel=channel)
    assert (code, probability) == ranked[0]


@pytest.mark.parametrize("form", EMPTY)
@pytest.mark.parametrize("entry_point", [*entry_points.LOADING, "transcribe", "transcribe_many"])
def test_empty_recording_is_an_error_elsewhere(entry_point: str, form: str) -> None:
    with pytest.raises(AudioError, match="no samples"):
        entry_points.sound(entry_point, EMPTY[form]())


def test_empty_file_is_an_error_everywhere() -> None:
    for entry_point in entry_points.FILES.values():
        with pytest.raises(AudioError, match="empty"):
            entry_point(b"")


# ---- scale ----------------------------------------------------------------------------------------------------------

LOUD: dict[str, Callable[[], Any]] = {
    "float32": lambda: AS_INT16.astype(np.float32),
    "float64": lambda: AS_INT16.astype(np.float64),
    "quiet": lambda: AS_INT16.astype(np.float32) * np.float32(40 / np.abs(AS_INT16).max()),
    "24 bits": lambda: X * np.float32(2**23),
    "a list": lambda: AS_INT16.astype(float).tolist(),
    "stereo": lambda: np.stack([AS_INT16, AS_INT16 // 2], axis=1).astype(np.float32),
}
NARROW: dict[str, Callable[[], Any]] = {
    "a list of int16's numbers": AS_INT16.tolist,
    "int64": lambda: AS_INT16.astype(np.int64),
    "int64 of 24 bits": lambda: AS_INT16.astype(np.int64) << 8,
    "int32": lambda: AS_INT16.astype(np.int32),
}


def warned(entry_point: Callable[..., Any], source: Any, **reading: Any) -> list[str]:
    """Return the messages of the warnings in one call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        entry_point(source, **reading)
    assert all(warning.category is AudioWarning for warning in caught)
    assert all(warning.filename in (entry_points.__file__, __file__) for warning in caught)  # attributed to the caller
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("entry_point", entry_points.ALL)
@pytest.mark.parametrize("form", LOUD | NARROW)
def test_samples_of_doubtful_scale(entry_point: str, form: str) -> None:
    advice = "divide samples at int16's scale by 32768" if form in LOUD else "convert them to int16"
    (message,) = warned(partial(entry_points.sound, entry_point), (LOUD | NARROW)[form]())
    assert advice in message
    with pytest.raises(AudioError, match=advice):
        entry_points.sound(entry_point, (LOUD | NARROW)[form](), strict=True)


@pytest.mark.parametrize("entry_point", entry_points.FILES)
def test_blocks_and_files_of_doubtful_scale(entry_point: str) -> None:
    loud = AS_INT16.astype("<f4")
    for make in (lambda: blocks(loud), lambda: wav(loud.tobytes(), kind=3, bits=32)):
        (message,) = warned(partial(entry_points.sound, entry_point), make())
        assert "divide samples at int16's scale" in message
        with pytest.raises(AudioError, match="divide samples"):
            entry_points.sound(entry_point, make(), strict=True)


@pytest.mark.parametrize(
    "source",
    [
        X * np.float32(4 / np.abs(X).max()),  # a recording with headroom
        (X - X.mean()) / X.std(),  # standardized
        AS_INT16,
        np.zeros(5000, np.int32),
        np.zeros(5000, np.int64),
        np.array([2**15 + 1, 0, 0] * 99, np.int32),  # noise of a 24-bit recording
        np.full(500, 2**15, np.uint16),
    ],
    ids=["headroom", "standardised", "int16", "silent int32", "silent int64", "noise of 24 bits", "silent uint16"],
)
def test_samples_of_correct_scale(source: np.ndarray) -> None:
    assert warned(load_audio, source, strict=True) == []
    assert warned(entry_points.ALL["transcribe"], source) == []


@pytest.mark.parametrize("entry_point", entry_points.TRANSCRIBING)
@pytest.mark.parametrize("make", [lambda x: x, blocks, lambda x: wav(x.tobytes(), kind=3, bits=32)])
def test_a_long_recording_that_is_read_twice_warns_once(
    entry_point: str, make: Callable[[np.ndarray], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = []
    finish = MelStream.finish
    monkeypatch.setattr(MelStream, "finish", lambda self, padding=0: finished.append(1) or finish(self, padding))
    monkeypatch.setattr("whisper_apr.inference.spectrogram.KEPT_FRAMES", 100)
    long = np.concatenate([noise(32, 900), X * 2**15]).astype("<f4")
    (message,) = warned(entry_points.TRANSCRIBING[entry_point], make(long))
    assert "scale" in message
    if entry_point in ("transcribe", "transcribe_many"):
        assert len(finished) == 2


# ---- sampling rates -------------------------------------------------------------------------------------------------

RATES = [1000, 8000, 11_025, 22_050.0, np.int64(44_100), np.float32(48_000), 1_000_000]
BAD_RATES = [
    *(0, -16_000, 999, 1_000_001, float("nan"), float("inf"), -float("inf"), 1e400, 10**400, 1j),
    *("16000", None, True, [16_000], np.array([16_000]), b"16000"),
]


@pytest.mark.parametrize("rate", RATES)
def test_arrays_and_blocks_at_every_rate(rate: Any) -> None:
    n = int(rate) // 4
    x = np.sin(np.arange(n) * (2 * np.pi * 200 / float(rate))).astype(np.float32)
    loaded = load_audio(x, sampling_rate=rate)
    assert len(loaded) == SAMPLE_RATE // 4
    np.testing.assert_allclose(
        loaded[400:-400], np.sin(np.arange(SAMPLE_RATE // 4) * (np.pi / 40))[400:-400], atol=0.02
    )
    np.testing.assert_allclose(load_audio(blocks(x), sampling_rate=rate), loaded, atol=1e-6)


@pytest.mark.parametrize(
    "entry_point", [entry_point for entry_point in entry_points.ALL if entry_point != "decode_audio"]
)
def test_every_function_uses_the_rate(entry_point: str) -> None:
    with_rate = entry_points.sound(entry_point, np.repeat(X, 3), sampling_rate=48_000)
    assert len(with_rate) == len(X)
    assert np.corrcoef(with_rate, X)[0, 1] > 0.98


@pytest.mark.parametrize("entry_point", entry_points.ALL)
@pytest.mark.parametrize("rate", BAD_RATES, ids=lambda rate: str(rate)[:20])
def test_invalid_rates(entry_point: str, rate: Any) -> None:
    with pytest.raises(OptionError, match="sampling_rate must be a number of 1000 to 1000000 Hz") as caught:
        entry_points.ALL[entry_point](X, sampling_rate=rate)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000.0])
def test_decode_audio_at_every_rate(rate: Any) -> None:
    """It resamples from the recording's own rate, so that content above 8 kHz is kept at a higher rate."""
    tone = 0.5 * np.sin(np.arange(44_100) * (2 * np.pi * 12_000 / 44_100))
    file = io.BytesIO()
    soundfile.write(file, np.stack([tone, tone], axis=1), 44_100, format="WAV", subtype="FLOAT")
    whole = entry_points.LOADING["decode_audio"](file.getvalue(), rate)
    left, right = entry_points.LOADING["decode_audio"](file.getvalue(), rate, split_stereo=True)
    for samples in (whole, left, right):
        assert samples.dtype == np.float32
        assert len(samples) == int(rate)
        level = np.sqrt(2 * np.mean(samples[1000:-1000] ** 2))
        assert level == pytest.approx(0.5, abs=0.01) if rate > 40_000 else level < 1e-3
