"""Scores of the bundled model: errors of texts, and agreement with a reference under teacher forcing."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from encoded import digits
from models import dimensions, random_checkpoint
from whisper_apr import Recognizer, load_model
from whisper_apr.audio import log_mel_spectrogram, pad_or_trim
from whisper_apr.errors import AudioError, OptionError
from whisper_apr.evaluation import (
    Agreement,
    EditCounts,
    Recording,
    Score,
    Summary,
    TokenAgreement,
    agreement,
    evaluate,
    find_recordings,
    summarize,
)
from whisper_apr.inference.decode import DecodingOptions, decode
from wiring import sound

pytestmark = pytest.mark.usefixtures("opened_once")

DATA = Path(__file__).parent / "data"
GREEDY: dict[str, Any] = {"temperature": 0.0}


@cache
def int4() -> Recognizer:
    return load_model("digits", compute_type="int4")


def score(text: str, *, name: str = "de.wav", language: str | None = "de", **options: Any) -> Score:
    recording = Recording(str(DATA / name), text, language)
    (found,) = evaluate({"digits": digits()}, [recording], **GREEDY | options)
    return found["digits"]


# ---- errors of texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Null sieben drei null zwei.", EditCounts(0, 0, 0, 5)),
        ("null acht drei null zwei", EditCounts(1, 0, 0, 5)),
        ("drei null zwei", EditCounts(0, 0, 2, 3)),
        ("null sieben drei null zwei eins eins", EditCounts(0, 2, 0, 7)),
        ("", EditCounts(0, 0, 5, 0)),
    ],
)
def test_errors(text: str, counts: EditCounts) -> None:
    found = score(text)
    assert found.text == " null sieben drei null zwei"
    assert (found.edits, found.unit, found.agreement) == (counts, "words", None)


def test_numbers_are_compared_as_numbers_in_english() -> None:
    found = score("31415", name="en.wav", language="en")
    assert found.text == " three one four one five"
    assert not found.edits.errors


def test_language_is_that_of_the_options_or_the_recording_or_detected() -> None:
    assert score("null", language=None).recording.language == "de"
    assert score("null", language="fr").recording.language == "fr"
    (found,) = evaluate({"": digits()}, [Recording(str(DATA / "de.wav"), "null", "fr")], language="German", **GREEDY)
    assert found[""].recording.language == "de"


def test_characters_of_languages_without_spaces() -> None:
    found = score("三", name="en.wav", language="ja")
    assert found.unit == "characters"
    assert found.edits == EditCounts(1, 0, len(found.text.replace(" ", "")) - 1, 1)


def test_summary() -> None:
    one, two = (TokenAgreement(4, 3, 0.5), TokenAgreement(2, 2, 0.25))
    recording = {language: Recording("", "", language) for language in ("en", "ja")}
    scores = [
        Score(recording["en"], "", EditCounts(1, 2, 3, 4), Agreement(one, two)),
        Score(recording["ja"], "", EditCounts(5, 6, 7, 8), Agreement(two, one)),
        Score(recording["en"], "", EditCounts(1, 0, 0, 1), None),
    ]
    total = summarize(scores)
    both = TokenAgreement(6, 5, 0.75)
    assert total == Summary(3, EditCounts(2, 2, 3, 5), EditCounts(5, 6, 7, 8), Agreement(both, both))
    assert total.agreement is not None
    assert total.agreement.total == TokenAgreement(12, 10, 1.5)
    assert total.agreement.total.top_1 == 10 / 12
    assert total.agreement.total.mean_divergence == 0.125
    assert summarize([]) == Summary()
    assert (TokenAgreement().top_1, TokenAgreement().mean_divergence) == (None, None)


# ---- agreement ------------------------------------------------------------------------------------------------------


def agree(source: str, folder: Path, **options: Any) -> TokenAgreement:
    """Return the agreement of the int4 model with the float32 one on one of the sounds of `wiring`."""
    path = folder / f"{source}.wav"
    soundfile.write(path, sound(source), 16_000, subtype="FLOAT")
    recording = Recording(str(path), "", "en")
    (found,) = evaluate({"int4": int4()}, [recording], reference=digits(), **GREEDY | options)
    assert found["int4"].agreement is not None
    return found["int4"].agreement.total


def test_agreement_is_that_of_the_reference_s_tokens() -> None:
    """Counted here with the public functions: `decode` for the text, `logits` for what the models say of it."""
    exact, model = digits(), int4()
    (found,) = evaluate(
        {"exact": exact, "int4": model}, [Recording(str(DATA / "fr.wav"), "", "fr")], reference=exact, **GREEDY
    )
    assert found["exact"].agreement is None

    mel = pad_or_trim(log_mel_spectrogram(str(DATA / "fr.wav")), 3000)
    result = decode(exact, mel, DecodingOptions(language="fr"))
    tokenizer = agreement.Pipeline(exact, lambda: None, {"language": "fr"}).decoder._tasks[0].tokenizer
    before, tokens = list(tokenizer.sot_sequence), [*result.tokens, tokenizer.eot]
    logits = []
    for each in (exact, model):
        x = each.logits(np.array([before + tokens]), each.embed_audio(mel)[None])[0].astype(np.float64)
        x = x[len(before) - 1 : -1]
        logits.append(x - np.log(np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)) - x.max(1, keepdims=True))
    p, q = logits
    divergence = (np.exp(p) * (p - q)).sum(1)
    same = p.argmax(1) == q.argmax(1)
    is_timestamp = np.array([tokenizer.is_timestamp(token) for token in tokens])
    assert is_timestamp.sum() == 2
    measured = found["int4"].agreement
    assert measured is not None
    for kind, part in ((~is_timestamp, measured.text), (is_timestamp, measured.timestamps)):
        assert (part.n_token, part.n_same) == (kind.sum(), same[kind].sum())
        # the samples are read in blocks here and as a whole there; int4 rounds what differs in the last bits
        assert part.divergence == pytest.approx(divergence[kind].sum(), rel=0.1)
        assert part.divergence > 0


def test_a_model_agrees_with_an_equal_one() -> None:
    other = load_model("digits", compute_type="float32")
    (found,) = evaluate({"": other}, [Recording(str(DATA / "en.wav"), "", "en")], reference=digits(), **GREEDY)
    assert found[""].agreement is not None
    total = found[""].agreement.total
    assert total.n_token == total.n_same > 5
    assert total.divergence < 1e-6


def test_logits_by_hand() -> None:
    p, q = np.array([[0.5, 0.25, 0.25], [1, 0, 0]]), np.array([[0.25, 0.5, 0.25], [1, 0, 0]])
    with np.errstate(divide="ignore"):
        same, divergence = agreement.compare_logits(
            *(np.maximum(np.log(each), -50).astype(np.float32) for each in (p, q))
        )
    assert same.tolist() == [False, True]
    assert divergence == pytest.approx([0.5 * np.log(2) + 0.25 * np.log(0.5), 0], abs=1e-6)


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({"language": "de"}, "short"),
        ({"task": "translate"}, "short"),
        ({"clip_timestamps": "0,2"}, "short"),
        ({"chunk_length": 2.0}, "short"),
        ({"vad_filter": True}, "long"),
        ({"vad_filter": True, "vad_parameters": {"threshold": 0.99}}, "long"),
        ({"channel": 1}, "stereo"),
    ],
)
def test_options_of_what_is_transcribed_apply(options: dict[str, Any], source: str, tmp_path: Path) -> None:
    base = {"vad_filter": True} if "vad_parameters" in options else {}
    assert agree(source, tmp_path, **options) != agree(source, tmp_path, **base)


@pytest.mark.parametrize("options", [{"beam_size": 3}, {"sample_len": 2}, {"initial_prompt": "nine"}])
def test_options_of_the_search_do_not(options: dict[str, Any], tmp_path: Path) -> None:
    assert agree("short", tmp_path, **options) == agree("short", tmp_path)


def test_every_window_counts_and_has_no_text_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[int]] = []
    original = agreement.next_logits

    def next_logits(model: Any, features: Any, before: list[int], tokens: list[int]) -> Any:
        read.append(before)
        return original(model, features, before, tokens)

    monkeypatch.setattr(agreement, "next_logits", next_logits)
    assert agree("long", tmp_path).n_token > agree("short", tmp_path).n_token
    assert len(read) == 2 * 2 + 2  # two windows and one, each read by both models
    assert all(len(before) == 3 for before in read)


def test_windows_taken_for_silence_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "is_silence", lambda *_: True)
    assert agree("short", tmp_path) == TokenAgreement()


# ---- arguments ------------------------------------------------------------------------------------------------------


def test_models_that_cannot_be_compared() -> None:
    other = Recognizer(random_checkpoint(dimensions(8, 2, 1, n_mels=128, n_vocab=51866)))
    with pytest.raises(OptionError, match=r"small cannot be compared .* its n_mels is 128 instead of 80"):
        next(evaluate({"small": other}, find_recordings(DATA), reference=digits()))


@pytest.mark.parametrize(
    ("models", "recordings", "options"),
    [
        ({"a": "digits"}, [], {}),
        ({}, ["a.wav"], {}),
        ({}, [], {"check_cancelled": 3}),
        ({}, [], {"reference": "digits"}),
        ({}, [], {"return_errors": "yes"}),
        ({}, 3, {}),
        ("digits", [], {}),
    ],
)
def test_wrong_arguments(models: Any, recordings: Any, options: dict[str, Any]) -> None:
    models = models or {"a": digits()}
    with pytest.raises(OptionError):
        list(evaluate(models, recordings, **options))


def test_unreadable_recordings(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    shutil.copy(DATA / "en.wav", tmp_path)
    recordings = [Recording(str(tmp_path / name), "", "en") for name in ("broken.wav", "gone.wav", "en.wav")]
    found = list(evaluate({"": digits()}, recordings, return_errors=True, **GREEDY))
    assert [isinstance(each, AudioError) for each in found] == [True, True, False]
    with pytest.raises(AudioError, match=r"broken\.wav"):
        list(evaluate({"": digits()}, recordings, **GREEDY))


def test_cancelling() -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(evaluate({"": digits()}, find_recordings(DATA), check_cancelled=cancel))
