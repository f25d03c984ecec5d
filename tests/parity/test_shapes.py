"""Networks of published shapes with random weights, saved by transformers: the same logits and attention.

The widths, heads, mel bands and vocabularies are those of the published models, and so are the decoder's layers of the
distilled ones; the encoder, and large-v3's decoder, have fewer layers here.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import models
from whisper_apr import load_model, simd

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # transformers warns of its own deprecations


class Shape(NamedTuple):
    """The shape of a published model, with fewer layers."""

    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    n_mels: int
    n_vocab: int
    alignment_heads: list[list[int]]


SHAPES = {
    "tiny.en": Shape(384, 6, 4, 4, 80, 51864, [[1, 0], [2, 0], [2, 5], [3, 0], [3, 1]]),
    "distil-medium.en": Shape(1024, 16, 1, 2, 80, 51864, [[0, 3], [1, 15]]),
    "distil-large-v3": Shape(1280, 20, 1, 2, 128, 51866, [[0, 19], [1, 4]]),
    "large-v3-turbo": Shape(1280, 20, 1, 4, 128, 51866, [[2, 4], [2, 11], [3, 3], [3, 6], [3, 11], [3, 14]]),
    "large-v3": Shape(1280, 20, 2, 2, 128, 51866, [[1, 7]]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape(torch: Any, tmp_path: Path, name: str) -> None:
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    shape = SHAPES[name]
    dims = models.ModelDimensions(
        shape.n_mels, 1500, shape.width, shape.heads, shape.encoder_layers,
        shape.n_vocab, 448, shape.width, shape.heads, shape.decoder_layers,
    )  # fmt: skip
    config = WhisperConfig(**models.config(dims), encoder_ffn_dim=4 * shape.width, decoder_ffn_dim=4 * shape.width)
    config._attn_implementation = "eager"  # returns attention
    torch.manual_seed(1)
    network = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape)
            else:
                parameter *= 2
    network.generation_config.alignment_heads = shape.alignment_heads
    network.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    assert ours.dims == dims
    assert ours.is_multilingual == (shape.n_vocab > 51864)
    assert ours.num_languages == (100 if shape.n_vocab == 51866 else 99)
    assert ours.alignment_heads == tuple(map(tuple, shape.alignment_heads))

    mel = np.random.default_rng(2).standard_normal((1, shape.n_mels, 3000)).astype(np.float32)
    tokens = np.array([[50258, 50259, 440, 2802, 1029]])
    with torch.no_grad():
        theirs = network(
            input_features=torch.from_numpy(mel), decoder_input_ids=torch.from_numpy(tokens), output_attentions=True
        )
    features = ours.embed_audio(mel)
    expected = theirs.encoder_last_hidden_state.numpy()
    np.testing.assert_allclose(features, expected, rtol=0, atol=2e-3 * np.abs(expected).max())
    expected = theirs.logits.numpy()
    np.testing.assert_allclose(ours.logits(tokens, features), expected, rtol=0, atol=2e-3 * np.abs(expected).max())
    scores, _ = ours.decoder.cross_attention_scores(
        tokens[0], ours.decoder.audio_cache(features[0]), np.array(shape.alignment_heads)
    )
    found = simd.softmax(scores)
    expected = np.stack([theirs.cross_attentions[layer][0, head].numpy() for layer, head in shape.alignment_heads])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert expected.max() > 2 / 1500  # not all the same
