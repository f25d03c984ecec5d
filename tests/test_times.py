"""Times hold in every option set and by every public function: in order, without overlap, within the recording.

Models of random weights stand beside the bundled one: they write timestamps and texts that no trained model does.
"""

import difflib
import json
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import models
from encoded import digits
from invariants import check_segments, check_words
from recordings import join, noise, silence, speech
from whisper_apr import BatchedInferencePipeline, LiveTranscriber, Recognizer, WhisperModel
from whisper_apr.audio import SAMPLE_RATE
from whisper_apr.cli import main
from whisper_apr.errors import OptionError
from whisper_apr.inference.slices import split_clips

pytestmark = pytest.mark.usefixtures("encoded_once")

DATA = Path(__file__).parent / "data"
SMALL = models.dimensions(32, 2, 2)


@lru_cache
def random_model(seed: int) -> Recognizer:
    return Recognizer(models.random_checkpoint(SMALL, seed))


@lru_cache
def long() -> np.ndarray:
    """Return 47 s of digits, pauses and noise."""
    return join(
        speech("en_three"), silence(3), speech("es"), speech("en_late")[16_000 * 12 :], noise(3, 0.05), speech("fr")
    )


SECONDS = len(long()) / SAMPLE_RATE

sounds = st.one_of(
    st.tuples(st.floats(0, SECONDS - 0.02), st.one_of(st.floats(0.01, 1), st.floats(0.01, SECONDS))),
    st.just((0.0, SECONDS)),
)


@st.composite
def option_sets(draw):
    options = draw(
        st.fixed_dictionaries(
            {
                "sample_len": st.sampled_from([1, 4, 12, 40]),
                "seed": st.just(1),
                "language": st.sampled_from([None, "en", "ja"]),
            },
            optional={
                "word_timestamps": st.booleans(),
                "without_timestamps": st.booleans(),
                "batch_size": st.sampled_from([1, 3]),
                "vad_filter": st.booleans(),
                "beam_size": st.just(2),
                "multilingual": st.booleans(),
                "condition_on_previous_text": st.booleans(),
                "initial_prompt": st.just("one two"),
                "max_initial_timestamp": st.none(),
                "temperature": st.sampled_from([0.0, (0.0, 0.7), 1.0]),
                "no_speech_threshold": st.none(),
            },
        )
    )
    if options.get("word_timestamps"):
        options["hallucination_silence_threshold"] = draw(st.sampled_from([None, None, 0.0, 0.3, 2.0]))
    if draw(st.booleans()):
        edges = draw(st.lists(st.floats(0, SECONDS + 5), min_size=1, max_size=7))
        options["clip_timestamps"] = sorted(edges)
    return options | {"clamp_times": True}


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(option_sets(), sounds, st.sampled_from([None, 0, 1, 2, 3, 4, 5]))
def test_times_in_every_option_set(options, sound, seed):
    model = digits() if seed is None else random_model(seed)
    begin, length = (round(seconds * SAMPLE_RATE) for seconds in sound)
    samples = long()[begin : begin + length]
    progress = []
    result = model.transcribe(samples, on_progress=progress.append, **options)
    duration = len(samples) / SAMPLE_RATE
    check_segments(result.segments, duration)
    assert [p.done for p in progress] == sorted(p.done for p in progress)
    assert progress[-1].done == progress[-1].total == duration
    edges = options.get("clip_timestamps")
    if edges is not None:
        edges = [round(edge, 2) for edge in edges] + [duration] * (len(edges) % 2)
        clips = list(zip(edges[::2], edges[1::2], strict=True))
        for segment in result.segments:
            assert any(start - 1e-6 <= segment.start <= segment.end <= end + 1e-6 for start, end in clips)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(option_sets(), st.floats(0, SECONDS - 2), st.floats(0.01, 2), st.sampled_from([None, 0, 1, 2, 3]))
def test_openai_word_times_are_clamped_on_request(options, start, length, seed):
    """With `clamp_times`, openai-whisper's word times keep all invariants but one."""
    model = digits() if seed is None else random_model(seed)
    samples = long()[round(start * SAMPLE_RATE) :][: round(length * SAMPLE_RATE)]
    result = model.transcribe(samples, **options | {"word_timestamps": True, "word_timing": "openai"})
    check_segments(result.segments, len(samples) / SAMPLE_RATE, words_are_the_text=False)


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.02, 0.03, 0.05, 0.09, 0.3])
@pytest.mark.parametrize(
    "options",
    [{}, {"without_timestamps": True}, {"batch_size": 2}, {"hallucination_silence_threshold": 0.5}, {"beam_size": 2}],
    ids=str,
)
def test_words_of_very_short_recordings(model, seconds, options):
    """Down to one frame, or one position of the encoder."""
    samples = speech("en")[8000:][: round(seconds * SAMPLE_RATE)]
    options = {"language": "en", "temperature": 0.0, "no_speech_threshold": None, "word_timestamps": True} | options
    check_segments(model.transcribe(samples, **options).segments, seconds)


