"""Repeated values become operators that every kernel set has."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.deploy import export
from edgepress.deploy.lowerings.operations import lowered_operations

KINDS: dict[str, tuple[tuple[int, ...], Callable]] = {
    "pixels": ((6, 5, 3), lambda x: layers.UpSampling2D((2, 3))(x)),
    "bilinear": ((6, 5, 3), lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x)),
    "steps": ((6, 3), lambda x: layers.UpSampling1D(3)(x)),
    "volume": ((3, 4, 3, 2), lambda x: layers.UpSampling3D((2, 1, 2))(x)),
    "vector": ((6,), lambda x: layers.RepeatVector(5)(x)),
    "last axis": ((6, 3), lambda x: ops.repeat(x, 2, axis=-1)),
    "tiles": ((6, 3), lambda x: ops.tile(x, [1, 2, 3])),
}


def _model(kind: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    shape, change = KINDS[kind]
    inputs = keras.Input(shape, name="inputs")
    return keras.Model(inputs, layers.Dense(3)(change(layers.Dense(4)(inputs))))


@pytest.mark.parametrize("kind", KINDS)
def test_lowered_operations_give_the_same(kind: str) -> None:
    model = _model(kind)
    samples = np.random.default_rng(0).normal(size=(4, *KINDS[kind][0])).astype(np.float32)
    own = model(samples).numpy()
    with lowered_operations("float"):
        lowered = model(samples).numpy()
    np.testing.assert_allclose(lowered, own, atol=1e-6)


@pytest.mark.parametrize("kind", ["pixels", "steps"])
def test_up_sampling_has_files_in_every_format(kind: str, tmp_path, worker) -> None:
    """TILE of version 3 is refused by TensorFlow Lite Micro and by older runtimes."""
    model = _model(kind)
    x = np.random.default_rng(0).normal(size=(64, *KINDS[kind][0])).astype(np.float32)
    data = (x, model.predict(x, verbose=0))
    result = export(
        model, tmp_path / "out", ("tflite", "onnx", "c"), ("int8",), data, worker=worker
    )
    assert {a.format for a in result.artifacts} == {"tflite", "onnx", "c"}, result.skipped
    names = read_graph(tmp_path / "out/model_int8.tflite").operator_names
    assert "TILE" not in names
    assert ("RESIZE_NEAREST_NEIGHBOR" in names) == (kind == "pixels")
