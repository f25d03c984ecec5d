"""openai-whisper's `.pt` files, read without torch: content, damage, and hostile pickles."""

import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models
from models import SMALLEST, Made, Name, Storage, assert_same, pickled, random_tensors, tensor, write_archive, write_pt
from whisper_apr.errors import FormatError
from whisper_apr.formats import open_checkpoint
from whisper_apr.formats.openai import read_openai


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("compressed", [False, True])
def test_tensors_are_read(tmp_path: Path, dtype: type, compressed: bool) -> None:
    tensors = {name: value.astype(dtype) for name, value in random_tensors(SMALLEST, 0).items()}
    assert_same(open_checkpoint(write_pt(tmp_path / "model.pt", SMALLEST, tensors, compressed=compressed)), tensors)


def test_bfloat16(tmp_path: Path) -> None:
    tensors = random_tensors(SMALLEST, 0)
    shortened = {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in tensors.items()}
    assert_same(read_openai(write_pt(tmp_path / "model.pt", SMALLEST, tensors, bfloat16=True)), shortened)


def test_views_of_one_storage(tmp_path: Path) -> None:
    """Tensors may share a storage, with offsets and strides, and may be transposed."""
    tensors = random_tensors(SMALLEST, 0)
    numbers = np.arange(200, dtype=np.float32)
    state, data = OrderedDict(), {"all": numbers.tobytes()}
    for key, (name, value) in enumerate(tensors.items()):
        data[str(key)] = value.tobytes()
        state[name] = tensor(Storage("FloatStorage", str(key), value.size), value.shape)
    shared = Storage("FloatStorage", "all", 200)
    state["encoder.ln_post.bias"] = tensor(shared, (8,), offset=5)
    state["encoder.blocks.0.attn.key.weight"] = tensor(shared, (8, 8), offset=100, strides=(1, 8))
    content = {"dims": models.asdict(SMALLEST), "model_state_dict": state}
    read = read_openai(write_archive(tmp_path / "model.pt", pickled(content), data)).tensors
    np.testing.assert_array_equal(read["encoder.ln_post.bias"], numbers[5:13])
    np.testing.assert_array_equal(read["encoder.blocks.0.attn.key.weight"], numbers[100:164].reshape(8, 8).T)


def test_extra_content_is_ignored(tmp_path: Path) -> None:
    tensors = random_tensors(SMALLEST, 0)
    more = tensors | {"decoder.mask": np.zeros((5, 5), np.float32), "step": np.zeros((), np.int64)}
    path = write_pt(tmp_path / "model.pt", SMALLEST, more, alignment_heads=[[1, 0], [9, 9], "x"], epoch=3)
    checkpoint = read_openai(path)
    assert_same(checkpoint, tensors)
    assert checkpoint.alignment_heads == ((1, 0),)


# ---- incomplete -----------------------------------------------------------------------------------------------------


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    tensors = random_tensors(SMALLEST, 0)
    del tensors["decoder.blocks.1.cross_attn.key.weight"], tensors["encoder.conv2.bias"]
    with pytest.raises(
        FormatError, match=r"missing: encoder\.conv2\.bias, decoder\.blocks\.1\.cross_attn\.key\.weight;"
    ):
        read_openai(write_pt(tmp_path / "model.pt", SMALLEST, tensors))


def test_many_missing_tensors_are_counted(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"encoder\.conv1\.weight.* and \d+ more"):
        read_openai(write_pt(tmp_path / "model.pt", SMALLEST, {"x": np.zeros(1, np.float32)}))


def test_tensors_of_the_wrong_shape_are_named(tmp_path: Path) -> None:
    tensors = random_tensors(SMALLEST, 0)
    tensors["decoder.ln.weight"] = np.zeros(9, np.float32)
    with pytest.raises(FormatError, match=r"decoder\.ln\.weight \(9,\) instead of \(8,\)"):
        read_openai(write_pt(tmp_path / "model.pt", SMALLEST, tensors))


