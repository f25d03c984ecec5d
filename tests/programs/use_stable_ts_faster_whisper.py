"""stable-ts with its engine for faster-whisper: transcribe, align and refine."""

from installed import MODEL, RECORDING, show, without_torchaudio

without_torchaudio()

import stable_whisper  # noqa: E402

model = stable_whisper.load_faster_whisper(MODEL, compute_type="float32")
found = model.transcribe(RECORDING, language="en")
times = [word.end for word in found.all_words()]
aligned = model.align(RECORDING, found.text, language="en")
times += [word.end for word in aligned.all_words()]
refined = model.refine(RECORDING, aligned, precision=0.2)
times += [word.end for word in refined.all_words()]
show(f"{found.text} | {aligned.text} | {refined.text}", times)
