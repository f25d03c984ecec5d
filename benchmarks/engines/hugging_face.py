"""Conversion of a checkpoint to a model of transformers, the input of CTranslate2's converter."""

import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from whisper_apr.formats import Checkpoint
from whisper_apr.formats.state_dict import openai_name


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
