"""The speaker networks in PyTorch, as references."""

from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F


def stored(name: str) -> dict[str, np.ndarray]:
    """Return the tensors of a file of the package whisper-apr-speakers."""
    with files("whisper_apr_speakers").joinpath(name).open("rb") as file, np.load(file) as tensors:
        return dict(tensors)


def tensors(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(value.astype(np.float32)) for key, value in stored(name).items()}


def segment(weights: dict[str, torch.Tensor], samples: np.ndarray) -> np.ndarray:
    """Run pyannote's segmentation network on `(batch, n)`."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.instance_norm(x, weight=weights[f"{name}.weight"], bias=weights[f"{name}.bias"])

    x = norm(torch.from_numpy(samples)[:, None], "sincnet.wav_norm1d")
    x = F.conv1d(x, weights["sincnet.filters"][:, None], stride=10).abs()
    for i in range(3):
        if i:
            x = F.conv1d(x, weights[f"sincnet.conv1d.{i}.weight"], weights[f"sincnet.conv1d.{i}.bias"])
        x = F.leaky_relu(norm(F.max_pool1d(x, 3), f"sincnet.norm1d.{i}"))
    lstm = torch.nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
    lstm.load_state_dict({key[5:]: value for key, value in weights.items() if key.startswith("lstm.")})
    x, _ = lstm(x.transpose(1, 2))
    for name in ("linear.0", "linear.1"):
        x = F.leaky_relu(F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"]))
    return F.log_softmax(F.linear(x, weights["classifier.weight"], weights["classifier.bias"]), dim=-1).numpy()


def embed(weights: dict[str, torch.Tensor], features: np.ndarray) -> np.ndarray:
    """Run CAM++ on `(batch, frames, 80)`."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, weights.get(f"{name}.weight"), weights.get(f"{name}.bias"))

    def relu(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.relu(norm(x, name))

    def conv2d(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        kernel = weights[f"{name}.weight"]
        return F.conv2d(x, kernel, stride=(stride, 1), padding=kernel.shape[-1] // 2)

    def block(x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        y = relu(conv2d(x, f"{name}.conv1", stride), f"{name}.bn1")
        same = norm(conv2d(x, f"{name}.shortcut.0", stride), f"{name}.shortcut.1") if stride > 1 else x
        return F.relu(norm(conv2d(y, f"{name}.conv2"), f"{name}.bn2") + same)

    def mask(x: torch.Tensor, name: str) -> torch.Tensor:
        pooled = F.avg_pool1d(x, 100, 100, ceil_mode=True).repeat_interleave(100, dim=-1)[..., : x.shape[-1]]
        context = x.mean(dim=-1, keepdim=True) + pooled
        context = F.relu(F.conv1d(context, weights[f"{name}.linear1.weight"], weights[f"{name}.linear1.bias"]))
        return F.conv1d(context, weights[f"{name}.linear2.weight"], weights[f"{name}.linear2.bias"]).sigmoid()

    x = torch.from_numpy(features).transpose(1, 2)[:, None]
    x = relu(conv2d(x, "head.conv1"), "head.bn1")
    for layer in (1, 2):
        x = block(block(x, f"head.layer{layer}.0", 2), f"head.layer{layer}.1", 1)
    x = relu(conv2d(x, "head.conv2", 2), "head.bn2").flatten(1, 2)
    x = F.conv1d(x, weights["xvector.tdnn.linear.weight"], stride=2, padding=2)
    x = relu(x, "xvector.tdnn.nonlinear.batchnorm")
    for number, n_layer, dilation in ((1, 12, 1), (2, 24, 2), (3, 16, 2)):
        for i in range(n_layer):
            name = f"xvector.block{number}.tdnnd{i + 1}"
            y = F.conv1d(relu(x, f"{name}.nonlinear1.batchnorm"), weights[f"{name}.linear1.weight"])
            y = relu(y, f"{name}.nonlinear2.batchnorm")
            local = weights[f"{name}.cam_layer.linear_local.weight"]
            local = F.conv1d(y, local, padding=dilation, dilation=dilation)
            x = torch.cat([x, local * mask(y, f"{name}.cam_layer")], dim=1)
        name = f"xvector.transit{number}"
        x = F.conv1d(relu(x, f"{name}.nonlinear.batchnorm"), weights[f"{name}.linear.weight"])
    x = relu(x, "xvector.out_nonlinear.batchnorm")
    x = torch.cat([x.mean(dim=-1), x.std(dim=-1)], dim=1)
    x = F.linear(x, weights["xvector.dense.linear.weight"][..., 0])
    return norm(x, "xvector.dense.nonlinear.batchnorm").numpy()
