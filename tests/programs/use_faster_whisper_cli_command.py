"""The command of faster-whisper-cli, which writes an SRT file."""

import re
import subprocess
import tempfile
from pathlib import Path

from installed import MODEL, RECORDING, command, show

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "out.srt")
    arguments = ["--model_size_or_path", MODEL, "--compute_type", "float32", "--vad_filter", "True", "-o", path]
    subprocess.run([*command("faster-whisper"), *arguments, RECORDING], check=True)
    subtitles = path.read_text(encoding="utf-8")
show(
    " ".join(line.strip() for line in subtitles.splitlines() if line.startswith(" ")),
    re.findall(r"\d+\.\d\d", "\n".join(line for line in subtitles.splitlines() if "-->" in line)),
)