# ---- which functions clamp ------------------------------------------------------------------------------------------

SHORT = 0.2  # seconds of a word of which the model says that it ends later


def test_which_functions_clamp_times(model, tmp_path, capsys):
    samples = speech("en")[8000:][: round(SHORT * SAMPLE_RATE)]
    options = {"language": "en", "temperature": 0.0}
    theirs = model.transcribe(samples, **options)
    assert theirs.segments[-1].end > SHORT
    assert next(iter(model.transcribe_many([samples], **options))) == theirs
    ends = {}
    for name, more in {
        "clamp_times": {"clamp_times": True},
        "words": {"word_timestamps": True},
        "vad": {"vad_filter": True},
        "batch": {"batch_size": 1},
    }.items():
        ours = model.transcribe(samples, **options, **more)
        assert ours.text == theirs.text
        ends[name] = ours.segments[-1].end
        many = model.transcribe_many([samples], independent_windows=name == "batch", **options, **more)
        assert next(iter(many)) == ours
    faster = WhisperModel("digits")
    ends["WhisperModel"] = list(faster.transcribe(samples, beam_size=1, **options)[0])[-1].end
    batched = BatchedInferencePipeline(faster).transcribe(samples, beam_size=1, without_timestamps=False, **options)
    ends["batched"] = list(batched[0])[-1].end
    import soundfile

    path = tmp_path / "short.wav"
    soundfile.write(path, samples, SAMPLE_RATE, subtype="FLOAT")
    assert main(["transcribe", "--model", "digits", "--language", "en", "-f", "tsv", str(path)]) == 0
    ends["command"] = int(capsys.readouterr().out.splitlines()[-1].split("\t")[1]) / 1000
    assert all(0 < end <= SHORT for end in ends.values()), ends


# ---- text that stops before the sound does --------------------------------------------------------------------------


def true_words(name: str, seconds: float = np.inf) -> list[str]:
    """Those that have ended by then."""
    truth = {r["file"].split(".")[0]: r for r in json.loads((DATA / "words.json").read_text())}
    words = [word for phrase in truth[name]["phrases"] for word in phrase["words"]]
    return [word["word"] for word in words if word["end"] <= seconds]


