"""A web service that transcribes uploads: MODEL=base uvicorn upload_server:app

curl -F file=@interview.mp3 http://127.0.0.1:8000/transcribe
"""

import os
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, UploadFile
from fastapi.concurrency import run_in_threadpool

import whisper_apr

MAX_BYTES = 200 << 20

app = FastAPI(title="Speech to text")
model = whisper_apr.load_model(os.environ.get("MODEL", "digits"), compute_type="int8")


@app.post("/transcribe")
async def transcribe(file: UploadFile, language: Annotated[str | None, "a code such as 'de'"] = None) -> dict[str, Any]:
    """Return the text, the language and the segments of an uploaded recording."""
    if file.size is None or file.size > MAX_BYTES:
        raise HTTPException(413, f"a recording may have {MAX_BYTES >> 20} MiB at most")
    try:
        # Kernels release the GIL, and a model may be used by several threads.
        result = await run_in_threadpool(model.transcribe, file.file, language=language)
    except whisper_apr.AudioError as error:
        raise HTTPException(422, str(error)) from error
    segments = [{"start": s.start, "end": s.end, "text": s.text} for s in result.segments]
    return {"text": result.text, "language": result.language, "segments": segments}
