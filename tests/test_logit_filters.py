"""Logit filters on a vocabulary of 40: text 0-9, end of text 10, special tokens 11-19, timestamps 20-39."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.inference.hotwords import HotwordBias, hotword_prompt
from whisper_apr.inference.logit_filters import (
    ContinueUntil,
    NoRepeatNgram,
    RepetitionPenalty,
    SuppressTokens,
    TimestampRules,
)
from whisper_apr.tokenizer import get_tokenizer

TOKENS = SimpleNamespace(timestamp_begin=20, timestamp_end=40, eot=10, no_timestamps=19)
WITH_ADDED = SimpleNamespace(timestamp_begin=20, timestamp_end=37, eot=10, no_timestamps=19)  # text from 37 on
BEGIN, EOT, SIZE = 20, 10, 40


def allowed(rule, sampled, logits=None):
    """Return the tokens that a filter allows, and the logits after it."""
    row = np.zeros((1, SIZE), np.float32) if logits is None else np.array([logits], np.float32)
    rule.apply(row, np.array([sampled], np.int64).reshape(1, -1))
    return set(np.flatnonzero(row[0] > -np.inf).tolist()), row[0]


def likely_text():
    """Return logits at which the timestamps together are less probable than the text."""
    logits = np.zeros(SIZE, np.float32)
    logits[:BEGIN] = 10
    return logits


def test_the_first_token_is_an_early_timestamp():
    assert allowed(TimestampRules(TOKENS, 5), [])[0] == set(range(20, 26))
    assert allowed(TimestampRules(TOKENS, None), [])[0] == set(range(20, 40))


@pytest.mark.parametrize(
    ("sampled", "expected"),
    [
        ([22], set(range(19))),  # begun: text, or the end
        ([22, 3], set(range(19)) | set(range(23, 40))),  # text, then anything but an earlier time
        ([22, 3, 25], {*range(10, 19), *range(25, 40)}),  # half a pair: the same time again, a later one, or the end
        ([22, 3, 25, 25], set(range(19))),  # a pair: text
        ([22, 3, 25, 25, 4], set(range(19)) | set(range(26, 40))),
    ],
)
def test_timestamps_come_in_pairs_and_never_decrease(sampled, expected):
    assert allowed(TimestampRules(TOKENS, 5), sampled, likely_text())[0] == expected


@pytest.mark.parametrize(
    ("sampled", "expected"),
    [
        ([], set(range(20, 26))),
        ([22], {*range(19), 37, 38, 39}),
        ([22, 38], {*range(19), *range(23, 40)}),
        ([22, 3, 25], {*range(10, 19), *range(25, 37)}),
        ([22, 3, 25, 25], {*range(19), 37, 38, 39}),
    ],
)
def test_tokens_behind_the_timestamps_are_text(sampled, expected):
    assert allowed(TimestampRules(WITH_ADDED, 5), sampled, likely_text())[0] == expected


def test_timestamps_do_not_win_over_more_probable_added_tokens():
    logits = np.zeros(SIZE, np.float32)
    logits[38] = 10
    assert 38 in allowed(TimestampRules(WITH_ADDED, 5), [22, 3], logits)[0]
    logits[38] = -10
    assert allowed(TimestampRules(WITH_ADDED, 5), [22, 3], logits)[0] == set(range(23, 37))


@given(st.lists(st.floats(-5, 5, width=32), min_size=SIZE, max_size=SIZE))
def test_timestamps_win_if_more_probable_than_any_text(values):
    logits = np.array(values, np.float32)
    text = np.delete(np.exp(logits[:BEGIN].astype(np.float64)), TOKENS.no_timestamps)
    stamps = np.exp(logits[23:].astype(np.float64)).sum()
    left, _ = allowed(TimestampRules(TOKENS, 5), [22, 3], logits)
    if abs(stamps - text.max()) > 1e-4 * stamps:
        assert (min(left) >= BEGIN) == (stamps > text.max())


def test_suppressed_tokens():
    assert allowed(SuppressTokens([1, 39]), [5])[0] == set(range(SIZE)) - {1, 39}


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 4))
def test_no_ngram_is_repeated(sampled, size):
    left, _ = allowed(NoRepeatNgram(size), sampled)
    ngrams = {tuple(sampled[i : i + size]) for i in range(len(sampled) - size + 1)}
    past = sampled[len(sampled) - size + 1 :] if size > 1 else []
    repeats = {t for t in range(SIZE) if (*past, t) in ngrams and len(past) == size - 1}
    assert left == set(range(SIZE)) - repeats


def test_repetition_penalty():
    logits = np.linspace(-2, 2, SIZE)
    _, after = allowed(RepetitionPenalty(2.0), [0, 39, 39], logits)
    assert after[0] == -4
    assert after[39] == 1
    np.testing.assert_array_equal(after[1:39], logits[1:39].astype(np.float32))


def test_hotword_bias():
    tokenizer = get_tokenizer(True)
    word = tokenizer.encode(" Wojciechowski")
    assert len(word) > 2
    rule = HotwordBias(["Wojciechowski", " Anna "], 3.0, tokenizer)

    def boosted(sampled):
        row = np.zeros((1, 51865), np.float32)
        rule.apply(row, np.array([sampled], np.int64).reshape(1, -1))
        assert set(row[0].tolist()) == {0.0, 3.0}
        return set(np.flatnonzero(row[0]).tolist())

    begins = {word[0], *(tokenizer.encode(text)[0] for text in ("Wojciechowski", " Anna", "Anna"))}
    assert boosted([]) == begins
    assert boosted([440, word[0]]) == begins | {word[1]}
    assert boosted([*word[:2]]) == begins | {word[2]}
    assert boosted([word[0], 440]) == begins
    assert boosted(word) == begins


def test_hotwords_as_a_prompt():
    tokenizer = get_tokenizer(True)
    assert hotword_prompt(["two ", "", "five"], tokenizer) == tokenizer.encode(" two five")
    assert hotword_prompt("two five", tokenizer) == tokenizer.encode(" two five")
    assert hotword_prompt(None, tokenizer) == []


ENDING = np.eye(SIZE, dtype=np.float32)[EOT]


@pytest.mark.parametrize("sampled", [[], [20], [20, 3], [20, 3, 25], [20, 3, 27, 27], [20, 3, 25, 25, 4], [24, 38]])
def test_text_may_end_except_after_an_early_pair(sampled):
    """The last is an added token behind the timestamps."""
    assert EOT in allowed(ContinueUntil(WITH_ADDED, 7), sampled, ENDING)[0]


@pytest.mark.parametrize("sampled", [[20, 3, 25, 25], [20, 3, 24, 26]])
def test_text_goes_on_after_an_early_pair(sampled):
    assert allowed(ContinueUntil(WITH_ADDED, 7), sampled, ENDING)[0] == set(range(SIZE)) - {EOT}


def test_text_that_goes_on_by_itself_keeps_its_probabilities():
    logits = np.arange(SIZE, dtype=np.float32)
    np.testing.assert_array_equal(allowed(ContinueUntil(WITH_ADDED, 7), [20, 3, 25, 25], logits)[1], logits)
