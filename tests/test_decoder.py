"""The decoder and its KV cache: every way of reading the same tokens gives the same logits."""

from contextlib import ExitStack

import numpy as np
import pytest

from whisper_apr import simd
from whisper_apr.checkpoint import ModelDimensions
from whisper_apr.model.decoder import TextDecoder
from whisper_apr.model.decoder_cache import DecoderCache
from whisper_apr.model.layers import Linear, Tensors

DIMS = ModelDimensions(
    n_mels=80,
    n_audio_ctx=40,
    n_audio_state=32,
    n_audio_head=2,
    n_audio_layer=1,
    n_vocab=70,
    n_text_ctx=50,
    n_text_state=32,
    n_text_head=2,
    n_text_layer=2,
)


def tensors(dims: ModelDimensions) -> dict[str, np.ndarray]:
    """Return the tensors of a decoder with random weights."""
    rng, width = np.random.default_rng(0), dims.n_text_state

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    made = {
        "decoder.token_embedding.weight": 4 * normal(dims.n_vocab, width),
        "decoder.positional_embedding": normal(dims.n_text_ctx, width),
    }
    norms = ["decoder.ln"]
    for i in range(dims.n_text_layer):
        block = f"decoder.blocks.{i}"
        norms += [f"{block}.attn_ln", f"{block}.cross_attn_ln", f"{block}.mlp_ln"]
        for attention in ("attn", "cross_attn"):
            for part in ("query", "key", "value", "out"):
                made[f"{block}.{attention}.{part}.weight"] = 2 * normal(width, width)
                if part != "key":
                    made[f"{block}.{attention}.{part}.bias"] = normal(width)
        made |= {f"{block}.mlp.0.weight": normal(4 * width, width), f"{block}.mlp.0.bias": normal(4 * width)}
        made |= {f"{block}.mlp.2.weight": normal(width, 4 * width), f"{block}.mlp.2.bias": normal(width)}
    for name in norms:
        made |= {f"{name}.weight": 1 + normal(width), f"{name}.bias": normal(width)}
    return made


@pytest.fixture(scope="module")
def decoder() -> TextDecoder:
    return TextDecoder(Tensors(tensors(DIMS)), DIMS)


