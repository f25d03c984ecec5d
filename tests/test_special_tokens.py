"""Special tokens that are not numbered as OpenAI's: found in the files beside the weights, stored, and used."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ct2_files
import ggml_files
import hf_tokenizers
import models
from models import SPOKEN, WORDS
from test_vocabulary import EOT, OUTPUT, PACKED, constant_output_tensors
from whisper_apr import load_model
from whisper_apr.checkpoint import make_checkpoint
from whisper_apr.cli import main
from whisper_apr.errors import FormatError
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.apr import read_apr, write_apr, write_apr_v1
from whisper_apr.formats.special_tokens import find_special_tokens
from whisper_apr.formats.vocabulary import read_vocabulary
from whisper_apr.tokenizer import get_tokenizer
from whisper_apr.tokenizer.kind import tokenizer_kind
from whisper_apr.tokenizer.special_tokens import AddedToken, SpecialTokens, special_names

END = 50257  # of the multilingual vocabulary


def names(num_languages: int = 99, end: int = END, *added: str) -> dict[str, int]:
    """Return all special tokens in OpenAI's order, with others behind them."""
    return {name: end + i for i, name in enumerate([*special_names(num_languages), *added])}


def without_timestamps(num_languages: int = 99) -> dict[str, int]:
    found = names(num_languages)
    return {name: token for name, token in found.items() if token <= found["<|notimestamps|>"]}


def find(known: dict[str, int], n_vocab: int, config: Any = None, end: int = END) -> SpecialTokens | None:
    return find_special_tokens(known, set(), config or {}, n_vocab, end, "here")


def generation_config(num_languages: int = 99, end: int = END) -> dict[str, Any]:
    """Return what transformers' generation_config.json of a Whisper model has of tokens."""
    known = names(num_languages, end)
    return {
        "is_multilingual": True,
        "decoder_start_token_id": known["<|startoftranscript|>"],
        "eos_token_id": end,
        "lang_to_id": {name: known[name] for name in special_names(num_languages)[2 : 2 + num_languages]},
        "task_to_id": {task: known[f"<|{task}|>"] for task in ("translate", "transcribe")},
        "no_timestamps_token_id": known["<|notimestamps|>"],
    }


# ---- what the files say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_languages", "n_vocab"), [(99, 51865), (100, 51866)])
def test_openais_order_is_not_stored(num_languages, n_vocab):
    assert find(names(num_languages), n_vocab) is None
    assert find({}, n_vocab) is None
    assert find({}, n_vocab, generation_config(num_languages)) is None
    assert find(without_timestamps(num_languages), n_vocab) is None
    known = names(num_languages)
    older = {"<|nocaptions|>": known.pop("<|nospeech|>"), "<|iw|>": known.pop("<|he|>")}
    assert find(known | older, n_vocab) is None


def test_an_older_name_of_a_language_in_an_english_vocabulary():
    """Hebrew is `<|iw|>` in the tokenizer.json of tiny.en."""
    known = names(99, END - 1)
    expected = find(known, 51864, {"is_multilingual": False}, END - 1)
    known["<|iw|>"] = known.pop("<|he|>")
    assert find(known, 51864, {"is_multilingual": False}, END - 1) == expected


@pytest.mark.parametrize("said", ["names", "generation_config", "names without timestamps", "lang_ids"])
@pytest.mark.parametrize("more", [1, 2, 70])
def test_tokens_behind_the_timestamps(said, more):
    """51,866 tokens need not be those of large-v3."""
    known, config = {"<|endoftext|>": END}, {}
    if said == "names":
        known = names(99, END, *(f"word{i}" for i in range(more)))
    elif said == "generation_config":
        config = generation_config()
    elif said == "names without timestamps":
        known = without_timestamps()
    else:
        config = {"lang_ids": list(range(END + 2, END + 101))}
    found = find(known, 51865 + more, config)
    assert found is not None
    assert len(found.languages) == 99
    assert dict(found.ids)["<|transcribe|>"] == 50359
    assert (found.timestamp_begin, found.n_timestamps) == (50364, 1501)
    expected = [AddedToken(51865 + i, f"word{i}") for i in range(more)] if said == "names" else []
    assert list(found.added) == expected
    assert tokenizer_kind(51865 + more, special=found)[0] == "multilingual"


