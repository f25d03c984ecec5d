"""What the scripts in this folder share: their arguments, installed commands, and the result."""

import json
import os
import sys
from types import ModuleType
from typing import Any

MODEL, RECORDING = sys.argv[1:]


def command(name: str) -> list[str]:
    """Return how to run an installed command with this interpreter; the test says where the commands are."""
    return [sys.executable, os.path.join(os.environ["PROGRAMS"], name)]


def show(text: str, times: Any = ()) -> None:
    """Print the result as the last line: a text, and times of its words in seconds."""
    print("\n" + json.dumps({"text": text.strip(), "times": [round(float(time), 3) for time in times]}))


def without_torchaudio() -> None:
    """Let `import torchaudio` give an empty module: no wheel of it fits this torch, and it is for other rates only."""
    sys.modules["torchaudio"] = ModuleType("torchaudio")
