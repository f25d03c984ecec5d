"""Scripts from the READMEs of openai-whisper and faster-whisper run after changing only their import line.

"turbo" and "audio.mp3" are replaced by the bundled model and a recording.
"""

import re
import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SPOKEN = "three one four one five"

OPENAI = {
    "a file": """
import whisper

model = whisper.load_model("turbo")
print(model.transcribe("audio.mp3")["text"])
""",
    "one window": """
import whisper

model = whisper.load_model("turbo", device="cpu")
samples = whisper.pad_or_trim(whisper.load_audio("audio.mp3"))
mel = whisper.log_mel_spectrogram(samples, n_mels=model.dims.n_mels).to(model.device)
_, probabilities = model.detect_language(mel)
print(max(probabilities, key=probabilities.get))
print(whisper.decode(model, mel, whisper.DecodingOptions(fp16=False)).text)
print(model.decode(mel, whisper.DecodingOptions(language="en", without_timestamps=True)).text)
""",
    "word times and subtitles": """
import whisper
from whisper.utils import get_writer

model = whisper.load_model("turbo")
result = model.transcribe("audio.mp3", word_timestamps=True, language="en", beam_size=5, fp16=False, verbose=True)
for segment in result["segments"]:
    print([word["word"] for word in segment["words"]])
get_writer("srt", ".")(result, "audio.mp3", {"max_line_width": 12, "max_line_count": 1, "highlight_words": False})
with open("audio.srt", encoding="utf-8") as file:
    print(file.read())
print(whisper.tokenizer.LANGUAGES[result["language"]], "turbo" in whisper.available_models())
""",
}

FASTER = {
    "a file": """
from faster_whisper import WhisperModel

model = WhisperModel("turbo", device="cpu", compute_type="int8")
segments, info = model.transcribe("audio.mp3", beam_size=5)
print("Detected language '%s' with probability %f" % (info.language, info.language_probability))
for segment in segments:
    print("[%.2fs -> %.2fs] %s" % (segment.start, segment.end, segment.text))
""",
    "in batches": """
from faster_whisper import BatchedInferencePipeline, WhisperModel

model = BatchedInferencePipeline(model=WhisperModel("turbo", device="cpu", cpu_threads=1, num_workers=1))
segments, info = model.transcribe("audio.mp3", batch_size=16)
print(" ".join(segment.text for segment in segments))
""",
    "words of speech": """
from faster_whisper import WhisperModel, available_models, decode_audio, format_timestamp

segments, _ = WhisperModel("turbo").transcribe(
    decode_audio("audio.mp3"),
    language="en",
    word_timestamps=True,
    condition_on_previous_text=False,
    vad_filter=True,
    vad_parameters=dict(min_silence_duration_ms=500),
)
for segment in segments:
    for word in segment.words:
        print(format_timestamp(word.start), word.word)
print("turbo" in available_models())
""",
}


def run(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the script in a directory with the recording."""
    shutil.copy(DATA / "en.wav", folder / "audio.wav")
    monkeypatch.chdir(folder)
    script = script.replace("import whisper\n", "import whisper_apr as whisper\n")
    script = script.replace("from whisper.", "from whisper_apr.").replace("from faster_whisper ", "from whisper_apr ")
    exec(compile(script.replace("audio.mp3", "audio.wav").replace("turbo", "digits"), "script", "exec"), {})


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z]+", text))


def test_openai_whisper_a_file(tmp_path, monkeypatch, capsys):
    run(OPENAI["a file"], tmp_path, monkeypatch)
    assert capsys.readouterr().out.strip() == SPOKEN


def test_openai_whisper_one_window(tmp_path, monkeypatch, capsys):
    run(OPENAI["one window"], tmp_path, monkeypatch)
    assert capsys.readouterr().out.splitlines() == ["en", SPOKEN, SPOKEN]


def test_openai_whisper_words_and_subtitles(tmp_path, monkeypatch, capsys):
    run(OPENAI["word times and subtitles"], tmp_path, monkeypatch)
    printed, listed, *subtitles = capsys.readouterr().out.splitlines()
    assert printed.endswith(SPOKEN)
    assert listed == str([f" {word}" for word in SPOKEN.split()])
    assert "three one" in subtitles
    assert subtitles[-1] == "english True"


def test_faster_whisper_a_file(tmp_path, monkeypatch, capsys):
    run(FASTER["a file"], tmp_path, monkeypatch)
    first, *segments = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"Detected language 'en' with probability 0\.9\d+", first)
    assert words(" ".join(re.sub(r"\[.*\]", "", line) for line in segments)) == SPOKEN


def test_faster_whisper_in_batches(tmp_path, monkeypatch, capsys):
    run(FASTER["in batches"], tmp_path, monkeypatch)
    assert words(capsys.readouterr().out) == SPOKEN


def test_faster_whisper_words_of_speech(tmp_path, monkeypatch, capsys):
    run(FASTER["words of speech"], tmp_path, monkeypatch)
    *spoken, known = capsys.readouterr().out.splitlines()
    assert words(" ".join(spoken)) == SPOKEN
    assert known == "True"
