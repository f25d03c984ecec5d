"""Speech probabilities compared with silero-vad's network, run by onnxruntime."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from whisper_apr.audio import load_audio
from whisper_apr.audio.silero import CONTEXT, FRAME, SpeechProbabilities

pytestmark = pytest.mark.parity

DATA = Path(__file__).parents[1] / "data"


def reference(samples: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(files("silero_vad.data").joinpath("silero_vad_16k_op15.onnx")))
    padded = np.pad(samples, (CONTEXT, -len(samples) % FRAME))
    state, out = np.zeros((2, 1, 128), np.float32), []
    for i in range(0, len(padded) - CONTEXT, FRAME):
        feed = {"input": padded[None, i : i + CONTEXT + FRAME], "state": state, "sr": np.array(16000)}
        probability, state = session.run(None, feed)
        out.append(probability[0, 0])
    return np.array(out)


@pytest.mark.parametrize("noise", [0, 0.003, 0.03, 0.3])
@pytest.mark.parametrize("name", ["en", "de", "es", "fr"])
def test_probabilities(name, noise):
    samples = load_audio(DATA / f"{name}.wav")
    samples = samples + np.random.default_rng(0).normal(0, noise, len(samples)).astype(np.float32)
    stream = SpeechProbabilities()
    got = np.concatenate([stream.push(samples), stream.finish()])
    np.testing.assert_allclose(got, reference(samples), atol=1e-3)
