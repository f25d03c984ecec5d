"""Words of recordings as a table of pandas: python words_table.py RECORDING... [--model base] [--csv words.csv]

Prints the rate of speech and the words that the model is least sure of.
"""

import argparse

import pandas

import whisper_apr


def words_table(paths: list[str], model: whisper_apr.Recognizer) -> pandas.DataFrame:
    """Return a row for each word: its recording, text, times in seconds and probability."""
    results = model.transcribe_many(paths, word_timestamps=True)
    rows = [{"recording": path} | word for path, result in zip(paths, results, strict=True) for word in result.words]
    return pandas.DataFrame(rows, columns=["recording", "word", "start", "end", "probability"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--csv")
    args = parser.parse_args()

    table = words_table(args.recordings, whisper_apr.load_model(args.model, compute_type="int8"))
    spoken = table.groupby("recording").agg(words=("word", "size"), begin=("start", "min"), end=("end", "max"))
    spoken["words per minute"] = 60 * spoken["words"] / (spoken["end"] - spoken["begin"])
    print(spoken.round(2).to_string())
    print(table.nsmallest(5, "probability").round(2).to_string(index=False))
    if args.csv:
        table.to_csv(args.csv, index=False)


if __name__ == "__main__":
    main()
