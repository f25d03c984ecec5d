"""The seek loop on handwritten tokens: where each window starts, and times beyond the end of the recording."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_apr.inference.decode import DecodingResult
from whisper_apr.inference.options import TranscribeOptions
from whisper_apr.inference.prompts import PromptContext
from whisper_apr.inference.record import changed
from whisper_apr.inference.results import Word
from whisper_apr.inference.window_text import SeekWindow, split_segments
from whisper_apr.inference.windows import WindowSequence
from whisper_apr.tokenizer import get_tokenizer

TOKENIZER = get_tokenizer(True)
TEXT = TOKENIZER.encode(" one two")
MEL = np.zeros((80, 3000), np.float32)


class Silence:
    """A silent spectrogram."""

    def read(self, start, size):
        return MEL[:, :size]


def tokens(*parts: float | str) -> tuple[int, ...]:
    """Return tokens of timestamps, given in seconds, and text."""
    return tuple(
        token
        for part in parts
        for token in (
            TOKENIZER.encode(part) if isinstance(part, str) else [TOKENIZER.timestamp_begin + round(part * 50)]
        )
    )


def result(*parts: float | str) -> DecodingResult:
    return DecodingResult(MEL, "en", tokens=tokens(*parts), avg_logprob=-0.1, no_speech_prob=0.0, temperature=0.0)


def sequence(clips: list[tuple[int, int]], n_frame: int, **options) -> WindowSequence:
    return WindowSequence(
        Silence(), clips, TOKENIZER, TranscribeOptions(**options), PromptContext((), (), 100), n_frame
    )


def times(segments):
    return [(round(s.start, 2), round(s.end, 2), s.text) for s in segments]


def test_times_beyond_the_end_are_kept_unless_clamped():
    written = result(0.0, " a", 3.0, 3.0, " b", 4.5, 5.0, " c", 6.0)
    plain, clamped = sequence([(0, 396)], 396), sequence([(0, 396)], 396, clamp_times=True)
    theirs = plain.advance(plain.next_window(), written)
    assert times(theirs) == [(0, 3, " a"), (3, 4.5, " b"), (5, 6, " c")]
    ours = clamped.advance(clamped.next_window(), written)
    assert times(ours) == [(0, 3, " a"), (3, 3.96, " b"), (3.96, 3.96, "")]
    assert ours[-1].tokens == []
    assert plain.seek == clamped.seek
    assert clamped.next_window() is None


@pytest.mark.parametrize("option", [{"word_timestamps": True}, {"vad_filter": True}, {"batch_size": 2}])
def test_options_that_clamp_times(option):
    each = sequence([(0, 396)], 396, **option)
    assert times(each.advance(each.next_window(), result(0.0, " a", 26.94))) == [(0, 3.96, " a")]


def test_a_timestamp_beyond_its_clip_does_not_skip_the_next_clip():
    """The next clip is transcribed from its start, as in openai-whisper."""
    each = sequence([(0, 200), (250, 600), (650, 700)], 1000)
    each.advance(each.next_window(), result(0.0, " a", 9.0, 9.0, " b"))
    assert (each.next_window().seek, each.next_window().size) == (250, 350)
    each.advance(each.next_window(), result(0.0, " a", 9.0))
    assert each.next_window().seek == 650


def test_dropped_text_is_not_in_the_next_prompt():
    each = sequence([(0, 200), (250, 600)], 1000, clamp_times=True)
    each.advance(each.next_window(), result(0.0, " a", 1.0, 2.5, " b", 3.0))
    assert TOKENIZER.encode(" b")[0] not in each.next_window().prompt
    assert TOKENIZER.encode(" a")[0] in each.next_window().prompt


def align(segments, *_):
    """A stand-in for `add_words`: one word per segment."""
    return [changed(s, words=[Word(s.text, s.start, s.end, 1.0)] if s.text else []) for s in segments]


@pytest.mark.parametrize(
    ("written", "cut_at", "whole_at"),
    [
        ((0.0, " a", 2.0), 200, None),
        ((0.0, " a", 2.0, 3.0, " b", 4.0), 400, None),
        ((0.0, " a", 2.0, 2.0, " b"), 200, 200),
        ((0.0, " a", 2.0, 2.0), 200, 200),
    ],
)
def test_text_cut_at_sample_len_continues_at_its_last_timestamp(written, cut_at, whole_at):
    """A single timestamp at the end means that no speech follows, unless the text was cut there."""
    for is_cut, expected in ((True, cut_at), (False, whole_at)):
        each = sequence([(0, 3000)], 3000, word_timestamps=True)
        each.advance(each.next_window(), replace(result(*written), is_cut=is_cut), align)
        window = each.next_window()
        assert (None if window is None else window.seek) == expected
    plain = sequence([(0, 3000)], 3000)
    plain.advance(plain.next_window(), replace(result(*written), is_cut=True))
    assert plain.seek == (3000 if whole_at is None else whole_at)  # as openai-whisper


@given(
    st.lists(
        st.one_of(st.sampled_from(TEXT), st.integers(0, 1500).map(lambda i: TOKENIZER.timestamp_begin + i)), max_size=12
    ),
    st.integers(1, 3000),
)
def test_every_window_advances(written, size):
    """The seek advances for any tokens."""
    for continues in (False, True):
        written_ = DecodingResult(MEL, "en", tokens=tuple(written))
        text = split_segments(written_, SeekWindow(500, size, MEL, ()), TOKENIZER, continues=continues)
        assert text.n_frames > 0
        assert len(text.segments) == 1 or not text.end_is_unknown


def test_openai_word_times_always_advance():
    """A last word that ends before the window, or within its first frame, would repeat the window."""
    for end in (1.0, 2.0, 2.004):
        each = sequence([(200, 3000)], 3000, word_timestamps=True, word_timing="openai")
        words = (Word(" a", end, end, 1.0),)
        each.advance(
            each.next_window(),
            result(0.0, " a"),
            lambda segments, *_, words=words: [changed(segment, words=list(words)) for segment in segments],
        )
        assert each.seek == 3000


@pytest.mark.parametrize(("end", "seek"), [(27.5, 2750), (27.68, 2768), (27.7, 2800), (28.0, 2800)])
def test_the_last_moments_of_a_slice_are_not_decoded_again(end, seek):
    text = result(0.0, " a", end, end)
    batched, plain = sequence([(0, 2800)], 2800, batch_size=2), sequence([(0, 2800)], 2800)
    window = batched.next_window()
    assert window.text_until == 1385  # 0.3 s before the end
    batched.advance(window, text)
    assert batched.seek == seek
    window = plain.next_window()
    assert window.text_until is None
    plain.advance(window, text)
    assert plain.seek == round(end * 100)
