"""Options of a transcription: accepted values and their conversion, once for all windows."""

from dataclasses import fields

import numpy as np
import pytest

from encoded import faster
from recordings import speech
from whisper_apr import DecodingOptions, VadOptions
from whisper_apr.inference.options import TranscribeOptions, split_options
from whisper_apr.option_values import kinds_of


def test_every_option_has_a_kind_and_is_in_one_class():
    """Except the temperature: a sequence for a recording, one number for a window."""
    recording, window = ({f.name for f in fields(c)} for c in (TranscribeOptions, DecodingOptions))
    assert recording & window == {"temperature"}
    for options in (TranscribeOptions, DecodingOptions, VadOptions):
        assert list(kinds_of(options)) == [f.name for f in fields(options)]


@pytest.mark.parametrize("cls", [TranscribeOptions, DecodingOptions, VadOptions])
def test_conversion_is_idempotent(cls):
    options = cls()
    assert cls(**{f.name: getattr(options, f.name) for f in fields(cls)}) == options


def test_values_of_numpy_and_iterators():
    recording, windows = split_options(
        {
            "temperature": np.array([0.0, 0.5], np.float32),
            "beam_size": np.int64(5),
            "best_of": np.uint8(3),
            "patience": np.float32(1.0),
            "suppress_tokens": iter([np.int32(5), -1]),  # read once for both temperatures
            "hotwords": np.array(["two", " three "]),
            "clip_timestamps": np.array([1.0, 2.0]),
            "initial_prompt": np.array([5, 6]),
            "languages": ("German", "en"),
            "word_timestamps": np.True_,
            "batch_size": np.int32(2),
            "vad_parameters": {"threshold": np.float64(0.25)},
            "language": "English",
        }
    )
    assert recording.temperatures == (0.0, 0.5)
    assert (recording.clips, recording.initial_prompt) == ((1.0, 2.0), (5, 6))
    assert (recording.languages, recording.word_timestamps, recording.batch_size) == (("de", "en"), True, 2)
    assert recording.vad_parameters == VadOptions(threshold=0.25)
    assert [(w.temperature, w.beam_size, w.best_of, w.patience) for w in windows] == [
        (0.0, 5, None, 1.0),
        (0.5, None, 3, None),
    ]
    assert [w.suppress_tokens for w in windows] == [(5, -1)] * 2
    assert [(w.hotwords, w.language) for w in windows] == [(("two", "three"), "en")] * 2


@pytest.mark.parametrize(
    "value", ["0", "0.0", "", " 0 ", [0], [0.0], (0,), [], np.array([0.0]), np.zeros(1, int), None], ids=repr
)
def test_vad_filter_stays_on_if_the_clip_is_the_whole_recording(value):
    recording, _ = split_options({"clip_timestamps": value, "vad_filter": True})
    assert (recording.clips, recording.vad) == (None, VadOptions())


@pytest.mark.parametrize(
    ("value", "clips"),
    [
        ("1.5", (1.5,)),
        ("0,2", (0.0, 2.0)),
        (np.array([0.0, 2.0]), (0.0, 2.0)),
        ([{"start": 0, "end": 2.5}, {"start": 4, "end": 5}], (0.0, 2.5, 4.0, 5.0)),
        (range(1, 3), (1.0, 2.0)),
    ],
    ids=repr,
)
def test_clips_turn_off_the_vad_filter(value, clips):
    recording, _ = split_options({"clip_timestamps": value, "vad_filter": True})
    assert (recording.clips, recording.vad) == (clips, None)


def test_clips_as_an_array_with_the_vad_filter(model):
    options = {"vad_filter": True, "temperature": 0.0, "language": "en", "beam_size": None}
    found = model.transcribe(speech("en"), clip_timestamps=np.array([0.0, 2.0]), **options)
    assert found == model.transcribe(speech("en"), clip_timestamps="0,2", **options)
    assert 0 < len(found.text) < len(model.transcribe(speech("en"), **options).text)
    segments, info = faster().transcribe(
        speech("en"), clip_timestamps=np.array([0.0, 2.0]), vad_filter=True, beam_size=1
    )
    assert "".join(s.text for s in segments) == found.text
    assert info.vad_options is None
