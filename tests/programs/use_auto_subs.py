"""auto-subs's function that writes subtitles."""

import re

import autosubs
from installed import MODEL, RECORDING, show

subtitles = autosubs.transcribe(RECORDING, "srt", model_name=MODEL)
lines = subtitles.splitlines()
times = re.findall(r"(\d+):(\d+):(\d+),(\d+)", "\n".join(line for line in lines if "-->" in line))
show(
    " ".join(line for line in lines if line and not line.isdigit() and "-->" not in line),
    [3600 * int(h) + 60 * int(m) + int(s) + int(ms) / 1000 for h, m, s, ms in times],
)
