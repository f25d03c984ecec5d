"""whisper_apr.web.session, called as the browser's worker calls it."""

import io
import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import soundfile

from whisper_apr import LiveTranscriber, load_model, simd
from whisper_apr.errors import AudioError, FormatError, OptionError, WhisperAprError
from whisper_apr.formats.apr import write_apr
from whisper_apr.hub import find_checkpoint
from whisper_apr.speakers import Diarization, Turn, weight_files
from whisper_apr.web.session import PIECE, Cancelled, Session

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "digits.apr"
    write_apr(find_checkpoint("digits"), path)
    return path.read_bytes()


def feed(session: Session, data: bytes, piece: int = PIECE) -> None:
    for begin in range(0, len(data), piece):
        some = data[begin : begin + piece]
        session.buffer[: len(some)] = some
        session.feed(len(some))


@pytest.fixture(scope="module")
def session(file) -> Session:
    opened = Session("model.apr")
    feed(opened, file)
    opened.open()
    return opened


def samples(name: str) -> np.ndarray:
    return soundfile.read(DATA / name, dtype="float32")[0]


class Page:
    """The callbacks that the worker passes, which record their calls."""

    def __init__(self, patience: int | None = None) -> None:
        self.segments: list[dict] = []
        self.progress: list[tuple[float, float]] = []
        self.speakers: list[tuple[float, float]] = []  # progress of finding them
        self.patience = patience  # number of checks after which the transcription is cancelled
        self.n_check = 0

    def is_cancelled(self) -> bool:
        self.n_check += 1
        return self.patience is not None and self.n_check > self.patience

    def transcribe(self, session: Session, audio: np.ndarray, **options) -> dict:
        return session.transcribe(
            audio,
            options,
            self.segments.append,
            lambda done, total: self.progress.append((done, total)),
            lambda done, total: self.speakers.append((done, total)),
            self.is_cancelled,
        )


def test_a_model_that_does_not_fit_into_memory_is_not_damaged(file, monkeypatch):
    """The worker forgets a damaged file, and loads one that does not fit into shared memory without sharing."""

    def refuse(*args):
        raise MemoryError

    session = Session("model.apr")
    monkeypatch.setattr(simd, "aligned_empty", refuse)
    with pytest.raises(MemoryError, match=r"model\.apr: its \d+ bytes of data do not fit into memory"):
        feed(session, file)
    with pytest.raises(FormatError, match=r"not an \.apr file"):
        feed(Session("model.apr"), b"damaged" * 1000)


@pytest.mark.parametrize("piece", [1021, 40_000, PIECE])
def test_pieces_of_any_size(file, piece):
    session = Session("model.apr")
    feed(session, file, piece)
    about = session.open()
    assert about["multilingual"]
    assert ("en", "english") in about["languages"]


def test_transcription_equals_that_of_load_model(session):
    page = Page()
    audio = samples("en.wav")
    result = page.transcribe(session, audio)
    expected = load_model("digits").transcribe(audio)
    assert result == expected.to_dict()
    assert page.segments == list(result["segments"])
    done, total = page.progress[-1]
    assert total == pytest.approx(len(audio) / 16000, abs=0.01)
    assert done == pytest.approx(total, abs=0.01)  # progress is counted in frames of the spectrogram
    assert session.write("txt").strip() == expected.text.strip()
    assert session.write("srt").startswith("1\n00:00:00,000 --> ")


@pytest.mark.parametrize("format", ["txt", "srt", "json", "csv"])
def test_a_corrected_transcription_is_written(session, format):
    result = Page().transcribe(session, samples("en.wav"), word_timestamps=True)
    arrived = json.loads(json.dumps(result), parse_float=lambda text: int(x) if (x := float(text)) == int(x) else x)
    assert session.write(format, arrived) == session.write(format)  # whole numbers arrive as integers
    arrived["segments"][0] |= {"text": " corrected", "words": None}
    assert "corrected" in session.write(format, arrived)
    assert "corrected" not in session.write(format)
    with pytest.raises(OptionError):
        session.write("srt", {"segments": [{"text": "without times"}]})


def test_cancelling_at_any_token_leaves_the_session_usable(session):
    whole = Page()
    expected = whole.transcribe(session, samples("de.wav"))
    for patience in (0, 1, whole.n_check - 1):
        page = Page(patience)
        with pytest.raises(Cancelled):
            page.transcribe(session, samples("de.wav"))
        assert page.n_check == patience + 1
    assert Page().transcribe(session, samples("de.wav")) == expected


TURNS = (Turn(0.0, 1.4, "SPEAKER_00"), Turn(1.4, 9.0, "SPEAKER_01"))


class Networks:
    """Finds TURNS in two steps; `limits` are the numbers of speakers that were asked for."""

    def __call__(self, blocks, *limits, on_progress, check_cancelled):
        self.limits, self.samples = limits, np.concatenate(list(blocks))
        for seconds in (5.0, 10.0):
            check_cancelled()
            on_progress(seconds)
        return Diarization(TURNS)


