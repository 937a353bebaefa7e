"""Why a file is slower than its float32 sibling, and what would help.

A sibling is a float32 file of the same format and network that was measured on the same device in
the same way. Times are facts of the run; reasons are what the files show, so they are called
likely.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.records.rows import BenchmarkRecord, BenchmarkRow
from edgepress.benchmarks.results import BenchmarkResult
from edgepress.compress.errors import EdgepressError
from edgepress.deploy.exporting.size_notes import more_conversions, unrolled
from edgepress.deploy.sources.formats.onnx_reading import read_onnx, signature, stored_as
from edgepress.deploy.sources.formats.tflite_reading import TFLiteReader
from edgepress.deploy.sources.signature import Signature

if TYPE_CHECKING:
    import onnx

# Weights of two precisions of one network differ by what a converter folds.
_SAME_NETWORK = 0.02
_DEPTHWISE = "DEPTHWISE_CONV_2D"
# Operators that multiply with weights.
_PRODUCTS = (_DEPTHWISE, "CONV_2D", "FULLY_CONNECTED", "Conv", "Gemm", "MatMul")
_OF_PRECISION = {
    "dynamic": "operators find the range of their activations again in every inference",
    "float16": "processors without float16 arithmetic convert the numbers to multiply them",
    "int16x8": "16-bit activations run in plain kernels, not in those of XNNPACK",
    "int8-weights": "weights are unpacked before they are multiplied, in floats",
    "int4-weights": "weights are unpacked before they are multiplied, in floats",
}


@dataclass(frozen=True)
class NetworkFile:
    """What a file tells of its network.

    Attributes:
        format: Its ending.
        precision: How it stores numbers, a name in `PRECISIONS`.
        sides: Shapes of its inputs and outputs, without the batch.
        weights: Numbers in its matrices and filters.
        operators: How many there are of each kind.
    """

    format: str
    precision: str
    sides: tuple[Any, ...]
    weights: int
    operators: Mapping[str, int]

    def same_network(self, whole: NetworkFile) -> bool:
        """Whether a float32 file seems to hold the same network."""
        if (self.format, self.sides) != (whole.format, whole.sides):
            return False
        return self.distance(whole) <= _SAME_NETWORK or bool(
            unrolled(self.operators, whole.operators)
        )

    def distance(self, other: NetworkFile) -> float:
        """Relative difference of the numbers of weights."""
        return abs(self.weights - other.weights) / max(other.weights, 1)


def with_speed_notes(result: BenchmarkResult) -> BenchmarkResult:
    """The result, with a remark at each file that is slower than its float32 sibling.

    Differences within the noise of the run are none.
    """
    paths = dict.fromkeys(m.path for m in result.measurements)
    files = {str(path): found for path in paths if (found := _read(path)) is not None}
    if len(files) < 2:
        return result
    document = BenchmarkRecord.model_validate(result.to_json())
    notes = iter([_note(document, row, files) for row in document.rows])
    devices = []
    for device in result.devices:
        measurements = tuple(
            m
            if not (note := next(notes))
            else replace(m, facts=replace(m.facts, notes=(*m.facts.notes, note)))
            for m in device.measurements
        )
        devices.append(replace(device, measurements=measurements))
    return replace(result, devices=tuple(devices))


def _note(document: BenchmarkRecord, row: BenchmarkRow, files: Mapping[str, NetworkFile]) -> str:
    """What there is to say of one row; empty where it isn't slower, or has no sibling."""
    mine = files.get(row.path or "")
    if mine is None or mine.precision == "float32":
        return ""
    rows = [(r, files[r.path or ""]) for r in document.rows if r.way == row.way and r.path in files]
    floats = [(r, f) for r, f in rows if f.precision == "float32" and mine.same_network(f)]
    whole, sibling = min(floats, key=lambda pair: mine.distance(pair[1]), default=(None, mine))
    change = document.change(whole, row)
    if whole is None or change is None or change.same or change.share <= 0:
        return ""
    alike = [r for r, f in rows if r is row or f is sibling or f.same_network(sibling)]
    quickest = min(alike, key=lambda r: r.median_ms or math.inf)
    return (
        f"takes {1 + change.share:.3g} times as long as its float32 sibling {whole.name}, likely"
        f" because {likely_reason(mine, sibling)}; what helps: {quickest.name} is the fastest of"
        f" this network here ({quickest.median_ms:.4g} ms), and --profile shows the time by"
        " operator"
    )


def likely_reason(mine: NetworkFile, whole: NetworkFile) -> str:
    """The first reason that a file and its float32 sibling show."""
    return next(reason for explain in _REASONS if (reason := explain(mine, whole)))


def _unrolled(mine: NetworkFile, whole: NetworkFile) -> str:
    return unrolled(mine.operators, whole.operators)


def _by_precision(mine: NetworkFile, _: NetworkFile) -> str:
    return _OF_PRECISION.get(mine.precision, "")


def _depthwise(mine: NetworkFile, _: NetworkFile) -> str:
    count = mine.operators.get(_DEPTHWISE, 0)
    if mine.precision != "int8" or 3 * count < sum(mine.operators.get(k, 0) for k in _PRODUCTS):
        return ""
    return (
        f"{count} of its operators are depthwise convolutions, which gain little from int8, and"
        " nothing where the processor or the kernel has no products of bytes (VNNI, SDOT)"
    )


def _converting(mine: NetworkFile, whole: NetworkFile) -> str:
    count = more_conversions(mine.operators, whole.operators)
    return f"{count} operators more convert numbers" if count > 0 else ""


def _kernels(mine: NetworkFile, _: NetworkFile) -> str:
    return f"the runtime's {mine.precision} kernels for these operators are slower on this device"


# A new reason is one function and one name here; the last one always has something to say.
_REASONS: Sequence[Callable[[NetworkFile, NetworkFile], str]] = (
    _unrolled, _by_precision, _depthwise, _converting, _kernels,
)  # fmt: skip


def _read(path: Path) -> NetworkFile | None:
    """What a file tells; None for other formats and files that can't be read."""
    reader = {".tflite": _read_tflite, ".onnx": _read_onnx}.get(path.suffix.lower())
    try:
        return None if reader is None or not path.is_file() else reader(path)
    except EdgepressError:
        return None


def _read_tflite(path: Path) -> NetworkFile:
    reader = TFLiteReader(path)
    stored = {
        reader.model.Subgraphs(place).Tensors(tensor.index).Buffer(): tensor.shape
        for place, graph in enumerate(reader.graphs)
        for tensor in graph.tensors
        if tensor.constant
    }
    kinds = Counter(op.name for graph in reader.graphs for op in graph.operators)
    return NetworkFile("tflite", reader.precision, _shapes(reader.signature()), _sum(stored), kinds)


def _read_onnx(path: Path) -> NetworkFile:
    model = read_onnx(path)
    stored = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    kinds = Counter(
        _DEPTHWISE if node.op_type == "Conv" and _groups(node) > 1 else str(node.op_type)
        for node in model.graph.node
    )
    return NetworkFile("onnx", stored_as(model), _shapes(signature(model)), _sum(stored), kinds)


def _groups(node: onnx.NodeProto) -> int:
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _sum(stored: Mapping[Any, tuple[int, ...]]) -> int:
    # Scales have the axes of their weights, all but one of a single place.
    return sum(math.prod(s) for s in stored.values() if sum(size > 1 for size in s) > 1)


def _shapes(sides: Signature) -> tuple[Any, ...]:
    """The inputs' and outputs' shapes without the batch."""
    return tuple(tuple(spec.shape[1:] for spec in s) for s in (sides.inputs, sides.outputs))
