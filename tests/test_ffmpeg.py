"""Decoding with ffmpeg: formats, and protection from files that name other files.

tests/test_ffmpeg_process.py has the tests of the process.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import whisper_apr
from whisper_apr.audio import SAMPLE_RATE, ffmpeg, load_audio
from whisper_apr.audio.containers import AudioFile
from whisper_apr.errors import AudioError, AudioWarning

pytestmark = pytest.mark.system

HAS_FFMPEG = shutil.which("ffmpeg") is not None
needs_ffmpeg = pytest.mark.skipif(not HAS_FFMPEG, reason="the program ffmpeg is not on PATH")


def make(path: Path, options: str) -> Path:
    """Make a file with ffmpeg."""
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *options.split(), str(path)], check=True)
    return path


TONE = "-f lavfi -i sine=440:duration=3"
KINDS = {
    "m4a": "-c:a aac",
    "mp4": "-c:a aac",
    "mov": "-c:a alac",
    "mkv": "-c:a flac",
    "webm": "-c:a opus -strict -2",
    "flv": "-c:a aac",
    "ts": "-c:a mp2",
    "mpg": "-c:a mp2",
    "avi": "-c:a mp2",
    "wma": "-c:a wmav2",
    "aac": "-c:a aac",
    "ac3": "-c:a ac3",
    "tta": "-c:a tta",
    "wv": "-c:a wavpack",
    "nut": "-c:a pcm_s16le",
}


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that makes three seconds of a tone in a format."""
    folder = tmp_path_factory.mktemp("tones")

    def file(kind: str) -> Path:
        path = folder / f"tone.{kind}"
        return path if path.exists() else make(path, f"{TONE} {KINDS[kind]}")

    return file


# ---- decoding -------------------------------------------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize("kind", KINDS)
def test_every_format(kind: str, tone: Any) -> None:
    """From a path, bytes and a file, with the index at the end or not."""
    path = tone(kind)
    ((rate, _),) = {(rate, block.shape[1]) for rate, block in AudioFile(path).blocks()}
    assert rate == (48_000 if kind == "webm" else 44_100)  # the recording's own rate
    samples = load_audio(path)
    assert len(samples) == pytest.approx(3 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)
    t = np.arange(5000, 40_000)
    level = abs(np.exp(-2j * np.pi * 440 / SAMPLE_RATE * t) @ samples[5000:40_000]) / 17_500
    assert level == pytest.approx(0.125, rel=0.02)  # of lavfi's tone
    content = path.read_bytes()
    np.testing.assert_array_equal(load_audio(content), samples)
    np.testing.assert_array_equal(load_audio(io.BytesIO(content)), samples)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), samples)


@needs_ffmpeg
def test_standard_input(tone: Any) -> None:
    """A pipe, with the index at the end of the file."""
    path = tone("m4a")
    code = "import sys; from whisper_apr import load_audio; print(len(load_audio(sys.stdin.buffer)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(whisper_apr.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], input=path.read_bytes(), capture_output=True, env=environment, check=True
    )
    assert int(done.stdout) == len(load_audio(path))


@needs_ffmpeg
def test_channels_are_mixed_as_in_other_formats(tmp_path: Path) -> None:
    """ffmpeg's own downmix makes two equal channels 1.41 times as loud."""
    path = make(tmp_path / "x.mkv", f"{TONE} -ac 2 -c:a pcm_s16le")
    wave_file = make(tmp_path / "x.wav", f"{TONE} -ac 2 -c:a pcm_s16le")
    np.testing.assert_array_equal(load_audio(path), load_audio(wave_file))
    np.testing.assert_array_equal(load_audio(path, channel="each"), load_audio(wave_file, channel="each"))


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov"])
def test_a_track_that_begins_later_keeps_its_time(kind: str, tmp_path: Path) -> None:
    film = "-f lavfi -i testsrc=duration=6:size=32x32:rate=5 -itsoffset 2 -f lavfi -i sine=440:duration=3"
    samples = load_audio(
        make(
            tmp_path / f"x.{kind}",
            f"{film} -c:v mpeg4 -c:a pcm_s16le" if kind != "mp4" else f"{film} -c:v mpeg4 -c:a aac",
        )
    )
    loud = np.flatnonzero(np.abs(samples) > 0.05)
    assert loud[0] / SAMPLE_RATE == pytest.approx(2, abs=0.03)
    assert loud[-1] / SAMPLE_RATE == pytest.approx(5, abs=0.03)


