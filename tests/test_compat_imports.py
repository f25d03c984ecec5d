"""Every name that programs import from openai-whisper or faster-whisper exists."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

# program -> module -> names, as of whisperX 3.8.6, whisper-live 0.10.0, and those of tests/programs
IMPORTS: dict[str, dict[str, str]] = {
    "whisperX": {
        "faster_whisper": "WhisperModel",
        "faster_whisper.tokenizer": "Tokenizer",
        "faster_whisper.transcribe": "TranscriptionOptions get_ctranslate2_storage",
    },
    "whisper-live": {
        "faster_whisper": "WhisperModel",
        "faster_whisper.audio": "decode_audio pad_or_trim",
        "faster_whisper.feature_extractor": "FeatureExtractor",
        "faster_whisper.tokenizer": "Tokenizer _LANGUAGE_CODES",
        "faster_whisper.utils": "download_model format_timestamp get_end get_logger",
        "faster_whisper.vad": "SpeechTimestampsMap VadOptions collect_chunks get_speech_timestamps",
        "whisper.normalizers": "EnglishTextNormalizer",
        "whisper.tokenizer": "get_tokenizer",
    },
    "stable-ts": {
        "faster_whisper": "BatchedInferencePipeline WhisperModel",
        "faster_whisper.tokenizer": "Tokenizer _LANGUAGE_CODES",
        "faster_whisper.utils": "available_models",
        "faster_whisper.version": "__version__",
        "whisper": "available_models load_model transcribe tokenizer",
        "whisper.audio": "CHUNK_LENGTH FRAMES_PER_SECOND HOP_LENGTH N_FFT N_FRAMES N_SAMPLES N_SAMPLES_PER_TOKEN "
        "SAMPLE_RATE TOKENS_PER_SECOND log_mel_spectrogram pad_or_trim",
        "whisper.decoding": "DecodingOptions DecodingResult DecodingTask SuppressTokens",
        "whisper.model": "Conv1d LayerNorm Linear ModelDimensions Whisper disable_sdpa",
        "whisper.timing": "dtw median_filter merge_punctuations",
        "whisper.tokenizer": "LANGUAGES TO_LANGUAGE_CODE Tokenizer get_tokenizer",
    },
    "whisper-ctranslate2": {
        "faster_whisper": "BatchedInferencePipeline WhisperModel",
        "faster_whisper.audio": "decode_audio",
    },
    "SpeechRecognition": {
        "faster_whisper": "WhisperModel",
        "faster_whisper.transcribe": "Segment",
        "whisper": "Whisper load_model",
    },
    "openlrc": {"faster_whisper.transcribe": "BatchedInferencePipeline Segment WhisperModel"},
    "WhisperLiveKit": {
        "faster_whisper": "WhisperModel",
        "faster_whisper.audio": "pad_or_trim",
        "faster_whisper.feature_extractor": "FeatureExtractor",
    },
    "wyoming-faster-whisper": {
        "faster_whisper": "WhisperModel __version__ tokenizer",
        "faster_whisper.tokenizer": "_LANGUAGE_CODES",
    },
    "RealtimeSTT": {"faster_whisper": "BatchedInferencePipeline WhisperModel"},
    "auto-subs": {"whisper": "load_model"},
    "faster-whisper-cli, langchain-community": {"faster_whisper": "WhisperModel"},
}


@pytest.mark.parametrize("program", IMPORTS)
def test_imports(program: str) -> None:
    for module, names in IMPORTS[program].items():
        ours = import_module(f"whisper_apr.compat.{module}")
        assert [name for name in names.split() if not hasattr(ours, name)] == []


@pytest.mark.system
@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("whisper", ("audio", "decoding", "model", "timing", "tokenizer", "utils", "version")),
        ("faster_whisper", ("audio", "feature_extractor", "tokenizer", "transcribe", "utils", "vad", "version")),
    ],
)
def test_modules_are_attributes_of_the_package(package: str, modules: tuple[str, ...]) -> None:
    """Importing the package alone imports the modules that the original imports, such as `whisper.tokenizer`."""
    code = f"import whisper_apr.compat.{package} as package\nfor name in {modules}: getattr(package, name).__name__"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_guide_lists_the_programs_that_are_run() -> None:
    """The table of programs has the versions that tests/programs installs, and a row for each script there."""
    guide = (HERE.parent / "docs" / "guides" / "switching.md").read_text(encoding="utf-8")
    table = guide.partition("## Programs that run")[2].partition("These do not run")[0]
    rows = re.findall(r"^\| ([\w-]+) ([\d.]+) \|", table, re.MULTILINE)
    lines = (HERE / "programs" / "programs.txt").read_text(encoding="utf-8").splitlines()
    assert {f"{name}=={version}" for name, version in rows} == {line for line in lines if not line.startswith("#")}
    assert len(rows) == len(list((HERE / "programs").glob("use_*.py")))
