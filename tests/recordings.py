"""Recordings of 1 to 90 s, made from the committed ones (joined, cut, noisy, clipped, fast, slow), and other sounds.

They use only arithmetic that rounds alike everywhere (no filter of this package, no FFT), so that committed results
stay valid.
"""

import io
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from whisper_apr.audio import SAMPLE_RATE

DATA = Path(__file__).parent / "data"

Samples = np.ndarray


@lru_cache
def speech(name: str) -> Samples:
    """Return a committed recording at 16 kHz as float32, loaded without whisper_apr."""
    import soundfile

    path = next(DATA / f"{name}.{kind}" for kind in ("wav", "flac") if (DATA / f"{name}.{kind}").exists())
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1, dtype=np.float64)
    return mono.astype(np.float32) if rate == SAMPLE_RATE else stretched(mono, rate / SAMPLE_RATE)


def stretched(samples: Samples, speed: float) -> Samples:
    """Change speed and pitch, or the rate, by linear interpolation."""
    positions = np.arange(int((len(samples) - 1) / speed)) * speed
    return np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def noise(seconds: float, level: float, seed: int = 0) -> Samples:
    """Return uniform white noise from the raw bits of PCG64."""
    bits = np.random.PCG64(seed).random_raw(round(seconds * SAMPLE_RATE))
    return (((bits >> np.uint64(40)).astype(np.float64) / 2**23 - 1) * level).astype(np.float32)


def triangle(seconds: float, hertz: float, level: float) -> Samples:
    """Return a triangle wave, a tone with overtones."""
    phase = np.arange(round(seconds * SAMPLE_RATE)) * hertz / SAMPLE_RATE % 1
    return ((np.abs(phase * 4 - 2) - 1) * level).astype(np.float32)


def join(*parts: Samples) -> Samples:
    return np.concatenate(parts)


def at(position: float, samples: Samples, seconds: float) -> Samples:
    """Place samples at a position, in seconds, within silence of a given length."""
    out = silence(seconds)
    begin = round(position * SAMPLE_RATE)
    out[begin : begin + len(samples)] = samples[: len(out) - begin]
    return out


def mixed(samples: Samples, level: float, seed: int) -> Samples:
    return samples + noise(len(samples) / SAMPLE_RATE, level, seed)


def clipped(samples: Samples, gain: float) -> Samples:
    return np.clip(samples * np.float32(gain), -1, 1)


