"""Small int8 TFLite files, each with one operator between its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from graph_builder import Graph, Random, scale_of
from int8_moves import MOVES


def _fused(random: Random) -> int:
    return int(random.integers(0, 4))


def _weights(g: Graph, shape: Sequence[int], axis: int, channels: int, given: int,
             biased: float = 1) -> list[int]:  # fmt: skip
    """Weights with a scale for each channel or for all, and biases as often as is said."""
    random = g.random
    scales = scale_of(random, 0.002, 0.02, channels if random.random() < 0.7 else 1)
    numbers = random.integers(-127, 128, shape).astype(np.int8)
    found = [g.tensor(shape, scales, numbers=numbers, axis=axis)]
    if random.random() < biased:
        biases = random.integers(-4000, 4000, channels).astype(np.int32)
        scale = scales * g.grid_of(given)["scale"]
        found.append(g.tensor((channels,), scale, numbers=biases, dtype="int32"))
    return found


def _out(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == 0 else -(-(size - reach + 1) // stride)


def _conv(g: Graph) -> None:
    random = g.random
    groups, batch = int(random.integers(1, 3)), int(random.integers(1, 3))
    width, filters = groups * int(random.integers(1, 5)), groups * int(random.integers(1, 5))
    height, kernel = int(random.integers(5, 9)), int(random.integers(1, 4))
    stride, dilation, padding = (int(n) for n in random.integers((1, 1, 0), (3, 3, 2)))
    given = g.given(batch, height, height + 1, width)
    weights = _weights(g, (filters, kernel, kernel, width // groups), 0, filters, given)
    sizes = [_out(n, kernel, stride, dilation, padding) for n in (height, height + 1)]
    made = g.activation(batch, *sizes, filters, scale=float(random.choice([0.1, 0.3, 0.7])))
    g.operator("CONV_2D", [given, *weights], [made], "Conv2DOptions", padding=padding,
               strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation,
               fusedActivationFunction=_fused(random))  # fmt: skip
    g.gives(made)


def _depthwise(g: Graph) -> None:
    random = g.random
    width, repeats, batch = (int(n) for n in random.integers(1, (5, 4, 3)))
    height, kernel = int(random.integers(5, 9)), int(random.integers(1, 4))
    stride, dilation, padding = (int(n) for n in random.integers((1, 1, 0), (3, 3, 2)))
    given = g.given(batch, height, height + 1, width)
    filters = width * repeats
    weights = _weights(g, (1, kernel, kernel, filters), 3, filters, given)
    sizes = [_out(n, kernel, stride, dilation, padding) for n in (height, height + 1)]
    made = g.activation(batch, *sizes, filters, scale=float(random.choice([0.1, 0.25])))
    g.operator("DEPTHWISE_CONV_2D", [given, *weights], [made], "DepthwiseConv2DOptions",
               padding=padding, strideH=stride, strideW=stride, dilationHFactor=dilation,
               dilationWFactor=dilation, depthMultiplier=repeats,
               fusedActivationFunction=_fused(random))  # fmt: skip
    g.gives(made)


def _dense(g: Graph) -> None:
    random = g.random
    rows, width, units = (int(n) for n in random.integers(1, (4, 30, 12)))
    given = g.given(rows, width)
    weights = _weights(g, (units, width), 0, units, given, 0.7)
    made = g.activation(rows, units, scale=float(random.choice([0.1, 0.25, 0.4])))
    weights += [-1] * (2 - len(weights))
    g.operator("FULLY_CONNECTED", [given, *weights], [made], "FullyConnectedOptions",
               fusedActivationFunction=_fused(random))  # fmt: skip
    g.gives(made)


def _pool(kind: str) -> Callable[[Graph], None]:
    def build(g: Graph) -> None:
        random = g.random
        height, kernel, width = (int(n) for n in random.integers((4, 1, 1), (9, 4, 5)))
        stride, padding, batch = (int(n) for n in random.integers((1, 0, 1), (3, 2, 3)))
        given = g.given(batch, height, height + 1, width)
        sizes = [_out(n, kernel, stride, 1, padding) for n in (height, height + 1)]
        made = g.activation(batch, *sizes, width, **g.grid_of(given))
        g.operator(kind, [given], [made], "Pool2DOptions", padding=padding, strideH=stride,
                   strideW=stride, filterHeight=kernel, filterWidth=kernel,
                   fusedActivationFunction=_fused(random))  # fmt: skip
        g.gives(made)

    return build


_SHAPES = (
    ((1, 4, 5, 3), (1, 4, 5, 3)), ((1, 4, 5, 3), (1, 1, 1, 3)), ((1, 1, 1, 3), (1, 4, 5, 3)),
    ((1, 4, 5, 3), (1, 1, 5, 1)), ((2, 7), (1,)), ((1, 4, 1, 3), (1, 1, 5, 3)), ((2, 7), (2, 1)),
)  # fmt: skip


def _pair(kind: str, options: str) -> Callable[[Graph], None]:
    def build(g: Graph) -> None:
        random = g.random
        shapes = _SHAPES[random.integers(len(_SHAPES))]
        same = {} if options else {"scale": 0.05, "zero": 3}
        a = g.given(*shapes[0], **same)
        if random.random() < 0.3:
            numbers = random.integers(-128, 128, shapes[1]).astype(np.int8)
            b = g.tensor(shapes[1], same.get("scale", 0.03), same.get("zero", -7), numbers)
        else:
            b = g.given(*shapes[1], **same)
        made = g.activation(*np.broadcast_shapes(*shapes), **same)
        fused = {"fusedActivationFunction": _fused(random)} if options else {}
        g.operator(kind, [a, b], [made], options or "MaximumMinimumOptions", **fused)
        g.gives(made)

    return build


def _mean(g: Graph) -> None:
    random = g.random
    rank = int(random.integers(2, 5))
    shape = [1, *(int(n) for n in random.integers(2, 6, rank - 1))]
    count = int(random.integers(1, rank))
    axes = sorted(random.choice(np.arange(1, rank), min(count, rank - 1), replace=False).tolist())
    if rank == 4 and random.random() < 0.5:
        axes = [1, 2]
    keep = bool(random.random() < 0.5)
    given = g.given(*shape)
    left = [1 if a in axes else n for a, n in enumerate(shape) if keep or a not in axes]
    made = g.activation(*left, **(g.grid_of(given) if random.random() < 0.3 else {}))
    g.operator("MEAN", [given, g.numbers(axes)], [made], "ReducerOptions", keepDims=keep)
    g.gives(made)


def _softmax(g: Graph) -> None:
    random = g.random
    rows, width = (int(n) for n in random.integers(1, (4, 40)))
    given = g.given(rows, width, scale=float(random.choice([0.003, 0.02, 0.1, 0.5])))
    made = g.activation(rows, width, scale=1 / 256, zero=-128)
    g.operator("SOFTMAX", [given], [made], "SoftmaxOptions", beta=1.0)
    g.gives(made)


# Options, and the grid that the kernel asks its output to have.
_CURVES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "HARD_SWISH": ("HardSwishOptions", {}, {}),
    "LEAKY_RELU": ("LeakyReluOptions", {"alpha": 0.2}, {}),
    "LOGISTIC": ("", {}, {"scale": 1 / 256, "zero": -128}),
    "QUANTIZE": ("QuantizeOptions", {}, {}),
    "RELU": ("", {}, {}),
    "RELU6": ("", {}, {}),
    "RELU_N1_TO_1": ("", {}, {}),
    "TANH": ("", {}, {"scale": 1 / 128, "zero": 0}),
}


def _curve(kind: str) -> Callable[[Graph], None]:
    def build(g: Graph) -> None:
        options, told, grid = _CURVES[kind]
        given = g.given(1, 17, 16)
        made = g.activation(1, 17, 16, **grid)
        g.operator(kind, [given], [made], options, **told)
        g.gives(made)

    return build


def _ends(g: Graph) -> None:
    """Floats in, floats out."""
    given = g.tensor((1, 40), dtype="float32")
    g.take(given)
    inside, made = g.activation(1, 40), g.tensor((1, 40), dtype="float32")
    g.operator("QUANTIZE", [given], [inside], "QuantizeOptions")
    g.operator("DEQUANTIZE", [inside], [made], "DequantizeOptions")
    g.gives(made)


def _curves(g: Graph) -> None:
    """All of them beside one another."""
    for kind in _CURVES:
        _curve(kind)(g)


def _sum(g: Graph) -> None:
    """What the C without an interpreter lacks."""
    given = g.given(1, 4)
    made = g.activation(1, 1)
    g.operator("SUM", [given, g.numbers([1])], [made], "ReducerOptions", keepDims=True)
    g.gives(made)


BUILDERS: dict[str, Callable[[Graph], None]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "AVERAGE_POOL_2D": _pool("AVERAGE_POOL_2D"),
    "MAX_POOL_2D": _pool("MAX_POOL_2D"),
    "ADD": _pair("ADD", "AddOptions"),
    "SUB": _pair("SUB", "SubOptions"),
    "MUL": _pair("MUL", "MulOptions"),
    "MAXIMUM": _pair("MAXIMUM", ""),
    "MINIMUM": _pair("MINIMUM", ""),
    "MEAN": _mean,
    "SOFTMAX": _softmax,
    "DEQUANTIZE": _ends,
    **MOVES,
    **{kind: _curve(kind) for kind in _CURVES},
}


CURVES = tuple(_CURVES)
_OTHERS = {"curves": _curves, "SUM": _sum}


def drawn(kind: str, seed: int) -> bytes:
    """A file with an operator (or with all curves), its shapes and grids drawn."""
    graph = Graph(np.random.default_rng([seed, *kind.encode()]))
    (BUILDERS | _OTHERS)[kind](graph)
    return graph.content()
