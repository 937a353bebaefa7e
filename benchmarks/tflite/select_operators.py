"""TensorFlow's own kernels in TFLite files ("select operators").

Only an interpreter that links TensorFlow's Flex delegate runs them, as on Android; neither LiteRT's
Python package nor TensorFlow's does. (https://ai.google.dev/edge/litert/models/ops_select)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgepress.benchmarks.tflite.graph import read_graph

_PREFIX = "Flex"


def tensorflow_kernels(path: Path) -> tuple[str, ...]:
    """TensorFlow's own kernels that a TFLite file needs, by name."""
    operators = read_graph(path).operator_names
    return tuple(o.removeprefix(_PREFIX) for o in operators if o.startswith(_PREFIX))


def why_unverified(path: Path, kernels: Sequence[str]) -> str:
    """What to tell of a file that can't be run here."""
    return (
        f"{path.name}: not verified: {', '.join(kernels)} run as TensorFlow's own kernels only"
        " where its Flex delegate is linked, as on Android, not in LiteRT's Python package:"
        " compare its outputs there"
    )
