"""Recordings of people, with base and tiny.en, beside openai-whisper: the same tokens, segments, times and languages; as few wrong words.

openai-whisper gets the same weights, in its own model, and the same float32 samples: how a recording is read is compared by its duration.
"""

import os
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openai_engine import Pair, openai_model, openai_whisper, share_alignment_heads, torch_with
from whisper_apr import AudioWarning, Recognizer, load_audio, load_model
from whisper_apr.audio import log_mel_spectrogram, pad_or_trim
from whisper_apr.formats import open_checkpoint

pytestmark = pytest.mark.parity

EXACT = ("id", "seek", "start", "end", "text", "tokens", "temperature", "compression_ratio")
CLOSE = ("avg_logprob", "no_speech_prob")  # sums of float32

DAMAGED = ("az_katie.wav",)  # its header states more samples than there are; it is read with a warning
ENGLISH = (
    *("LDC93S1_8k.wav", "LJ001-0001.flac", "LJ001-0002.flac", "LJ001-0003.flac", "LJ001-0004.flac"),
    *("az_aboutSpeechSdk.wav", "az_katie.wav", "az_weather_mulaw.wav", "fw_hotwords.mp3", "fw_stereo_diarization.wav"),
    *("jfk.flac", "lp_test.wav", "pyannote_sample.wav", "sense_0870.wav", "sense_0880.wav", "sense_0920.wav"),
    *("wk_ted_60.m4a", "wt_apollo11.mp3"),
)
FOREIGN = ("az_es_en.wav", "lp_test_de.wav", "lp_test_fr.wav", "lp_test_ja.wav", "ru.wav")
NOISE = ("noise5.wav",)
MEETINGS = tuple(f"ami/{name}.flac" for name in (
    "dev00", "trn01", "trn02", "trn03", "trn05", "trn06", "trn07", "trn09", "tst00",
))  # fmt: skip
ALL = (*ENGLISH, *FOREIGN, *NOISE, *MEETINGS)

# Recordings of which some window fails at temperature 0, where openai-whisper draws random numbers.
FALLS_BACK = {"base": ("pyannote_sample.wav",), "tiny.en": ("fw_stereo_diarization.wav",)}
CASES = [("base", name) for name in (*ENGLISH, *FOREIGN)] + [("tiny.en", name) for name in ENGLISH]
DRAWN = [(model, name) for model, name in CASES if name in FALLS_BACK[model]]
SETTLED = [case for case in CASES if case not in DRAWN]
GREEDY = [*DRAWN, *(("base", name) for name in (*NOISE, *MEETINGS)), *(("tiny.en", name) for name in NOISE)]


@pytest.fixture(scope="session")
def torch() -> Iterator[Any]:
    with torch_with(len(os.sched_getaffinity(0))) as module:
        yield module


@pytest.fixture(scope="session")
def openai(torch: Any) -> Any:
    return openai_whisper()


@dataclass(frozen=True)
class Beside(Pair):
    """Both engines, and what they made of recordings with the default options: the wrong words are counted from it too."""

    results: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def transcribe(self, samples: Any, **options: Any) -> tuple[Any, Any]:
        return self.ours.transcribe(samples, **options), self.theirs.transcribe(samples, fp16=False, **options)

    def default(self, name: str, samples: Any) -> tuple[Any, Any]:
        if name not in self.results:
            self.results[name] = self.transcribe(samples)
        return self.results[name]


@pytest.fixture(scope="session")
def pairs(openai: Any, base: Recognizer, tiny_en: Recognizer, base_folder: Path, tiny_en_folder: Path) -> Any:
    return {
        "base": Beside(base, openai_model(open_checkpoint(base_folder))),
        "tiny.en": Beside(tiny_en, openai_model(open_checkpoint(tiny_en_folder))),
    }


