"""Mistakes that type checkers must report, each with mypy's error code and pyright's rule; see check.py."""

import numpy as np

import whisper_apr
from whisper_apr import BatchedInferencePipeline, DecodingOptions, LiveTranscriber, Transcription, WhisperModel

model = whisper_apr.load_model("digits")
whisper_apr.load_model("digits", compute_type="int3")  # error: arg-type reportArgumentType
whisper_apr.load_model("digits", device="cuda")  # error: arg-type reportArgumentType
whisper_apr.load_model("digits", computetype="int8")  # error: call-arg reportCallIssue
whisper_apr.load_model(5)  # error: arg-type reportArgumentType

whisper_apr.load_modle("digits")  # error: attr-defined reportAttributeAccessIssue

# ---- transcribe ----
model.transcribe("a.wav", wrd_timestamps=True)  # error: call-arg reportCallIssue
model.transcribe("a.wav", beam_size="5")  # error: arg-type reportArgumentType
model.transcribe("a.wav", task="summarize")  # error: arg-type reportArgumentType
model.transcribe("a.wav", temperature="0")  # error: arg-type reportArgumentType
model.transcribe("a.wav", channel="left")  # error: arg-type reportArgumentType
model.transcribe("a.wav", prompt="text")  # error: call-arg reportCallIssue
model.transcribe("a.wav", on_segment=5)  # error: arg-type reportArgumentType
model.transcribe()  # error: call-arg reportCallIssue
whisper_apr.transcribe("digits", "a.wav")  # error: arg-type reportArgumentType
whisper_apr.transcribe(model, "a.wav", word_timestamps="yes")  # error: arg-type reportArgumentType
whisper_apr.transcribe(model, "a.wav", wordtimestamps=True)  # error: call-arg reportCallIssue

# ---- transcribe_many ----
model.transcribe_many(["a.wav"], raise_error=True)  # error: call-overload reportCallIssue
model.transcribe_many(["a.wav"], batch_size="8")  # error: call-overload reportArgumentType
results = model.transcribe_many(["a.wav"], return_errors=True)
first: Transcription = next(results)  # error: assignment reportAssignmentType
for result in whisper_apr.transcribe_many(model, ["a.wav"], return_errors=True):
    print(result.text)  # error: union-attr reportAttributeAccessIssue

# ---- decode ----
mel = np.zeros((80, 3000), np.float32)
whisper_apr.decode(model, mel, beamsize=5)  # error: call-overload reportCallIssue
model.decode(mel, {"beam_size": 5})  # error: call-overload reportArgumentType,reportCallIssue
print(model.decode(mel).segments)  # error: attr-defined reportAttributeAccessIssue
print(whisper_apr.decode_audio("a.wav", split_stereo=True).shape)  # error: attr-defined reportAttributeAccessIssue
model.decode(mel, without_timestamps="no")  # error: call-overload reportArgumentType,reportCallIssue
DecodingOptions(beam_size="5")  # error: arg-type reportArgumentType
DecodingOptions(beamsize=5)  # error: call-arg reportCallIssue

# ---- live audio ----
LiveTranscriber(model, steps=1.0)  # error: call-arg reportCallIssue
LiveTranscriber(model, step="1")  # error: arg-type reportArgumentType
LiveTranscriber(model, clip_timestamps=[0.0, 1.0])  # error: call-arg reportCallIssue
print(LiveTranscriber(model).push("a.wav").text)  # error: attr-defined reportAttributeAccessIssue

# ---- faster-whisper's classes ----
faster = WhisperModel("digits")
WhisperModel("digits", devce="cpu")  # error: call-arg reportCallIssue
WhisperModel("digits", compute_type="float")  # error: arg-type reportArgumentType
faster.transcribe("a.wav", beam_size="5")  # error: arg-type reportArgumentType
faster.transcribe("a.wav", wrd_timestamps=True)  # error: call-arg reportCallIssue
BatchedInferencePipeline(faster).transcribe("a.wav", batchsize=8)  # error: call-arg reportCallIssue
BatchedInferencePipeline(faster).transcribe("a.wav", beam_size="5")  # error: arg-type reportArgumentType
BatchedInferencePipeline(model)  # error: arg-type reportArgumentType

# ---- results ----
found = model.transcribe("a.wav")
print(found.txt)  # error: attr-defined reportAttributeAccessIssue
found.text = 5  # error: assignment reportAttributeAccessIssue
print(found["text"] + 5)  # error: operator reportOperatorIssue
found.save(5)  # error: arg-type reportArgumentType
print(found.segments[0].words[0])  # error: index reportOptionalSubscript
