"""Write texts as openai-whisper normalizes them: `python tests/parity/make_normalized.py tests/data/normalized.json`.

The file has, for each text of `normalizer_texts.texts`, the text and its form by each of the `normalizers`. It is
written in ASCII, with JSON's escapes.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from normalizer_texts import texts

N_TEXT = 400

Normalizer = Callable[[str], str]


def normalizers(package: ModuleType, english: ModuleType) -> dict[str, Normalizer]:
    """Return all normalizers of openai-whisper or of whisper_apr, from `normalizers` and `normalizers.english`."""
    return {
        "text": package.EnglishTextNormalizer(),
        "number": english.EnglishNumberNormalizer(),
        "spelling": english.EnglishSpellingNormalizer(),
        "basic": package.BasicTextNormalizer(),
        "letters": package.BasicTextNormalizer(split_letters=True),
        "without_diacritics": package.BasicTextNormalizer(True),
        "letters_without_diacritics": package.BasicTextNormalizer(True, True),
    }


def normalized(functions: dict[str, Normalizer]) -> list[dict[str, str]]:
    """Return the content of the file."""
    return [{"": text} | {name: each(text) for name, each in functions.items()} for text in texts(N_TEXT)]


def main() -> None:
    from whisper import normalizers as package
    from whisper.normalizers import english

    lines = ",\n".join(json.dumps(entry) for entry in normalized(normalizers(package, english)))
    Path(sys.argv[1]).write_text(f"[\n{lines}\n]\n", encoding="ascii")


if __name__ == "__main__":
    main()