@pytest.fixture
def networks(monkeypatch, session) -> Networks:
    """Replace the networks by others, which are then loaded from an archive with weights."""
    found = Networks()
    monkeypatch.setattr(weight_files, "_make", lambda *tensors: found)
    file, array = io.BytesIO(), io.BytesIO()
    np.savez(array, weight=np.ones(3, np.float32))
    with ZipFile(file, "w") as archive:
        for name in weight_files.FILES:
            archive.writestr(f"{weight_files.FOLDER}/{name}", array.getvalue())
    session.load_speakers(file.getvalue(), "speakers.whl")
    return found


@pytest.mark.parametrize("speakers", [True, 2])
def test_speakers_are_found_before_the_text(session, networks, speakers):
    page, audio = Page(), samples("en.wav")
    result = page.transcribe(session, audio, speakers=speakers, word_timestamps=True)
    expected = load_model("digits").transcribe(audio, speakers=TURNS, word_timestamps=True)
    assert result == expected.to_dict()
    assert {segment["speaker"] for segment in page.segments} == {"SPEAKER_00", "SPEAKER_01"}
    assert networks.limits == (() if speakers is True else (2, 2))
    assert np.array_equal(networks.samples, audio)
    total = len(audio) / 16000
    assert page.speakers == [(0.0, total), (min(5.0, total), total), (total, total), (total, total)]


def test_cancelling_while_speakers_are_found(session, networks):
    page = Page(patience=1)
    with pytest.raises(Cancelled):
        page.transcribe(session, samples("en.wav"), speakers=True)
    assert len(page.speakers) == 2
    assert page.progress == []


def test_speakers_that_are_given_or_not_wanted(session, networks):
    page = Page()
    for speakers, found in ((None, set()), (False, set()), ([[0, 9, "Ann"]], {"Ann"})):
        result = page.transcribe(session, samples("en.wav"), speakers=speakers)
        assert {segment["speaker"] for segment in result["segments"] if "speaker" in segment} == found
    assert page.speakers == []
    for speakers in (0, 51, {"Ann": np.zeros(16000, np.float32)}):
        with pytest.raises(OptionError, match=r"^speakers must be"):
            page.transcribe(session, samples("en.wav"), speakers=speakers)


def test_damaged_and_missing_weights(file):
    session = Session("model.apr")
    feed(session, file)
    session.open()
    with pytest.raises(FormatError, match=r"^https://a\.example/b\.whl: it is damaged"):
        session.load_speakers(b"nothing", "https://a.example/b.whl")
    with pytest.raises(WhisperAprError, match="were not loaded"):
        Page().transcribe(session, samples("en.wav"), speakers=True)


def live_words(session: Session, audio: np.ndarray, patience: int | None = None, **options) -> list[dict]:
    page = Page(patience)
    session.start_live(options)
    texts = [session.push_live(audio[i : i + 4000], page.is_cancelled) for i in range(0, len(audio), 4000)]
    return [*texts, session.finish_live(page.is_cancelled)]


@pytest.mark.parametrize("options", [{}, {"step": 3, "vad_options": {"min_silence_duration_ms": 100}}])
def test_live_words_equal_those_of_live_transcriber(session, options):
    audio = samples("en_three.flac")
    live = LiveTranscriber(load_model("digits"), **options)
    expected = [live.push(audio[i : i + 4000]) for i in range(0, len(audio), 4000)]
    expected.append(live.finish())
    found = live_words(session, audio, **options)
    for name in ("settled", "tentative"):
        assert [text[name] for text in found] == [[word.to_dict() for word in getattr(e, name)] for e in expected]
    assert any(text["settled"] for text in found)
    assert any(text["tentative"] for text in found)


def test_cancelling_live_transcription_leaves_the_session_usable(session):
    with pytest.raises(Cancelled):
        live_words(session, samples("en.wav"), patience=3)
    words = [word["word"] for text in live_words(session, samples("en.wav")) for word in text["settled"]]
    assert "".join(words) == load_model("digits").transcribe(DATA / "en.wav").text


def test_damaged_and_truncated_files(file):
    damaged = bytearray(file)
    damaged[len(file) // 2] ^= 1
    with pytest.raises(FormatError, match=r"model\.apr.*block"):
        feed(Session("model.apr"), bytes(damaged))
    session = Session("model.apr")
    feed(session, file[:-1])
    with pytest.raises(FormatError, match="ended after"):
        session.open()


def test_calls_in_the_wrong_order(file):
    session = Session("model.apr")
    with pytest.raises(WhisperAprError, match="no model is open"):
        Page().transcribe(session, np.zeros(16000, np.float32))
    with pytest.raises(WhisperAprError, match="no model is open"):
        session.start_live({})
    feed(session, file)
    session.open()
    for call in (lambda: session.push_live(np.zeros(1600), lambda: False), lambda: session.finish_live(lambda: False)):
        with pytest.raises(WhisperAprError, match="no live transcription was started"):
            call()
    with pytest.raises(WhisperAprError, match="nothing has been transcribed"):
        session.write("txt")


def test_wrong_arguments_raise_the_package_errors(session):
    with pytest.raises(OptionError, match="Klingon"):
        Page().transcribe(session, samples("en.wav"), language="Klingon")
    with pytest.raises(AudioError):
        Page().transcribe(session, np.full(16000, np.nan, np.float32))
    with pytest.raises(OptionError, match="step"):
        session.start_live({"step": 0})
    Page().transcribe(session, samples("en.wav"))
    with pytest.raises(OptionError):
        session.write("doc")
