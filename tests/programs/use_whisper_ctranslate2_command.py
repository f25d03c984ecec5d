"""The command of whisper-ctranslate2, which writes files with times."""

import json
import subprocess
import tempfile
from pathlib import Path

from installed import MODEL, RECORDING, command, show

with tempfile.TemporaryDirectory() as folder:
    arguments = [
        "--model_directory",
        MODEL,
        "--compute_type",
        "float32",
        "--device",
        "cpu",
        "--word_timestamps",
        "True",
    ]
    arguments += ["--output_format", "all", "--output_dir", folder, RECORDING]
    subprocess.run([*command("whisper-ctranslate2"), *arguments], check=True)
    (path,) = Path(folder).glob("*.json")
    segments = json.loads(path.read_text(encoding="utf-8"))["segments"]
    (subtitles,) = Path(folder).glob("*.srt")
    assert segments[0]["text"].split()[0] in subtitles.read_text(encoding="utf-8")
show("".join(s["text"] for s in segments), [word["end"] for s in segments for word in s["words"]])