def n_found(true: list[str], text: str) -> int:
    matcher = difflib.SequenceMatcher(None, true, text.split(), autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


@pytest.mark.parametrize("batch_size", [None, 4])
def test_words_tell_where_an_incomplete_text_continues(model, batch_size):
    """Here after at most three tokens."""
    seconds = 43.5  # two windows, and a pause at the end
    samples, true = speech("en_long")[: round(seconds * SAMPLE_RATE)], true_words("en_long", seconds)
    options = {"sample_len": 3, "temperature": 0.0, "language": "en", "batch_size": batch_size}
    lost = model.transcribe(samples, without_timestamps=True, **options)
    found = model.transcribe(samples, without_timestamps=True, word_timestamps=True, **options)
    assert n_found(true, lost.text) <= len(true) * 0.25  # as in openai-whisper
    assert n_found(true, found.text) >= len(true) * 0.7  # the model overhears some, where it writes no timestamps
    assert len(found.text.split()) <= len(true)  # none comes twice
    points = [0.0, *(t for segment in found.segments for word in segment.words for t in (word.start, word.end))]
    assert max(after - before for before, after in pairwise(points)) < 4  # seconds: no stretch is passed over
    check_segments(found.segments, seconds)


def test_incomplete_text_in_the_batched_pipeline(model):
    true = true_words("en_three")
    batched = BatchedInferencePipeline(WhisperModel("digits"))
    options = {"language": "en", "beam_size": 1, "temperature": 0.0, "max_new_tokens": 3, "word_timestamps": True}
    segments = list(batched.transcribe(speech("en_three"), **options)[0])
    assert n_found(true, "".join(segment.text for segment in segments)) >= len(true) - 1
    check_segments(segments, len(speech("en_three")) / SAMPLE_RATE, first_id=1)


def test_complete_text_is_not_continued(model):
    """Silence, faint noise or a click after the text is not decoded."""
    for rest in (silence(4), noise(4, 0.001), join(silence(1), np.full(300, 0.2, np.float32), silence(3))):
        samples = join(speech("en"), rest)
        found = model.transcribe(samples, without_timestamps=True, word_timestamps=True, temperature=0.0)
        assert found.text.split() == true_words("en")


# ---- clips that overlap, and clips in any order ---------------------------------------------------------------------

TURNS = [(20.0, 31.5), (0.0, 12.0), (8.0, 24.0), (31.5, 46.0), (5.0, 5.0), (90.0, 95.0), (2.0, 40.0), (45.0, 400.0)]


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_clips_are_independent_and_in_the_order_given(model, words, size):
    options = {"batch_size": size, "language": "en", "temperature": 0.0, "word_timestamps": words}
    seen, progress = [], []
    edges = [edge for clip in TURNS for edge in clip]
    result = model.transcribe(
        long(), clip_timestamps=edges, on_segment=seen.append, on_progress=progress.append, **options
    )
    alone = [model.transcribe(long(), clip_timestamps=clip, **options).segments for clip in TURNS]
    content = [(s.seek, s.start, s.end, s.text, s.tokens, s.words) for s in result.segments]
    assert content == [(s.seek, s.start, s.end, s.text, s.tokens, s.words) for part in alone for s in part]
    assert seen == result.segments
    assert [segment.id for segment in seen] == list(range(len(seen)))
    assert [p.done for p in progress] == sorted(p.done for p in progress)
    for part in alone:
        check_segments(part, SECONDS)
    many = model.transcribe_many(
        [long(), long()], independent_windows=True, clip_timestamps=edges, **(options | {"batch_size": 2})
    )
    assert [each.segments for each in many] == [result.segments, result.segments]


def test_clips_of_the_batched_pipeline(model):
    batched = BatchedInferencePipeline(WhisperModel("digits"))
    options = {"language": "en", "beam_size": 1, "temperature": 0.0}
    clips = [{"start": start, "end": end} for start, end in TURNS]
    segments = list(batched.transcribe(long(), clip_timestamps=clips, **options)[0])
    alone = [list(batched.transcribe(long(), clip_timestamps=[clip], **options)[0]) for clip in clips]
    assert [(s.start, s.end, s.text) for s in segments] == [(s.start, s.end, s.text) for part in alone for s in part]


def test_sequential_windows_need_clips_in_order(model):
    for edges in ([20.0, 30.0, 0.0, 10.0], [0.0, 20.0, 10.0, 30.0]):
        with pytest.raises(OptionError, match="batch_size"):
            model.transcribe(silence(1), clip_timestamps=edges)
        with pytest.raises(OptionError, match="batch_size"):
            model.transcribe_many([silence(1)], clip_timestamps=edges)


@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 9000)), max_size=9))
def test_slices_are_ordered_and_cover_each_clip(clips):
    """The recording is read forward once, however many clips overlap."""
    mel = np.random.default_rng(0).random((2, 9000), np.float32)

    class Forwards:
        at = 0

        def read(self, start, size):
            assert start >= self.at
            self.at = start
            return mel[:, start : start + size]

    clips = [(min(clip), max(clip)) for clip in clips]
    slices = list(split_clips(Forwards(), clips))
    for part, following in pairwise(slices):
        assert part.next_start == following.start
    for number, (start, end) in enumerate(clips):
        ours = [part for part in slices if part.clip == number]
        edges = [start, *(part.end for part in ours)]
        assert [part.start for part in ours] == edges[:-1]
        assert edges[-1] == end
        assert [part.ends_clip for part in ours] == [False] * (len(ours) - 1) + [True] * bool(ours)
        assert all(part.end - part.start <= 3000 for part in ours)


# ---- live -----------------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=12), st.sampled_from([None, 0, 1, 3]))
def test_live_words_are_in_order_and_within_the_audio(sizes, seed):
    model = digits() if seed is None else random_model(seed)
    stream = LiveTranscriber(model, step=1.5, temperature=0.0, language="en", sample_len=20)
    n, until = 0, 0.0
    for size in [*sizes, None]:
        text = stream.finish() if size is None else stream.push(long()[n : n + size])
        n += size or 0
        words = text.settled + text.tentative
        check_words(words, until, n / SAMPLE_RATE)
        until = text.settled[-1].end if text.settled else until