def features(n_audio: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.standard_normal((n_audio, DIMS.n_audio_ctx, DIMS.n_audio_state)).astype(np.float32)


def sequence(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, DIMS.n_vocab, n)


def alone(decoder: TextDecoder, audio: np.ndarray, tokens: np.ndarray, n_prompt: int) -> np.ndarray:
    """Return the logits `(n - n_prompt + 1, n_vocab)` of a single row: the prompt at once, the rest token by token."""
    cache = decoder.new_cache(audio[None])
    rows = [decoder(tokens[None, :n_prompt], cache)[0, 0].copy()]
    rows += [decoder(tokens[None, i : i + 1], cache)[0, 0].copy() for i in range(n_prompt, len(tokens))]
    return np.array(rows)


def test_token_by_token_equals_all_at_once(compiled_backend, decoder):
    tokens, audio = sequence(2, 40), features(1)
    whole = decoder(tokens[None], decoder.new_cache(audio), slice(None))[0]
    for n_prompt in (1, 2, 17, 39):
        np.testing.assert_array_equal(alone(decoder, audio[0], tokens, n_prompt), whole[n_prompt - 1 :])


def test_backends_agree(backend, decoder):
    tokens, audio = sequence(2, 20), features(1)
    with simd.use_backend("numpy"):
        expected = alone(decoder, audio[0], tokens, 3)
    np.testing.assert_allclose(alone(decoder, audio[0], tokens, 3), expected, rtol=0, atol=2e-4)


def test_rows_of_different_lengths_equal_single_rows(compiled_backend, decoder):
    """Bit for bit, with prompts of 1, 9 and 20 tokens in one batch and ten tokens after each."""
    prompts, audio = (1, 9, 20), features(3)
    sequences = [sequence(5 + n, n + 10) for n in prompts]
    tokens = np.zeros((3, 20), int)
    for row, n in enumerate(prompts):
        tokens[row, 20 - n :] = sequences[row][:n]
    cache = decoder.new_cache(audio)
    got = [decoder(tokens, cache, counts=np.array(prompts, np.int32))[:, 0].copy()]
    for i in range(10):
        got.append(decoder(np.array([[s[n + i]] for s, n in zip(sequences, prompts, strict=True)]), cache)[:, 0].copy())
    assert cache.lengths.tolist() == [11, 19, 30]
    assert cache.length == 30
    for row, n in enumerate(prompts):
        np.testing.assert_array_equal(np.array(got)[:, row], alone(decoder, audio[row], sequences[row], n))


def test_a_second_prompt_of_different_lengths(compiled_backend, decoder):
    """Padding is never written to the cache."""
    audio, first, second = features(2), sequence(1, 20).reshape(2, 10), sequence(2, 16).reshape(2, 8)
    cache = decoder.new_cache(audio)
    decoder(first, cache)
    got = decoder(second, cache, counts=np.array([3, 8], np.int32))[:, 0]
    for row, n in enumerate((3, 8)):
        single = np.concatenate([first[row], second[row, 8 - n :]])
        np.testing.assert_array_equal(got[row], alone(decoder, audio[row], single, len(single))[0])


def test_beams_continue_from_each_others_past(compiled_backend, decoder):
    """Reordered before, at, and after the end of a page; each beam's logits are those of its own sequence."""
    rng, audio, beams = np.random.default_rng(3), features(2), 3
    cache = decoder.new_cache(audio, beams)
    prompt = sequence(4, 2)
    past = np.tile(prompt, (2 * beams, 1))
    decoder(past, cache)
    for _ in range(36):
        new = rng.integers(0, DIMS.n_vocab, (2 * beams, 1))
        source = np.concatenate([rng.integers(0, beams, beams), beams + rng.integers(0, beams, beams)])
        cache.reorder(source)
        past = np.concatenate([past[source], new], axis=1)
        got = decoder(new, cache)[:, 0].copy()
    for row in range(2 * beams):
        np.testing.assert_array_equal(got[row], alone(decoder, audio[row // beams], past[row], len(past[row]))[0])


def test_reordering_across_audios_or_lengths_is_refused(decoder):
    cache = decoder.new_cache(features(2))
    decoder(np.array([[1, 2], [3, 4]]), cache, counts=np.array([1, 2], np.int32))
    with pytest.raises(ValueError, match="same audio"):
        cache.reorder(np.array([1, 1]))
    cache.reorder(np.array([0, 1]))


def test_rows_join_and_leave_without_affecting_the_others(compiled_backend, decoder):
    """Audios of different lengths in slots that are used again, each with rows that are reordered, bit for bit."""
    audio = [features(1)[0][:n] for n in (40, 11, 23, 40, 17)]
    tokens, pool, n_row = sequence(6, 5 * 30).reshape(5, 30), decoder.new_pool(3, 2), 2
    at, finished = {}, 0

    def expected(i, n):
        return alone(decoder, audio[i], tokens[i][: n + 4], 4)[-1]

    with ExitStack() as stack:
        slots = [stack.enter_context(pool.slot()) for _ in range(3)]
        waiting = [0, 1, 2, 3, 4]
        while finished < 5:
            for slot in slots:
                if slot not in at and waiting:  # one audio joins at each step
                    i = waiting.pop(0)
                    decoder.fill_slot(slot, audio[i])
                    cache = slot.rows(n_row)
                    decoder(tokens[i : i + 1, :4], slot.rows(1))
                    cache.share_first_rows(np.array([4], np.int32))
                    at[slot] = [i, 0, cache]
                    break
            joined = DecoderCache.join([cache for _, _, cache in at.values()])
            assert joined.group == n_row
            new = np.repeat([tokens[i, 4 + n] for i, n, _ in at.values()], n_row)
            logits = decoder(new[:, None], joined)[:, 0].reshape(len(at), n_row, -1)
            for rows, state in zip(logits, at.values(), strict=True):
                state[1] += 1
                np.testing.assert_array_equal(rows, np.tile(expected(*state[:2]), (n_row, 1)))
                state[2].reorder(np.array([1, 0]))
            for slot in [slot for slot, state in at.items() if state[1] == 9 + state[0]]:
                del at[slot]
                finished += 1


def test_rows_continue_from_a_prompt_that_was_read_before(compiled_backend, decoder):
    """Of a slot's audio, after other rows have continued from it and were reordered."""
    audio, prompt = features(1)[0], sequence(7, 21)
    with decoder.new_pool(1, 3).slot() as slot:
        decoder.fill_slot(slot, audio)
        decoder(prompt[None], slot.rows(1))
        for n_row in (3, 1, 2):
            cache, past = slot.rows(n_row), np.tile(prompt, (n_row, 1))
            cache.share_first_rows(np.array([21], np.int32))
            for token in sequence(n_row, 15):
                new = (token + np.arange(n_row)[:, None]) % DIMS.n_vocab
                past = np.concatenate([past, new], axis=1)
                got = decoder(past[:, -1:], cache)[:, 0]
                source = np.arange(n_row)[::-1].copy()
                for row in range(n_row):
                    np.testing.assert_array_equal(got[row], alone(decoder, audio, past[row], past.shape[1])[0])
                cache.reorder(source)
                past = past[source]


def test_a_captured_step_follows_the_backend_and_the_threads(decoder):
    audio, tokens = features(1), sequence(9, 12)
    expected, before = alone(decoder, audio[0], tokens, 2), simd.get_num_threads()
    cache = decoder.new_cache(audio)
    decoder(tokens[None, :2], cache)
    try:
        for i, name in zip(range(2, 12), 4 * [*simd.backends(), "scalar"], strict=False):
            with simd.use_backend(name):
                simd.set_num_threads(1 + i % 2)
                np.testing.assert_allclose(decoder(tokens[None, i : i + 1], cache)[0, 0], expected[i - 1], atol=2e-4)
    finally:
        simd.set_num_threads(before)


@pytest.mark.parametrize(("dtype", "share"), [("float16", 0.002), ("int8", 0.03)])
def test_a_smaller_cache_changes_little(decoder, dtype, share):
    smaller = TextDecoder(Tensors(tensors(DIMS)), DIMS, dtype)
    audio, tokens = features(1), sequence(2, 30)
    cache = smaller.new_cache(audio)
    assert {
        x.dtype.name
        for layer in (*cache.storage.layers, *cache.storage.cross_layers)
        for x in (layer.keys, layer.values)
    } == {dtype}
    exact = alone(decoder, audio[0], tokens, 4)
    got = alone(smaller, audio[0], tokens, 4)
    assert 0 < np.abs(got - exact).max() < share * np.abs(exact).max()


def test_cross_attention_scores(backend, decoder):
    """Compare with the definition; the states give the logits."""
    audio, tokens = features(1)[0], sequence(3, 11)
    heads = np.array([[1, 0], [0, 1], [1, 1]])
    scores, states = decoder.cross_attention_scores(tokens, decoder.audio_cache(audio), heads)
    assert scores.shape == (3, 11, DIMS.n_audio_ctx)
    np.testing.assert_allclose(
        decoder.logits(states), decoder(tokens[None], decoder.new_cache(audio[None]), slice(None))[0], atol=1e-5
    )
    made = tensors(DIMS)
    cache = decoder.new_cache(audio[None])
    x = decoder.tokens.rows(tokens[None]) + decoder.positions[:11]
    cache.lengths += 11
    for layer, block in enumerate(decoder.blocks):
        x = block.self_attention(x, cache, layer, None)
        q = block.cross_queries(x)[0].astype(np.float64).reshape(11, 2, 16)
        k = (audio.astype(np.float64) @ made[f"decoder.blocks.{layer}.cross_attn.key.weight"].T).reshape(-1, 2, 16)
        for i in np.flatnonzero(heads[:, 0] == layer):
            head = heads[i, 1]
            np.testing.assert_allclose(scores[i], q[:, head] @ k[:, head].T / 4, atol=2e-5)
        x = block.cross_attention_and_mlp(x, block.cross_queries(x), cache, layer)


def test_invalid_arguments_change_nothing(decoder):
    cache = decoder.new_cache(features(2))
    decoder(np.array([[1], [2]]), cache)
    wrong = [
        (np.zeros((1, 1), int), {}, "shape"),
        (np.zeros((2, 0), int), {}, "shape"),
        (np.zeros((2, 50), int), {}, "holds 50 tokens"),
        (np.array([[1], [70]]), {}, "from 0 to 69"),
        (np.array([[-1], [3]]), {}, "from 0 to 69"),
        (np.zeros((2, 3), int), {"counts": np.array([0, 3], np.int32)}, "counts"),
        (np.zeros((2, 3), int), {"counts": np.array([1, 4], np.int32)}, "counts"),
        (np.zeros((2, 3), int), {"counts": np.array([3], np.int32)}, "counts"),
    ]
    for tokens, more, message in wrong:
        with pytest.raises(ValueError, match=message):
            decoder(tokens, cache, **more)
    assert cache.lengths.tolist() == [1, 1]


def test_inputs_of_int8_have_more_bits_than_those_of_int4():
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((64, 96), np.float32), rng.standard_normal((2, 96), np.float32)
    for made, bits in ((simd.quantize_int8(weight), 12), (simd.quantize_int4(weight), 8)):
        packed = simd.pack(made)
        expected, other = (simd.linear(x, packed, activation_bits=each) for each in (bits, 20 - bits))
        np.testing.assert_array_equal(Linear(packed, activation_bits=12)(x), expected)
        assert not np.array_equal(expected, other)
