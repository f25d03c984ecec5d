"""The readers to fuzz. To add one, append to READERS how to create small files of its format, and how to open one.

Checksums would reject nearly every mutation. A format may therefore define how to split a file into parts and join them
with valid checksums; in half of the files only one part is mutated.
"""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ct2_files import write_ct2
from ggml_files import write_ggml
from models import (
    ODD,
    SMALLEST,
    SPOKEN,
    WORDS,
    huggingface_name,
    random_checkpoint,
    random_tensors,
    vocab_json,
    write_huggingface,
    write_pt,
)
from trainer_files import Fields, write_adapter, write_bin, write_pt_with
from whisper_apr import simd
from whisper_apr.checkpoint import EMBEDDING, OUTPUT, expected_shapes, make_checkpoint
from whisper_apr.formats import Checkpoint, ModelDimensions, open_checkpoint
from whisper_apr.formats.apr import AprStream, write_apr
from whisper_apr.formats.apr.v1 import parse_apr_v1, write_apr_v1
from whisper_apr.formats.special_tokens import find_special_tokens
from whisper_apr.simd import PackedMatrix, QuantizedWeight
from whisper_apr.tokenizer.bpe import pack_vocabulary
from whisper_apr.tokenizer.special_tokens import special_names


@dataclass(frozen=True)
class Parts:
    """How to split a file into parts, and join them with valid checksums."""

    split: Callable[[bytes], list[bytes]]  # of a valid file
    join: Callable[[list[bytes]], bytes]


@dataclass(frozen=True)
class Reader:
    """A reader to fuzz."""

    name: str
    seeds: Callable[[Path], Sequence[Path]]  # writes valid files, or folders of files, into the given folder
    open: Callable[[Path], object]  # opens one and reads all of it; FormatError is the only error allowed
    parts: Parts | None = None


def look_at(checkpoint: Checkpoint) -> None:
    """Convert every tensor to floats, one at a time."""
    for name in checkpoint.tensors:
        tensor = checkpoint.tensors[name]
        plain = tensor.unpack() if isinstance(tensor, PackedMatrix) else tensor
        if isinstance(plain, QuantizedWeight):
            plain.dequantize()


def open_and_look(path: Path) -> None:
    look_at(open_checkpoint(path))


# ---- .apr -----------------------------------------------------------------------------------------------------------


def _unusual() -> Checkpoint:
    """Return a model with tokens behind the timestamps, and an output projection of its own."""
    dims = replace(SMALLEST, n_vocab=SPOKEN.n_vocab + 3)
    special = find_special_tokens(_added_tokens(), set(), {}, dims.n_vocab, len(WORDS), "here")
    tensors = random_tensors(dims, 0)
    checkpoint = make_checkpoint(dims, tensors | {OUTPUT: tensors[EMBEDDING] + 1}, "here")
    return replace(checkpoint, vocabulary=pack_vocabulary(WORDS), special_tokens=special)


def _added_tokens() -> dict[str, int]:
    names = [*special_names(2), " Küste", "<|speaker|>"]
    return vocab_json() | {name: len(WORDS) + i for i, name in enumerate(names)}


def _apr_seeds(folder: Path) -> list[Path]:
    small = random_checkpoint(SMALLEST)
    other = replace(random_checkpoint(replace(SMALLEST, n_vocab=SPOKEN.n_vocab)), vocabulary=pack_vocabulary(WORDS))
    paths = []
    for i, (model, dtype, compress) in enumerate(
        [(small, "float32", False), (other, "int8", False), (random_checkpoint(ODD), "int4", False),
         (random_checkpoint(ODD), "int8", True), (small, "float16", True), (_unusual(), "float16", False)]
    ):  # fmt: skip
        paths.append(folder / f"{i}.apr")
        write_apr(model, paths[-1], dtype, compress)
    return paths


_APR_SIZES = "<4sHHIIIIQQQIIII"


def _apr_split(raw: bytes) -> list[bytes]:
    """Split into flags and data length, JSON header, block table and data."""
    _, _, _, flags, _, n_block, n_json, n_data, begin, *_ = struct.unpack(_APR_SIZES, raw[:64])
    table = 64 + n_json
    return [struct.pack("<IQ", flags, n_data), raw[64:table], raw[table : table + 8 * n_block], raw[begin:]]


