"""Zeros and shared values, counted in the tensors of the TFLite files themselves."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import keras
import numpy as np
import pytest
from edge_networks import images
from real_files import also_real, cifar_images
from variants import mostly_slow

from edgepress.compress import load, prune
from edgepress.compress.errors import InputError
from edgepress.compress.weights.masks.prunable import find_kernels
from edgepress.deploy import export

layers = keras.layers


def constants(path: Path) -> list[np.ndarray]:
    """The weights of all graphs of a file that have two axes or more, each buffer once.

    Arrays of nothing but zeros are states that a recurrent layer starts from.
    """
    from ai_edge_litert import schema_py_generated as schema

    types = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT8: np.int8}
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    found = {}
    for g in range(model.SubgraphsLength()):
        graph = model.Subgraphs(g)
        for tensor in (graph.Tensors(i) for i in range(graph.TensorsLength())):
            data = model.Buffers(tensor.Buffer()).DataAsNumpy()
            if not isinstance(data, int) and tensor.Type() in types and tensor.ShapeLength() > 1:
                array = data.view(types[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
                found[tensor.Buffer()] = array
    return [array for array in found.values() if array.any()]


def zeros_in(arrays) -> int:
    return sum(a.size - np.count_nonzero(a) for a in arrays)


def chain(shape, *stack):
    return keras.Sequential([keras.Input(shape, batch_size=1), *stack])


def nested():
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(9)], name="inner")
    inputs = keras.Input((8,), batch_size=1)
    return keras.Model(inputs, layers.Dense(5)(inner(inputs)))


def shared():
    layer = layers.Dense(8)
    inputs = keras.Input((8,), batch_size=1)
    return keras.Model(inputs, layer(layers.ReLU()(layer(inputs))))


def attention():
    inputs = keras.Input((5, 12), batch_size=1)
    return keras.Model(inputs, layers.MultiHeadAttention(3, 4)(inputs, inputs))


CASES = {
    "dense": (lambda: chain((16,), layers.Dense(12)), {"structure": "blocks", "block": "4x1"}),
    "conv1d": (lambda: chain((9, 8), layers.Conv1D(8, 3)), {"structure": "nm"}),
    "conv2d": (lambda: chain((8, 8, 4), layers.Conv2D(8, 3)), {"structure": "kernels"}),
    "pointwise": (lambda: chain((8, 8, 8), layers.Conv2D(8, 1)), {"structure": "blocks"}),
    "conv3d": (lambda: chain((4, 4, 4, 3), layers.Conv3D(5, 2)), {}),
    "transposed": (lambda: chain((5, 5, 6), layers.Conv2DTranspose(8, 3)), {}),
    "separable": (lambda: chain((8, 8, 4), layers.SeparableConv2D(8, 3)), {"depthwise": True}),
    "depthwise": (lambda: chain((8, 8, 4), layers.DepthwiseConv2D(3)), {"depthwise": True}),
    "lstm": (lambda: chain((4, 5), layers.LSTM(6)), {}),
    "gru": (lambda: chain((4, 8), layers.GRU(8)), {"structure": "nm"}),
    "bidirectional": (lambda: chain((4, 5), layers.Bidirectional(layers.LSTM(4))), {}),
    "time distributed": (lambda: chain((4, 7), layers.TimeDistributed(layers.Dense(6))), {}),
    "nested": (nested, {"structure": "blocks", "block": "1x3"}),
    "shared": (shared, {}),
    "attention": (attention, {}),
}


@pytest.mark.parametrize("kind", mostly_slow(CASES, "dense"))
def test_the_file_holds_exactly_the_zeros_of_the_model(kind, worker, tmp_path):
    build, options = CASES[kind]
    check_zeros(build(), options, worker, tmp_path)


def test_the_file_of_all_kinds_of_layers_holds_exactly_their_zeros(worker, tmp_path):
    parts = {kind.replace(" ", "_"): build() for kind, (build, _) in CASES.items()}
    inputs = [keras.Input(p.input_shape[1:], 1, name=kind) for kind, p in parts.items()]
    outputs = [part(x) for part, x in zip(parts.values(), inputs, strict=True)]
    check_zeros(keras.Model(inputs, outputs), {"depthwise": True}, worker, tmp_path)


def check_zeros(model, options, worker, tmp_path):
    """Prune half of a model's weights and count the zeros in its file."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.uniform(0.1, 1, weight.shape))
    result = prune(model, sparsity=0.5, **options)
    kernels, _ = find_kernels(result.model, depthwise=True)
    wanted = zeros_in([k.value() for k in kernels])
    assert wanted == sum(r.removed for r in result.removed) > 0
    (artifact,) = export(
        result.model,
        tmp_path / "out",
        formats=["tflite"],
        quantize=["float32"],
        sparse_encoding="off",
        worker=worker,
    )
    assert zeros_in(constants(artifact.path)) == wanted


