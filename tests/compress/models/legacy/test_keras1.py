"""Keras 1's names, settings and kernel layouts, against tf_keras layers of known weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras1_files import keras1_layer, write_keras1

from edgepress.compress.errors import InputError
from edgepress.compress.models import load, load_noted

tf_keras = pytest.importorskip("tf_keras")
L = tf_keras.layers
RANDOM = np.random.default_rng(0)


def _sequential(path: Path, layer: dict[str, Any], arrays: Sequence[np.ndarray]) -> Any:
    return load(write_keras1(path / "k1.h5", "Sequential", [layer], [("layer_1", arrays)]))


def _reference(layer: Any, shape: tuple[int, ...]) -> Any:
    inputs = tf_keras.Input(shape)
    model = tf_keras.Model(inputs, layer(inputs))
    model.set_weights([RANDOM.normal(0, 0.5, w.shape) for w in model.get_weights()])
    return model


def _equal(reference: Any, model: Any) -> None:
    x = RANDOM.normal(size=(3, *reference.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(np.asarray(model(x)), np.asarray(reference(x)), rtol=1e-4, atol=1e-5)


CONV = {
    "init": "glorot_uniform",
    "activation": "relu",
    "border_mode": "same",
    "bias": True,
    "W_regularizer": None,
    "b_regularizer": None,
    "W_constraint": None,
    "activity_regularizer": None,
}


def test_dense(tmp_path: Path) -> None:
    reference = _reference(L.Dense(4, activation="tanh"), (5,))
    layer = keras1_layer(
        "Dense",
        output_dim=4,
        input_dim=5,
        activation="tanh",
        init="uniform",
        bias=True,
        batch_input_shape=[None, 5],
        W_regularizer={"name": "WeightRegularizer", "l1": 0.0, "l2": 0.1},
        W_constraint={"name": "MaxNorm", "m": 2, "axis": 0},
    )
    model = _sequential(tmp_path, layer, reference.get_weights())
    _equal(reference, model)
    assert float(model.layers[0].kernel_regularizer.l2) == pytest.approx(0.1)


@pytest.mark.parametrize("ordering", ["tf", "th"])
def test_convolution(tmp_path: Path, ordering: str) -> None:
    # Five filters: Keras 3.15 adds a channels-first bias along the wrong axis, outside a graph,
    # where the width equals the number of filters.
    reference = _reference(
        L.Conv2D(5, (3, 2), strides=2, padding="same", activation="relu"), (6, 7, 3)
    )
    kernel, bias = reference.get_weights()
    shape = [None, 6, 7, 3] if ordering == "tf" else [None, 3, 6, 7]
    layer = keras1_layer(
        "Convolution2D",
        nb_filter=5,
        nb_row=3,
        nb_col=2,
        subsample=[2, 2],
        dim_ordering=ordering,
        batch_input_shape=shape,
        **CONV,
    )
    stored = kernel if ordering == "tf" else kernel.transpose(3, 2, 0, 1)
    model = _sequential(tmp_path, layer, [stored, bias])
    x = RANDOM.normal(size=(2, 6, 7, 3)).astype("float32")
    given = x if ordering == "tf" else x.transpose(0, 3, 1, 2)
    found = np.asarray(model(given))
    found = found if ordering == "tf" else found.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, np.asarray(reference(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["1.2", "1.1"])
def test_convolution_1d(tmp_path: Path, layout: str) -> None:
    reference = _reference(L.Conv1D(4, 3, padding="same", activation="relu"), (8, 5))
    kernel, bias = reference.get_weights()
    old = kernel[:, None]
    layer = keras1_layer(
        "Convolution1D",
        nb_filter=4,
        filter_length=3,
        subsample_length=1,
        input_dim=5,
        input_length=8,
        batch_input_shape=[None, 8, 5],
        **CONV,
    )
    stored = old if layout == "1.2" else old.transpose(3, 2, 0, 1)
    _equal(reference, _sequential(tmp_path, layer, [stored, bias]))


def test_dilated_convolution(tmp_path: Path) -> None:
    reference = _reference(
        L.Conv2D(2, 3, dilation_rate=2, activation="relu", padding="same"), (9, 9, 2)
    )
    layer = keras1_layer(
        "AtrousConvolution2D",
        nb_filter=2,
        nb_row=3,
        nb_col=3,
        atrous_rate=[2, 2],
        subsample=[1, 1],
        dim_ordering="tf",
        batch_input_shape=[None, 9, 9, 2],
        **CONV,
    )
    _equal(reference, _sequential(tmp_path, layer, reference.get_weights()))


def test_lstm_gates_are_reordered(tmp_path: Path) -> None:
    reference = _reference(
        L.LSTM(3, recurrent_activation="hard_sigmoid", return_sequences=True), (4, 2)
    )
    parts = [np.split(w, 4, axis=-1) for w in reference.get_weights()]
    arrays = [part[gate] for gate in (0, 2, 1, 3) for part in parts]
    layer = keras1_layer("LSTM", **_recurrent(3))
    _equal(reference, _sequential(tmp_path, layer, arrays))


def test_gru_gates_are_joined(tmp_path: Path) -> None:
    reference = _reference(
        L.GRU(
            3,
            recurrent_activation="hard_sigmoid",
            return_sequences=True,
            reset_after=False,
        ),
        (4, 2),
    )
    parts = [np.split(w, 3, axis=-1) for w in reference.get_weights()]
    arrays = [part[gate] for gate in range(3) for part in parts]
    _equal(reference, _sequential(tmp_path, keras1_layer("GRU", **_recurrent(3)), arrays))


def _recurrent(units: int) -> dict[str, Any]:
    return {
        "output_dim": units,
        "init": "glorot_uniform",
        "inner_init": "orthogonal",
        "forget_bias_init": "one",
        "activation": "tanh",
        "inner_activation": "hard_sigmoid",
        "return_sequences": True,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
        "consume_less": "cpu",
        "dropout_W": 0.0,
        "dropout_U": 0.0,
        "input_dim": 2,
        "input_length": 4,
        "batch_input_shape": [None, 4, 2],
    }


def test_batch_norm_of_a_given_axis(tmp_path: Path) -> None:
    reference = _reference(L.BatchNormalization(axis=1, epsilon=1e-3), (3, 4))
    weights = [np.abs(w) + 0.1 for w in reference.get_weights()]
    reference.set_weights(weights)
    layer = keras1_layer(
        "BatchNormalization",
        mode=0,
        axis=1,
        epsilon=1e-3,
        momentum=0.99,
        beta_init="zero",
        gamma_init="one",
        gamma_regularizer=None,
        beta_regularizer=None,
        batch_input_shape=[None, 3, 4],
    )
    _equal(reference, _sequential(tmp_path, layer, weights))


def test_embedding_and_pooling(tmp_path: Path) -> None:
    table = RANDOM.normal(size=(6, 4)).astype("float32")
    layers = [
        keras1_layer(
            "Embedding",
            input_dim=6,
            output_dim=4,
            input_length=5,
            init="uniform",
            dropout=0.0,
            mask_zero=False,
            W_regularizer=None,
            W_constraint=None,
            activity_regularizer=None,
            input_dtype="int32",
            batch_input_shape=[None, 5],
        ),
        keras1_layer("MaxPooling1D", "pool", pool_length=2, stride=2, border_mode="valid"),
        keras1_layer("Flatten", "flat"),
        keras1_layer("Dropout", "drop", p=0.5),
    ]
    model = load(
        write_keras1(tmp_path / "k1.h5", "Sequential", layers, [("layer_1", [table]), ("pool", [])])
    )
    ids = RANDOM.integers(0, 6, (3, 5))
    wanted = table[ids][:, :4].reshape(3, 2, 2, 4).max(axis=2).reshape(3, -1)
    np.testing.assert_allclose(np.asarray(model(ids)), wanted, atol=1e-6)


def test_merging_in_a_graph(tmp_path: Path) -> None:
    kernel, bias = RANDOM.normal(size=(3, 3)), RANDOM.normal(size=3)
    dense = keras1_layer(
        "Dense", "dense", output_dim=3, input_dim=3, activation="linear", init="uniform", bias=True
    )
    merge = keras1_layer("Merge", "merge", mode="mul", concat_axis=-1, dot_axes=-1)
    config = {
        "name": "graph",
        "layers": [
            {
                "class_name": "InputLayer",
                "name": "in",
                "config": {
                    "name": "in",
                    "batch_input_shape": [None, 3],
                    "input_dtype": "float32",
                    "sparse": False,
                },
                "inbound_nodes": [],
            },
            {**dense, "name": "dense", "inbound_nodes": [[["in", 0, 0]]]},
            {**merge, "name": "merge", "inbound_nodes": [[["in", 0, 0], ["dense", 0, 0]]]},
        ],
        "input_layers": [["in", 0, 0]],
        "output_layers": [["merge", 0, 0]],
    }
    model = load(write_keras1(tmp_path / "k1.h5", "Model", config, [("dense", [kernel, bias])]))
    x = RANDOM.normal(size=(4, 3))
    wanted = x * (x @ kernel + bias)
    np.testing.assert_allclose(np.asarray(model(x)), wanted, rtol=1e-4, atol=1e-5)


def test_a_sequential_that_merges_branches(tmp_path: Path) -> None:
    arrays = {n: [RANDOM.normal(size=(2, 3)), RANDOM.normal(size=3)] for n in ("a", "b")}
    arrays["c"] = [RANDOM.normal(size=(6, 1)), RANDOM.normal(size=1)]

    def dense(name: str, inputs: int, units: int) -> dict[str, Any]:
        return keras1_layer(
            "Dense",
            name,
            output_dim=units,
            input_dim=inputs,
            activation="linear",
            init="uniform",
            bias=True,
            batch_input_shape=[None, inputs],
        )

    branches = [{"class_name": "Sequential", "config": [dense(n, 2, 3)]} for n in ("a", "b")]
    merge = keras1_layer(
        "Merge", "merge", mode="concat", concat_axis=1, dot_axes=-1, layers=branches
    )
    layers = [merge, dense("c", 6, 1)]
    model = load(write_keras1(tmp_path / "k1.h5", "Sequential", layers, list(arrays.items())))
    x, y = RANDOM.normal(size=(4, 2)), RANDOM.normal(size=(4, 2))
    joined = np.concatenate(
        [x @ arrays["a"][0] + arrays["a"][1], y @ arrays["b"][0] + arrays["b"][1]], axis=1
    )
    wanted = joined @ arrays["c"][0] + arrays["c"][1]
    np.testing.assert_allclose(np.asarray(model([x, y])), wanted, rtol=1e-4, atol=1e-5)


def test_wrappers(tmp_path: Path) -> None:
    reference = _reference(
        L.Bidirectional(
            L.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid", return_sequences=True)
        ),
        (4, 2),
    )
    weights = reference.get_weights()
    arrays = []
    for half in (weights[:3], weights[3:]):
        parts = [np.split(w, 3, axis=-1) for w in half]
        arrays += [part[gate] for gate in range(3) for part in parts]
    inner = keras1_layer("GRU", "gru", **_recurrent(3))
    del inner["config"]["batch_input_shape"]
    layer = keras1_layer(
        "Bidirectional", merge_mode="concat", layer=inner, batch_input_shape=[None, 4, 2]
    )
    _equal(reference, _sequential(tmp_path, layer, arrays))


def test_maxout(tmp_path: Path) -> None:
    kernel, bias = RANDOM.normal(size=(2, 4, 3)), RANDOM.normal(size=(2, 3))
    layer = keras1_layer(
        "MaxoutDense",
        output_dim=3,
        nb_feature=2,
        input_dim=4,
        init="glorot_uniform",
        bias=True,
        batch_input_shape=[None, 4],
    )
    x = RANDOM.normal(size=(5, 4))
    wanted = (np.einsum("bi,fio->bfo", x, kernel) + bias).max(axis=1)
    model = _sequential(tmp_path, layer, [kernel, bias])
    np.testing.assert_allclose(np.asarray(model(x)), wanted, rtol=1e-4, atol=1e-5)


def test_a_merge_by_python_code_is_refused(tmp_path: Path) -> None:
    branches = [
        {
            "class_name": "Sequential",
            "config": [
                keras1_layer("Activation", n, activation="relu", batch_input_shape=[None, 2])
            ],
        }
        for n in ("a", "b")
    ]
    merge = keras1_layer("Merge", "merge", mode="4wEAAAA=", mode_type="lambda", layers=branches)
    path = write_keras1(tmp_path / "k1.h5", "Sequential", [merge], [])
    with pytest.raises(InputError, match="never run"):
        load(path)


@pytest.mark.parametrize("ordering", ["tf", "th"])
def test_kernels_that_theano_may_have_written_are_noted(tmp_path: Path, ordering: str) -> None:
    shape = [None, 6, 7, 3] if ordering == "tf" else [None, 3, 6, 7]
    sizes = {"nb_filter": 5, "nb_row": 3, "nb_col": 2, "dim_ordering": ordering}
    layer = keras1_layer("Convolution2D", batch_input_shape=shape, **sizes, **CONV)
    kernel = RANDOM.normal(size=(3, 2, 3, 5) if ordering == "tf" else (5, 3, 3, 2))
    arrays = [kernel, np.zeros(5)]
    path = write_keras1(tmp_path / "k1.h5", "Sequential", [layer], [("layer_1", arrays)])
    noted = any("flip the kernels" in note for note in load_noted(path).notes)
    assert noted == (ordering == "th")


def test_a_file_of_theano_is_noted_where_it_convolves(shared_data: Path) -> None:
    folder = shared_data / "models" / "legacy"
    for name, noted in (("conv2d_theano_2.h5", True), ("embedding_lstm_theano_2.h5", False)):
        notes = load_noted(folder / f"weights__{name}").notes
        assert any("written by Theano" in note for note in notes) == noted
