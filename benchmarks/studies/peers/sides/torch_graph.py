"""A network of `exchange.write_graph` as a module of PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def _conv(node: dict[str, Any], weights: dict[str, Any]) -> nn.Conv2d:
    name, deep = node["name"], node["kind"] == "DepthwiseConv2D"
    kernel = weights[f"{name}/kernel"]
    kernel = kernel.transpose(2, 3, 0, 1) if deep else kernel.transpose(3, 2, 0, 1)
    made, read = kernel.shape[:2]
    layer = nn.Conv2d(
        made if deep else read,
        made,
        kernel.shape[2:],
        tuple(node["strides"]),
        groups=made if deep else 1,
        bias=node["use_bias"],
    )
    layer.weight.data = torch.tensor(kernel.copy())
    if layer.bias is not None:
        layer.bias.data = torch.tensor(weights[f"{name}/bias"])
    return layer


def _norm(node: dict[str, Any], weights: dict[str, Any]) -> nn.BatchNorm2d:
    gamma, beta, mean, variance = (
        torch.tensor(weights[f"{node['name']}/{part}"])
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    layer = nn.BatchNorm2d(len(gamma), eps=node["epsilon"])
    layer.weight.data, layer.bias.data = gamma, beta
    layer.running_mean, layer.running_var = mean, variance
    return layer


def _dense(node: dict[str, Any], weights: dict[str, Any]) -> nn.Linear:
    kernel = weights[f"{node['name']}/kernel"]
    layer = nn.Linear(*kernel.shape, bias=node["use_bias"])
    layer.weight.data = torch.tensor(kernel.T.copy())
    if layer.bias is not None:
        layer.bias.data = torch.tensor(weights[f"{node['name']}/bias"])
    return layer


_MAKERS = {"Conv2D": _conv, "DepthwiseConv2D": _conv, "BatchNormalization": _norm, "Dense": _dense}


class Graph(nn.Module):
    """The network; gives logits, (n, classes), of images (n, channels, height, width)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.nodes = json.loads((folder / "graph.json").read_text())
        with np.load(folder / "weights.npz") as file:
            weights = dict(file)
        # Names of modules may not hold dots, and layers' names may not clash with attributes.
        self.parts = nn.ModuleDict(
            {"at_" + n["name"]: _MAKERS[n["kind"]](n, weights)
             for n in self.nodes if n["kind"] in _MAKERS}
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        """Logits: the last softmax is left out."""
        values: dict[str, Any] = {}
        for node in self.nodes:
            inputs = [values[name] for name in node["inputs"]]
            values[node["name"]] = self._value(node, inputs, x)
        return values[self.nodes[-1]["name"]]

    def _value(self, node: dict[str, Any], inputs: list[Any], x: Any) -> Any:
        kind = node["kind"]
        if kind == "InputLayer":
            return x
        value = inputs[0]
        if kind == "Add":
            value = inputs[0] + inputs[1]
        elif kind == "Flatten":
            value = value.flatten(1)
        elif kind == "AveragePooling2D":
            value = functional.avg_pool2d(value, tuple(node["pool_size"]))
        elif kind == "GlobalAveragePooling2D":
            value = functional.adaptive_avg_pool2d(value, 1).flatten(1)
        elif kind in _MAKERS:
            part = self.parts["at_" + node["name"]]
            if isinstance(part, nn.Conv2d) and node["padding"] == "same":
                value = functional.pad(value, _same(value.shape[2:], part))
            value = part(value)
        return functional.relu(value) if node.get("activation") == "relu" else value

    def part(self, name: str) -> Any:
        """The module of a node."""
        return self.parts["at_" + name]

    def made_by(self) -> dict[str, int]:
        """For each node with a kernel, its output channels."""
        kinds = ("Conv2D", "DepthwiseConv2D", "Dense")
        return {n["name"]: self.part(n["name"]).weight.shape[0]
                for n in self.nodes if n["kind"] in kinds}  # fmt: skip

    def kernels(self) -> dict[str, Any]:
        """All kernels by NODE/kernel, laid out as in Keras."""
        found = {}
        for node in self.nodes:
            if node["kind"] in ("Conv2D", "DepthwiseConv2D", "Dense"):
                value = self.part(node["name"]).weight.detach().numpy()
                axes = {"Conv2D": (2, 3, 1, 0), "DepthwiseConv2D": (2, 3, 0, 1), "Dense": (1, 0)}
                found[f"{node['name']}/kernel"] = value.transpose(axes[node["kind"]])
        return found

    def macs(self) -> int:
        """Multiply-accumulates of convolutions and dense layers, by their weights as they are."""
        total = 0
        for node in self.nodes:
            if node["kind"] in ("Conv2D", "DepthwiseConv2D", "Dense"):
                places = int(np.prod(node["shape"][:-1]))
                total += places * self.part(node["name"]).weight.numel()
        return total


def _same(size: Any, part: Any) -> tuple[int, int, int, int]:
    """TensorFlow's padding: the odd one goes after."""
    found: list[int] = []
    for length, kernel, stride in zip(size, part.kernel_size, part.stride, strict=True):
        wanted = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        found = [wanted // 2, wanted - wanted // 2, *found]
    return found[0], found[1], found[2], found[3]
