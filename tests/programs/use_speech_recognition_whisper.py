"""SpeechRecognition with its recognizer for openai-whisper."""

import speech_recognition
from installed import MODEL, RECORDING, show

recognizer = speech_recognition.Recognizer()
with speech_recognition.AudioFile(RECORDING) as source:
    audio = recognizer.record(source)
result = recognizer.recognize_whisper(audio, model=MODEL, show_dict=True, word_timestamps=True)
show(result["text"], [word["end"] for segment in result["segments"] for word in segment["words"]])
