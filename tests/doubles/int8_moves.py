"""Files whose operator puts numbers elsewhere and changes none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from graph_builder import Graph


def _reshape(g: Graph) -> None:
    """Two shapes of the same values, one of them used twice."""
    given = g.given(1, 4, 3, 2)
    flat = g.activation(1, 24, **g.grid_of(given))
    thin = g.activation(24, **g.grid_of(given))
    wide = g.activation(1, 24, 1, **g.grid_of(given))
    made = g.activation(1, 24)
    g.operator("RESHAPE", [given, g.numbers([1, 24])], [flat], "ReshapeOptions")
    g.operator("SQUEEZE", [flat], [thin], "SqueezeOptions", squeezeDims=[0])
    g.operator("EXPAND_DIMS", [flat, g.numbers([2])], [wide], "ExpandDimsOptions")
    g.operator("ADD", [flat, flat], [made], "AddOptions")
    g.gives(made, thin, wide)


def _transpose(g: Graph) -> None:
    order = g.random.permutation(4).tolist()
    shape = (2, 3, 4, 5)
    given = g.given(*shape)
    made = g.activation(*(shape[a] for a in order), **g.grid_of(given))
    g.operator("TRANSPOSE", [given, g.numbers(order)], [made], "TransposeOptions")
    g.gives(made)


def _strided(g: Graph) -> None:
    given = g.given(1, 7, 6, 3)
    begin, end, step = [0, 1, -1, 0], [1, 7, -7, 2], [1, int(g.random.integers(1, 4)), -2, 1]
    rows = len(range(7)[1 : 7 : step[1]])
    shrink = bool(g.random.random() < 0.5)
    if shrink:
        begin[3], end[3] = 1, 2
    shape = (1, rows, 3) if shrink else (1, rows, 3, 2)
    made = g.activation(*shape, **g.grid_of(given))
    inputs = [given, *map(g.numbers, (begin, end, step))]
    g.operator("STRIDED_SLICE", inputs, [made], "StridedSliceOptions",
               beginMask=1, endMask=2, shrinkAxisMask=8 * shrink)  # fmt: skip
    g.gives(made)


def _slice(g: Graph) -> None:
    given = g.given(1, 7, 6, 3)
    made = g.activation(1, 4, 5, 2, **g.grid_of(given))
    inputs = [given, g.numbers([0, 2, 1, 1]), g.numbers([1, 4, 5, -1])]
    g.operator("SLICE", inputs, [made], "SliceOptions")
    g.gives(made)


def _split(g: Graph) -> None:
    given = g.given(1, 4, 6)
    made = [g.activation(1, 4, 2, **g.grid_of(given)) for _ in range(3)]
    g.operator("SPLIT", [g.numbers(2), given], made, "SplitOptions", numSplits=3)
    g.gives(*made)


def _split_v(g: Graph) -> None:
    given = g.given(1, 7, 6)
    made = [g.activation(1, n, 6, **g.grid_of(given)) for n in (2, 4, 1)]
    inputs = [given, g.numbers([2, 4, 1]), g.numbers(1)]
    g.operator("SPLIT_V", inputs, made, "SplitVOptions", numSplits=3)
    g.gives(*made)


def _unpack(g: Graph) -> None:
    given = g.given(2, 3, 4)
    made = [g.activation(2, 4, **g.grid_of(given)) for _ in range(3)]
    g.operator("UNPACK", [given], made, "UnpackOptions", axis=1, num=3)
    g.gives(*made)


def _pack(g: Graph) -> None:
    grid = {"scale": 0.1, "zero": 4}
    given = [g.given(2, 4, **grid) for _ in range(3)]
    made = g.activation(2, 3, 4, **grid)
    g.operator("PACK", given, [made], "PackOptions", axis=1, valuesCount=3)
    g.gives(made)


def _concatenation(g: Graph) -> None:
    grid = {"scale": 0.1, "zero": 4}
    axis = int(g.random.integers(1, 4))
    shapes = [[1 if a == 0 else n + 1 if a == axis else 3 for a in range(4)] for n in range(3)]
    given = [g.given(*shape, **grid) for shape in shapes]
    made = g.activation(*(6 if a == axis else shapes[0][a] for a in range(4)), **grid)
    g.operator("CONCATENATION", given, [made], "ConcatenationOptions", axis=axis)
    g.gives(made)


def _pad(kind: str) -> Callable[[Graph], None]:
    def build(g: Graph) -> None:
        given = g.given(1, 3, 4, 2)
        grid = g.grid_of(given)
        made = g.activation(1, 6, 4, 5, **grid)
        inputs = [given, g.numbers([[0, 0], [1, 2], [0, 0], [2, 1]])]
        if kind == "PADV2":
            inputs.append(g.tensor((1,), grid["scale"], grid["zero"], np.array([-77], np.int8)))
        g.operator(kind, inputs, [made], f"{'PadV2' if kind == 'PADV2' else 'Pad'}Options")
        g.gives(made)

    return build


def _nearest(g: Graph) -> None:
    size = [int(n) for n in g.random.integers(1, 12, 2)]
    given = g.given(2, 4, 5, 3)
    made = g.activation(2, *size, 3, **g.grid_of(given))
    align, centers = (bool(g.random.random() < 0.4) for _ in range(2))
    g.operator("RESIZE_NEAREST_NEIGHBOR", [given, g.numbers(size)], [made],
               "ResizeNearestNeighborOptions", alignCorners=align,
               halfPixelCenters=centers and not align)  # fmt: skip
    g.gives(made)


MOVES: dict[str, Callable[[Graph], None]] = {
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "STRIDED_SLICE": _strided,
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "UNPACK": _unpack,
    "PACK": _pack,
    "CONCATENATION": _concatenation,
    "PAD": _pad("PAD"),
    "PADV2": _pad("PADV2"),
    "RESIZE_NEAREST_NEIGHBOR": _nearest,
}
