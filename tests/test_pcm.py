"""Plain samples in AIFF, CAF and AU: the package's own reader gives the samples of libsndfile."""

import io
import struct

import numpy as np
import pytest
import soundfile

from whisper_apr.audio import load_audio, pcm
from whisper_apr.audio.containers import AudioFile

SUBTYPES = {
    "AIFF": ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"],
    "CAF": ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"],
    "AU": ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"],
    "WAV": ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"],
}
CASES = [
    (format, subtype, endian)
    for format, subtypes in SUBTYPES.items()
    for subtype in subtypes
    for endian in ("BIG", "LITTLE")
    if soundfile.check_format(format, subtype, endian)
]


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    noise = np.random.default_rng(3).uniform(-1, 1, (3001, 2))
    return np.round(noise * 127) / 128  # exact in every format


@pytest.mark.parametrize(("format", "subtype", "endian"), CASES)
def test_samples_equal_those_of_libsndfile(sound, monkeypatch, format, subtype, endian):
    file = io.BytesIO()
    soundfile.write(file, sound, 22050, subtype, endian, format)
    expected, rate = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    by_package = load_audio(file.getvalue())
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)  # the file is read without it
    blocks = list(AudioFile(file.getvalue()).blocks())
    assert {each for each, _ in blocks} == {rate}
    assert np.array_equal(load_audio(np.concatenate([block for _, block in blocks]), sampling_rate=rate), by_package)
    assert np.array_equal(load_audio(expected, sampling_rate=rate), by_package)


def test_compressed_and_short_headers_are_left_to_libsndfile():
    rate = struct.pack(">HQ", 16383 + 13, 16000 << 50)
    plain = struct.pack(">HIH", 1, 10, 16) + rate
    assert pcm.from_aiff(plain, False) == (struct.pack(">HHIIHH", 1, 1, 16000, 0, 2, 16), ">")
    assert pcm.from_aiff(plain + b"sowt", True) == (struct.pack("<HHIIHH", 1, 1, 16000, 0, 2, 16), "<")
    assert pcm.from_aiff(plain + b"ulaw", True) is None
    assert pcm.from_aiff(plain[:-1], False) is None
    assert pcm.from_aiff(plain[:8] + b"\x7f\xff" + plain[10:], False) is None  # a rate out of range
    assert pcm.from_aiff(struct.pack(">HIH", 0, 10, 16) + rate, False) is None
    desc = struct.pack(">d4sIIIII", 16000.0, b"lpcm", 0, 2, 1, 1, 16)
    assert pcm.from_caf(desc) == (struct.pack(">HHIIHH", 1, 1, 16000, 0, 2, 16), ">")
    assert pcm.from_caf(desc[:8] + b"aac " + desc[12:]) is None
    assert pcm.from_caf(desc[:-1]) is None
    assert pcm.from_caf(struct.pack(">d", float("nan")) + desc[8:]) is None
    assert pcm.from_au(struct.pack(">4sIIIII", b".snd", 24, 0, 1, 8000, 1)) is None  # mu-law
