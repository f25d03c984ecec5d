"""ONNX Runtime with fused multi-head attention; int8 is dynamic quantization of the matrix products."""

from pathlib import Path

import numpy as np
import onnxruntime

from engines import PROMPT
from engines.stepwise import Stepwise, prompt, without_end
from whisper_apr.formats import Checkpoint

COMPUTE_TYPES = ("float32", "int8")


def _attention():
    """Return an `attend` for torch_modules that is exported as one com.microsoft.MultiHeadAttention node."""
    import torch

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v, heads, past_k, past_v):
            present = (past_k, past_v) if past_k is not None else (q, q)
            return q.clone(), *(x.clone() for x in present)

        @staticmethod
        def symbolic(g, q, k, v, heads, past_k, past_v):
            if past_k is None or past_k.node().mustBeNone():
                return g.op("com.microsoft::MultiHeadAttention", q, k, v, num_heads_i=heads, outputs=1), q, q
            none = g.op("prim::Constant")
            none.setType(torch._C.OptionalType.ofTensor())
            inputs = (q, k, v, none, none, none, past_k, past_v)
            return g.op("com.microsoft::MultiHeadAttention", *inputs, num_heads_i=heads, unidirectional_i=1, outputs=3)

    def attend(q, k, v, heads, past):
        return Fused.apply(q, k, v, heads, *(past or (None, None)))

    return attend


def prepare(checkpoint: Checkpoint, folder: Path) -> None:
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from engines import torch_modules

    model, dims = torch_modules.make(checkpoint), checkpoint.dims
    heads, d_head = dims.n_text_head, dims.n_text_state // dims.n_text_head
    names = torch_modules.state_names(dims.n_text_layer)
    past, cross = torch.zeros(1, heads, 2, d_head), torch.zeros(1, heads, dims.n_audio_ctx, d_head)
    state = [past if name.startswith("past") else cross for name in names]
    parts = {
        "encoder": (
            torch_modules.Encoder(model, _attention()),
            (torch.zeros(1, dims.n_mels, 2 * dims.n_audio_ctx),),
            ["mel"],
            [name for name in names if name.startswith("cross")],
        ),
        "decoder": (
            torch_modules.Decoder(model, _attention()),
            (torch.tensor([PROMPT]), *state),
            ["tokens", *names],
            ["logits", *(name.replace("past", "new") for name in names if name.startswith("past"))],
        ),
    }
    for part, (module, inputs, inputs_named, outputs_named) in parts.items():
        whole, small = folder / f"{part}.float32.onnx", folder / f"{part}.int8.onnx"
        axes = {
            name: {0: "batch", 2: f"{name}_length"}
            for name in inputs_named + outputs_named
            if "past" in name or "new" in name
        }
        axes |= {name: {0: "batch"} for name in inputs_named + outputs_named if "cross" in name}
        axes |= {"tokens": {0: "batch", 1: "n"}, "logits": {0: "batch"}, "mel": {0: "batch"}}
        axes = {name: axes[name] for name in inputs_named + outputs_named}
        torch.onnx.export(
            module,
            inputs,
            str(whole),
            input_names=inputs_named,
            output_names=outputs_named,
            dynamic_axes=axes,
            opset_version=17,
            custom_opsets={"com.microsoft": 1},
            dynamo=False,
        )
        quantize_dynamic(
            whole, small, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True},
        )  # fmt: skip


class Engine(Stepwise):
    def __init__(self, folder: Path, compute_type: str, threads: int) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        files = [str(folder / f"{part}.{compute_type}.onnx") for part in ("encoder", "decoder")]
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"]) for file in files
        )

    def encode(self, mel):
        names = [output.name for output in self.encoder.get_outputs()]
        return dict(zip(names, self.encoder.run_with_ort_values(None, {"mel": _value(mel[None])}), strict=True))

    def _steps(self, features, n, rows, update):
        """Keep keys and values in onnxruntime's own arrays; only logits are copied to NumPy."""
        names = [item.name for item in self.decoder.get_inputs()][1:]
        outputs = [item.name for item in self.decoder.get_outputs()]
        empty = [1 if isinstance(d, str) else d for d in self.decoder.get_inputs()[1].shape]
        empty = _value(np.zeros((rows, empty[1], 0, empty[3]), np.float32))
        if rows > 1:
            features = {name: _value(np.repeat(value.numpy(), rows, axis=0)) for name, value in features.items()}
        state = {name: features.get(name, empty) for name in names}
        tokens = prompt(rows)
        for _ in range(n):
            results = dict(
                zip(outputs, self.decoder.run_with_ort_values(None, {"tokens": _value(tokens)} | state), strict=True)
            )
            tokens, source = update(without_end(results.pop("logits").numpy()[:, -1]))
            for name, value in results.items():
                state[name.replace("new", "past")] = value if source is None else _value(value.numpy()[source])
            yield tokens


def _value(array):
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
