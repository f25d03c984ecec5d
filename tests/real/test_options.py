"""Options for which the text by openai-whisper or faster-whisper is known, with OpenAI's base."""

import pytest

from whisper_apr import BatchedInferencePipeline


def test_hotwords_are_spelled_as_given(base, faster, recordings):
    """A test of faster-whisper, for every function; without hotwords the name is transcribed as "Confu i"."""
    path = recordings / "fw_hotwords.mp3"
    assert "ComfyUI" not in base.transcribe(path).text
    options = {"hotwords": "ComfyUI"}
    texts = [
        base.transcribe(path, **options).text,
        next(base.transcribe_many([path], **options)).text,
        *(
            "".join(s.text for s in entry_point.transcribe(path, **options)[0])
            for entry_point in (faster, BatchedInferencePipeline(faster))
        ),
        base.transcribe(path, hotword_bias=3.0, **options).text,
    ]
    assert texts == [" Then you go into your ComfyUI folder again in the ComfyUI"] * 5


def test_command_with_hotwords(base_folder, recordings, capsys):
    from whisper_apr.cli import main

    arguments = ["transcribe", recordings / "fw_hotwords.mp3", "--model", base_folder, "--hotwords", "ComfyUI"]
    assert main([str(a) for a in arguments]) == 0
    assert "ComfyUI" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{}, {"without_timestamps": True}, {"beam_size": 1}], ids=str)
def test_a_prefix_is_kept_in_the_text(faster, recordings, options):
    """A test of faster-whisper."""
    said = "And so my fellow Americans"
    segments = list(faster.transcribe(recordings / "jfk.flac", prefix=said, **options)[0])
    text = "".join(segment.text for segment in segments)
    assert text.startswith(f" {said}")
    assert text.endswith(" ask what you can do for your country.")
    assert segments[0].start == 0
    assert 10 < segments[-1].end <= 11


def test_a_prefix_in_batches(faster, recordings):
    segments, _ = BatchedInferencePipeline(faster).transcribe(
        recordings / "jfk.flac", prefix="And so my fellow Americans"
    )
    text = "".join(segment.text for segment in segments)
    assert text.startswith(" And so my fellow Americans")
    assert text.endswith(" ask what you can do for your country.")
