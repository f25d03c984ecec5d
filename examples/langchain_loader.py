"""Recordings as LangChain documents, one for each segment: python langchain_loader.py RECORDING... [--model base]"""

import argparse
from collections.abc import Iterator

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

import whisper_apr


class RecordingLoader(BaseLoader):
    """Loads segments of recordings; `lazy_load` yields each as soon as it is decoded."""

    def __init__(self, paths: list[str], model: whisper_apr.Recognizer, language: str | None = None) -> None:
        self._paths = paths
        self._model = model
        self._language = language

    def lazy_load(self) -> Iterator[Document]:
        results = self._model.transcribe_many(self._paths, language=self._language)
        for path, result in zip(self._paths, results, strict=True):
            for segment in result.segments:
                metadata = {"source": path, "start": segment.start, "end": segment.end, "language": result.language}
                yield Document(page_content=segment.text.strip(), metadata=metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", nargs="+")
    parser.add_argument("--model", default="digits")
    args = parser.parse_args()

    loader = RecordingLoader(args.recordings, whisper_apr.load_model(args.model, compute_type="int8"))
    for document in loader.lazy_load():
        print(f"{document.metadata['start']:.2f} {document.page_content}")


if __name__ == "__main__":
    main()
