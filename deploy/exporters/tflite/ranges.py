"""The child's part of TFLite ranges that aren't simply what the samples reach.

TensorFlow's converter knows the smallest and the largest value only. It works in two steps, though,
and its first leaves a float file that holds both for every tensor: here they are replaced before
the second step makes an integer file of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.graph import Operator, graph_of
from edgepress.deploy.quantize.clipping import BINS, CLIPPING, Histogram, Range, histogram

# Of the range that samples reach. No power of two: ADD and SUB of 16 bits refuse some scales that
# all are one, as those of sigmoids (2 ** -15) and of twice the range of their sum would be.
HEADROOM = 1.9
_ROOTS = frozenset({"RSQRT", "SQRT"})

Samples = Iterator[dict[str, NDArray[Any]]]


def clipped(calibrated: bytes, samples: Samples, method: str, kept: Path) -> bytes:
    """A calibrated file with other ranges.

    Args:
        calibrated: What the converter's first step gave.
        samples: The samples it was calibrated with, by input name.
        method: Name in `CLIPPING`.
        kept: Where the histograms are kept for the next method.

    Returns:
        The file, equal but for the ends of the ranges.
    """
    ranges = _ranges(calibrated)
    if not kept.exists():
        ends = {index: (float(low[0]), float(high[0])) for index, (low, high) in ranges.items()}
        counted = _counted(calibrated, samples, ends)
        np.savez(kept, allow_pickle=False, **{str(i): c for i, c in counted.items()})
    content = bytearray(calibrated)
    places = _ranges(content)
    whole = _decisive(calibrated)
    with np.load(kept) as counts:
        for index, (low, high) in ranges.items():
            if index in whole:
                continue
            found = CLIPPING[method](Histogram(counts[str(index)], *_with_zero(low[0], high[0])))
            places[index][0][0], places[index][1][0] = found
    return bytes(content)


def widened(calibrated: bytes) -> bytes:
    """A calibrated file with ranges that reach `HEADROOM` times as far, for 16 bits.

    What lies beyond a range saturates, and a new sample may lie beyond what some hundred samples
    reached; one of 16 bits is worth less than that. What a root is taken of keeps its range: the
    kernel looks roots up in a table of 512 steps, of which small variances have few.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = graph_of(schema.Model.GetRootAs(calibrated, 0))
    under_roots = {op.inputs[0] for op in graph.operators if op.name in _ROOTS}
    content = bytearray(calibrated)
    for index, (low, high) in _ranges(content).items():
        if index not in under_roots:
            low[0], high[0] = HEADROOM * low[0], HEADROOM * high[0]
    return bytes(content)


def _with_zero(low: float, high: float) -> Range:
    return min(float(low), 0.0), max(float(high), 0.0)


def _ranges(content: bytes | bytearray) -> dict[int, tuple[NDArray[Any], NDArray[Any]]]:
    """Views of both ends of each tensor's range, by its index; ranges of zero left out."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    found = {}
    for index in range(graph.TensorsLength()):
        ends = graph.Tensors(index).Quantization()
        if ends is None or ends.MinLength() != 1 or ends.MaxLength() != 1:
            continue
        low, high = (_view(content, ends._tab, field) for field in (4, 6))
        if np.isfinite([low[0], high[0]]).all() and low[0] < high[0]:
            found[index] = (low, high)
    return found


# What leads, in the graph of a normalisation, from squares to their root; and of an attention, from
# a product to its softmax.
_TO_A_ROOT = frozenset(
    {"ADD", "MAXIMUM", "MEAN", "MUL", "RSQRT", "SQRT", "SQUARE", "SQUARED_DIFFERENCE"}
)
_TO_A_SOFTMAX = frozenset({"ADD", "MUL", "RESHAPE", "SELECT", "SELECT_V2", "SUB", "TRANSPOSE"})
_SQUARES = frozenset({"MUL", "SQUARE", "SQUARED_DIFFERENCE"})


def _decisive(content: bytes) -> set[int]:
    """Tensors whose largest values decide over others, so that none of them is cut off.

    A normalisation's variance scales a whole row, and the largest score of an attention decides
    over all others of its row (the softmax that an output ends in isn't meant). Outputs are what a
    person gets: nothing behind them gains by a finer step.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = graph_of(schema.Model.GetRootAs(content, 0))
    made = {output: operator for operator in graph.operators for output in operator.outputs}
    outputs = set(graph.outputs)
    roots = {t for t, operator in made.items() if operator.name in _ROOTS}
    scores = {
        operator.inputs[0]
        for t, operator in made.items()
        if operator.name == "SOFTMAX" and t not in outputs
    }
    return (
        outputs
        | _above(roots, made, _TO_A_ROOT, _SQUARES)
        | _above(scores, made, _TO_A_SOFTMAX, frozenset())
    )


def _above(
    tensors: set[int],
    made: Mapping[int, Operator],
    through: frozenset[str],
    to: frozenset[str],
) -> set[int]:
    """Tensors and those they are made of, through some operators and up to some of them."""
    found: set[int] = set()
    left = list(tensors)
    while left:
        tensor = left.pop()
        found.add(tensor)
        kind = made[tensor].name if tensor in made else ""
        if kind in through and kind not in to:
            left += [i for i in made[tensor].inputs if i in made and i not in found]
    return found


def _view(content: bytes | bytearray, table: Any, field: int) -> NDArray[Any]:
    """The floats of a field that holds a vector, in the file's own bytes."""
    begin = table.Vector(table.Offset(field))
    return np.frombuffer(content, "<f4", 1, begin)


def _counted(content: bytes, samples: Samples, ends: dict[int, Range]) -> dict[int, NDArray[Any]]:
    """Histograms of the tensors with ranges, over all samples."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # XNNPACK keeps the tensors inside of what it takes to itself.
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    counts = {index: np.zeros(BINS, np.int64) for index in ends}
    shapes: dict[str, Any] = {}
    for sample in samples:
        if shapes != {name: array.shape for name, array in sample.items()}:
            shapes = {name: array.shape for name, array in sample.items()}
            runner = _sized(interpreter, shapes)
        for name, index in runner.items():
            interpreter.set_tensor(index, sample[name])
        interpreter.invoke()
        for index, (low, high) in ends.items():
            counts[index] += histogram(interpreter.get_tensor(index), *_with_zero(low, high))
    return counts


def _sized(interpreter: Any, shapes: dict[str, Any]) -> dict[str, int]:
    """Prepare for samples of some shapes; the input tensors by name."""
    from edgepress.deploy.exporters.tracing import SIGNATURE

    runner = interpreter.get_signature_runner(SIGNATURE)
    inputs = {name: d["index"] for name, d in runner.get_input_details().items()}
    del runner  # while it lives, nothing can be resized
    for name, index in inputs.items():
        interpreter.resize_tensor_input(index, shapes[name])
    interpreter.allocate_tensors()
    return inputs
