"""Write a .srt file beside every recording of a folder: python subtitle_folder.py FOLDER [--model base]"""

import argparse
from pathlib import Path

import whisper_apr

SUFFIXES = {".flac", ".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".ogg", ".opus", ".wav", ".webm"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="digits")
    args = parser.parse_args()

    model = whisper_apr.load_model(args.model, compute_type="int8")
    paths = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    results = model.transcribe_many(paths, batch_size=8, word_timestamps=True, return_errors=True)
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, whisper_apr.AudioError):
            print(f"{path}: {result}")
        else:
            result.save(path.with_suffix(".srt"))
            print(f"{path.with_suffix('.srt')}: {len(result.segments)} segments")


if __name__ == "__main__":
    main()