def _apr_join(parts: list[bytes]) -> bytes:
    sizes, text, table, data = parts
    flags, n_data = struct.unpack("<IQ", sizes[:12].ljust(12, b"\0"))
    begin = -(-(64 + len(text) + len(table)) // 64) * 64
    fitting, at = bytearray(table), 0
    for i in range(len(table) // 8):
        (length,) = struct.unpack_from("<I", table, 8 * i)
        block = data[at : at + (length & 0x7FFFFFFF)]
        at += len(block)
        if not length >> 31:  # the checksum of an LZ4 block is of its unpacked data
            struct.pack_into("<I", fitting, 8 * i + 4, zlib.crc32(block))
    head = struct.pack(
        _APR_SIZES[:-1], b"APR1", 2, 64, flags, 65536, len(table) // 8, len(text), n_data, begin, begin + len(data),
        zlib.crc32(text), zlib.crc32(fitting), 0,
    )  # fmt: skip
    return (head + struct.pack("<I", zlib.crc32(head)) + text + fitting).ljust(begin, b"\0") + data


def _stream(path: Path) -> None:
    raw = path.read_bytes()
    stream = AprStream("stream", length=len(raw))
    for i in range(0, len(raw), 777):
        stream.feed(raw[i : i + 777])
    stream.finish()
    look_at(stream.checkpoint)


def _v1_seeds(folder: Path) -> list[Path]:
    paths = [folder / "plain.apr", folder / "all.apr", folder / "int8.apr"]
    model = random_checkpoint(replace(SMALLEST, n_mels=3))
    spoken = random_checkpoint(replace(SMALLEST, n_mels=3, n_vocab=SPOKEN.n_vocab))
    write_apr_v1(model, paths[0])
    bank = np.ones((3, 201), np.float32)
    write_apr_v1(spoken, paths[1], vocabulary=WORDS, merges=[(b"a", b"b")], filterbank=bank)
    raw = bytearray(paths[1].read_bytes())  # converted to int8: a scale for each tensor, a byte for each number
    (n_tensor,) = struct.unpack_from("<H", raw, 9)
    raw[7] = 2
    index, data_begin, count = raw[52 : 52 + 96 * n_tensor], 52 + 96 * n_tensor, 0
    for i in range(n_tensor):
        offset, size = struct.unpack_from("<QQ", index, 96 * i + 48)
        struct.pack_into("<QQ", index, 96 * i + 48, offset // 4, size // 4)
        count += size
    rest = raw[data_begin + count : -4]
    scales = struct.pack(f"<{n_tensor}f", *[0.01] * n_tensor)
    body = raw[:52] + index + scales + bytes(range(256)) * (count // 1024) + bytes(count // 4 % 256) + rest
    paths[2].write_bytes(body + struct.pack("<I", zlib.crc32(body)))
    return paths


def _v1_split(raw: bytes) -> list[bytes]:
    (n_tensor,) = struct.unpack_from("<H", raw, 9)
    index = 52 + 96 * n_tensor
    return [raw[:52], raw[52:index], raw[index : index + 300], raw[index + 300 : -700], raw[-700:-4]]


def _v1_join(parts: list[bytes]) -> bytes:
    body = b"".join(parts)
    return body + struct.pack("<I", zlib.crc32(body))


def _open_v1(path: Path) -> None:
    content = parse_apr_v1(np.fromfile(path, np.uint8), str(path))
    for name in content.tensors:
        content.tensors[name]
    open_and_look(path)


def _lz4_seeds(folder: Path) -> list[Path]:
    import lz4.block

    rng = np.random.default_rng(0)
    plain = [bytes(3000), rng.bytes(2000), rng.integers(0, 3, 4000, dtype=np.uint8).tobytes(), b"abcdefg" * 300]
    paths = []
    for i, data in enumerate(plain):
        paths.append(folder / f"{i}.{len(data)}.lz4")
        paths[-1].write_bytes(lz4.block.compress(data, store_size=False))
    return paths


def _open_lz4(path: Path) -> None:
    for size in (2000, 2100, 3000, 4000):
        target = bytearray(size + 32)
        simd.lz4_decode(memoryview(path.read_bytes()), memoryview(target)[16:-16])
        if any(target[:16]) or any(target[-16:]):
            raise AssertionError("the decoder wrote outside of its target")


# ---- others ---------------------------------------------------------------------------------------------------------


def _openai_seeds(folder: Path) -> list[Path]:
    tensors = random_tensors(SMALLEST, 0)
    half = {name: value.astype(np.float16) for name, value in tensors.items()}
    return [
        write_pt(folder / "32.pt", SMALLEST, tensors),
        write_pt(folder / "16.pt", SMALLEST, half, alignment_heads=[(0, 1)]),
        write_pt(folder / "b16.pt", SMALLEST, tensors, bfloat16=True),
        write_pt(folder / "deflated.pt", SMALLEST, tensors, compressed=True),
        write_pt_with(folder / "object.pt", Fields("whisper.model", "ModelDimensions", **asdict(SMALLEST))),
    ]


def _openai_split(raw: bytes) -> list[bytes]:
    """Return only the pickle, so that the archive's checksums do not reject every mutation."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return [archive.read("archive/data.pkl")]


def _openai_join(parts: list[bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", parts[0])
        for key in range(len(expected_shapes(SMALLEST))):
            archive.writestr(f"archive/data/{key}", bytes(1100))  # enough for every tensor of SMALLEST
    return out.getvalue()


def _folder_seeds(folder: Path) -> list[Path]:
    tensors = random_tensors(SMALLEST, 0)
    for i, kind in enumerate(("float32", "float16")):
        some = {name: value.astype(kind) for name, value in tensors.items()}
        made = write_huggingface(folder / str(i), SMALLEST, some, shards=1 + i)
        (made / "generation_config.json").write_text('{"alignment_heads": [[0, 1], [1, 1]]}')
    dims = replace(SMALLEST, n_vocab=SPOKEN.n_vocab)
    for name, content in (
        ("vocab.json", vocab_json()),
        ("tokenizer.json", {"model": {"vocab": vocab_json()},
                            "added_tokens": [{"id": 260, "content": "<|startoftranscript|>"}]}),
    ):  # fmt: skip
        made = write_huggingface(folder / name, dims, random_tensors(dims, 0))
        (made / name).write_text(json.dumps(content))
        (made / "README.md").write_text("---\nlicense: mit\n---\n")
    unusual = _unusual()
    made = write_huggingface(folder / "unusual", unusual.dims, unusual.tensors)
    (made / "added_tokens.json").write_text(json.dumps(_added_tokens()))
    (made / "vocab.json").write_text(json.dumps(vocab_json()))
    settings = {"added_tokens_decoder": {"1771": {"content": "<|speaker|>", "special": True}}}
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    (made / "generation_config.json").write_text(json.dumps(
        {"lang_to_id": {"<|en|>": 261}, "task_to_id": {"transcribe": 264}, "no_timestamps_token_id": 268,
         "is_multilingual": True, "decoder_start_token_id": 260, "eos_token_id": 259}
    ))  # fmt: skip
    made = write_huggingface(folder / "prefixed", SMALLEST, {})
    (made / "model.safetensors").unlink()
    write_bin(made / "pytorch_model.bin", {f"module.{huggingface_name(name)}": tensors[name] for name in tensors})
    made = write_adapter(folder / "adapter", "base", rank_pattern={"q_proj": 2}, use_rslora=True)
    write_huggingface(made / "base", SMALLEST, tensors)
    return sorted(folder.iterdir())


def _ggml_seeds(folder: Path) -> list[Path]:
    dims = replace(SMALLEST, n_audio_state=32, n_text_state=32)
    tensors = random_tensors(dims, 0)
    for kind in ("float32", "float16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"):
        write_ggml(folder / kind, dims, tensors, kind)
    wide = ModelDimensions(4, 6, 256, 2, 1, 11, 5, 256, 2, 1)
    for kind in ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k"):
        write_ggml(folder / kind, wide, random_tensors(wide, 0), kind)
    other = replace(SMALLEST, n_vocab=SPOKEN.n_vocab)
    write_ggml(folder / "words", other, random_tensors(other, 0), words=WORDS)
    more = replace(other, n_vocab=SPOKEN.n_vocab + 2)
    added = (*WORDS, *(name.encode() for name in list(_added_tokens())[len(WORDS) :]))
    write_ggml(folder / "added", more, random_tensors(more, 0), words=added)
    return sorted(folder.iterdir())


def _ct2_seeds(folder: Path) -> list[Path]:
    tensors = random_tensors(SMALLEST, 0)
    for kind in ("float32", "float16", "bfloat16", "int16", "int8"):
        write_ct2(folder / kind, SMALLEST, tensors, kind, alignment_heads=[[0, 1], [1, 1]])
    unusual = _unusual()
    for name in ("vocabulary.json", "vocabulary.txt"):
        write_ct2(folder / name, unusual.dims, unusual.tensors, "int8", lang_ids=[261, 262])
        ids = _added_tokens()
        texts = sorted(ids, key=ids.__getitem__)
        (folder / name / name).write_text(json.dumps(texts) if name.endswith("json") else "\n".join(texts) + "\n")
    return sorted(folder.iterdir())


READERS = [
    Reader("apr", _apr_seeds, open_and_look, Parts(_apr_split, _apr_join)),
    Reader("apr-stream", _apr_seeds, _stream, Parts(_apr_split, _apr_join)),
    Reader("apr-v1", _v1_seeds, _open_v1, Parts(_v1_split, _v1_join)),
    Reader("lz4", _lz4_seeds, _open_lz4),
    Reader("openai", _openai_seeds, open_and_look, Parts(_openai_split, _openai_join)),
    Reader("huggingface", _folder_seeds, open_and_look),
    Reader("ggml", _ggml_seeds, open_and_look),
    Reader("ctranslate2", _ct2_seeds, open_and_look),
]
