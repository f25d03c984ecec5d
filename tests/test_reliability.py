"""Whether the probability of a word tells if it is right."""

import json
from pathlib import Path

import numpy as np
import pytest

from whisper_apr.cli import main
from whisper_apr.evaluation import Judged, assess, calibration_error, evaluate, fit_exponent, reliability
from whisper_apr.evaluation.recordings import Recording
from whisper_apr.evaluation.reliability import judge_words
from whisper_apr.inference.results import Segment, Word

DATA = Path(__file__).parent / "data"


def segment(logprob: float, *words: tuple[str, float]) -> Segment:
    return Segment(0, 0, 0.0, 1.0, "", (), 0.0, logprob, 1.0, 0.0, [Word(text, 0.0, 1.0, p) for text, p in words])


def random_words(n: int, exponent: float, seed: int = 0) -> list[Judged]:
    """Return words that are right with their probability to the power of `exponent`."""
    random = np.random.default_rng(seed)
    probability = random.uniform(0.2, 1, n)
    return [
        Judged(float(p), float(good))
        for p, good in zip(probability, random.random(n) < probability**exponent, strict=True)
    ]


def test_words_are_judged_by_the_alignment() -> None:
    heard = [
        segment(-0.5, (" One", 0.9), (" too,", 0.4), (" ♪", 0.1)),
        segment(-0.1, (" three's", 0.8), (" four", 0.7)),
    ]
    words, segments = judge_words("one two three's four", heard, "en")
    assert words == [Judged(0.9, 1), Judged(0.4, 0), Judged(0.8, 1), Judged(0.7, 1)]
    assert segments == [Judged(pytest.approx(np.exp(-0.5)), 0.5, 2), Judged(pytest.approx(np.exp(-0.1)), 1, 2)]


def test_numbers_are_compared_word_by_word() -> None:
    words, _ = judge_words("three one four", [segment(0, (" three", 0.9), (" one", 0.8), (" five", 0.2))], "en")
    assert [each.right for each in words] == [1, 1, 0]


def test_languages_without_spaces() -> None:
    words, _ = judge_words("客観的実在", [segment(0, ("客観", 0.9), ("的な", 0.5))], "ja")
    assert [each.right for each in words] == [1, 0]


def test_nothing_was_heard() -> None:
    assert judge_words("one", [], "en") == ([], [])
    assert judge_words("one", [segment(0, ("♪", 0.5))], "en") == ([], [])
    assert calibration_error([]) is fit_exponent([]) is None


def test_bins() -> None:
    found = reliability([Judged(0.0, 0), Judged(0.05, 1), Judged(0.5, 1, 3), Judged(1.0, 1)], 2)
    assert [(each.low, each.high, each.count) for each in found] == [(0, 0.5, 2), (0.5, 1, 4)]
    assert [each.probability for each in found] == pytest.approx([0.025, 2.5 / 4])
    assert [each.right for each in found] == [0.5, 1]


def test_calibration_error() -> None:
    assert calibration_error([Judged(0.9, 1)] * 9 + [Judged(0.9, 0)]) == pytest.approx(0)
    assert calibration_error([Judged(0.9, 0)]) == pytest.approx(0.9)
    assert calibration_error([Judged(0.95, 1)] * 3 + [Judged(0.15, 1)]) == pytest.approx((3 * 0.05 + 0.85) / 4)


@pytest.mark.parametrize("exponent", [0.3, 1.0, 2.0])
def test_the_best_power_is_found_and_holds_for_other_recordings(exponent: float) -> None:
    recordings = [random_words(500, exponent, seed) for seed in range(8)]
    found = assess(recordings)
    assert found.exponent == pytest.approx(exponent, rel=0.1)
    assert found.held_out_error < 0.03
    assert found.held_out_error <= found.error + 0.01


def test_the_power_is_held_out() -> None:
    """The halves differ, so that the power of each is wrong for the other."""
    recordings = [random_words(2000, 0.3, 1), random_words(2000, 3.0, 2)]
    assert assess(recordings).held_out_error > 0.2
    assert assess(recordings[:1]).held_out_error is None


def test_evaluate_judges_words_with_times(model) -> None:
    recording = Recording(str(DATA / "en.wav"), "three one four one six", "en")
    (plain,) = evaluate({"a": model}, [recording], temperature=0.0)
    assert plain["a"].words == plain["a"].segments == ()
    (timed,) = evaluate({"a": model}, [recording], temperature=0.0, word_timestamps=True)
    assert [each.right for each in timed["a"].words] == [1, 1, 1, 1, 0]
    assert all(0.5 < each.probability <= 1 for each in timed["a"].words)


def test_the_command_prints_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], opened_once: None) -> None:
    (tmp_path / "texts.json").write_text('{"en.wav": "three one four one six"}')
    (tmp_path / "en.wav").write_bytes((DATA / "en.wav").read_bytes())
    command = ["eval", str(tmp_path), "--model", "digits", "--beam-size", "None", "--no-agreement"]
    file = tmp_path / "out.json"
    assert main([*command, "--word-timestamps", "True", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "| default | words    | 0.9 to 1.0  | 5     | " in out
    assert "| 80.00    |" in out
    found = json.loads(file.read_text())["types"]["default"]["reliability"]
    (used,) = found["words"]["bins"]
    assert (used["count"], used["right"]) == (5, 0.8)
    assert found["words"]["error"] == pytest.approx(used["probability"] - 0.8)
    assert found["words"]["held_out_error"] is None
    assert main(command) == 0
    assert "right, %" not in capsys.readouterr().out
