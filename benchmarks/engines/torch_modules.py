"""Whisper's network as modules to export to ONNX Runtime and OpenVINO, with openai-whisper's weights.

The caller supplies `attend(q, k, v, heads, past)`. q is (batch, n, width); k and v are of the same form, or
(batch, heads, n_key, d_head) if they come from a cache; past is None or earlier keys and values in the cache's form. It
returns (out, keys, values), and is causal if past is given.
"""

from dataclasses import asdict

import torch
import whisper
from torch import nn
from torch.nn import functional as f

from whisper_apr.formats import Checkpoint


def make(checkpoint: Checkpoint) -> whisper.Whisper:
    """Return openai-whisper's model with the checkpoint's weights in float32."""
    model = whisper.Whisper(whisper.ModelDimensions(**asdict(checkpoint.dims)))
    state = {name: torch.from_numpy(tensor.astype("float32")) for name, tensor in checkpoint.tensors.items()}
    model.load_state_dict(state)
    return model.eval()


def split(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


class Encoder(nn.Module):
    """Map mel (batch, n_mels, 3000) to the cross-attention keys and values of each layer, (batch, heads, 1500,
    d_head)."""

    def __init__(self, model: whisper.Whisper, attend) -> None:
        super().__init__()
        self.encoder, self.blocks, self.attend = model.encoder, model.decoder.blocks, attend

    def forward(self, mel: torch.Tensor) -> tuple[torch.Tensor, ...]:
        encoder = self.encoder
        x = f.gelu(encoder.conv2(f.gelu(encoder.conv1(mel)))).permute(0, 2, 1) + encoder.positional_embedding
        for block in encoder.blocks:
            attn, y = block.attn, block.attn_ln(x)
            x = x + attn.out(self.attend(attn.query(y), attn.key(y), attn.value(y), attn.n_head, None)[0])
            x = x + block.mlp(block.mlp_ln(x))
        x = encoder.ln_post(x)
        cross = [block.cross_attn for block in self.blocks]
        return tuple(split(part(x), attn.n_head) for attn in cross for part in (attn.key, attn.value))


class Decoder(nn.Module):
    """Map tokens (batch, n) and, per layer, past and cross keys and values to the last logits and new keys and
    values."""

    def __init__(self, model: whisper.Whisper, attend) -> None:
        super().__init__()
        self.decoder, self.attend = model.decoder, attend

    def forward(self, tokens: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        decoder, begin = self.decoder, state[0].shape[2]
        x = decoder.token_embedding(tokens) + decoder.positional_embedding[begin : begin + tokens.shape[1]]
        new = []
        for i, block in enumerate(decoder.blocks):
            past, cross = state[4 * i : 4 * i + 2], state[4 * i + 2 : 4 * i + 4]
            attn, y = block.attn, block.attn_ln(x)
            y, keys, values = self.attend(attn.query(y), attn.key(y), attn.value(y), attn.n_head, past)
            x = x + attn.out(y)
            new += [keys, values]
            attn = block.cross_attn
            x = x + attn.out(self.attend(attn.query(block.cross_attn_ln(x)), *cross, attn.n_head, None)[0])
            x = x + block.mlp(block.mlp_ln(x))
        return decoder.ln(x[:, -1:]) @ decoder.token_embedding.weight.T, *new


def state_names(n_layer: int) -> list[str]:
    return [f"{kind}_{part}_{i}" for i in range(n_layer) for kind in ("past", "cross") for part in ("k", "v")]