def stored(path: Path) -> tuple[int, int]:
    """(encoded arrays, their values that aren't zero) of a file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    sparse = [t for t in tensors if t.Sparsity() is not None]
    types = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16}
    arrays = [model.Buffers(t.Buffer()).DataAsNumpy().view(types[t.Type()]) for t in sparse]
    return len(sparse), sum(np.count_nonzero(a) for a in arrays)


def mixed_net():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((12, 12, 16))
    x = layers.Conv2D(48, 3, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(96, 1)(x))
    return keras.Model(inputs, layers.Dense(128)(x))


@pytest.mark.parametrize(
    ("structure", "precision"),
    mostly_slow(
        product(("weights", "nm", "blocks"), ("float32", "float16")),
        ("weights", "float32"),
        ("blocks", "float16"),
    ),
)
def test_zeros_are_encoded_where_that_is_smaller_and_runs(structure, precision, worker, tmp_path):
    model = prune(mixed_net(), structure=structure, sparsity=0.75).model
    options = {"formats": ["tflite"], "quantize": [precision], "worker": worker}
    (dense,) = export(model, tmp_path / "dense", sparse_encoding="off", **options)
    result = export(model, tmp_path / "auto", **options)
    (encoded,) = result
    assert encoded.verified.passed
    assert encoded.bytes < 0.7 * dense.bytes
    values = [k.value().astype(precision) for k in find_kernels(model)[0]]
    assert stored(encoded.path) == (3, sum(np.count_nonzero(v) for v in values))
    assert stored(dense.path) == (0, 0)
    (note,) = result.notes
    assert f"{dense.bytes:,} bytes dense, {encoded.bytes:,} with encoded zeros" in note


@pytest.mark.parametrize(
    ("block", "sparsity", "count"),
    mostly_slow([("4x1", 0.6, 0), ("4x1", 0.9, 1), ("1x4", 0.6, 1)], ("4x1", 0.6, 0)),
)
def test_what_would_run_slower_encoded_stays_dense_unless_asked(
    block, sparsity, count, worker, tmp_path
):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64)])
    model = prune(model, structure="blocks", block=block, sparsity=sparsity).model
    options = {"formats": ["tflite"], "worker": worker}
    (auto,) = result = export(model, tmp_path / "auto", **options)
    assert stored(auto.path)[0] == count
    assert ("run slower below 80%" in "".join(result.notes)) == (count == 0)
    (asked,) = export(model, tmp_path / "on", sparse_encoding="on", **options)
    assert stored(asked.path)[0] == 1


def test_an_encoded_file_that_computes_wrongly_is_withheld(worker, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64)])
    model = prune(model, structure="blocks", block="4x1", sparsity=0.9).model
    options = {"formats": ["tflite"], "quantize": ["float16"], "worker": worker}
    (auto,) = export(model, tmp_path / "auto", **options)
    assert auto.verified.passed
    assert stored(auto.path)[0] == 0
    asked = export(model, tmp_path / "on", sparse_encoding="on", **options)
    assert not len(asked)
    assert "NaN" in asked.failed[0].reason


def test_a_model_without_zeros_stays_dense(worker, tmp_path):
    options = {"formats": ["tflite"], "worker": worker}
    auto = export(mixed_net(), tmp_path / "auto", **options)
    assert (stored(auto[0].path), auto.notes) == ((0, 0), ())
    asked = export(mixed_net(), tmp_path / "on", sparse_encoding="on", **options)
    assert "no array has 30% of zeros" in asked.notes[0]


def test_encoding_has_a_use_for_float_files_only(tmp_path):
    with pytest.raises(InputError, match="--sparse-encoding on has no effect"):
        export(mixed_net(), tmp_path / "out", formats=["onnx"], sparse_encoding="on")


RESNETS = ["resnet8.keras", *also_real("mlperf_tiny/ic/resnet8.h5")]


def _images_for(source, name):
    if "/" in name:
        pair = cifar_images(256)
    else:
        x = images(256, (32, 32, 3)).astype(np.uint8)
        pair = x, source.predict(x.astype(np.float32), verbose=0).argmax(-1)
    return {"train": pair, "val": pair}


@pytest.mark.parametrize("name", RESNETS)
def test_prune_then_cluster_then_int8_keeps_zeros_and_values(edge_model, name, worker, tmp_path):
    source = load(edge_model(name))
    data = _images_for(source, name)
    pruned = prune(source, sparsity=0.75).model
    clustered = prune(pruned, structure="clusters", clusters=16).model
    wanted = zeros_in([k.value() for k in find_kernels(pruned)[0]])
    (artifact,) = export(
        clustered,
        tmp_path / "out",
        formats=["tflite"],
        quantize=["int8"],
        data=data,
        worker=worker,
    )
    kernels = constants(artifact.path)
    assert zeros_in(kernels) >= wanted
    assert len(kernels) == len(find_kernels(pruned)[0])
    assert all(len(np.unique(kernel)) <= 16 for kernel in kernels)


def several_kinds(factors):
    """Every kind of kernel that has a scale for each channel, and normalisations after them."""
    inputs = keras.Input((8, 6, 4))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layers.BatchNormalization(scale=True)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, depthwise_initializer="glorot_normal")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Conv2DTranspose(8, 2, strides=2)(x)
    x = layers.Reshape((-1, 8))(x)
    x = layers.Conv1D(8, 3)(x)
    shared = layers.Dense(8)
    model = keras.Model(inputs, layers.Dense(16)(shared(layers.ReLU()(shared(x)))))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(np.resize(factors, layer.gamma.shape))
            layer.moving_mean.assign(np.resize([0.3, -0.1], layer.gamma.shape))
    return model


@pytest.mark.parametrize(("factors", "most"), [([0.2, 1.7, 0.9], 6), ([-0.4, 1.1, 2.0], 12)])
def test_clusters_stay_whole_in_integer_files(worker, tmp_path, factors, most):
    keras.utils.set_random_seed(3)
    model = prune(several_kinds(factors), structure="clusters", clusters=6).model
    inputs = np.random.default_rng(0).normal(size=(256, 8, 6, 4)).astype("float32")
    data = {"train": (inputs, np.asarray(model(inputs)))}
    data["val"] = tuple(a[:64] for a in data["train"])
    result = export(
        model,
        tmp_path / "out",
        formats=["tflite", "c"],
        quantize=["int8"],
        data=data,
        worker=worker,
    )
    assert not result.failed
    files = {a.path.suffix: a for a in result.artifacts if a.quantize == "int8"}
    kernels = constants(files[".tflite"].path)
    assert len(kernels) == 6
    assert all(len(np.unique(kernel)) <= most for kernel in kernels)
    assert any(len(np.unique(kernel)) > 6 for kernel in kernels) == (min(factors) < 0)
    assert "6 kernels of shared values keep them" in " ".join(result.notes)


def test_kernels_of_many_values_keep_a_grid_for_each_channel(worker, tmp_path):
    from edgepress.benchmarks.tflite.per_tensor_scales import share_grid

    model = several_kinds([1.0])
    inputs = np.random.default_rng(0).normal(size=(64, 8, 6, 4)).astype("float32")
    data = (inputs, np.asarray(model(inputs)))
    (artifact,) = export(model, tmp_path / "out", ["tflite"], ["int8"], data, worker=worker)
    before = artifact.path.read_bytes()
    assert share_grid(artifact.path, [k.value() for k in find_kernels(model)[0]]) == 0
    assert artifact.path.read_bytes() == before


@pytest.mark.parametrize("name", RESNETS)
def test_nine_tenths_of_zeros_are_a_quarter_and_a_twelfth(edge_model, name, worker, tmp_path):
    source = load(edge_model(name))
    data = _images_for(source, name)
    formats = {"formats": ["tflite"], "data": data, "worker": worker}
    (dense,) = export(source, tmp_path / "dense", quantize=["float32"], **formats)
    pruned = prune(source, sparsity=0.9).model
    both = export(pruned, tmp_path / "pruned", quantize=["float32", "int8"], **formats)
    floats, integers = (artifact.gzip_bytes for artifact in both)
    assert floats <= dense.gzip_bytes / 4
    assert integers <= dense.gzip_bytes / 12