@pytest.mark.parametrize("num_languages", [99, 100])
def test_a_model_without_timestamps(num_languages):
    """Older tokenizers of transformers had none, and trainers resized the model to fit: 50,364 or 50,365 tokens."""
    found = find(without_timestamps(num_languages), 50265 + num_languages)
    assert found is not None
    assert (len(found.languages), found.n_timestamps, found.added) == (num_languages, 0, ())
    # a token that was added to such a tokenizer has the id that the first timestamp would have
    with_word = without_timestamps(num_languages) | {"Küstenseeschwalbe": 50265 + num_languages}
    found = find(with_word, 50266 + num_languages)
    assert found is not None
    assert found.added == (AddedToken(50265 + num_languages, "Küstenseeschwalbe"),)
    assert found.n_timestamps == 0


def test_english_only():
    end = 50256
    assert find(names(99, end), 51864, {"is_multilingual": False}, end) is None
    found = find(names(99, end, "one", "two"), 51866, {"is_multilingual": False}, end)
    assert found is not None
    assert not found.multilingual
    assert found.n_ordinary == end
    assert tokenizer_kind(51866, special=found)[0] == "gpt2"
    assert find(names(99, end, "one"), 51865, {}, end) == replace(found, n_vocab=51865, added=found.added[:1])


def test_files_of_different_models_are_refused():
    """The tokenizer has 99 languages, the configuration 100."""
    with pytest.raises(FormatError, match=r"here: <\|startoflm\|> and <\|transcribe\|> are the same token, 50360"):
        find(names(99), 51867, generation_config(100))


def test_kinds_of_added_tokens():
    marked = names(99, END, "<|speaker|>", "name", "text")
    found = find_special_tokens(marked, {"name"}, {}, 51868, END, "here")
    assert found is not None
    assert [(token.text, token.is_special) for token in found.added] == [
        ("<|speaker|>", True),
        ("name", True),
        ("text", False),
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"no_timestamps_token_id": 60000}, "are the same token"),
        ({"lang_to_id": {"<|en|>": 7}}, r"<\|en\|> is token 7"),
        ({"task_to_id": {"transcribe": 50259}}, r"<\|transcribe\|> and <\|en\|> are the same token"),
        ({"no_timestamps_token_id": 50364}, "are the same token, 50358"),
    ],
)
def test_contradictions_are_refused(config, message):
    with pytest.raises(FormatError, match=f"here: .*{message}"):
        find(names(99, END, "word"), 51866, config)


def test_names_count_more_than_the_languages_of_ctranslate2():
    """Converted English-only models list those of the multilingual vocabulary, one too high."""
    end = 50256
    assert find(names(99, end), 51864, {"lang_ids": list(range(end + 3, end + 102))}, end) is None


@pytest.mark.parametrize("n_vocab", [51864, 51865, 51866])
def test_transformers_defaults_say_nothing(tmp_path, n_vocab):
    """Its own configuration of a new model ends with the end of text of the English-only vocabulary."""
    dims = replace(SPOKEN, n_vocab=n_vocab)
    assert read_vocabulary(tmp_path, dims, {"eos_token_id": 50256, "decoder_start_token_id": 50257}) == (b"", None)


@pytest.mark.parametrize("value", [None, "x", [], {"<|en|>": "x"}, {"<|en|>": True}, {"<|en|>": -1}, 5.5])
def test_values_of_other_types_are_ignored(value):
    keys = ("lang_to_id", "task_to_id", "no_timestamps_token_id", "decoder_start_token_id", "lang_ids")
    assert find({}, 51865, dict.fromkeys(keys, value)) is None


@pytest.mark.parametrize("n_vocab", [50257, 50364, 50365, 51863, 51867, 51936, 60000])
def test_another_size_needs_to_be_told(n_vocab):
    with pytest.raises(
        FormatError, match=f"{n_vocab} tokens are not one of OpenAI's .* put the model's tokenizer.json"
    ):
        tokenizer_kind(n_vocab)


# ---- used -----------------------------------------------------------------------------------------------------------

