"""Journals: an interrupted transcription that is resumed gives the result of an uninterrupted one."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings import join, noise, silence, speech
from whisper_apr.inference.decode import DecodingResult
from whisper_apr.inference.fallback import FallbackDecoder
from whisper_apr.inference.journal import Journal, _Decoded

pytestmark = pytest.mark.usefixtures("encoded_once")

DATA = Path(__file__).parent / "data"


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def audios() -> list:
    """Return recordings: several windows, silence, another language, two channels."""
    long = join(speech("en_three"), silence(21), speech("de"))
    both = np.stack([speech("en"), np.resize(speech("es"), len(speech("en")))], axis=1)
    return [long, silence(3), str(DATA / "de.wav"), both]


def through_json(journal: Journal, n: int, n_vocab: int) -> Journal:
    """Return the journal as another process loads it."""
    again = Journal()
    for recording in range(n):
        again.load(recording, json.loads(json.dumps(journal.dump(recording))), n_vocab)
    return again


def interrupted_after(n: int) -> Callable[[], None]:
    left = [n]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted

    return check


OPTIONS = [
    {"temperature": 0.0},
    {"vad_filter": True, "word_timestamps": True, "hallucination_silence_threshold": 2.0},
    {"hallucination_filter": True, "initial_prefix": "nine zebra", "temperature": (0.0, 0.8)},
    {"beam_size": 2, "temperature": 0.0, "initial_prompt": "one two", "carry_initial_prompt": True},
    {"condition_on_previous_text": False, "multilingual": True, "temperature": 0.0},
    {"clip_timestamps": [1.0, 9.0, 12.0, 40.0], "temperature": (0.0, 0.8), "logprob_threshold": 0.0},
    {"independent_windows": True, "word_timestamps": True, "temperature": 0.0},
    {"channel": "each", "independent_windows": True},
    {"word_timestamps": True, "without_timestamps": True, "temperature": 0.0, "sample_len": 3},
    {
        "independent_windows": True,
        "word_timestamps": True,
        "clip_timestamps": [5, 9, 0, 9, 0, 6, 2, 40],
        "temperature": 0.0,
    },
]


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_a_resumed_transcription_gives_the_same_result(model, audios, number) -> None:
    """Interrupted several times at any point, and resumed in another process each time."""
    options = {"seed": 1, "sample_len": 12, "batch_size": 1 + number % 3} | OPTIONS[number]
    audios = audios[3:] if options.get("channel") == "each" else audios[:2]
    whole = list(model.transcribe_many(audios, **options))
    journal = Journal()
    n_check = 30
    for _ in range(20):
        try:
            found = list(
                model.transcribe_many(audios, journal=journal, check_cancelled=interrupted_after(n_check), **options)
            )
            break
        except Interrupted:
            journal = through_json(journal, len(audios), model.dims.n_vocab)
            n_check *= 3
    assert found == whole


def test_text_cut_at_sample_len_continues_where_it_did(model, prompts) -> None:
    """Speech follows the timestamp that ends a cut text."""
    sound = speech("en_long")[: 12 * 16_000]
    options = {"temperature": 0.0, "language": "en", "word_timestamps": True, "sample_len": 4}
    journal = Journal()
    whole = list(model.transcribe_many([sound], journal=journal, **options))
    entries = journal.dump(0).values()
    assert any(entry["decoded"]["is_cut"] for entry in entries)
    prompts.clear()
    assert (
        list(model.transcribe_many([sound], journal=through_json(journal, 1, model.dims.n_vocab), **options)) == whole
    )
    assert prompts == []


def test_overlapping_clips_have_separate_entries(model) -> None:
    sound, clips = speech("en_three"), [0.0, 8.0, 0.0, 8.0]
    options = {"temperature": 0.0, "language": "en", "independent_windows": True, "clip_timestamps": clips}
    journal = Journal()
    list(model.transcribe_many([sound], journal=journal, **options))
    assert len(journal.dump(0)) == 2


def test_decoded_windows_are_not_decoded_again(model, audios, prompts) -> None:
    options = {"temperature": 0.0, "batch_size": 2, "word_timestamps": True, "sample_len": 12}
    journal = Journal()
    whole = list(model.transcribe_many(audios[:3], journal=journal, **options))
    n_window = len(prompts)
    prompts.clear()
    again = through_json(journal, 3, model.dims.n_vocab)
    assert list(model.transcribe_many(audios[:3], journal=again, **options)) == whole
    assert prompts == []
    # half of one recording
    half = Journal()
    entries = journal.dump(0)
    kept = dict(list(entries.items())[: len(entries) // 2])
    half.load(0, kept, model.dims.n_vocab)
    assert list(model.transcribe_many(audios[:3], journal=half, **options)) == whole
    assert len(prompts) == n_window - len(kept)
    first_missing = list(entries)[len(kept)].split()
    assert half.reached(0) == int(first_missing[2]) / 100 > 0
    assert half.reached(1) == journal.reached(0) == 0


def test_missing_words_are_aligned(model, audios, prompts) -> None:
    """The transcription may be interrupted between decoding and alignment."""
    options = {"temperature": 0.0, "word_timestamps": True, "batch_size": 1, "sample_len": 12}
    journal = Journal()
    whole = list(model.transcribe_many(audios[:1], journal=journal, **options))
    content = {key: entry | {"segments": None} for key, entry in journal.dump(0).items()}
    prompts.clear()
    again = Journal()
    again.load(0, content, model.dims.n_vocab)
    assert list(model.transcribe_many(audios[:1], journal=again, **options)) == whole
    assert prompts == []
    assert again.dump(0) == journal.dump(0)


@pytest.mark.parametrize("change", ["sound", "prompt", "place", "language"])
def test_a_changed_window_is_decoded(model, prompts, change) -> None:
    options = {"temperature": 0.0, "batch_size": 1, "sample_len": 12, "language": "en"}
    journal = Journal()
    list(model.transcribe_many([speech("en")], journal=journal, **options))
    prompts.clear()
    audio = speech("en")
    if change == "sound":
        audio = audio + noise(len(audio) / 16000, 1e-4)
    elif change == "place":
        audio = join(silence(0.5), audio)
    elif change == "prompt":
        options["initial_prompt"] = "four"
    else:
        options["language"] = "de"
    (found,) = model.transcribe_many([audio], journal=journal, **options)
    assert len(prompts) == 1
    prompts.clear()
    assert [found] == list(model.transcribe_many([audio], **options))


def test_without_a_journal(model, monkeypatch) -> None:
    monkeypatch.setattr(Journal, "entry", None)
    assert list(model.transcribe_many([speech("en")], temperature=0.0, sample_len=12))


def test_forget(model) -> None:
    journal = Journal()
    list(model.transcribe_many([speech("en")], journal=journal, temperature=0.0, sample_len=12))
    assert journal.dump(0)
    journal.forget(0)
    journal.forget(0)
    assert journal.dump(0) == journal.dump(7) == {}


def test_numbers_that_json_lacks_are_not_stored(model, monkeypatch) -> None:
    decoding = FallbackDecoder.decoding

    def improbable(self, *args):
        return replace((yield from decoding(self, *args)), avg_logprob=-np.inf)

    monkeypatch.setattr(FallbackDecoder, "decoding", improbable)
    journal = Journal()
    list(model.transcribe_many([speech("en")], journal=journal, temperature=0.0, sample_len=12))
    assert journal.dump(0) == {}


# ---- hostile content ------------------------------------------------------------------------------------------------


ENTRY = {
    "decoded": {
        "language": "en",
        "tokens": [1, 2],
        "text": "a",
        "avg_logprob": -0.5,
        "no_speech_prob": 0,
        "temperature": 0.0,
        "compression_ratio": 1.0,
        "is_cut": False,
        "n_ctx": 400,
    },
    "segments": [
        {
            "id": 0,
            "seek": 0,
            "start": 0.0,
            "end": 1.0,
            "text": "a",
            "tokens": [1],
            "temperature": 0.0,
            "avg_logprob": 0.0,
            "compression_ratio": 1.0,
            "no_speech_prob": 0.0,
            "words": [{"word": "a", "start": 0.0, "end": 1.0, "probability": 0.5}],
        }
    ],
}


def test_an_entry() -> None:
    journal = Journal()
    journal.load(0, {"key": ENTRY}, 10)
    journal.load(1, {"key": ENTRY | {"segments": None}}, 10)
    assert journal.dump(0)["key"]["decoded"]["tokens"] == (1, 2)


def changed(path: tuple, value: object) -> dict:
    """Return a copy of the entry with another value at `path`."""
    copy = json.loads(json.dumps(ENTRY))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copy


WORD = ("segments", 0, "words", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("decoded",), None),
        (("decoded",), []),
        (("decoded", "tokens"), "12"),
        (("decoded", "tokens"), [10]),
        (("decoded", "tokens"), [-1]),
        (("decoded", "tokens"), [1.0]),
        (("decoded", "tokens"), [True]),
        (("decoded", "tokens"), {"0": 1}),
        (("decoded", "text"), 1),
        (("decoded", "language"), "klingon"),
        (("decoded", "avg_logprob"), float("nan")),
        (("decoded", "avg_logprob"), "0"),
        (("decoded", "avg_logprob"), True),
        (("decoded", "is_cut"), 0),
        (("decoded", "n_ctx"), 0),
        (("decoded", "n_ctx"), 1501),
        (("decoded", "more"), 1),
        (("segments",), {}),
        (("segments", 0), 1),
        (("segments", 0, "tokens"), [10]),
        (("segments", 0, "start"), -1.0),
        (("segments", 0, "end"), 1e12),
        (("segments", 0, "start"), 2.0),
        ((*WORD, "start"), -1.0),
        ((*WORD, "end"), float("inf")),
        ((*WORD, "probability"), None),
        ((*WORD, "word"), ["a"]),
    ],
)
def test_invalid_values(path, value) -> None:
    journal = Journal()
    with pytest.raises(ValueError):
        journal.load(0, {"key": changed(path, value)}, 10)
    assert journal.dump(0) == {}


@pytest.mark.parametrize("name", ENTRY["decoded"])
def test_missing_fields(name) -> None:
    content = changed(("decoded", "text"), "a")
    del content["decoded"][name]
    with pytest.raises(ValueError):
        Journal().load(0, {"key": content}, 10)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["decoded", "segments", "tokens", "text", "words", "start"]), inner)
    ),
    max_leaves=8,
)


@given(
    JSON, st.sampled_from([("decoded",), ("segments",), ("decoded", "tokens"), ("segments", 0), WORD, (*WORD, "end")])
)
def test_any_content_is_loaded_or_raises_value_error(value, path) -> None:
    for content in (value, {"key": value}, {"key": changed(path, value)}):
        journal = Journal()
        try:
            journal.load(0, content, 10)
        except ValueError:
            continue
        again = Journal()
        again.load(0, json.loads(json.dumps(journal.dump(0))), 10)
        assert again.dump(0) == journal.dump(0)


def test_a_journal_stores_every_field_of_a_result() -> None:
    """Except the features, which are large, and the language probabilities, which no segment has."""
    kept = {field.name for field in fields(_Decoded)}
    assert {field.name for field in fields(DecodingResult)} - kept == {"audio_features", "language_probs"}
    assert kept - {"n_ctx"} <= {field.name for field in fields(DecodingResult)}
