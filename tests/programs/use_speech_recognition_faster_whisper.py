"""SpeechRecognition with its recognizer for faster-whisper."""

import speech_recognition
from installed import MODEL, RECORDING, show

recognizer = speech_recognition.Recognizer()
with speech_recognition.AudioFile(RECORDING) as source:
    audio = recognizer.record(source)
show(recognizer.recognize_faster_whisper(audio, model=MODEL, init_options={"compute_type": "float32"}))
