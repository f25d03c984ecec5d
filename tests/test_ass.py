"""Advanced SubStation Alpha: the header, karaoke durations that add up, and escaped text."""

import re
import shutil
import subprocess
from typing import Any, NamedTuple

import pytest
from hypothesis import given

from whisper_apr.inference.record import changed
from whisper_apr.inference.results import Transcription, Word
from whisper_apr.output.subtitles import LineOptions, cues
from whisper_apr.output.text import clean
from written import LAYOUT, any_transcription, of_words, seen, segment, transcription, written


class Event(NamedTuple):
    start: int  # hundredths of a second
    end: int
    style: str
    syllables: list[tuple[int | None, str]]  # duration in hundredths (None: no karaoke), and text

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.syllables)


def _hundredths(stamp: str) -> int:
    match = re.fullmatch(r"(\d+):([0-5]\d):([0-5]\d)\.(\d\d)", stamp)
    assert match, stamp
    hours, minutes, seconds, hundredths = map(int, match.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 100 + hundredths


def _syllables(text: str) -> list[tuple[int | None, str]]:
    r"""Parse text as libass does: `{...}` is markup, `\{` and `\}` are braces, `\N` is a line break."""
    out: list[tuple[int | None, str]] = [(None, "")]
    while text:
        if tag := re.match(r"\{\\k(\d+)\}", text):
            out.append((int(tag[1]), ""))
            text = text[tag.end() :]
            continue
        assert text[0] != "{", text
        escaped = {"\\N": "\n", "\\{": "{", "\\}": "}"}.get(text[:2])
        if escaped is None:
            assert text[:2] not in ("\\n", "\\h"), text
        out[-1] = (out[-1][0], out[-1][1] + (escaped or text[0]))
        text = text[2:] if escaped else text[1:]
    return [part for part in out if part != (None, "")]


def read_ass(text: str) -> list[Event]:
    """Return the events of a script, checking that it is valid."""
    assert "\r" not in text
    lines = text.removesuffix("\n").split("\n")
    at = lines.index("[Events]")
    head, events = lines[:at], lines[at + 1 :]
    assert head[0] == "[Script Info]"
    assert "ScriptType: v4.00+" in head
    styles = head[head.index("[V4+ Styles]") + 1 :]
    fields = styles[0].removeprefix("Format: ").split(", ")
    assert len(fields) == 23
    named = {line.removeprefix("Style: ").split(",")[0]: line for line in styles[1:] if line}
    assert all(line.count(",") == len(fields) - 1 for line in named.values())
    assert events[0] == "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
    out = []
    for line in events[1:]:
        assert line.startswith("Dialogue: ")
        parts = line.removeprefix("Dialogue: ").split(",", 9)
        assert parts[3] in named
        event = Event(_hundredths(parts[1]), _hundredths(parts[2]), parts[3], _syllables(parts[9]))
        assert event.start < event.end
        out.append(event)
    return out


def test_segments():
    result = transcription(segment(0, 1.5, " Hello,\n {you}"), segment(3661.25, 3662, r"a\Nb --> <i>"))
    assert written(result, "ass").endswith(
        "\nDialogue: 0,0:00:00.00,0:00:01.50,Default,,0,0,0,,Hello,\\N\\{\u2060you\\}"
        "\nDialogue: 0,1:01:01.25,1:01:02.00,Default,,0,0,0,,a\\\u2060Nb --> <i>\n"
    )


def test_karaoke():
    words = Word(" Hello,", 0.5, 1, 0.9), Word(" wide", 1, 1.333, 0.9), Word(" world", 2, 2.5, 0.9)
    assert written(of_words(*words), "ass").endswith(
        ",0:00:00.50,0:00:02.50,Karaoke,,0,0,0,,{\\k50}Hello, {\\k33}wide {\\k67}{\\k50}world\n"
    )
    assert written(of_words(*words), "ass", max_line_width=11).endswith(
        "{\\k50}Hello, {\\k33}wide\\N{\\k67}{\\k50}world\n"
    )
    events = read_ass(written(of_words(*words), "ass", max_words_per_line=1))
    assert [(e.start, e.end, e.text) for e in events] == [(50, 100, "Hello,"), (100, 133, "wide"), (200, 250, "world")]


def test_speaker_name():
    result = transcription(changed(segment(0, 1, "a"), speaker="Mr X,\nY"), segment(1, 2, "b"))
    assert [line.split(",")[3:6] for line in written(result, "ass").splitlines()[-2:]] == [
        ["Default", "Mr X  Y", "0"],
        ["Default", "", "0"],
    ]


def test_words_without_duration():
    words = Word(" a", 0, 0.004, 0.9), Word(" b", 0.004, 0.5, 0.9), Word(" c", 0.5, 0.5, 0.9), Word(" d", 0.3, 0.2, 0.9)
    (event,) = read_ass(written(of_words(*words[:3]), "ass"))
    assert event[:2] == (0, 50)
    assert event.syllables == [(0, "a "), (50, "b "), (0, "c")]
    (event,) = read_ass(written(of_words(*words), "ass"))
    assert event.end == 20  # the last word's end is the line's
    assert event.text == "a b c d"


def cleaned(result: Transcription) -> list[dict[str, Any]]:
    segments = [s.to_dict() for s in result.segments]
    for part in [*segments, *(word for s in segments for word in s.get("words", ()))]:
        part.update({key: clean(part[key]) for key in ("text", "word") if key in part})
    return segments


@given(any_transcription(), LAYOUT)
def test_round_trip_of_any_text_and_times(result: Transcription, layout):
    events = read_ass(written(result, "ass", **layout))
    expected = list(cues(cleaned(result), LineOptions(**layout), 100))
    assert [(e.start, e.end) for e in events] == [(cue.start, cue.end) for cue in expected]
    assert [seen(e.text) for e in events] == [seen("".join(w.text for w in cue.words)) for cue in expected]
    for event in events:
        if event.style == "Karaoke":
            assert sum(duration for duration, _ in event.syllables if duration is not None) == event.end - event.start
            assert all(duration is not None or not seen(text) for duration, text in event.syllables)


@pytest.mark.system
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("format", ["ass", "srt", "vtt"])
def test_ffmpeg_reads_it(format, tmp_path):
    """It shows markup in the text as text."""
    texts = ["plain", "{\\an8}a {x}", "1 < 2 & 3 > 2", "字、 שלום"]
    if format != "vtt":  # when ffmpeg rewrites WebVTT, it takes text for tags
        texts += ["{y:i}", "a\\Nb\\h"]
    if format == "ass":
        texts += ["{\ny:i}"]
    result = transcription(*(segment(i, i + 0.5, text) for i, text in enumerate(texts)))
    path = tmp_path / f"file.{format}"
    path.write_text(written(result, format), encoding="utf-8", newline="")
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-i", path, "-f", "srt", "-"]
    done = subprocess.run(command, capture_output=True, check=True, text=True, encoding="utf-8", timeout=60)
    assert done.stderr == ""
    blocks = [block.split("\n") for block in done.stdout.strip().split("\n\n")]
    assert [block[1] for block in blocks] == [f"00:00:0{i},000 --> 00:00:0{i},500" for i in range(len(texts))]
    shown = [re.sub("</?font.*?>", "", "".join(block[2:])) for block in blocks]
    assert [seen(re.sub(r"\\([{}])", r"\1", text)) for text in shown] == [seen(text) for text in texts]
