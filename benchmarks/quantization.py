"""Measure the cost and benefit of int8 and int4: word error rates on spoken digits, logit errors, file sizes, load
times.

    python benchmarks/quantization.py --recordings 300 --audio FOLDER --json docs/quantization.json

espeak-ng (a Debian package) synthesizes the recordings, in four languages and many voices, with a fixed seed. `--audio`
adds a folder with recordings and a words.json. If WHISPER_CPP_LIBRARY names whisper.cpp's libwhisper.so, loading the
same weights as q8_0 is timed too.
"""

import argparse
import json
import os
import random
import re
import subprocess
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from whisper_apr import load_model
from whisper_apr.bench.measure import machine_line, median_time, table, write_json
from whisper_apr.bench.models import DIMENSIONS, random_checkpoint
from whisper_apr.evaluation import count_edits
from whisper_apr.formats.apr import write_apr
from whisper_apr.recognizer import Recognizer

DIGITS = {
    "en": "zero one two three four five six seven eight nine",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
}
VARIANTS = ("", "+m1", "+m3", "+m5", "+m7", "+f1", "+f2", "+f4", "+klatt")
TYPES = ("float32", "int8", "int4")


def spoken(count: int, folder: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Synthesize recordings; yield each one's path, language and words."""
    rng = random.Random(0)
    for i in range(count):
        language = rng.choice(list(DIGITS))
        words = rng.choices(DIGITS[language].split(), k=rng.randint(3, 6))
        path = folder / f"{i}.wav"
        voice, speed, pitch = language + rng.choice(VARIANTS), rng.randint(110, 180), rng.randint(30, 70)
        subprocess.run(
            ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(path), ", ".join(words)],
            check=True,
        )
        yield path, language, words


def recorded(folder: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Yield the path, language and words of each recording of words.json that has one language."""
    for entry in json.loads((folder / "words.json").read_text()):
        languages = {phrase["language"] for phrase in entry["phrases"]}
        if len(languages) == 1:
            yield folder / entry["file"], languages.pop(), [w["word"] for p in entry["phrases"] for w in p["words"]]


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFC", text.lower()))


def word_errors(count: int, folder: Path | None) -> dict[str, object]:
    models = {kind: load_model("digits", compute_type=kind) for kind in TYPES}
    with tempfile.TemporaryDirectory() as made:
        recordings = [*spoken(count, Path(made)), *(recorded(folder) if folder else ())]
        errors, changed = dict.fromkeys(TYPES, 0), dict.fromkeys(TYPES, 0)
        for path, language, words in recordings:
            plain: list[str] = []
            for kind, model in models.items():
                found = words_of(model.transcribe(path, language=language, temperature=0.0).text)
                plain = found if kind == "float32" else plain
                errors[kind] += count_edits(words, found).errors
                changed[kind] += found != plain
    n_word = sum(len(words) for _, _, words in recordings)
    rates = {kind: 100 * count / n_word for kind, count in errors.items()}
    return {"recordings": len(recordings), "words": n_word, "errors": errors, "rate": rates, "texts changed": changed}


def logit_errors() -> dict[str, float]:
    """Return the RMS difference of the logits of random `tiny` weights, relative to their standard deviation."""
    checkpoint = random_checkpoint(DIMENSIONS["tiny"])
    mel = np.random.default_rng(1).standard_normal((1, 80, 3000)).astype(np.float32)
    tokens = np.random.default_rng(2).integers(0, 50000, (1, 32))
    logits = {}
    for kind in TYPES:
        model = Recognizer(checkpoint, kind)
        logits[kind] = model.logits(tokens, model.embed_audio(mel))
    plain = logits["float32"]
    return {kind: float(np.sqrt(np.mean((found - plain) ** 2)) / plain.std()) for kind, found in logits.items()}


def sizes_and_loads(folder: Path) -> dict[str, dict[str, float]]:
    """Return the MB of random `tiny` files, and the median milliseconds to load a model from them."""
    checkpoint = random_checkpoint(DIMENSIONS["tiny"])
    found: dict[str, dict[str, float]] = {}
    for kind in ("float32", "float16", "int8", "int4"):
        path = folder / f"{kind}.apr"
        write_apr(checkpoint, path, kind)
        load = median_time(lambda path=path: load_model(path), 0, at_least=15)
        found[kind] = {"MB": path.stat().st_size / 1e6, "load": 1000 * load}
    if "WHISPER_CPP_LIBRARY" in os.environ:
        from engines import whisper_cpp

        whisper_cpp.prepare(checkpoint, folder)
        load = median_time(lambda: whisper_cpp.Engine(folder, "int8", 1), 0, at_least=15)
        size = (folder / "ggml-q8_0.bin").stat().st_size / 1e6
        found["whisper.cpp's q8_0"] = {"MB": size, "load": 1000 * load}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recordings", type=int, default=300)
    parser.add_argument("--audio", type=Path, help="folder with recordings and a words.json")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = sizes_and_loads(Path(folder))
    logits, words = logit_errors(), word_errors(options.recordings, options.audio)
    print(machine_line(), "\n")
    print(
        table(("random tiny", "MB", "load, ms"), [(kind, row["MB"], row["load"]) for kind, row in files.items()]), "\n"
    )
    print(f"digits: {words['recordings']} recordings, {words['words']} words")
    rows = [
        (kind, 100 * logits[kind], words["errors"][kind], words["rate"][kind], words["texts changed"][kind])
        for kind in TYPES
    ]  # type: ignore[index]
    print(table(("type", "logit error, %", "word errors", "word error rate, %", "texts changed"), rows))
    if options.json:
        write_json(options.json, files=files, logits=logits, words=words)


if __name__ == "__main__":
    main()
