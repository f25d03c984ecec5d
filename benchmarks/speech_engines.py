"""Adapters of the engines that speech_peers.py compares on recordings.

An engine is a function `open(models, model, compute_type, threads)` that loads a model and returns a function
`(file, batch_size) -> text`; batch_size is None for one window after the other. `write_models` writes the files of all
engines. Decoding is greedy, with temperature fallback where the engine has it; the language is set to English, and all
other options have the engine's defaults.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from processes import last_line

Transcribe = Callable[[str, int | None], str]
TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def _ours(models: Path, model: str, compute_type: str, threads: int) -> Transcribe:
    import whisper_apr
    from whisper_apr import simd

    simd.set_num_threads(threads)
    recognizer = whisper_apr.load_model(models / model / "ct2", compute_type=compute_type)

    def transcribe(file: str, batch_size: int | None) -> str:
        options = {} if batch_size is None else {"batch_size": batch_size}
        return recognizer.transcribe(file, language="en", seed=0, **options).text

    return transcribe


def _faster_whisper(models: Path, model: str, compute_type: str, threads: int) -> Transcribe:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    whisper = WhisperModel(str(models / model / "ct2"), compute_type=compute_type, cpu_threads=threads)

    def transcribe(file: str, batch_size: int | None) -> str:
        if batch_size is None:
            segments, _ = whisper.transcribe(file, language="en", beam_size=1, best_of=1)
        else:
            batches = BatchedInferencePipeline(whisper)
            segments, _ = batches.transcribe(file, language="en", beam_size=1, best_of=1, batch_size=batch_size)
        return "".join(segment.text for segment in segments)

    return transcribe


def _openai_whisper(models: Path, model: str, compute_type: str, threads: int) -> Transcribe:
    import torch
    import whisper

    torch.set_num_threads(threads)
    loaded = whisper.load_model(str(models / model / "openai.pt"), device="cpu")
    return lambda file, _: loaded.transcribe(file, language="en", fp16=False)["text"]


def _whisper_cpp(models: Path, model: str, compute_type: str, threads: int) -> Transcribe:
    """Return a function that runs the program WHISPER_CPP (or WHISPER_CPP_AVX2), which loads the model each time."""
    program = os.environ["WHISPER_CPP_AVX2" if os.environ.get(AVX2_ONLY) else "WHISPER_CPP"]
    file_name = {"float16": "ggml-float16.bin", "int8": "ggml-q8_0.bin"}[compute_type]
    command = [program, "-m", str(models / model / file_name), "-t", str(threads), "-l", "en", "-bs", "1", "-bo", "1"]
    command += ["-np", "-ng"]

    def transcribe(file: str, batch_size: int | None) -> str:
        # with -nt it would decode without timestamps, in windows that cut words
        out = subprocess.run([*command, "-f", file], check=True, capture_output=True, text=True).stdout
        return re.sub(r"^\[[^]]*\]", "", out, flags=re.MULTILINE)

    return transcribe


def _onnxruntime(models: Path, model: str, compute_type: str, threads: int) -> Transcribe:
    import onnxruntime
    from optimum.onnxruntime import ORTModelForSpeechSeq2Seq

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    folder = models / model / f"onnx-{compute_type}"
    return _by_transformers(folder, ORTModelForSpeechSeq2Seq.from_pretrained(folder, session_options=options), model)


def _by_transformers(folder: Path, whisper, model: str) -> Transcribe:
    import soundfile
    import torch
    from transformers import WhisperProcessor

    torch.set_num_threads(1)  # it computes the spectrogram and logit filters only
    processor = WhisperProcessor.from_pretrained(folder)
    options = {} if model.endswith(".en") else {"language": "en", "task": "transcribe"}
    options |= {"temperature": TEMPERATURES, "compression_ratio_threshold": 2.4, "logprob_threshold": -1.0}

    def transcribe(file: str, batch_size: int | None) -> str:
        samples, rate = soundfile.read(file, dtype="float32")
        inputs = processor(
            samples, sampling_rate=rate, return_tensors="pt", truncation=False, return_attention_mask=True
        )
        tokens = whisper.generate(**inputs, return_timestamps=True, **options)
        return processor.batch_decode(tokens, skip_special_tokens=True)[0]

    return transcribe


def _openvino(models: Path, model: str, compute_type: str, threads: int) -> Transcribe:
    import openvino_genai
    import soundfile

    settings = {"INFERENCE_NUM_THREADS": threads}
    if compute_type == "float32":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    pipeline = openvino_genai.WhisperPipeline(str(models / model / f"openvino-{compute_type}"), "CPU", **settings)
    options = {} if model.endswith(".en") else {"language": "<|en|>", "task": "transcribe"}

    def transcribe(file: str, batch_size: int | None) -> str:
        samples, _ = soundfile.read(file, dtype="float32")
        return str(pipeline.generate(samples.tolist(), return_timestamps=True, **options))

    return transcribe


@dataclass(frozen=True)
class Engine:
    """An engine: how it is opened, and what it can do."""

    open: Callable[[Path, str, str, int], Transcribe]
    package: str | None  # the module to import; None for a program
    compute_types: tuple[str, ...]
    batches: bool = False
    avx2: dict[str, str] | None = None  # environment variables for AVX2 alone

    def available(self) -> bool:
        """Tell whether the engine is installed."""
        import importlib.util

        if self.package is None:
            return "WHISPER_CPP" in os.environ
        try:
            return importlib.util.find_spec(self.package) is not None
        except ModuleNotFoundError:  # of a package around it
            return False


AVX2_ONLY = "WHISPER_CPP_ONLY_AVX2"
ENGINES = {
    "whisper_apr": Engine(_ours, "whisper_apr", ("float32", "int8"), True, {"WHISPER_APR_BACKEND": "avx2"}),
    "faster-whisper": Engine(
        _faster_whisper, "faster_whisper", ("float32", "int8"), True, {"CT2_FORCE_CPU_ISA": "AVX2"}
    ),
    "whisper.cpp": Engine(_whisper_cpp, None, ("float16", "int8"), avx2={AVX2_ONLY: "1"}),
    "openai-whisper": Engine(_openai_whisper, "whisper", ("float32",)),
    "onnxruntime": Engine(_onnxruntime, "optimum.onnxruntime", ("float32", "int8")),
    "openvino": Engine(_openvino, "openvino_genai", ("float32", "int8")),
}


def write_models(folder: Path, model: str, source: Path, names: list[str]) -> Iterator[tuple[str, str]]:
    """Write the files of the named engines from a CTranslate2 folder; yield the name of each that fails and why.

    Files that exist are kept. `folder / model / "ct2"` becomes a link to the source.
    """
    place = folder / model
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "ct2").exists():
        (place / "ct2").symlink_to(source.resolve(), target_is_directory=True)
    for name in names:
        if name in _WRITTEN and not any(place.glob(_WRITTEN[name])):
            try:
                last_line([sys.executable, __file__, name, str(place)])
            except RuntimeError as error:
                yield name, str(error)


_WRITTEN = {"whisper.cpp": "ggml-*", "openai-whisper": "openai.pt", "onnxruntime": "onnx-*", "openvino": "openvino-*"}


def _write(name: str, place: Path) -> None:
    from engines import ggml, hugging_face, openai_whisper
    from whisper_apr.formats import open_checkpoint

    checkpoint = open_checkpoint(place / "ct2")
    if name == "whisper.cpp":
        for file_type in ("float16", "q8_0"):
            ggml.write(checkpoint, place / f"ggml-{file_type}.bin", file_type)
    elif name == "openai-whisper":
        openai_whisper.prepare(checkpoint, place)
    else:
        if not (place / "transformers").exists():
            hugging_face.write(checkpoint, place / "ct2" / "tokenizer.json", place / "transformers")
        if name == "onnxruntime":
            _write_onnx(place)
        else:
            for compute_type, weights in (("float32", "fp32"), ("int8", "int8")):
                _export("openvino", place, f"openvino-{compute_type}", "--weight-format", weights)


def _export(kind: str, place: Path, target: str, *arguments: str) -> None:
    command = ["optimum-cli", "export", kind, "--model", str(place / "transformers")]
    command += ["--task", "automatic-speech-recognition-with-past", *arguments, str(place / target)]
    subprocess.run(command, check=True)


def _write_onnx(place: Path) -> None:
    import shutil

    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain, small = place / "onnx-float32", place / "onnx-int8"
    _export("onnx", place, plain.name)
    shutil.copytree(plain, small, ignore=shutil.ignore_patterns("*.onnx*"))
    for file in plain.glob("*.onnx"):
        quantize_dynamic(file, small / file.name, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])


if __name__ == "__main__":
    _write(sys.argv[1], Path(sys.argv[2]))
