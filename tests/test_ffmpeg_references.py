"""Files that name other files, which ffmpeg must not open: playlists, and references within a container."""

import re
import subprocess
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ffmpeg_files import make, needs_ffmpeg
from whisper_apr.audio import SAMPLE_RATE, ffmpeg, load_audio
from whisper_apr.errors import AudioError

pytestmark = [pytest.mark.system, needs_ffmpeg]

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


@pytest.mark.parametrize(("name", "options"), [("hls", ""), ("concat", "-safe 0"), ("dash", "")])
def test_ffmpeg_alone_opens_the_secret(name: str, options: str, secret: Path) -> None:
    """The playlists work: without our options, this ffmpeg decodes the secret file."""
    (secret / "list.m3u8").write_bytes(playlists(secret)[name])
    command = f"ffmpeg -nostdin -v error {options} -i {secret / 'list.m3u8'}"
    assert level_of_secret(decoded_by(command.split(), b"")[0]) > 0.5


@pytest.mark.parametrize("name", playlists(Path("x")))
def test_no_other_file_is_opened(name: str, secret: Path, tmp_path: Path) -> None:
    content = playlists(secret)[name]
    path = tmp_path / f"list.{name.partition(',')[0].replace(' ', '_')}"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(AudioError):
            load_audio(source)


def test_quicktime_external_reference(secret: Path) -> None:
    """ffmpeg follows the reference if it is allowed to."""
    (secret / "reference.mov").write_bytes(quick_time_reference(secret))
    command = f"ffmpeg -nostdin -v error -enable_drefs 1 -use_absolute_path 1 -i {secret / 'reference.mov'}"
    assert level_of_secret(decoded_by(command.split(), b"")[0]) > 0.5
    for source in (secret / "reference.mov", quick_time_reference(secret)):
        with pytest.raises(AudioError, match="ffmpeg cannot decode it"):
            load_audio(source)


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


@pytest.mark.parametrize("name", ["hls", "concat", "dash"])
def test_protocols_open_no_other_file(name: str, secret: Path) -> None:
    """Even if a demuxer were allowed by mistake."""
    command = ffmpeg._command("ffmpeg", "-v", "error")
    at = command.index("-format_whitelist")
    samples, _ = decoded_by(command[:at] + command[at + 2 :], playlists(secret)[name])
    assert not len(samples)
