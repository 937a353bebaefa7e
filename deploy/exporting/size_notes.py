"""What is to be known of files: why one is larger than its float32 sibling, what none was shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from edgepress.compress.kernel.artifact import Artifact
from edgepress.compress.kernel.files import gzip_size, zstd_size
from edgepress.deploy.sources.formats.onnx_reading import read_onnx
from edgepress.deploy.sources.formats.tflite_reading import TFLiteReader

# Operators that only tell or change how numbers are stored.
_SCALING = frozenset({
    "QUANTIZE", "DEQUANTIZE", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast",
})  # fmt: skip
# Operators that are, or stand for, a loop over time steps.
_LOOPS = frozenset({
    "WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "Loop", "Scan", "LSTM", "GRU",
    "RNN",
})  # fmt: skip
_UNROLLED = 2.0


class Sizes(TypedDict):
    """Bytes of a file, by the names that `Artifact` has for them."""

    bytes: int
    gzip_bytes: int
    zstd_bytes: int


def sizes_of(path: Path) -> Sizes:
    """Bytes of a file, as it is and packed."""
    return Sizes(bytes=path.stat().st_size, gzip_bytes=gzip_size(path), zstd_bytes=zstd_size(path))


def file_notes(artifacts: Sequence[Artifact]) -> Iterator[str]:
    """`larger_files`, and what the samples of verifications don't show.

    Args:
        artifacts: The files, where they were written.
    """
    yield from larger_files(artifacts)
    found: dict[str, list[str]] = {}
    for artifact in artifacts:
        for doubt in artifact.verified.doubts if artifact.verified else ():
            found.setdefault(doubt, []).append(artifact.path.name)
    for doubt, names in found.items():
        yield f"{'the files' if len(names) == len(artifacts) > 1 else ', '.join(names)}: {doubt}"


def larger_files(artifacts: Sequence[Artifact]) -> Iterator[str]:
    """A note for each file that is larger than the float32 file of its format.

    Args:
        artifacts: The files, where they were written.
    """
    for artifact in artifacts:
        if artifact.format not in ("tflite", "onnx") or artifact.quantize == "float32":
            continue
        siblings = [a for a in artifacts if a.format == artifact.format]
        whole = next((a for a in siblings if a.quantize == "float32"), None)
        if whole is None or artifact.bytes <= whole.bytes:
            continue
        smallest = min(siblings, key=lambda a: a.bytes)
        yield (
            f"{artifact.path.name}: {artifact.bytes:,} bytes, larger than float32's"
            f" {whole.bytes:,}: {_why(artifact, whole)}; {_help(artifact, smallest)}"
        )


def _why(artifact: Artifact, whole: Artifact) -> str:
    mine, other = _operators(artifact), _operators(whole)
    if loops := unrolled(mine, other):
        return f"{loops}, each with its tensors and scales"
    scaling = more_conversions(mine, other)
    if scaling > 0:
        return (
            f"{scaling} operators more convert numbers, and with their scales they take more than"
            " so few weights save"
        )
    return "scales and zero points take more than so few weights save"


def unrolled(mine: Mapping[str, int], other: Mapping[str, int]) -> str:
    """Whether one file unrolls the loops of another, in words; empty where it doesn't.

    Args:
        mine: How many operators of each kind the file has.
        other: Those of the file with loops.
    """
    count, before = sum(mine.values()), sum(other.values())
    loops = sum(other.get(k, 0) - mine.get(k, 0) for k in _LOOPS)
    if loops <= 0 or count < _UNROLLED * before:
        return ""
    return f"its loops over time steps are unrolled, {count} operators in place of {before}"


def more_conversions(mine: Mapping[str, int], other: Mapping[str, int]) -> int:
    """How many operators more than another file a file has that only convert numbers."""
    return sum(mine.get(kind, 0) - other.get(kind, 0) for kind in _SCALING)


def _help(artifact: Artifact, smallest: Artifact) -> str:
    if smallest is not artifact and smallest.bytes < artifact.bytes:
        return f"{smallest.quantize} is the smallest here, {smallest.bytes:,} bytes"
    return "try another precision"


def _operators(artifact: Artifact) -> Mapping[str, int]:
    """How many operators of each kind a file has, those inside of loops too."""
    if artifact.format == "onnx":
        return Counter(str(node.op_type) for node in read_onnx(artifact.path).graph.node)
    graphs = TFLiteReader(artifact.path).graphs
    return Counter(operator.name for graph in graphs for operator in graph.operators)
