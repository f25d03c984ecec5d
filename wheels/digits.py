"""Transcribe test recordings with the bundled model, on every backend that this machine supports.

    python digits.py tests/data [--model digits.pt] [--recordings en.wav ...] [--backends neon ...]
        [--compute-type int8]

Prints one line per recording; fails if a language or a text differs from texts.json.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import whisper_apr
from whisper_apr import simd


def wrong_texts(folder: Path, truths: dict[str, dict[str, str]], name: str, compute_type: str) -> list[str]:
    """Transcribe the recordings on the current backend; return a message for each wrong result."""
    model = whisper_apr.load_model(name, compute_type=compute_type)
    wrong = []
    for recording, truth in truths.items():
        begin = time.perf_counter()
        result = model.transcribe(folder / recording)
        seconds = time.perf_counter() - begin
        found = {"language": result.language, "text": result.text.strip()}
        print(f"{simd.backend():10} {recording:8} {seconds:6.2f} s  {found['language']}: {found['text']}", flush=True)
        if found != truth:
            wrong.append(f"{simd.backend()}, {recording}: {found} instead of {truth}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="digits", help="its path, where the package does not contain it")
    parser.add_argument("--recordings", nargs="+")
    parser.add_argument("--backends", nargs="+", default=[name for name in simd.backends() if name != "numpy"])
    parser.add_argument("--compute-type", default="float32")
    options = parser.parse_args()
    print(
        f"{whisper_apr.__file__}: Python {platform.python_version()}, {platform.machine()}: "
        f"{', '.join(simd.backends())}"
    )
    truths = json.loads((options.folder / "texts.json").read_text(encoding="utf-8"))
    wrong = [] if options.backends else ["no extension is built"]
    for name in options.backends:
        with simd.use_backend(name):
            chosen = {recording: truths[recording] for recording in options.recordings or truths}
            wrong += wrong_texts(options.folder, chosen, options.model, options.compute_type)
    print("\n".join(wrong) or f"all texts are correct on {', '.join(options.backends)}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
