"""Find a model's special tokens: by what the files beside its weights say, or else in OpenAI's order."""

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from ..errors import FormatError
from ..tokenizer.kind import ENGLISH_SIZE, N_ENGLISH
from ..tokenizer.languages import LANGUAGES
from ..tokenizer.special_tokens import (
    AFTER_LANGUAGES,
    END_OF_TEXT,
    N_TIMESTAMPS,
    NO_TIMESTAMPS,
    START,
    TASK_NAMES,
    AddedToken,
    SpecialTokens,
    language_name,
    special_names,
    timestamp_name,
)

N_LANGUAGES = 99  # of OpenAI's models before large-v3
_OTHER_NAMES = {"<|iw|>": "<|he|>", "<|nocaptions|>": "<|nospeech|>"}  # older names in Hugging Face's files
_IS_SPECIAL = re.compile(r"<\|.*\|>")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _ids_in(value: object) -> dict[str, int]:
    """Return the ids in a JSON object of names and ids; empty for another value."""
    return {name: n for name, n in value.items() if _is_id(n)} if isinstance(value, dict) else {}


def _ids_of_transformers(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids that transformers takes from a generation_config.json rather than from the tokenizer."""
    found = {name: n for name, n in _ids_in(config.get("lang_to_id")).items() if name[2:-2] in LANGUAGES}
    tasks = {f"<|{task}|>": n for task, n in _ids_in(config.get("task_to_id")).items()}
    found |= {name: n for name, n in tasks.items() if name in TASK_NAMES}
    if _is_id(config.get("no_timestamps_token_id")):
        found[NO_TIMESTAMPS] = config["no_timestamps_token_id"]
    return found


def _configured(config: Mapping[str, Any]) -> dict[str, int]:
    """Return all ids in a generation_config.json or in CTranslate2's config.json."""
    found = _ids_of_transformers(config)
    # CTranslate2 lists the ids of the languages without their names
    ids = config.get("lang_ids")
    if isinstance(ids, list) and all(map(_is_id, ids)) and 0 < len(ids) <= len(LANGUAGES):
        found = {language_name(code): n for code, n in zip(LANGUAGES, sorted(ids), strict=False)} | found
    return found


def _agrees(expected: SpecialTokens, names: Mapping[str, int], config: Mapping[str, int]) -> bool:
    """Return whether the files say nothing that contradicts the special tokens `expected`."""
    by_name = expected.names()
    # fewer may be the languages of a fine-tuned model, whose base has more; as many as OpenAI's fewest are all of them
    n_language = sum(name[2:-2] in LANGUAGES for name in config)
    if N_LANGUAGES <= n_language != len(expected.languages):
        return False
    for name, token in [*names.items(), *config.items()]:
        is_within = expected.n_ordinary <= token < expected.n_vocab
        if by_name[name] != token if name in by_name else is_within:
            return False
    return True


def find_special_tokens(
    names: Mapping[str, int], special: Set[str], config: Mapping[str, Any], n_vocab: int, end: int, where: str
) -> SpecialTokens | None:
    """Find the special tokens of a model.

    Args:
        names: The ids of tokens by their names; ordinary ones are ignored.
        special: The names that a file marks as special.
        config: The content of generation_config.json, or of CTranslate2's config.json; may be empty.
        n_vocab: Number of rows of the token embedding.
        end: The id of `<|endoftext|>`, and so the number of ordinary tokens.
        where: Names the file in error messages.

    Returns:
        The special tokens; None if they are in OpenAI's order, or if nothing is said about them.

    Raises:
        FormatError: The files contradict each other, or do not say enough.
    """
    known = {_OTHER_NAMES.get(name, name): token for name, token in names.items() if token >= end}
    known[END_OF_TEXT] = end
    configured = _configured(config)
    is_multilingual = config.get("is_multilingual")
    n_language, usual = n_vocab - end - len(special_names(0)), None
    if 1 <= n_language <= len(LANGUAGES):
        usual = SpecialTokens.in_order(end, n_language, n_vocab != ENGLISH_SIZE)
        if _agrees(usual, known, configured) and is_multilingual in (None, usual.multilingual):
            return None
    if len(known) == 1 and not configured:
        return None
    multilingual = is_multilingual if isinstance(is_multilingual, bool) else end != N_ENGLISH
    start = config.get("decoder_start_token_id")  # transformers' default is not after the end of text
    if isinstance(start, int) and _is_id(start) and start > end:
        configured[START] = start
    found = _complete({**configured, **known, **_ids_of_transformers(config)}, end, where)
    begin, n_timestamps = _find_timestamps(known, found[NO_TIMESTAMPS], n_vocab)
    ids = tuple(sorted(found.items(), key=lambda item: item[1]))
    times = range(begin, begin + n_timestamps)
    taken = set(found.values())
    added = tuple(
        AddedToken(token, name, name in special or _IS_SPECIAL.fullmatch(name) is not None)
        for name, token in sorted(known.items(), key=lambda item: item[1])
        if token not in taken and token not in times and token < n_vocab and name not in found
    )
    result = SpecialTokens(n_vocab, multilingual, ids, begin, n_timestamps, added)
    result.check(where)
    return None if result == usual else result


def _complete(known: Mapping[str, int], end: int, where: str) -> dict[str, int]:
    """Return the ids of all special tokens but timestamps, with those that no file names in OpenAI's order.

    Raises:
        FormatError: Neither `<|notimestamps|>` nor a language is known.
    """
    start = known.get(START, end + 1)
    languages = {name: token for name, token in known.items() if name in map(language_name, LANGUAGES)}
    without = known.get(NO_TIMESTAMPS)
    if without is None:
        if not languages:
            raise FormatError(
                f"{where}: it names tokens behind {END_OF_TEXT}, but neither languages nor {NO_TIMESTAMPS}; put the "
                "model's tokenizer.json and generation_config.json beside its weights"
            )
        without = max(languages.values()) + len(AFTER_LANGUAGES)
    first = without - len(AFTER_LANGUAGES) + 1
    between = map(language_name, tuple(LANGUAGES)[: max(0, first - start - 1)])
    in_order = {name: start + 1 + i for i, name in enumerate(between)}
    if languages.items() <= in_order.items():
        languages = in_order
    others = {name: known.get(name, first + i) for i, name in enumerate(AFTER_LANGUAGES)}
    return {END_OF_TEXT: end, START: start, **languages, **others, NO_TIMESTAMPS: without}


def _find_timestamps(known: Mapping[str, int], without: int, n_vocab: int) -> tuple[int, int]:
    """Return the first timestamp and their number: 1501, or 0 if the model has no rows for them, or other tokens."""
    begin = known.get(timestamp_name(0), without + 1)
    taken_by = {token: name for name, token in known.items()}
    last = begin + N_TIMESTAMPS - 1
    fits = last < n_vocab and all(taken_by.get(token, name) == name for token, name in _ends(begin, last))
    return begin, N_TIMESTAMPS if fits else 0


def _ends(begin: int, last: int) -> Iterator[tuple[int, str]]:
    """Yield the first and the last timestamp with their names."""
    yield begin, timestamp_name(0)
    yield last, timestamp_name(N_TIMESTAMPS - 1)
