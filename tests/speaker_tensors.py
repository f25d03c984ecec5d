"""Random weights of the speaker networks, under the names and in the shapes of the published ones."""

import numpy as np

from whisper_apr.speakers.layers import Tensors


def segmentation_tensors(seed: int = 0) -> Tensors:
    """Return weights of pyannote's segmentation network."""
    g = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"sincnet.filters": (80, 251)}
    for i, (n_out, n_in) in enumerate(((80, 1), (60, 80), (60, 60))):
        shapes |= {f"sincnet.norm1d.{i}.weight": (n_out,), f"sincnet.norm1d.{i}.bias": (n_out,)}
        if i:
            shapes |= {f"sincnet.conv1d.{i}.weight": (n_out, n_in, 5), f"sincnet.conv1d.{i}.bias": (n_out,)}
    shapes |= {"sincnet.wav_norm1d.weight": (1,), "sincnet.wav_norm1d.bias": (1,)}
    for layer in range(4):
        for suffix in ("", "_reverse"):
            name = f"l{layer}{suffix}"
            shapes |= {f"lstm.weight_ih_{name}": (512, 256 if layer else 60), f"lstm.weight_hh_{name}": (512, 128)}
            shapes |= {f"lstm.bias_ih_{name}": (512,), f"lstm.bias_hh_{name}": (512,)}
    for name, n_out, n_in in (("linear.0", 128, 256), ("linear.1", 128, 128), ("classifier", 7, 128)):
        shapes |= {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}
    return {name: _normal(g, shape) for name, shape in shapes.items()}


def embedding_tensors(seed: int = 0) -> Tensors:
    """Return weights of CAM++. Some scales of batch normalization are negative."""
    g = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def norm(name: str, n: int, affine: bool = True) -> None:
        tensors[f"{name}.running_mean"] = _normal(g, (n,))
        tensors[f"{name}.running_var"] = g.uniform(0.5, 2, n).astype(np.float32)
        if affine:
            tensors[f"{name}.weight"] = g.normal(0.7, 0.5, n).astype(np.float32)
            tensors[f"{name}.bias"] = _normal(g, (n,))

    def kernel(name: str, *shape: int, bias: bool = False) -> None:
        tensors[f"{name}.weight"] = _normal(g, shape)
        if bias:
            tensors[f"{name}.bias"] = _normal(g, shape[:1])

    for name, shape, after in (("conv1", (32, 1, 3, 3), "bn1"), ("conv2", (32, 32, 3, 3), "bn2")):
        kernel(f"head.{name}", *shape)
        norm(f"head.{after}", 32)
    for layer in (1, 2):
        for i in (0, 1):
            block = f"head.layer{layer}.{i}"
            for name in ("1", "2"):
                kernel(f"{block}.conv{name}", 32, 32, 3, 3)
                norm(f"{block}.bn{name}", 32)
            if i == 0:
                kernel(f"{block}.shortcut.0", 32, 32, 1, 1)
                norm(f"{block}.shortcut.1", 32)
    kernel("xvector.tdnn.linear", 128, 320, 5)
    norm("xvector.tdnn.nonlinear.batchnorm", 128)
    n = 128
    for number, n_layer in ((1, 12), (2, 24), (3, 16)):
        for i in range(n_layer):
            layer_name = f"xvector.block{number}.tdnnd{i + 1}"
            norm(f"{layer_name}.nonlinear1.batchnorm", n)
            kernel(f"{layer_name}.linear1", 128, n, 1)
            norm(f"{layer_name}.nonlinear2.batchnorm", 128)
            kernel(f"{layer_name}.cam_layer.linear_local", 32, 128, 3)
            kernel(f"{layer_name}.cam_layer.linear1", 64, 128, 1, bias=True)
            kernel(f"{layer_name}.cam_layer.linear2", 32, 64, 1, bias=True)
            n += 32
        norm(f"xvector.transit{number}.nonlinear.batchnorm", n)
        n //= 2
        kernel(f"xvector.transit{number}.linear", n, 2 * n, 1)
    norm("xvector.out_nonlinear.batchnorm", n)
    kernel("xvector.dense.linear", 192, 2 * n, 1)
    norm("xvector.dense.nonlinear.batchnorm", 192, affine=False)
    return tensors


def _normal(g: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (g.standard_normal(shape) / np.sqrt(np.prod(shape[1:], initial=1))).astype(np.float32)
