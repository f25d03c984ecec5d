"""Write published models for the engines that web_speech.mjs compares, from the same weights.

    pip install optimum-onnx onnx onnxruntime
    python benchmarks/web_models.py FOLDER MODEL...

MODEL is a CTranslate2 folder, as tests/real/fetch_models.py downloads them; its name is that of the model. Written to
FOLDER are, for each:

- NAME-int8.apr, for whisper_apr;
- NAME/, for transformers.js: an encoder and a decoder for onnxruntime, exported by Hugging Face's Optimum, whose matrix
  products are quantized by onnxruntime to int8, per channel ("q8"). Convolutions, of which onnxruntime-web has slow
  kernels in int8, stay in float32;
- NAME-q8_0.bin, for whisper.cpp.
"""

import argparse
import json
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from optimum.exporters.onnx import main_export
from transformers import GenerationConfig, WhisperFeatureExtractor, WhisperTokenizerFast

from engines import ggml, hugging_face
from whisper_apr.formats import Checkpoint, open_checkpoint
from whisper_apr.formats.apr import write_apr
from whisper_apr.tokenizer import LANGUAGES

PARTS = ("encoder_model", "decoder_model_merged")


def write_transformers(checkpoint: Checkpoint, source: Path, folder: Path) -> None:
    """Write a model of transformers with its tokenizer: the input of Optimum."""
    model = hugging_face.make(checkpoint)
    tokenizer = WhisperTokenizerFast(tokenizer_file=str(source / "tokenizer.json"))
    end, start = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|startoftranscript|>"])
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    model.config.update(ids)
    is_multilingual = checkpoint.dims.n_vocab != ggml.ENGLISH_ONLY
    settings = {
        "max_length": checkpoint.dims.n_text_ctx,
        "suppress_tokens": list(checkpoint.suppress_tokens or ()),
        "begin_suppress_tokens": [tokenizer.convert_tokens_to_ids("Ġ"), end],
        "no_timestamps_token_id": tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
        "is_multilingual": is_multilingual,
    }
    if is_multilingual:
        known = tokenizer.get_vocab()
        tokens = [token for token in (f"<|{code}|>" for code in LANGUAGES) if token in known]
        tasks = ("transcribe", "translate")
        settings |= {
            "lang_to_id": dict(zip(tokens, tokenizer.convert_tokens_to_ids(tokens), strict=True)),
            "task_to_id": {task: tokenizer.convert_tokens_to_ids(f"<|{task}|>") for task in tasks},
        }
    model.generation_config = GenerationConfig(**ids, **settings)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=checkpoint.dims.n_mels).save_pretrained(folder)


def write_onnx(checkpoint: Checkpoint, source: Path, folder: Path) -> None:
    """Write the folder that transformers.js reads."""
    with tempfile.TemporaryDirectory() as temporary:
        whole, exported = Path(temporary, "whole"), Path(temporary, "onnx")
        write_transformers(checkpoint, source, whole)
        main_export(str(whole), exported, task="automatic-speech-recognition-with-past", do_validation=False)
        (folder / "onnx").mkdir(parents=True, exist_ok=True)
        for file in exported.glob("*.json"):
            (folder / file.name).write_bytes(file.read_bytes())
        # Optimum writes the settings of generation to another file only if they differ from the defaults
        generation = json.loads((whole / "generation_config.json").read_text())
        (folder / "generation_config.json").write_text(json.dumps(generation))
        for part in PARTS:
            quantize_dynamic(
                onnx.load(exported / f"{part}.onnx"),
                folder / "onnx" / f"{part}_quantized.onnx",
                per_channel=True,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul"],
                extra_options={"MatMulConstBOnly": True, "EnableSubgraph": True},
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for source in arguments.models:
        checkpoint = open_checkpoint(source)
        write_apr(checkpoint, arguments.folder / f"{source.name}-int8.apr", "int8")
        ggml.write(checkpoint, arguments.folder / f"{source.name}-q8_0.bin", "q8_0")
        write_onnx(checkpoint, source, arguments.folder / source.name)


if __name__ == "__main__":
    main()