@needs_ffmpeg
def test_tracks(tmp_path: Path) -> None:
    path = make(
        tmp_path / "x.mp4", "-f lavfi -i sine=440:duration=3 -f lavfi -i sine=880:duration=2 -map 0 -map 1 -c:a aac"
    )
    for track, seconds, hertz in ((None, 3, 440), (0, 3, 440), (1, 2, 880)):
        samples = load_audio(path, track=track)
        assert len(samples) / SAMPLE_RATE == pytest.approx(seconds, abs=0.05)
        assert np.argmax(np.abs(np.fft.rfft(samples[:16_000]))) == hertz
    with pytest.raises(AudioError, match=r"x\.mp4: no audio track 2; there are 2, counted from 0"):
        load_audio(path, track=2)


@needs_ffmpeg
def test_video_without_audio(tmp_path: Path) -> None:
    path = make(tmp_path / "x.mp4", "-f lavfi -i testsrc=duration=1:size=32x32:rate=5 -c:v mpeg4")
    for track in (None, 0):
        with pytest.raises(AudioError, match=r"x\.mp4: no audio track in it"):
            load_audio(path, track=track)


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["mkv", "mp4", "mov"])
def test_truncated_file(kind: str, tone: Any, tmp_path: Path) -> None:
    path = make(tmp_path / f"x.{kind}", f"-i {tone(kind)} -c copy" + (" -movflags faststart" if kind != "mkv" else ""))
    content = path.read_bytes()
    cut = content[: len(content) * 6 // 10]
    with pytest.warns(AudioWarning, match="damaged; ffmpeg says: ") as told:
        samples = load_audio(cut)
    assert len(told) == 1
    assert 0.5 * SAMPLE_RATE < len(samples) < 2.5 * SAMPLE_RATE
    with pytest.raises(AudioError, match="damaged; ffmpeg says: "):
        load_audio(cut, strict=True)


@needs_ffmpeg
def test_missing_index(tone: Any) -> None:
    content = tone("m4a").read_bytes()
    with pytest.raises(AudioError, match="the recording: ffmpeg cannot decode it: moov atom not found"):
        load_audio(content[: len(content) // 2])


@needs_ffmpeg
@pytest.mark.parametrize("name", ["-i.mkv", "http:x.mkv", "concat:a|b.mkv", "%d.mkv", "pipe:0", "x'y\"z.mkv"])
def test_file_names_that_look_like_options_or_protocols(
    name: str, tone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(tone("mkv"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(load_audio(name), load_audio(tone("mkv")))


@needs_ffmpeg
def test_silence_is_limited_by_the_file_size(tmp_path: Path) -> None:
    """A packet's timestamp is days later."""
    path = make(tmp_path / "x.mkv", f"{TONE} -c:a pcm_s16le -af asetpts=PTS+gt(T\\,1)*50000/TB")
    with pytest.warns(AudioWarning, match=r"its timestamps jump by \d+\.\d\d s at 1\.\d\d s"):
        assert len(load_audio(path)) == pytest.approx(3 * SAMPLE_RATE, abs=1000)


# ---- files that name other files ------------------------------------------------------------------------------------

SECRET_HERTZ = 1000


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a file in several formats, to which other files refer."""
    folder = tmp_path_factory.mktemp("secret")
    sound = np.sin(2 * np.pi * SECRET_HERTZ * np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE)
    soundfile.write(folder / "secret.wav", sound, SAMPLE_RATE)
    for kind, options in (("ts", "-c:a mp2"), ("mp4", "-c:a aac"), ("m4s", "-c:a aac -f mp4")):
        make(folder / f"secret.{kind}", f"-i {folder}/secret.wav {options}")
    return folder


def playlists(folder: Path) -> dict[str, bytes]:
    """Return files that name the secret one, in every way in which a demuxer of ffmpeg may open others."""
    ts, mp4 = folder / "secret.ts", folder / "secret.mp4"
    texts = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{ts}\n#EXT-X-ENDLIST\n",
        "hls, by its protocol": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:{ts}\n#EXT-X-ENDLIST\n",
        "hls, master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{folder}/list.m3u8\n",
        "hls, map": f'#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="{mp4}"\n#EXTINF:2,\n{mp4}\n#EXT-X-ENDLIST\n',
        "hls, concat:": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nconcat:{ts}|{ts}\n#EXT-X-ENDLIST\n",
        "hls, subfile:": f"#EXTM3U\n#EXTINF:2,\nsubfile,,start,0,end,0,,:{ts}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{ts}'\n",
        "concat, by its protocol": f"ffconcat version 1.0\nfile 'file:{ts}'\n",
        "concat, without a head": f"file '{ts}'\nfile '{ts}'\n",
        "dash": textwrap.dedent(f"""\
            <?xml version="1.0"?>
            <MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"
              minBufferTime="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>
              <AdaptationSet mimeType="audio/mp4">
              <Representation id="1" bandwidth="9999"><BaseURL>file://{folder}/</BaseURL><SegmentList duration="2">
              <SegmentURL media="secret.m4s"/></SegmentList></Representation></AdaptationSet></Period></MPD>"""),
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "vobsub": "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n"
        f"timestamp: 00:00:00:000, filepos: 0\n# {mp4}\n",
        "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
        f"<Id>{mp4}</Id></CompositionPlaylist>",
        "m3u": f"{ts}\n",
        "pls": f"[playlist]\nFile1={ts}\nNumberOfEntries=1\n",
        "cue": f'FILE "{folder}/secret.wav" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n',
        "asx": f'<asx version="3.0"><entry><ref href="{mp4}"/></entry></asx>',
        "smil": f'<smil><body><audio src="{mp4}"/></body></smil>',
        "a name alone": str(folder / "secret.wav"),
        "image sequence": str(folder / "secret%d.png"),
        "ffmetadata": f";FFMETADATA1\ntitle={mp4}\n",
    }
    return {name: text.encode() for name, text in texts.items()}


def quick_time_reference(folder: Path) -> bytes:
    """Return a QuickTime file whose samples are in another file: its data reference is an alias with a path."""
    content = bytearray((folder / "secret.mp4").read_bytes())
    at = content.index(b"dref")
    path = str(folder / "secret.mp4").encode()
    kind = (2).to_bytes(2, "big") + len(path).to_bytes(2, "big") + path + bytes(len(path) % 2)
    alias = bytes(4) + bytes(150) + kind + b"\xff\xff\0\0"
    entry = (len(alias) + 12).to_bytes(4, "big") + b"alis" + bytes(4) + alias
    old = content[at + 12 :][:12]
    assert old[4:8] == b"url "
    grown = len(entry) - 12
    content[at + 12 : at + 24] = entry
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        i = content.index(name) - 4
        content[i : i + 4] = (int.from_bytes(content[i : i + 4], "big") + grown).to_bytes(4, "big")
    i = content.index(b"mdat")
    size = int.from_bytes(content[i - 4 : i], "big")
    content[i + 4 : i + size - 4] = bytes(size - 8)  # the samples in this file are silence
    return bytes(content)


def level_of_secret(samples: Any) -> float:
    n = len(samples)
    return float(abs(np.exp(-2j * np.pi * SECRET_HERTZ / SAMPLE_RATE * np.arange(n)) @ samples) / n * 2) if n else 0.0


def decoded_by(command: list[str], content: bytes) -> tuple[Any, bytes]:
    """Return a command's output for a standard input, at most three seconds of samples, and its messages."""
    output = ["-t", "3", "-f", "f32le", "-ac", "1", "-ar", "16000", "pipe:1"]
    done = subprocess.run([*command, *output], input=content, capture_output=True, check=False, timeout=60)
    return np.nan_to_num(np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], "<f4")), done.stderr


@needs_ffmpeg
@pytest.mark.parametrize(("name", "options"), [("hls", ""), ("concat", "-safe 0"), ("dash", "")])
def test_ffmpeg_alone_opens_the_secret(name: str, options: str, secret: Path) -> None:
    """The playlists work: without our options, this ffmpeg decodes the secret file."""
    (secret / "list.m3u8").write_bytes(playlists(secret)[name])
    command = f"ffmpeg -nostdin -v error {options} -i {secret / 'list.m3u8'}"
    assert level_of_secret(decoded_by(command.split(), b"")[0]) > 0.5


@needs_ffmpeg
@pytest.mark.parametrize("name", playlists(Path("x")))
def test_no_other_file_is_opened(name: str, secret: Path, tmp_path: Path) -> None:
    content = playlists(secret)[name]
    path = tmp_path / f"list.{name.partition(',')[0].replace(' ', '_')}"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(AudioError):
            load_audio(source)


@needs_ffmpeg
def test_quicktime_external_reference(secret: Path) -> None:
    """ffmpeg follows the reference if it is allowed to."""
    (secret / "reference.mov").write_bytes(quick_time_reference(secret))
    command = f"ffmpeg -nostdin -v error -enable_drefs 1 -use_absolute_path 1 -i {secret / 'reference.mov'}"
    assert level_of_secret(decoded_by(command.split(), b"")[0]) > 0.5
    for source in (secret / "reference.mov", quick_time_reference(secret)):
        with pytest.raises(AudioError, match="ffmpeg cannot decode it"):
            load_audio(source)


@needs_ffmpeg
def test_error_for_a_playlist(secret: Path) -> None:
    for name in ("hls", "concat"):
        with pytest.raises(
            AudioError, match="a playlist, or another format that may refer to other files, which are not opened"
        ):
            load_audio(playlists(secret)[name])


# Demuxers that open files named in a file (or devices, or the network), in FFmpeg up to version 9.
NESTED = {
    *(
        "concat",
        "dash",
        "hls",
        "hls,applehttp",
        "imf",
        "image2",
        "image2pipe",
        "vobsub",
        "sdp",
        "rtp",
        "rtsp",
        "sap",
        "mpjpeg",
    ),
    *(
        "webm_dash_manifest",
        "lavfi",
        "tty",
        "tedcaptions",
        "libopenmpt",
        "libgme",
        "libmodplug",
        "avisynth",
        "vapoursynth",
    ),
    *(
        "alsa",
        "oss",
        "pulse",
        "jack",
        "openal",
        "sndio",
        "fbdev",
        "kmsgrab",
        "x11grab",
        "xcbgrab",
        "video4linux2",
        "v4l2",
    ),
    *("libcdio", "libdc1394", "iec61883", "android_camera", "avfoundation", "dshow", "gdigrab", "decklink", "bktr"),
    *("ffmetadata", "bin", "xbin", "adf", "idf", "rcwt", "srt", "ass", "webvtt", "lrc", "sami", "realtext", "smi"),
}


def installed_demuxers() -> list[str]:
    listed = subprocess.run(["ffmpeg", "-hide_banner", "-demuxers"], capture_output=True, text=True, check=True).stdout
    lines = listed.partition("---\n")[2] or listed.partition("--\n")[2]
    return [found.group(1) for found in re.finditer(r"(?m)^ +D[d ]* +(\S+)", lines)]


@needs_ffmpeg
def test_every_installed_demuxer_is_classified(secret: Path) -> None:
    """Demuxers that open other files are refused, and the most common allowed ones do not accept a playlist."""
    allowed = set(ffmpeg.DEMUXERS.split(","))
    assert not allowed & NESTED
    installed = installed_demuxers()
    assert len(installed) > 50
    inside = [names for names in installed if allowed & set(names.split(","))]
    assert not [names for names in inside if set(names.split(",")) & NESTED]
    outside = [names for names in installed if names not in inside]
    assert {"concat", "hls"} <= set(outside)
    command = ffmpeg._command("ffmpeg", "-v", "error")
    at = command.index("-format_whitelist")

    def forced(names: str) -> tuple[str, float, bool]:
        demuxer = names.split(",")[0]
        samples, messages = decoded_by([*command[:at], "-f", demuxer, *command[at:]], playlists(secret)["hls"])
        return names, level_of_secret(samples), b"whitelist" in messages

    with ThreadPoolExecutor(8) as pool:
        usual = [
            names
            for names in inside
            if names.split(",")[0] in ("aac", "avi", "matroska", "mov", "mp3", "mpegts", "ogg")
        ]
        for names, level, refused in pool.map(forced, [*usual, *(names for names in outside if names in NESTED)]):
            assert level < 0.3, names
            assert refused == (names in outside), names


@needs_ffmpeg
@pytest.mark.parametrize("name", ["hls", "concat", "dash"])
def test_protocols_open_no_other_file(name: str, secret: Path) -> None:
    """Even if a demuxer were allowed by mistake."""
    command = ffmpeg._command("ffmpeg", "-v", "error")
    at = command.index("-format_whitelist")
    samples, _ = decoded_by(command[:at] + command[at + 2 :], playlists(secret)[name])
    assert not len(samples)
