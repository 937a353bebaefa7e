"""TFLite kernels in 4 bits, rounded with a view to samples, and in 8 where they are small."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers
from numpy.typing import NDArray

from edgepress import deploy
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.tflite.graph import packed, read_graph
from edgepress.deploy.quantize.rounding import minding_inputs, nearest


def _images(seed: int) -> NDArray[np.float32]:
    """Pictures whose pixels go together, as real ones do."""
    parts = np.random.default_rng(7).normal(size=(6, 10 * 10 * 8))
    mixed = np.random.default_rng(seed).normal(size=(64, 6)) @ parts + 2
    return mixed.reshape(64, 10, 10, 8).astype(np.float32)


SAMPLES = _images(0)


def _classifier() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((10, 10, 8), name="image")
    x = layers.Conv2D(48, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(16, 1, activation="relu")(layers.DepthwiseConv2D(3, activation="relu")(x))
    x = layers.Conv2D(48, 3, padding="same", dilation_rate=2, activation="relu")(x)
    x = layers.Conv2D(8, 1, use_bias=False)(x)
    return keras.Model(image, layers.Dense(10)(layers.Flatten()(x)))


def _exported(precision: str, out: Path, data: object = None) -> Path:
    made = deploy.export(_classifier(), out, ["tflite"], [precision], data)
    assert made.passed, made.failed
    return Path(made[0].path)


def _error(path: Path) -> float:
    """Root mean square over the spread of what the model gives for samples that nobody saw."""
    fresh = _images(1)
    want = _classifier().predict(fresh, verbose=0)
    with Runtime(path) as runtime:
        inputs, _ = runtime.tensors()
        got = next(iter(runtime.predict({inputs[0].name: fresh}).values()))
    return float(np.sqrt(np.mean((got - want) ** 2)) / want.std())


def _bits(path: Path) -> dict[str, int]:
    """How many weights there are of each type."""
    found: dict[str, int] = {}
    for tensor in read_graph(path).tensors:
        if tensor.constant and len(tensor.shape) > 1:
            found[tensor.type] = found.get(tensor.type, 0) + int(np.prod(tensor.shape))
    return found


def test_samples_make_up_for_what_four_bits_cost(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_quantizer")
    samples = SAMPLES, _classifier().predict(SAMPLES, verbose=0)
    blind = _exported("int4-weights", tmp_path / "blind")
    sighted = _exported("int4-weights", tmp_path / "sighted", samples)
    assert _error(sighted) < 0.7 * _error(blind)
    assert _bits(sighted) == _bits(blind)
    assert 0 < _bits(sighted)["INT8"] < 0.05 * _bits(sighted)["INT4"]


def test_dynamic_files_hold_small_kernels_in_8_bits_where_that_is_no_slower(
    tmp_path: Path,
) -> None:
    path = _exported("dynamic", tmp_path / "out")
    graph = read_graph(path)
    kernels = {
        (operator.name, graph.tensors[operator.inputs[1]].shape): graph.tensors[operator.inputs[1]]
        for operator in graph.operators
        if len(operator.inputs) > 2 and len(graph.tensors[operator.inputs[1]].shape) > 1
    }
    types = {key: tensor.type for key, tensor in kernels.items()}
    assert types.pop(("DEPTHWISE_CONV_2D", (1, 3, 3, 48))) == "FLOAT32"
    assert types[("CONV_2D", (8, 1, 1, 48))] == "INT8"  # 384 weights
    assert set(types.values()) == {"INT8"}
    assert _error(path) < 0.05


def test_vectors_of_equal_content_are_stored_once(tmp_path: Path) -> None:
    path = _exported("dynamic", tmp_path / "out")
    content = path.read_bytes()
    again = packed(schema.ModelT.InitFromPackedBuf(content, 0), len(content))
    assert len(content) < len(again) - 8 * 48  # the zero points of a kernel
    unshared = tmp_path / "unshared.tflite"
    unshared.write_bytes(again)
    assert _error(unshared) == _error(path)


@pytest.mark.parametrize("levels", [1, 7, 127])
def test_rounding_that_minds_the_inputs_loses_less_of_the_outputs(levels: int) -> None:
    rng = np.random.default_rng(levels)
    rows = rng.normal(size=(12, 40)) * rng.uniform(0.1, 10, size=(12, 1))
    rows[3] = 0
    inputs = np.maximum(rng.normal(size=(500, 8)) @ rng.normal(size=(8, 40)), 0)
    found = {}
    for name, (whole, scales) in {
        "weights": nearest(rows, levels),
        "outputs": minding_inputs(rows, inputs.T @ inputs / len(inputs), levels),
    }.items():
        assert (whole == np.rint(whole)).all()
        assert np.abs(whole).max() <= levels
        assert (scales == scales.astype(np.float32)).all()
        found[name] = np.square(inputs @ (whole * scales[:, None] - rows).T).mean(0)
    assert found["outputs"].sum() < 0.7 * found["weights"].sum()
    assert found["outputs"][3] == found["weights"][3] == 0
