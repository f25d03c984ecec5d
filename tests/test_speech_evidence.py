"""The probability of speech at each time of a recording."""

import numpy as np
import pytest

from recordings import join, noise, silence, speech
from whisper_apr.inference.speech_evidence import SpeechEvidence


def evidence(samples: np.ndarray, block: int = 100_000) -> SpeechEvidence:
    blocks = [samples[at : at + block] for at in range(0, len(samples), block)]
    return SpeechEvidence(lambda: iter(blocks))


def test_speech_between_silence_and_noise() -> None:
    words = speech("en")
    end = 4 + len(words) / 16_000
    found = evidence(join(silence(4), words, noise(4, 0.05)))
    assert found.speech_prob(4, end, 10) > 0.9
    assert found.speech_prob(0, 3, 10) < 0.1
    assert found.speech_prob(end + 1, end + 4, 1) < 0.1
    assert len(found.probabilities) == pytest.approx((end + 4) / 0.032, abs=1)


def test_a_text_needs_time_to_be_said() -> None:
    click = np.zeros(16_000 * 8, np.float32)
    word = speech("en")[8000:11_200]  # 0.2 s
    click[32_000:35_200] = word
    found = evidence(click)
    assert found.speech_prob(1, 4, 1) > found.speech_prob(1, 4, 40)
    assert found.speech_prob(1, 4, 40) < 0.5


@pytest.mark.parametrize("gain", [0.01, 0.003])
def test_quiet_speech_is_amplified(gain: float) -> None:
    words = speech("en")
    quiet = evidence(words * np.float32(gain)).speech_prob(0, 4, 10)
    assert quiet == pytest.approx(evidence(words).speech_prob(0, 4, 10), abs=0.1)


def test_blocks_have_no_effect() -> None:
    samples = join(speech("en"), silence(1))
    assert np.allclose(evidence(samples, 777).probabilities, evidence(samples).probabilities, atol=1e-4)


def test_no_sound() -> None:
    nothing = evidence(np.zeros(0, np.float32))
    assert nothing.speech_prob(0, 1, 3) == 0
    assert evidence(np.zeros(100, np.float32)).speech_prob(5, 9, 3) == 0  # beyond the end


def test_it_can_be_cancelled() -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SpeechEvidence(lambda: iter([silence(1)]), cancel)
