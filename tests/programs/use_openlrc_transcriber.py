"""openlrc's Transcriber, which splits the text into sentences by its words."""

import os
import tempfile

from installed import MODEL, RECORDING, show

recording, model = os.path.abspath(RECORDING), os.path.abspath(MODEL)
os.chdir(tempfile.mkdtemp())

import spacy  # noqa: E402

spacy.blank("en").to_disk("en_core_web_sm")  # openlrc asks it for punctuation only

from openlrc.transcribe import Transcriber  # noqa: E402

sentences, info = Transcriber(model, compute_type="float32", device="cpu").transcribe(recording)
assert info.language == "en"
show("".join(sentence.text for sentence in sentences), [sentence.end for sentence in sentences])