@lru_cache
def samples_of(path: Path) -> Any:
    """Our reading, 16 kHz; `test_durations` looks at the warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        return load_audio(path)


def check(ours: Any, theirs: Any) -> None:
    assert ours.language == theirs["language"]
    assert [segment.tokens for segment in ours.segments] == [tuple(segment["tokens"]) for segment in theirs["segments"]]
    assert ours.text == theirs["text"]
    check_segments(ours.segments, theirs["segments"])


def check_segments(ours: Any, theirs: Any) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert {key: a[key] for key in EXACT} == {key: b[key] for key in EXACT} | {"tokens": tuple(b["tokens"])}
        assert {key: a[key] for key in CLOSE} == pytest.approx({key: b[key] for key in CLOSE}, abs=1e-3)


# ---- reading --------------------------------------------------------------------------------------------------------


def test_every_recording_is_compared(recordings: Path) -> None:
    found = {path for path in recordings.rglob("*") if path.suffix in (".wav", ".flac", ".mp3", ".m4a")}
    assert {path.relative_to(recordings).as_posix() for path in found} == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_durations(openai: Any, recordings: Path, name: str) -> None:
    """openai-whisper reads with ffmpeg, and resamples with it: a sample more or less is not a difference."""
    path = recordings / name
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ours = load_audio(path)
    assert [warning.category for warning in said] == [AudioWarning] * (name in DAMAGED)
    assert abs(len(ours) - len(openai.load_audio(str(path)))) <= 1


# ---- tokens, times, languages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "name"), SETTLED)
def test_default_options(pairs: dict[str, Beside], recordings: Path, model: str, name: str) -> None:
    """No window falls back, in either engine: so this is the greedy result too."""
    ours, theirs = pairs[model].default(name, samples_of(recordings / name))
    assert {segment["temperature"] for segment in theirs["segments"]} == {0.0}
    check(ours, theirs)


@pytest.mark.parametrize(("model", "name"), DRAWN)
def test_until_a_window_falls_back(pairs: dict[str, Beside], recordings: Path, model: str, name: str) -> None:
    """The same windows settle at temperature 0, and the same window fails first; what is drawn for it is each engine's own."""
    ours, theirs = pairs[model].transcribe(samples_of(recordings / name), temperature=(0.0, 0.6), best_of=1)
    settled = [list(takewhile(lambda s: s["temperature"] == 0, r)) for r in (ours.segments, theirs["segments"])]
    check_segments(*settled)
    assert len(ours.segments) > len(settled[0])
    assert len(theirs["segments"]) > len(settled[1])


@pytest.mark.parametrize(("model", "name"), GREEDY)
def test_greedy(pairs: dict[str, Beside], recordings: Path, model: str, name: str) -> None:
    """Where a window fails at temperature 0, or might, without falling back."""
    check(*pairs[model].transcribe(samples_of(recordings / name), temperature=0.0))


@pytest.mark.parametrize(
    ("model", "name", "options"),
    [
        ("base", "lp_test_de.wav", {"task": "translate"}),
        ("base", "lp_test_ja.wav", {"task": "translate"}),
        ("base", "lp_test_fr.wav", {"beam_size": 5}),
        ("base", "lp_test_ja.wav", {"beam_size": 5, "patience": 2.0}),
        ("tiny.en", "jfk.flac", {"beam_size": 5}),
        ("tiny.en", "az_aboutSpeechSdk.wav", {"condition_on_previous_text": False, "initial_prompt": "Microsoft"}),
        ("tiny.en", "az_aboutSpeechSdk.wav", {"clip_timestamps": "2,12.5,31,44"}),
        ("tiny.en", "LJ001-0001.flac", {"without_timestamps": True}),
    ],
)
def test_options(pairs: dict[str, Beside], recordings: Path, model: str, name: str, options: dict[str, Any]) -> None:
    check(*pairs[model].transcribe(samples_of(recordings / name), temperature=0.0, **options))


@pytest.mark.parametrize(
    ("model", "name"), [("base", "lp_test_fr.wav"), ("tiny.en", "jfk.flac"), ("tiny.en", "az_aboutSpeechSdk.wav")]
)
def test_openai_word_times(pairs: dict[str, Beside], recordings: Path, model: str, name: str) -> None:
    """With `word_timing="openai"`, every word has openai-whisper's times."""
    pair, samples = pairs[model], samples_of(recordings / name)
    share_alignment_heads(pair)
    theirs = pair.theirs.transcribe(samples, fp16=False, temperature=0.0, word_timestamps=True)
    ours = pair.ours.transcribe(samples, temperature=0.0, word_timestamps=True, word_timing="openai")
    check(ours, theirs)
    for a, b in zip(ours.segments, theirs["segments"], strict=True):
        assert [(w.word, w.start, w.end) for w in a.words] == [(w["word"], w["start"], w["end"]) for w in b["words"]]