def cut(samples: Samples, begin: float, end: float) -> Samples:
    return samples[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


def _echo() -> Samples:
    dry = join(speech("fr"), silence(0.5))
    wet = np.zeros_like(dry)
    wet[4000:] = dry[:-4000] * np.float32(0.4)
    return dry + wet


def _conversation(*names: str, pause: float, seconds: float) -> Samples:
    """Repeat recordings in turn, with pauses, for a number of seconds."""
    parts = [part for name in names for part in (speech(name), silence(pause))]
    once = join(*parts)
    return np.resize(once, round(seconds * SAMPLE_RATE))


FOUR = ("en", "de", "es", "fr")

RECORDINGS: dict[str, Callable[[], Samples]] = {
    **{
        name: lambda name=name: speech(name) for name in (*FOUR, "en_three", "en_long", "de_then_fr", "en_8k_telephone")
    },
    **{
        name: lambda name=name: speech(name)
        for name in ("en_stereo_44k", "en_noise", "en_clipped", "en_late", "silence")
    },
    # several languages, several windows
    "en_pause_de": lambda: join(speech("en"), silence(2), speech("de")),
    "es_pause_fr": lambda: join(speech("es"), silence(1), speech("fr")),
    "four_languages": lambda: join(*(speech(name) for name in FOUR)),
    "en_twice": lambda: join(speech("en"), speech("en")),
    "de_45_s": lambda: _conversation("de", pause=1.5, seconds=45),
    "es_60_s": lambda: _conversation("es", pause=0.7, seconds=60),
    "fr_33_s": lambda: _conversation("fr", pause=2.5, seconds=33),
    "four_90_s": lambda: _conversation(*FOUR, pause=1.0, seconds=90),
    "en_90_s": lambda: join(speech("en_long"), silence(90 - len(speech("en_long")) / SAMPLE_RATE)),
    # the boundary between two windows, and lengths near it
    "over_the_border": lambda: at(27.5, speech("en"), 40),
    "just_before_the_border": lambda: at(25.1, speech("de"), 31),
    "just_after_the_border": lambda: at(30.2, speech("es"), 36),
    "exactly_30_s": lambda: _conversation("en_three", pause=1.2, seconds=30),
    "a_sample_less": lambda: _conversation("en_three", pause=1.2, seconds=30)[:-1],
    "a_frame_more": lambda: _conversation("en_three", pause=1.2, seconds=30.01),
    "one_second": lambda: cut(speech("en"), 0.2, 1.2),
    "two_seconds": lambda: cut(speech("fr"), 1.0, 3.0),
    "cut_within_a_word": lambda: cut(speech("en_three"), 0.6, 6.61),
    # hard to hear
    "en_in_noise": lambda: mixed(speech("en"), 0.02, 1),
    "de_in_loud_noise": lambda: mixed(speech("de"), 0.1, 2),
    "es_under_noise": lambda: mixed(speech("es"), 0.5, 3),
    "fr_clipped": lambda: clipped(speech("fr"), 8),
    "de_clipped_hard": lambda: clipped(speech("de"), 60),
    "en_quiet": lambda: speech("en") * np.float32(0.002),
    "es_too_loud": lambda: speech("es") * np.float32(4),
    "en_offset": lambda: speech("en") + np.float32(0.1),
    "de_fast": lambda: stretched(speech("de"), 1.2),
    "fr_slow": lambda: stretched(speech("fr"), 0.85),
    "es_backwards": lambda: speech("es")[::-1].copy(),
    "fr_echo": _echo,
    "en_over_a_tone": lambda: speech("en") + triangle(len(speech("en")) / SAMPLE_RATE, 130, 0.03),
    # no speech
    "one_second_of_silence": lambda: silence(1),
    "silence_65_s": lambda: silence(65),
    "noise": lambda: noise(20, 0.3, 4),
    "faint_noise_40_s": lambda: noise(40, 0.0005, 5),
    "tone": lambda: triangle(5, 440, 0.5),
    "tone_35_s": lambda: triangle(35, 220, 0.2),
    "clicks": lambda: np.tile(np.eye(1, SAMPLE_RATE // 2, dtype=np.float32)[0], 20),
    "silence_then_noise": lambda: join(silence(8), noise(8, 0.2, 6)),
}


# ---- WAV and FLAC files ---------------------------------------------------------------------------------------------


def wav(
    samples: bytes,
    *,
    kind: int = 1,
    channels: int = 1,
    rate: int = SAMPLE_RATE,
    bits: int = 16,
    before: bytes = b"",
    after: bytes = b"",
    extensible: bool = False,
) -> bytes:
    """Return a WAV file; `before` and `after` are chunks around the samples."""
    block = channels * bits // 8
    layout = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, rate, rate * block, block, bits)
    if extensible:  # the format tag is the first bytes of a GUID
        guid = struct.pack("<H", kind) + bytes.fromhex("000000001000800000aa00389b71")
        layout += struct.pack("<HHI", 22, bits, (1 << channels) - 1) + guid
    body = chunk(b"fmt ", layout) + before + chunk(b"data", samples) + after
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def flac(samples: Samples, rate: int = SAMPLE_RATE) -> bytes:
    """Return a FLAC file of 16-bit samples."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


# chunks that a WAV file may have besides its samples
OTHER_CHUNKS = (
    chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf60.16.100\0") + chunk(b"bext", bytes(601)) + chunk(b"fact", bytes(4))
)
