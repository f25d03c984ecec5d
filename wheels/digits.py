"""Transcribes the test recordings with the model that the package brings, on every backend that this machine can run.

python digits.py tests/data

Prints one line a recording; fails where a language or a text is not what texts.json says was spoken.
"""

import json
import platform
import sys
import time
from pathlib import Path

import whisper_apr
from whisper_apr import simd


def wrong_texts(folder: Path) -> list[str]:
    """What was heard wrongly, on the backend in use."""
    model = whisper_apr.load_model("digits")
    wrong = []
    for name, truth in json.loads((folder / "texts.json").read_text(encoding="utf-8")).items():
        began = time.perf_counter()
        result = model.transcribe(folder / name)
        seconds = time.perf_counter() - began
        heard = {"language": result.language, "text": result.text.strip()}
        print(f"{simd.backend():8} {name:8} {seconds:6.2f} s  {heard['language']}: {heard['text']}")
        if heard != truth:
            wrong.append(f"{simd.backend()}, {name}: {heard} instead of {truth}")
    return wrong


def main(folder: str) -> int:
    compiled = [name for name in simd.backends() if name != "numpy"]
    print(f"{whisper_apr.__file__}: Python {platform.python_version()}, {platform.machine()}")
    wrong = [] if compiled else ["no extension was built"]
    for name in compiled:
        with simd.use_backend(name):
            wrong += wrong_texts(Path(folder))
    print("\n".join(wrong) or f"the right texts on {', '.join(compiled)}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
