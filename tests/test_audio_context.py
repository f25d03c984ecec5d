"""`audio_context="auto"`: what is encoded, and when it is encoded again."""

from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest

from encoded import digits, encode_once
from recordings import join, silence, speech
from whisper_apr import LiveTranscriber
from whisper_apr.audio import N_FRAMES
from whisper_apr.inference.audio_context import context_frames
from whisper_apr.model.encoder import AudioEncoder

GREEDY = {"temperature": 0.0, "sample_len": 40}


@pytest.fixture
def encoded() -> Iterator[list[int]]:
    """The frames of each window that the encoder is called with."""
    frames: list[int] = []

    def counted(self: AudioEncoder, mel: np.ndarray, *rest: object) -> np.ndarray:
        frames.extend([mel.shape[2]] * len(mel))
        return encode_once(self, mel, *rest)

    with mock.patch.object(AudioEncoder, "__call__", counted):
        yield frames


@pytest.mark.parametrize(
    ("size", "frames"), [(1, 800), (400, 800), (401, 1000), (600, 1000), (2400, 2800), (2601, 3000), (3000, 3000)]
)
def test_the_sound_and_a_margin(size, frames):
    assert context_frames(size) == frames


@pytest.mark.parametrize("options", [{}, {"word_timestamps": True}, {"beam_size": 3}, {"batch_size": 2}])
def test_a_short_recording_is_encoded_in_part(encoded, options):
    whole = digits().transcribe(speech("en"), language="en", **GREEDY, **options)
    encoded.clear()
    result = digits().transcribe(speech("en"), language="en", audio_context="auto", **GREEDY, **options)
    assert encoded == [context_frames(len(speech("en")) // 160)]
    assert result.text == whole.text


def test_full_is_the_default(encoded):
    digits().transcribe(speech("en"), language="en", **GREEDY)
    assert encoded == [N_FRAMES]


def test_a_long_window_is_encoded_whole(encoded):
    audio = join(speech("en"), silence(20), speech("de"))
    assert digits().transcribe(audio, audio_context="auto", language="en", **GREEDY) == digits().transcribe(
        audio, language="en", **GREEDY
    )
    assert set(encoded) == {N_FRAMES}


@pytest.mark.parametrize(
    "options",
    [
        {"logprob_threshold": 0.0},  # improbable
        {"compression_ratio_threshold": 0.1},  # repetitive
        {"sample_len": 2},  # cut
        {"no_speech_threshold": 0.0, "logprob_threshold": 0.0},  # silence
    ],
)
def test_a_text_that_looks_wrong_is_decoded_again(encoded, options):
    options = {"language": "en"} | GREEDY | options
    whole = digits().transcribe(speech("en"), **options)
    encoded.clear()
    assert digits().transcribe(speech("en"), audio_context="auto", **options) == whole
    assert encoded == [context_frames(len(speech("en")) // 160), N_FRAMES]


def test_the_window_of_language_detection_is_not_encoded_again(encoded):
    digits().transcribe(speech("de"), audio_context="auto", **GREEDY)
    assert len(encoded) == 1
    encoded.clear()
    audio = join(speech("de"), silence(30), speech("de"))
    detected = digits().transcribe(audio, **GREEDY)
    n_window = len(encoded)
    encoded.clear()
    assert digits().transcribe(audio, language=detected.language, **GREEDY).segments == detected.segments
    assert len(encoded) == n_window


def test_a_batch_equals_single_recordings():
    audios = [speech("en"), join(speech("de"), silence(6)), speech("en")[:20000], join(speech("en"), silence(28))]
    options = GREEDY | {"audio_context": "auto", "word_timestamps": True}
    alone = [digits().transcribe(audio, **options) for audio in audios]
    assert list(digits().transcribe_many(audios, batch_size=4, **options)) == alone


@pytest.mark.parametrize("options", [{}, {"audio_context": "full"}])
def test_live_speech_is_encoded_in_part(encoded, options):
    live = LiveTranscriber(digits(), language="en", **GREEDY, **options)
    live.push(speech("en"))
    live.finish()
    assert (max(encoded) < N_FRAMES) == (not options)
