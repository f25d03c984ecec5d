"""Log records: what the package did and why, under the logger `whisper_apr`; nothing unless the program asks for it."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import whisper_apr
from recordings import silence, speech

SOURCE = Path(whisper_apr.__file__).parent.parent


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="whisper_apr")
    return caplog


def test_loading_a_model_tells_its_name_type_and_kernels(log: pytest.LogCaptureFixture) -> None:
    whisper_apr.load_model("digits", compute_type="int8")
    loaded, kernels = (record for record in log.records if record.name == "whisper_apr.recognizer")
    assert loaded.levelno == logging.INFO
    assert "loaded Recognizer('digits', multilingual, 9M parameters, int8) in " in loaded.getMessage()
    assert kernels.getMessage().startswith(f"kernels: backend {whisper_apr.simd.backend()}, ")


def test_a_detected_language_is_told_with_its_probability(
    model: whisper_apr.Recognizer, log: pytest.LogCaptureFixture
) -> None:
    result = model.transcribe(speech("fr"), temperature=0.0)
    assert f"detected language 'fr' with probability {result.language_probability:.3f}" in log.messages
    log.clear()
    model.transcribe(speech("fr"), temperature=0.0, language="fr")
    assert not log.messages


def test_fallback_tells_the_next_temperature_and_the_reason(
    model: whisper_apr.Recognizer, log: pytest.LogCaptureFixture
) -> None:
    model.transcribe(speech("en"), temperature=(0.0, 0.2), logprob_threshold=0.0, language="en", seed=0)
    (message,) = log.messages  # not after the last temperature
    assert message.startswith("decoding a window again at temperature 0.2: its compression ratio is ")
    assert message.endswith("(threshold 0.0)")


def test_windows_that_are_skipped_as_silence_are_told(
    model: whisper_apr.Recognizer, log: pytest.LogCaptureFixture
) -> None:
    model.transcribe(silence(31), temperature=0.0, language="en", no_speech_threshold=0.0, logprob_threshold=0.0)
    skipped = [message for message in log.messages if "as silence" in message]
    assert [message.split(":")[0] for message in skipped] == [
        "skipped the window at 0.00 s as silence",
        "skipped the window at 30.00 s as silence",
    ]


def test_a_program_that_does_not_configure_logging_sees_nothing() -> None:
    """Not even what Python prints of warnings without a handler."""
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
        "import logging, numpy, whisper_apr\n"
        "whisper_apr.load_model('digits').transcribe(numpy.zeros(16000, numpy.float32), temperature=0.0)\n"
        "logging.getLogger('whisper_apr').error('unseen')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout, done.stderr) == ("", "")
