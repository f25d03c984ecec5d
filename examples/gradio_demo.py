"""A page with a microphone, an upload and subtitles to download: MODEL=base python gradio_demo.py"""

import os
import tempfile
from pathlib import Path

import gradio

import whisper_apr

model = whisper_apr.load_model(os.environ.get("MODEL", "digits"), compute_type="int8")


def transcribe(path: str | None) -> tuple[str, str | None]:
    """Return the text of a recording, and the path of its subtitles."""
    if path is None:
        raise gradio.Error("Record something, or choose a file.")
    try:
        result = model.transcribe(path, word_timestamps=True)
    except whisper_apr.AudioError as error:
        raise gradio.Error(str(error)) from error
    subtitles = Path(tempfile.mkdtemp()) / f"{Path(path).stem}.srt"
    result.save(subtitles)
    return result.text.strip(), str(subtitles)


demo = gradio.Interface(
    transcribe,
    inputs=gradio.Audio(sources=["microphone", "upload"], type="filepath", label="Recording"),
    outputs=[gradio.Textbox(label="Text"), gradio.File(label="Subtitles")],
    title="Speech to text",
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
