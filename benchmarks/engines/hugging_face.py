"""Conversion of a checkpoint to a model of transformers, the input of other engines' converters."""

import json
from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizerFast,
)

from engines.ggml import ENGLISH_ONLY
from whisper_apr.formats import Checkpoint
from whisper_apr.formats.state_dict import openai_name
from whisper_apr.tokenizer import get_tokenizer


def make(checkpoint: Checkpoint) -> WhisperForConditionalGeneration:
    dims = checkpoint.dims
    config = WhisperConfig(
        vocab_size=dims.n_vocab,
        num_mel_bins=dims.n_mels,
        d_model=dims.n_audio_state,
        encoder_layers=dims.n_audio_layer,
        encoder_attention_heads=dims.n_audio_head,
        encoder_ffn_dim=4 * dims.n_audio_state,
        decoder_layers=dims.n_text_layer,
        decoder_attention_heads=dims.n_text_head,
        decoder_ffn_dim=4 * dims.n_text_state,
        max_source_positions=dims.n_audio_ctx,
        max_target_positions=dims.n_text_ctx,
    )
    model = WhisperForConditionalGeneration(config)
    state = model.state_dict()
    for name, value in state.items():
        source = "decoder.token_embedding.weight" if name == "proj_out.weight" else openai_name(name)
        value.copy_(torch.from_numpy(checkpoint.tensors[source].astype("float32")))
    return model


def write(checkpoint: Checkpoint, tokenizer_file: Path, folder: Path) -> None:
    """Write a model of OpenAI's vocabularies as a folder of transformers, from which other engines' exporters read."""
    multilingual = checkpoint.dims.n_vocab > ENGLISH_ONLY
    tokenizer = get_tokenizer(multilingual)
    special = tokenizer.special_tokens
    end, start = special["<|endoftext|>"], special["<|startoftranscript|>"]
    settings = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "begin_suppress_tokens": [*tokenizer.encode(" "), end],
        "suppress_tokens": [*tokenizer.non_speech_tokens, start, special["<|startofprev|>"], special["<|startoflm|>"]],
    }
    generation = GenerationConfig(
        **settings,
        is_multilingual=multilingual,
        max_length=checkpoint.dims.n_text_ctx,
        max_initial_timestamp_index=50,
        no_timestamps_token_id=special["<|notimestamps|>"],
        prev_sot_token_id=special["<|startofprev|>"],
        return_timestamps=False,
    )
    if multilingual:
        generation.lang_to_id = {f"<|{code}|>": special[f"<|{code}|>"] for code in tokenizer.all_language_codes}
        generation.task_to_id = {task: special[f"<|{task}|>"] for task in ("translate", "transcribe")}
    with torch.no_grad():
        model = make(checkpoint)
    model.config.update({key: value for key, value in settings.items() if not key.endswith("tokens")})
    model.generation_config = generation
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=checkpoint.dims.n_mels).save_pretrained(folder)
    WhisperTokenizerFast(tokenizer_file=str(tokenizer_file), unk_token="<|endoftext|>").save_pretrained(folder)
    words = json.loads(tokenizer_file.read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(words["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in words["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
