"""Measure the accuracy of word times, ours and openai-whisper's (if installed), on recordings with known word times.

    python benchmarks/word_times.py FOLDER [--model digits]

FOLDER holds recordings and words.json: a list of {"file", "words": [{"word", "start", "end"}]}, or with "phrases", a
list of objects with such "words", in place of "words"; times are in seconds, and "text" and "language" are optional.
Recognized words are matched with the true ones by their letters, in order; a word has two errors, of its start and of
its end. `align` is given the text and the language.
"""

import argparse
import difflib
import json
from pathlib import Path

import numpy as np

import whisper_apr
from whisper_apr.simd import set_num_threads


def letters(words: list[dict]) -> list[tuple[str, int]]:
    """Return the letters and digits of words, each with the index of its word."""
    return [(c, i) for i, word in enumerate(words) for c in word["word"].casefold() if c.isalnum()]


def errors(true: list[dict], found: list[dict]) -> list[tuple[float, float]]:
    """Return the errors (start, end) in seconds of the words that are in both lists, however they are divided there."""
    ours, theirs = letters(found), letters(true)
    matcher = difflib.SequenceMatcher(None, [c for c, _ in theirs], [c for c, _ in ours], autojunk=False)
    pairs = {a + i: b + i for a, b, n in matcher.get_matching_blocks() for i in range(n)}
    places: dict[int, list[int | None]] = {}
    for at, (_, index) in enumerate(theirs):
        places.setdefault(index, []).append(pairs.get(at))
    return [
        (found[ours[at[0]][1]]["start"] - true[i]["start"], found[ours[at[-1]][1]]["end"] - true[i]["end"])
        for i, at in places.items()
        if None not in at
    ]


def report(name: str, by_file: dict[str, list[tuple[float, float]]], verbose: bool) -> None:
    if verbose:
        for file, found in by_file.items():
            both = np.abs(np.array(found))
            print(
                f"  {file:24} {len(found):3} words, median {1000 * np.median(both):4.0f} ms, "
                f"worst {1000 * both.max():5.0f} ms"
            )
    everything = np.array([pair for found in by_file.values() for pair in found])
    for part, values in (("starts", everything[:, 0]), ("ends", everything[:, 1]), ("both", everything)):
        size = np.abs(values)
        print(
            f"{name:16} {part:6} median {1000 * np.median(size):4.0f} ms, "
            f"90 % within {1000 * np.quantile(size, 0.9):4.0f} ms, "
            f"95 % within {1000 * np.quantile(size, 0.95):4.0f} ms, "
            f"within 250 ms {100 * np.mean(size < 0.25):.1f} %, bias {1000 * np.median(values):+4.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the accuracy of word times.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="digits", help="name or file of a model; openai-whisper loads the same file")
    parser.add_argument("--verbose", action="store_true", help="also print each recording's errors")
    arguments = parser.parse_args()
    set_num_threads(1)
    recordings = json.loads((arguments.folder / "words.json").read_text())
    known = {r["file"]: [w for phrase in r.get("phrases", [r]) for w in phrase["words"]] for r in recordings}
    truth = {file: words for file, words in known.items() if words}
    about = {r["file"]: r for r in recordings}
    options = {"temperature": 0.0, "condition_on_previous_text": False, "word_timestamps": True}

    def measure(transcribe) -> dict[str, list[tuple[float, float]]]:
        found = {}
        for file, true in truth.items():
            segments = transcribe(whisper_apr.load_audio(arguments.folder / file))["segments"]
            found[file] = errors(true, [word for segment in segments for word in segment["words"]])
        return found

    model = whisper_apr.load_model(arguments.model)
    report("whisper_apr", measure(lambda samples: model.transcribe(samples, **options).to_dict()), arguments.verbose)
    aligned = {}
    for file, true in truth.items():
        text = about[file].get("text") or " ".join(word["word"] for word in true)
        result = model.align(arguments.folder / file, text, language=about[file].get("language"))
        aligned[file] = errors(true, [word for word in result.words if word.start < word.end])
    report("align", aligned, arguments.verbose)
    try:
        import torch
        import whisper
    except ImportError:
        print("openai-whisper is not installed, so only whisper_apr was measured")
        return
    from importlib.resources import files

    torch.set_num_threads(1)
    path = str(files("whisper_apr") / "assets" / "digits.pt") if arguments.model == "digits" else arguments.model
    theirs = whisper.load_model(path)
    if model.alignment_heads:
        mask = torch.zeros(theirs.dims.n_text_layer, theirs.dims.n_text_head, dtype=torch.bool)
        for layer, head in model.alignment_heads:
            mask[layer, head] = True
        theirs.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    report(
        "openai-whisper", measure(lambda samples: theirs.transcribe(samples, fp16=False, **options)), arguments.verbose
    )


if __name__ == "__main__":
    main()