def test_integer_tensors_are_named(tmp_path: Path) -> None:
    tensors = random_tensors(SMALLEST, 0) | {"decoder.ln.bias": np.zeros(8, np.int64)}
    with pytest.raises(FormatError, match=r"decoder\.ln\.bias \(int64\)"):
        read_openai(write_pt(tmp_path / "model.pt", SMALLEST, tensors))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_mels": 0}, "n_mels must be"),
        ({"n_vocab": -1}, "n_vocab must be"),
        ({"n_audio_layer": 10**9}, "n_audio_layer must be"),
        ({"n_text_ctx": "448"}, "n_text_ctx must be"),
        ({"n_text_ctx": True}, "n_text_ctx must be"),
        ({"n_audio_head": 3}, "must be a multiple of n_audio_head 3"),
        ({"n_text_state": 16}, "must be equal"),
        ({"n_audio_state": 16, "n_text_state": 16}, "wrong shape: encoder.conv1.weight"),
        ({"n_text_layer": 3}, "missing: decoder.blocks.2"),
    ],
)
def test_wrong_dimensions(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    dims = models.asdict(SMALLEST) | change
    with pytest.raises(FormatError, match=message):
        read_openai(write_pt(tmp_path / "model.pt", dims, random_tensors(SMALLEST, 0)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no 'dims'"),
        ({"model_state_dict": {}}, "no 'dims'"),
        ({"dims": models.asdict(SMALLEST)}, "no 'model_state_dict'"),
        ({"dims": models.asdict(SMALLEST), "model_state_dict": [1]}, "no 'model_state_dict'"),
        ({"dims": {}, "model_state_dict": {}}, "n_mels must be"),
    ],
)
def test_not_a_checkpoint(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_openai(write_archive(tmp_path / "model.pt", pickled(content), {}))


# ---- damaged --------------------------------------------------------------------------------------------------------


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    whole = write_pt(tmp_path / "whole.pt", SMALLEST, random_tensors(SMALLEST, 0)).read_bytes()
    path = tmp_path / "cut.pt"
    for length in range(0, len(whole), 1 + len(whole) // 100):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"cut\.pt"):
            open_checkpoint(path)


def test_damaged_bytes_are_an_error_or_change_values(tmp_path: Path) -> None:
    whole = bytearray(write_pt(tmp_path / "whole.pt", SMALLEST, random_tensors(SMALLEST, 0)).read_bytes())
    path = tmp_path / "damaged.pt"
    for place in np.random.default_rng(0).integers(0, len(whole), 100):
        damaged = whole.copy()
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            assert open_checkpoint(path).dims
        except FormatError as error:
            assert "damaged.pt" in str(error)  # noqa: PT017  # either is right


@pytest.mark.parametrize(
    "description",
    [
        tensor(Storage("FloatStorage", "0", 4), (5,)),
        tensor(Storage("FloatStorage", "0", 4), (2,), offset=3),
        tensor(Storage("FloatStorage", "0", 4), (2, 2), strides=(3, 1)),
        tensor(Storage("FloatStorage", "0", 4), (2,), strides=(-1,)),
        tensor(Storage("FloatStorage", "0", 4), (2**40, 2**40), strides=(0, 1)),
        tensor(Storage("FloatStorage", "0", 4), (2,), strides=(1, 1)),
        tensor(Storage("FloatStorage", "0", 10**12), (4,)),
        tensor(Storage("FloatStorage", "0", -4), (4,)),
        tensor(Storage("FloatStorage", "elsewhere", 4), (4,)),
        tensor(Storage("FloatStorage", "../../0", 4), (4,)),
        Made(Name("torch._utils", "_rebuild_tensor_v2"), "no storage", 0, (1,), (1,)),
        Made(Name("torch._utils", "_rebuild_tensor_v2")),
    ],
)
def test_tensors_beyond_their_data(tmp_path: Path, description: Made) -> None:
    content = {"dims": models.asdict(SMALLEST), "model_state_dict": {"encoder.conv1.weight": description}}
    with pytest.raises(FormatError, match=r"model\.pt"):
        read_openai(write_archive(tmp_path / "model.pt", pickled(content), {"0": bytes(16)}))


def test_zip_bomb(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "model.pt", pickled({}), {"0": bytes(50 << 20)}, compressed=True)
    assert path.stat().st_size < 100_000
    with pytest.raises(FormatError, match="unpack to far more than"):
        read_openai(path)


def test_member_larger_than_the_file(tmp_path: Path) -> None:
    """zipfile alone would allocate 2 GB for it."""
    path = write_archive(tmp_path / "model.pt", pickled({}), {})
    raw = path.read_bytes()
    entry = raw.index(b"PK\x01\x02")  # of the central directory's first entry, data.pkl
    path.write_bytes(raw[: entry + 20] + (2**31 - 1).to_bytes(4, "little") + raw[entry + 24 :])
    with pytest.raises(FormatError, match="a member is larger than the file"):
        read_openai(path)


def test_other_zip_file(tmp_path: Path) -> None:
    path = tmp_path / "book.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(FormatError, match=r"not one that torch\.save wrote"):
        open_checkpoint(path)


def test_big_endian_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({}))
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(FormatError, match="big-endian"):
        read_openai(path)


# ---- hostile --------------------------------------------------------------------------------------------------------


def attacks(proof: Path) -> dict[str, bytes]:
    """Return pickles that create a file if they are executed."""
    command, python = f"touch {proof}", f"open({str(proof)!r}, 'w')"
    attacks = {
        f"{module}.{name}": pickled(Made(Name(module, name), *arguments))
        for module, name, arguments in (
            ("os", "system", (command,)),
            ("posix", "system", (command,)),
            ("nt", "system", (command,)),
            ("subprocess", "run", (["touch", str(proof)],)),
            ("builtins", "eval", (python,)),
            ("builtins", "exec", (python,)),
            ("builtins", "open", (str(proof), "w")),
            ("__builtin__", "eval", (python,)),
            ("io", "open", (str(proof), "w")),
            ("pathlib", "Path.touch", (proof.name,)),
            ("torch.hub", "load", (str(proof),)),
            ("torch", "os.system", (command,)),
            ("torch", "load", (str(proof),)),
            ("torch._utils", "os.system", (command,)),
            ("numpy", "save", (str(proof), 1)),
            ("collections", "OrderedDict.__init__.__globals__", ()),
        )
    }
    # an opcode that creates an object from the name of its class, without a call
    attacks["INST"] = b"(S'" + command.encode() + b"'\nios\nsystem\n."
    attacks["STACK_GLOBAL"] = (
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command.encode() + b"\x85R."
    )
    attacks["an extension's number"] = b"\x80\x02\x82\x01."
    # allowed globals, misused
    attacks["BUILD"] = pickled(Made(Name("collections", "OrderedDict"), [("a", Made(Name("os", "system"), command))]))
    return attacks


@pytest.mark.parametrize("attack", attacks(Path("proof")))
def test_hostile_pickle_is_not_executed(tmp_path: Path, attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    proof = tmp_path / "proof"
    path = write_archive(tmp_path / "model.pt", attacks(proof)[attack], {})
    with pytest.raises(FormatError, match=r"model\.pt"):
        open_checkpoint(path)
    assert not proof.exists()


@pytest.mark.skipif(os.name != "posix", reason="the proof is made by touch")
def test_the_attack_works_with_pickle(tmp_path: Path) -> None:
    """The test above can fail: pickle itself executes these bytes."""
    proof = tmp_path / "proof"
    pickle.loads(attacks(proof)["os.system"])
    assert proof.exists()


def test_refused_global_is_named(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "model.pt", pickled(Made(Name("os", "system"), "true")), {})
    with pytest.raises(FormatError, match=r"asks for os\.system, which no checkpoint needs; it was not run"):
        read_openai(path)


def test_pickle_imports_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap_for_pickles.py").write_text("def f(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = write_archive(tmp_path / "model.pt", pickled(Made(Name("trap_for_pickles", "f"))), {})
    with pytest.raises(FormatError, match=r"trap_for_pickles\.f"):
        open_checkpoint(path)
    assert "trap_for_pickles" not in sys.modules
