"""How a TFLite file stores numbers, which sets how far it may differ from its source."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from edgepress.benchmarks.tflite.graph import Tensor, TFLiteGraph
from edgepress.deploy.sources.formats.tflite_reading import TFLiteReader

_tensor = partial(Tensor, name="t", shape=(1, 8), free=(), bytes=8, variable=False)


class _Holding(TFLiteReader):
    def __init__(self, *tensors: Tensor) -> None:
        self.path = Path("made.tflite")
        self._graph = TFLiteGraph(tensors, (), (0,), (len(tensors) - 1,), 1)

    @property
    def graphs(self) -> tuple[TFLiteGraph, ...]:
        return (self._graph,)


@pytest.mark.parametrize(
    ("kind", "scales", "precision"),
    [("UINT8", 0, "float32"), ("INT8", 0, "float32"), ("INT16", 0, "float32"),
     ("UINT8", 1, "int8"), ("INT8", 1, "int8"), ("INT16", 1, "int16x8")],
)  # fmt: skip
def test_bytes_without_a_scale_are_pixels_that_a_float_model_is_given(
    kind: str, scales: int, precision: str
) -> None:
    """A float file that takes bytes is held against the bounds of floats."""
    given = _tensor(index=0, type=kind, constant=False, scales=scales)
    weights = _tensor(index=1, type="FLOAT32", constant=True, scales=0)
    assert _Holding(given, weights).precision == precision
