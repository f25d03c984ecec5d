"""How true word times are: ours, and openai-whisper's where it is installed, against recordings of which the truth is known.

    python benchmarks/word_times.py FOLDER [--model digits]

FOLDER holds recordings and words.json: a list of {"file", "phrases": [{"words": [{"word", "start", "end"}]}]}, times in seconds. Words that
were heard are matched with the true ones in order, by text; the error of a word is that of its start and that of its end.
"""

import argparse
import difflib
import json
from pathlib import Path

import numpy as np

import whisper_apr
from whisper_apr.simd import set_num_threads


def errors(true: list[dict], found: list[dict]) -> list[tuple[float, float]]:
    """(start, end) errors in seconds of the words that both have."""

    def texts(words: list[dict]) -> list[str]:
        return [word["word"].strip(" .,!?").lower() for word in words]

    matcher = difflib.SequenceMatcher(None, texts(true), texts(found), autojunk=False)
    pairs = [(a + i, b + i) for a, b, n in matcher.get_matching_blocks() for i in range(n)]
    return [(found[j]["start"] - true[i]["start"], found[j]["end"] - true[i]["end"]) for i, j in pairs]


def report(name: str, by_file: dict[str, list[tuple[float, float]]], verbose: bool) -> None:
    if verbose:
        for file, found in by_file.items():
            both = np.abs(np.array(found))
            print(
                f"  {file:24} {len(found):3} words, median {1000 * np.median(both):4.0f} ms, worst {1000 * both.max():5.0f} ms"
            )
    everything = np.array([pair for found in by_file.values() for pair in found])
    for part, values in (("starts", everything[:, 0]), ("ends", everything[:, 1]), ("both", everything)):
        size = np.abs(values)
        print(
            f"{name:16} {part:6} median {1000 * np.median(size):4.0f} ms, 9 in 10 within {1000 * np.quantile(size, 0.9):4.0f} ms, "
            f"within 250 ms {100 * np.mean(size < 0.25):.1f} %, bias {1000 * np.median(values):+4.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="How true word times are.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--model", default="digits", help="a model's name or file; a file is also given to openai-whisper"
    )
    parser.add_argument("--verbose", action="store_true", help="each recording")
    arguments = parser.parse_args()
    set_num_threads(1)
    recordings = [r for r in json.loads((arguments.folder / "words.json").read_text()) if r["phrases"]]
    truth = {r["file"]: [word for phrase in r["phrases"] for word in phrase["words"]] for r in recordings}
    options = {"temperature": 0.0, "condition_on_previous_text": False, "word_timestamps": True}

    def measure(transcribe) -> dict[str, list[tuple[float, float]]]:
        found = {}
        for file, true in truth.items():
            segments = transcribe(whisper_apr.load_audio(arguments.folder / file))["segments"]
            found[file] = errors(true, [word for segment in segments for word in segment["words"]])
        return found

    model = whisper_apr.load_model(arguments.model)
    report("whisper_apr", measure(lambda samples: model.transcribe(samples, **options).to_dict()), arguments.verbose)
    try:
        import torch
        import whisper
    except ImportError:
        print("openai-whisper is not installed: nothing to compare with")
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
