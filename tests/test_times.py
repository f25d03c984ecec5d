"""Times hold in every option set and through every door: in order, without overlap, within the sound.

Models of random weights stand beside the bundled one: they write timestamps and texts that no trained model does.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import models
from invariants import check_segments
from recordings import join, noise, silence, speech
from whisper_apr import Recognizer, load_model
from whisper_apr.audio import SAMPLE_RATE

DATA = Path(__file__).parent / "data"
SMALL = models.dimensions(32, 2, 2)


@lru_cache
def random_model(seed: int) -> Recognizer:
    return Recognizer(models.random_checkpoint(SMALL, seed))


@lru_cache
def digits() -> Recognizer:
    return load_model("digits")


@lru_cache
def long() -> np.ndarray:
    """47 s: digits, pauses, noise."""
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