def test_language_probabilities(torch: Any, pairs: dict[str, Beside], recordings: Path) -> None:
    windows = [log_mel_spectrogram(pad_or_trim(samples_of(recordings / name))) for name in (*FOREIGN, "jfk.flac")]
    mel = np.stack(windows)
    tokens, ours = pairs["base"].ours.detect_language(mel)
    expected, theirs = pairs["base"].theirs.detect_language(torch.from_numpy(mel))
    np.testing.assert_array_equal(tokens, expected.numpy())
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-3)


# ---- wrong words ----------------------------------------------------------------------------------------------------


def units(text: str, language: str) -> list[str]:
    """What is compared: words, in Japanese characters; without case and apostrophes, any other sign is a space."""
    plain = (
        unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    )
    plain = "".join(sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in plain)
    return list(plain.replace(" ", "")) if language == "ja" else plain.split()


def edits(true: list[str], heard: list[str]) -> int:
    """The fewest units that must be replaced, added or left out to make one text of the other."""
    row = list(range(len(heard) + 1))
    for i, unit in enumerate(true, 1):
        row, above = [i], row
        for j, other in enumerate(heard, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (unit != other)))
    return row[-1]


def test_counting_words() -> None:
    assert units("What's THE  weather—like, 'tis?", "en") == ["whats", "the", "weather", "like", "tis"]
    assert units("客観的、 実在。", "ja") == list("客観的実在")
    assert edits(list("kitten"), list("sitting")) == 3
    assert edits([], ["a", "b"]) == edits(["a", "b"], []) == 2
    assert edits(["a"], ["a"]) == 0


SPOKEN = {  # recordings with texts, by what is counted together
    ("base", "English"): {"en": 171},
    ("base", "other languages"): {"de": 10, "fr": 13, "ru": 9, "ja": 20},
    ("tiny.en", "English"): {"en": 171},
}
QUANTIZED = {"English": 2.0, "other languages": 6.0}  # percentage points: 3 of 171 words, 3 of 52 words and characters


@pytest.fixture(scope="session")
def int8(base_folder: Path, tiny_en_folder: Path) -> dict[str, Recognizer]:
    return {
        "base": load_model(base_folder, compute_type="int8"),
        "tiny.en": load_model(tiny_en_folder, compute_type="int8"),
    }


@pytest.mark.parametrize(("model", "group"), SPOKEN)
def test_wrong_words(
    pairs: dict[str, Beside],
    int8: dict[str, Recognizer],
    texts: dict[str, Any],
    recordings: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    group: str,
) -> None:
    """Within 0.5 percentage points of openai-whisper's; int8 within what a few words are."""
    wrong = {"openai-whisper": 0, "float32": 0, "int8": 0}
    counted = dict.fromkeys(SPOKEN[model, group], 0)
    for name, entry in texts.items():
        language = entry["language"]
        if language not in counted:
            continue
        samples = samples_of(recordings / name)
        ours, theirs = pairs[model].default(name, samples)
        true = units(entry["text"], language)
        counted[language] += len(true)
        heard = (theirs["text"], ours.text, int8[model].transcribe(samples).text)
        for engine, text in zip(wrong, heard, strict=True):
            wrong[engine] += edits(true, units(text, language))
    assert counted == SPOKEN[model, group]
    n = sum(counted.values())
    share = {engine: 100 * errors / n for engine, errors in wrong.items()}
    with capsys.disabled():
        shares = ", ".join(f"{engine} {value:.1f} %" for engine, value in share.items())
        print(f"\n{model}, {group}, wrong of {n}: {shares}")
    assert share["float32"] <= share["openai-whisper"] + 0.5
    assert share["int8"] <= share["openai-whisper"] + QUANTIZED[group]
    assert share["openai-whisper"] < 25  # or the comparison would say nothing


@pytest.mark.parametrize("model", ["base", "tiny.en"])
def test_int8_hears_what_float32_hears(
    pairs: dict[str, Beside], int8: dict[str, Recognizer], recordings: Path, model: str
) -> None:
    """Two clear recordings, together near two minutes: at most one word in twenty is another one."""
    n = changed = 0
    for name in ("az_aboutSpeechSdk.wav", "wk_ted_60.m4a"):
        samples = samples_of(recordings / name)
        ours, _ = pairs[model].default(name, samples)
        expected = units(ours.text, "en")
        n += len(expected)
        changed += edits(expected, units(int8[model].transcribe(samples).text, "en"))
    assert n > 300
    assert changed <= n / 20
