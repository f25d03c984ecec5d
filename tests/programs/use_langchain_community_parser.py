"""langchain-community's parser for recordings."""

import os

from installed import MODEL, RECORDING, show
from langchain_community.document_loaders.blob_loaders import Blob
from langchain_community.document_loaders.parsers.audio import FasterWhisperParser

recording = os.path.abspath(RECORDING)
os.chdir(os.path.dirname(MODEL))  # the parser takes the names of some models only, here that of a folder
parser = FasterWhisperParser(device="cpu", model_size=os.path.basename(MODEL))
documents = list(parser.lazy_parse(Blob.from_path(recording)))
assert documents[0].metadata["language"] == "en"
show("".join(document.page_content for document in documents))
