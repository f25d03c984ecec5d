"""WhisperLiveKit's engine for faster-whisper, given a recording second by second."""

import os

import soundfile
from installed import MODEL, RECORDING, show
from whisperlivekit.local_agreement.backends import FasterWhisperASR
from whisperlivekit.local_agreement.online_asr import OnlineASRProcessor

engine = FasterWhisperASR("en", model_dir=os.path.abspath(MODEL))
engine.tokenizer, engine.confidence_validation = None, False
engine.buffer_trimming, engine.buffer_trimming_sec = "segment", 15
online = OnlineASRProcessor(engine)
samples, rate = soundfile.read(RECORDING, dtype="float32")
tokens = []
for start in range(0, len(samples), rate):
    online.insert_audio_chunk(samples[start : start + rate], (start + rate) / rate)
    tokens += online.process_iter()[0]
tokens += online.finish()[0]
show("".join(token.text for token in tokens))