ADDED = ("<|speaker|>", " Küstenseeschwalbe")
DIMS = replace(SPOKEN, n_vocab=SPOKEN.n_vocab + 4)  # two tokens behind the timestamps, and two rows without a token
FIRST = SPOKEN.n_vocab
SPECIAL = models.vocab_json() | names(2, EOT, *ADDED)
SPOKEN_TOKENS = (257, FIRST + 1, FIRST, 0x21)  # " ja", the added word, the speaker, "!"


def tensors() -> dict[str, np.ndarray]:
    """Return weights whose output is SPOKEN_TOKENS for any audio."""
    made = constant_output_tensors(DIMS)
    table = made["decoder.token_embedding.weight"]
    for step, token in enumerate(SPOKEN_TOKENS):
        table[OUTPUT[step], step] = 0
        table[token, step] = 5
    return made


def as_folder(path: Path) -> Path:
    models.write_huggingface(path, DIMS, tensors())
    (path / "vocab.json").write_text(json.dumps(models.vocab_json()))
    (path / "added_tokens.json").write_text(json.dumps(names(2, EOT, *ADDED)))
    return path


def as_tokenizer(path: Path) -> Path:
    models.write_huggingface(path, DIMS, tensors())
    added = [
        {"id": token, "content": text, "special": text == ADDED[0]} for text, token in SPECIAL.items() if token >= EOT
    ]
    hf_tokenizers.write_tokenizer_json(path / "tokenizer.json", models.vocab_json(), added)
    return path


def as_ctranslate2(name: str) -> Any:
    def make(path: Path) -> Path:
        ct2_files.write_ct2(path, DIMS, tensors())
        texts = sorted(SPECIAL, key=SPECIAL.__getitem__)
        text = json.dumps(texts) if name.endswith("json") else "\n".join(texts) + "\n"
        (path / name).write_text(text, encoding="utf-8")
        return path

    return make


def as_ggml(path: Path) -> Path:
    words = [*WORDS, *(name.encode() for name in names(2, EOT, *ADDED))]
    ggml_files.write_ggml(path, DIMS, tensors(), words=words)
    return path


def as_openai(path: Path) -> Path:
    """Hugging Face's tokenizer beside a `.pt` file says what its tokens are."""
    path.mkdir()
    as_tokenizer(path / "hf")
    (path / "hf" / "tokenizer.json").rename(path / "tokenizer.json")
    return models.write_pt(path / "model.pt", DIMS, tensors())


def as_apr(path: Path) -> Path:
    found = find_special_tokens(SPECIAL, set(), {}, DIMS.n_vocab, EOT, "here")
    assert found is not None
    checkpoint = make_checkpoint(DIMS, tensors(), "here")
    write_apr(replace(checkpoint, vocabulary=PACKED, special_tokens=found), path)
    return path


SOURCES = {
    "added_tokens.json": as_folder,
    "tokenizer.json": as_tokenizer,
    "vocabulary.json": as_ctranslate2("vocabulary.json"),
    "vocabulary.txt": as_ctranslate2("vocabulary.txt"),
    "ggml": as_ggml,
    "openai": as_openai,
    "apr": as_apr,
}


@pytest.mark.parametrize("source", SOURCES)
def test_added_tokens_are_text(tmp_path, source):
    path = SOURCES[source](tmp_path / "model")
    assert main(["convert", str(path), str(tmp_path / "converted.apr")]) == 0
    for each in (path, tmp_path / "converted.apr"):
        model = load_model(each)
        assert (model.is_multilingual, model.languages) == (True, ("en", "zh"))
        mel = np.zeros((4, 3000), np.float32)
        found = model.decode(mel, language="zh", without_timestamps=True, temperature=0.0)
        assert tuple(found.tokens) == SPOKEN_TOKENS
        text = model.transcribe(np.zeros(16000, np.float32), language="zh", without_timestamps=True, temperature=0.0)
        assert text.text == " ja Küstenseeschwalbe!"


def test_word_times_of_added_tokens(tmp_path):
    model = load_model(as_folder(tmp_path / "model"))
    found = model.transcribe(
        np.zeros(16000, np.float32), language="en", without_timestamps=True, temperature=0.0, word_timestamps=True
    )
    assert [word.word for segment in found.segments for word in segment.words] == [" ja", " Küstenseeschwalbe!"]


