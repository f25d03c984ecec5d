"""RealtimeSTT's engine for faster-whisper, with samples, one window after another and in batches."""

import numpy as np
import soundfile
from installed import MODEL, RECORDING, show
from RealtimeSTT.transcription_engines import TranscriptionEngineConfig, create_transcription_engine

samples = soundfile.read(RECORDING, dtype="float32")[0]
texts = []
for batch_size in (0, 4):
    config = TranscriptionEngineConfig(MODEL, compute_type="float32", batch_size=batch_size, suppress_tokens=[-1])
    engine = create_transcription_engine("faster_whisper", config)
    engine.warmup(np.zeros(16000, np.float32))
    result = engine.transcribe(samples, language="en", word_timestamps=batch_size == 0)
    texts.append(result.text)
    if batch_size == 0:
        times = [word["end"] for word in result.metadata["words"]]
show(" | ".join(texts), times)
