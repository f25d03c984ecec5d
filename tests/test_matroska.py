"""Matroska as ffmpeg writes it to a pipe."""

import io
import struct
from typing import Any

import numpy as np
import pytest

from matroska_files import block, cluster, element, matroska, unknown
from whisper_apr.audio.matroska import timed_blocks


def read(content: bytes) -> list[tuple[float, int, Any]]:
    return list(timed_blocks(io.BytesIO(content)))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8000, 44_100, 192_000])
def test_block_times(rate: int, channels: int) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (500, channels)).astype("<f4")
    blocks = read(matroska([(0.0, x[:100]), (1.5, x[100:300]), (40.25, x[300:])], rate, channels))
    assert [(seconds, rate_) for seconds, rate_, _ in blocks] == [(0.0, rate), (1.5, rate), (40.25, rate)]
    np.testing.assert_array_equal(np.concatenate([samples for *_, samples in blocks]), x)


def test_unknown_elements_are_skipped() -> None:
    x = np.ones((10, 1), "<f4")
    content = matroska([(0.0, x)], 16_000, 1)
    at = content.index(bytes.fromhex("1f43b675"))
    content = content[:at] + element(0xEC, bytes(300)) + element(0x1254C367, b"tags") + content[at:]
    assert len(read(content)) == 1


def test_clusters_of_unknown_size_and_blocks_in_groups() -> None:
    x = np.ones((10, 1), "<f4")
    head = matroska([], 16_000, 1)
    plain = element(0xE7, b"\5") + element(0xA0, element(0xA1, b"\x81" + struct.pack(">hB", 7, 0) + x.tobytes()))
    ((seconds, rate, samples),) = read(head + unknown(0x1F43B675) + plain)
    assert (seconds, rate) == (0.012, 16_000)
    np.testing.assert_array_equal(samples, x)


def test_timestamp_scale() -> None:
    x = np.ones((10, 1), "<f4")
    content = element(0x1549A966, element(0x2AD7B1, (1000).to_bytes(3, "big"))) + cluster(5000, [block(0, x)])
    assert read(content)[0][0] == 0.005


def test_truncation_raises_no_error() -> None:
    x = np.ones((100, 2), "<f4")
    content = matroska([(0.0, x), (1.0, x)], 16_000, 2)
    numbers = [len(read(content[:n])) for n in range(len(content) + 1)]
    assert numbers[-1] == 2
    assert sorted(numbers) == numbers


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        bytes(1000),
        b"\xff" * 1000,
        b"\xa3\x08" + b"\xff" * 8,
        element(0xA3, b"\x81"),
        element(0xB5, b"\1\2\3"),
    ],
)
def test_other_data(content: bytes) -> None:
    assert read(content) == []


def test_oversized_element_is_not_read() -> None:
    assert read(b"\xa3" + b"\x01" + (1 << 50).to_bytes(7, "big") + bytes(100)) == []


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 0), (0, 1), (float("nan"), 1), (float("inf"), 1), (-1, 1)])
def test_invalid_headers(rate: Any, channels: int) -> None:
    assert read(matroska([(0.0, np.ones((10, 1), "<f4"))], rate, channels)) == []