def test_a_model_without_timestamps_decodes_without_them(tmp_path):
    """Nothing needs to be asked for: the vocabulary has no timestamps."""
    n = EOT + 10
    dims = replace(SPOKEN, n_vocab=n)
    folder = models.write_huggingface(tmp_path / "model", dims, constant_output_tensors(dims))
    listed = {name: token for name, token in names(2, EOT).items() if token < n}
    (folder / "vocab.json").write_text(json.dumps(models.vocab_json() | listed))
    model = load_model(folder)
    assert model.special_tokens is not None
    assert model.special_tokens.n_timestamps == 0
    found = model.transcribe(np.zeros(40 * 16000, np.float32), temperature=0.0, condition_on_previous_text=False)
    assert [segment.text for segment in found.segments] == [" ja najaoü!"] * 2
    write_apr(open_checkpoint(folder), tmp_path / "model.apr")
    assert load_model(tmp_path / "model.apr").special_tokens == model.special_tokens


def test_encoding_with_added_tokens():
    special = find_special_tokens(SPECIAL | {"ja ja": FIRST + 2}, set(), {}, DIMS.n_vocab, EOT, "here")
    tokenizer = get_tokenizer(True, language="en", vocabulary=PACKED, special_tokens=special)
    tokens = tokenizer.encode("ja ja Küstenseeschwalbe ja<|speaker|>")
    assert tokens[:3] == [FIRST + 2, FIRST + 1, 257]
    assert tokenizer.decode(tokens) == "ja ja Küstenseeschwalbe ja<|speaker|>"  # a name in a text is text
    assert tokenizer.decode([FIRST, FIRST + 3, FIRST - 1, EOT]) == "<|endoftext|>"
    assert tokenizer.decode_with_timestamps([FIRST, FIRST + 3, FIRST - 1]) == "<|speaker|><|30.00|>"
    assert tokenizer.num_languages == 2
    assert tokenizer.split_to_word_tokens([257, FIRST + 1]) == ([" ja", " Küstenseeschwalbe"], [[257], [FIRST + 1]])


# ---- stored ---------------------------------------------------------------------------------------------------------


def test_apr_with_damaged_special_tokens(tmp_path, monkeypatch):
    path = as_apr(tmp_path / "model.apr")
    assert read_apr(path).special_tokens == read_apr(path).special_tokens
    checkpoint = read_apr(path)
    for change, message in (
        ({"special_tokens": {"<|endoftext|>": EOT}}, "has no token"),
        ({"special_tokens": 5}, "a field of its JSON header"),
        ({"timestamps": [0]}, "a field of its JSON header"),
        ({"timestamps": [EOT + 10, 77]}, "77 timestamps from token 269 on are not supported"),
        ({"added_tokens": [["x", "y", False]]}, "'x' is not a token's id"),
        ({"added_tokens": [[EOT + 11, "y", False]]}, "are the same token"),
        ({"added_tokens": [[DIMS.n_vocab, "y", False]]}, "y is token 1774; special"),
    ):
        described = {
            "special_tokens": dict(checkpoint.special_tokens.ids),
            "timestamps": [EOT + 10, 1501],
            "added_tokens": [],
        } | change
        monkeypatch.setattr("whisper_apr.formats.apr.writer.describe_special_tokens", lambda _, d=described: d)
        write_apr(checkpoint, tmp_path / "damaged.apr")
        with pytest.raises(FormatError, match=f"damaged.apr: .*{message}"):
            read_apr(tmp_path / "damaged.apr")


def test_version_1_cannot_hold_them(tmp_path):
    with pytest.raises(FormatError, match="version 1 files cannot hold special tokens"):
        write_apr_v1(open_checkpoint(as_apr(tmp_path / "model.apr")), tmp_path / "old.apr")


def test_inspect_shows_them(tmp_path, capsys):
    assert main(["inspect", str(as_apr(tmp_path / "model.apr"))]) == 0
    assert "special tokens:   custom, 2 languages, timestamps, 2 added" in capsys.readouterr().out
