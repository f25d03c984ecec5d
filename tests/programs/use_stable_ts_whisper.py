"""stable-ts with openai-whisper's own `transcribe`; its other methods hook modules of torch."""

from installed import MODEL, RECORDING, show, without_torchaudio

without_torchaudio()

import stable_whisper  # noqa: E402

model = stable_whisper.load_model(MODEL)
found = model.transcribe_minimal(RECORDING, language="en")
show(found.text, [word.end for word in found.all_words()])
