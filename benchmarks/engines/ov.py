"""OpenVINO; int8 is NNCF's weight compression, with arithmetic in bfloat16 if the CPU supports it."""

from pathlib import Path

import numpy as np
import openvino

from engines.stepwise import Stepwise, prompt, without_end
from whisper_apr.formats import Checkpoint

COMPUTE_TYPES = ("float32", "int8")


def prepare(checkpoint: Checkpoint, folder: Path) -> None:
    import nncf
    import torch
    from torch.nn import functional as f

    from engines import torch_modules

    def attend(q, k, v, heads, past):
        q = torch_modules.split(q, heads)
        k, v = (x if x.dim() == 4 else torch_modules.split(x, heads) for x in (k, v))
        mask = None
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
            n, n_key = q.shape[2], k.shape[2]
            mask = torch.arange(n_key)[None] <= torch.arange(n)[:, None] + (n_key - n)
        y = f.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return y.transpose(1, 2).flatten(2), k, v

    model, dims = torch_modules.make(checkpoint), checkpoint.dims
    heads, d_head = dims.n_text_head, dims.n_text_state // dims.n_text_head
    names = torch_modules.state_names(dims.n_text_layer)
    shapes = {"past": (-1, heads, -1, d_head), "cross": (-1, heads, dims.n_audio_ctx, d_head)}
    past, cross = torch.zeros(2, heads, 3, d_head), torch.zeros(2, heads, dims.n_audio_ctx, d_head)
    state = tuple(past if name.startswith("past") else cross for name in names)
    with torch.no_grad():
        encoder = openvino.convert_model(
            torch_modules.Encoder(model, attend),
            example_input=torch.zeros(1, dims.n_mels, 2 * dims.n_audio_ctx),
            input=[(1, dims.n_mels, 2 * dims.n_audio_ctx)],
        )
        decoder = openvino.convert_model(
            torch_modules.Decoder(model, attend),
            example_input=(torch.zeros(2, 4, dtype=torch.long), *state),
            input=[(-1, -1), *(shapes[name.split("_")[0]] for name in names)],
        )
    for part, network in (("encoder", encoder), ("decoder", decoder)):
        openvino.save_model(network, folder / f"{part}.float32.xml", compress_to_fp16=False)
        openvino.save_model(nncf.compress_weights(network), folder / f"{part}.int8.xml", compress_to_fp16=False)


class Engine(Stepwise):
    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        super().__init__()
        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        if compute_type == "float32":
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        elif "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            settings["INFERENCE_PRECISION_HINT"] = "bf16"
        files = [str(folder / f"{part}.{compute_type}.xml") for part in ("encoder", "decoder")]
        self.encoder, self.decoder = (core.compile_model(file, "CPU", settings) for file in files)

    def encode(self, mel):
        return list(self.encoder([mel[None]]).values())

    def _steps(self, features, n, rows, update):
        layers = len(features) // 2
        shape = (rows, features[0].shape[1], 0, features[0].shape[3])
        past = [np.zeros(shape, np.float32)] * (2 * layers)
        cross = [np.repeat(x, rows, axis=0) if rows > 1 else x for x in features]
        tokens = prompt(rows)
        request = self.decoder.create_infer_request()
        for _ in range(n):
            inputs = [tokens]
            for i in range(layers):
                inputs += [*past[2 * i : 2 * i + 2], *cross[2 * i : 2 * i + 2]]
            logits, *new = request.infer(inputs, share_inputs=True).values()
            tokens, source = update(without_end(logits[:, -1]))
            past = [x.copy() if source is None else x[source] for x in new]
            yield tokens
