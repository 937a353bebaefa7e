"""Files whose model was wrapped, copied or described in a way that no longer exists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from variants import mostly_slow

from edgepress.compress.errors import InputError
from edgepress.compress.models import load, load_noted

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

L = tf_keras.layers
RANDOM = np.random.default_rng(0)
FORMS = ("h5", "keras", "saved_model")


def _agrees(reference: Any, folder: Path, form: str, x: Any = None) -> Any:
    path = folder / {"h5": "m.h5", "keras": "m.keras", "saved_model": "m"}[form]
    reference.save(path, save_format="tf" if form == "saved_model" else None)
    loaded = load_noted(path)
    if x is None:
        x = RANDOM.normal(size=(4, *reference.input_shape[1:])).astype("float32")
    np.testing.assert_allclose(
        np.asarray(loaded.model(x)), np.asarray(reference(x)), rtol=1e-5, atol=1e-6
    )
    return loaded


@pytest.mark.parametrize("form", mostly_slow(FORMS, "h5"))
def test_a_pruned_model_inside_a_model(tmp_path: Path, form: str) -> None:
    from tensorflow_model_optimization.sparsity.keras import ConstantSparsity, prune_low_magnitude
    from tensorflow_model_optimization.sparsity.keras import UpdatePruningStep as Update

    layers = [tf_keras.Input((4,)), L.Dense(8), L.BatchNormalization(), L.Dense(3)]
    inner = tf_keras.Sequential(layers, name="inner")
    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, L.Dense(2)(inner(inputs)))
    model = prune_low_magnitude(model, ConstantSparsity(0.5, 0, frequency=1))
    model.compile("sgd", "mse")
    x = RANDOM.normal(size=(8, 4))
    model.fit(x, x[:, :2], verbose=0, callbacks=[Update()])
    loaded = _agrees(model, tmp_path, form).model
    kernels = [w.numpy() for w in loaded.weights if w.name == "kernel"]
    assert [(k == 0).mean() for k in kernels] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("form", FORMS)
def test_spectral_normalisation_comes_off(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tf_keras.src.layers.normalization import spectral_normalization

    # Its `tf.keras` is whichever Keras asked for it first in this process.
    monkeypatch.setattr(spectral_normalization.tf, "keras", tf_keras)
    model = tf_keras.Sequential(
        [
            tf_keras.Input((5, 5, 2)),
            L.SpectralNormalization(L.Conv2D(3, 3)),
            L.Flatten(),
            L.SpectralNormalization(L.Dense(2), power_iterations=2),
        ]
    )
    model(RANDOM.normal(size=(2, 5, 5, 2)), training=True)
    loaded = _agrees(model, tmp_path, form).model
    assert [type(layer).__name__ for layer in loaded.layers] == ["Conv2D", "Flatten", "Dense"]


class PeepholeLSTMCell(L.LSTMCell):
    """As tf.keras had it among its experimental layers."""

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        for gate in ("input", "forget", "output"):
            name = f"{gate}_gate_peephole_weights"
            setattr(self, name, self.add_weight(name, (self.units,)))

    def _compute_carry_and_output_fused(self, z: Any, c_tm1: Any) -> Any:
        i = self.recurrent_activation(z[0] + self.input_gate_peephole_weights * c_tm1)
        f = self.recurrent_activation(z[1] + self.forget_gate_peephole_weights * c_tm1)
        c = f * c_tm1 + i * self.activation(z[2])
        return c, self.recurrent_activation(z[3] + self.output_gate_peephole_weights * c)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("use_bias", [True, False])
def test_peepholes(tmp_path: Path, form: str, use_bias: bool) -> None:
    cell = PeepholeLSTMCell(3, use_bias=use_bias)
    model = tf_keras.Sequential([tf_keras.Input((5, 2)), L.RNN(cell, return_sequences=True)])
    model.set_weights([RANDOM.normal(size=w.shape) for w in model.get_weights()])
    loaded = _agrees(model, tmp_path, form)
    assert not any("traced" in note for note in loaded.notes)
    fused = loaded.model.layers[-1].cell
    x, state = RANDOM.normal(size=(2, 2)), [RANDOM.normal(size=(2, 3)) for _ in range(2)]
    wanted = np.asarray(fused(x, state)[0])
    fused.implementation = 1
    np.testing.assert_allclose(np.asarray(fused(x, state)[0]), wanted, rtol=1e-5, atol=1e-6)


def _slice(data: Any, i: int, parts: int) -> Any:
    step = tf.shape(data)[0] // parts
    return data[i * step : (tf.shape(data)[0] if i == parts - 1 else (i + 1) * step)]


@pytest.mark.parametrize("count", [1, 2])
def test_copies_for_several_gpus_become_one(tmp_path: Path, count: int) -> None:
    inputs = [tf_keras.Input((4,), name=f"in_{place}") for place in range(count)]
    whole = inputs[0] if count == 1 else L.Concatenate()(inputs)
    hidden = L.Dense(3)(whole)
    inner = tf_keras.Model(inputs, [L.Dense(2, name="a")(hidden), L.Dense(1, name="b")(hidden)])
    parts = []
    for place in range(3):
        given = [L.Lambda(_slice, arguments={"i": place, "parts": 3})(one) for one in inputs]
        parts.append(inner(given))
    joined = [
        L.Concatenate(axis=0, name=name)(list(ends))
        for name, ends in zip("ab", zip(*parts, strict=True), strict=True)
    ]
    model = tf_keras.Model(inputs, joined)
    model.save(tmp_path / "m.h5")
    loaded = load_noted(tmp_path / "m.h5")
    assert any("several GPUs" in note for note in loaded.notes)
    x = [RANDOM.normal(size=(7, 4)).astype("float32") for _ in inputs]
    x = x[0] if count == 1 else x
    for found, wanted in zip(loaded.model(x), model(x), strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arguments", [{"i": 0}, {"i": 0, "parts": 2, "more": 1}])
def test_other_lambdas_beside_a_model_stay_refused(tmp_path: Path, arguments: Any) -> None:
    inputs = tf_keras.Input((4,))
    inner = tf_keras.Sequential([tf_keras.Input((4,)), L.Dense(2)])
    cut = L.Lambda(lambda x, **_: x, arguments=arguments)(inputs)
    tf_keras.Model(inputs, L.Concatenate(axis=0)([inner(cut), inner(cut)])).save(tmp_path / "m.h5")
    with pytest.raises(InputError, match="never run"):
        load(tmp_path / "m.h5")


def _dense(name: str, units: int, inputs: int) -> dict[str, Any]:
    config = {"name": name, "output_dim": units, "input_dim": inputs, "activation": "linear"}
    return {"class_name": "Dense", "config": {**config, "init": "uniform", "bias": True}}


def _graph_file(path: Path, config: Any, arrays: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"1.0.8"
        file.attrs["model_config"] = json.dumps({"class_name": "Graph", "config": config}).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [name.encode() for name in arrays]
        for name, pair in arrays.items():
            group = weights.create_group(name)
            names = [f"{name}_{which}" for which in "Wb"]
            group.attrs["weight_names"] = [key.encode() for key in names]
            for key, array in zip(names, pair, strict=True):
                group[key] = array
    return path


def _node(name: str, *inputs: str, **more: Any) -> dict[str, Any]:
    one = inputs[0] if len(inputs) == 1 and "layer" not in more else None
    many = [] if one else list(inputs)
    how = {"merge_mode": "concat", "concat_axis": -1, "dot_axes": -1}
    return {"name": name, "input": one, "inputs": many, **how, **more}


def test_a_graph_model(tmp_path: Path) -> None:
    """Two inputs, a merging node, a shared layer whose calls are merged or used one by one."""
    sizes = {"first": (2, 3), "both": (5, 3), "sum_of": (3, 2), "each": (3, 1), "out": (3, 2)}
    arrays = {n: (RANDOM.normal(size=s), RANDOM.normal(size=s[1])) for n, s in sizes.items()}
    nodes = [
        _node("first", "x"),
        _node("both", "first", "y", merge_mode="concat"),
        _node("sum", "first", "both", merge_mode="sum", layer=_dense("sum_of", 2, 3), outputs=[]),
        _node(
            "each",
            "first",
            "both",
            merge_mode=None,
            layer=_dense("each", 1, 3),
            outputs=["each_1", "each_2"],
        ),
        # The layer of a node that is an output bears the output's name.
        _node("last", "both"),
    ]
    config = {
        "input_config": [
            {"name": "x", "input_shape": [2], "dtype": "float32"},
            {"name": "y", "batch_input_shape": [None, 2], "dtype": "float32"},
        ],
        "node_config": nodes,
        "output_config": [_node("out", "last"), _node("joined", "sum", "each_2")],
        "nodes": {
            "first": _dense("first", 3, 2),
            "both": _dense("both", 3, 5),
            "last": _dense("out", 2, 3),
        },
    }
    model = load(_graph_file(tmp_path / "graph.h5", config, arrays))

    def apply(name: str, x: Any) -> Any:
        return x @ arrays[name][0] + arrays[name][1]

    x, y = RANDOM.normal(size=(4, 2)), RANDOM.normal(size=(4, 2))
    first = apply("first", x)
    both = apply("both", np.concatenate([first, y], axis=1))
    wanted = [
        apply("out", both),
        np.concatenate(
            [apply("sum_of", first) + apply("sum_of", both), apply("each", both)], axis=1
        ),
    ]
    for a, b in zip(model([x, y]), wanted, strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-4, atol=1e-5)


def test_a_graph_that_lacks_a_node_is_refused(tmp_path: Path) -> None:
    config = {
        "input_config": [{"name": "x", "input_shape": [2]}],
        "node_config": [_node("first", "x")],
        "output_config": [_node("out", "last")],
        "nodes": {"first": _dense("first", 3, 2)},
    }
    arrays = {"first": (np.ones((2, 3)), np.ones(3))}
    with pytest.raises(InputError, match="incomplete configuration"):
        load(_graph_file(tmp_path / "graph.h5", config, arrays))


def _cosine(path: Path, size: tuple[int, ...]) -> Path:
    config: dict[str, Any] = {
        "input_config": [{"name": name, "input_shape": size} for name in "xy"],
        "node_config": [_node("dense", "x", "y", merge_mode="cos")],
        "output_config": [_node("dense", "dense")],
        "nodes": {"dense": _dense("dense", 2, 1)},
    }
    return _graph_file(path, config, {"dense": (np.ones((1, 2)), np.zeros(2))})


def test_merging_by_cosine(tmp_path: Path) -> None:
    model = load(_cosine(tmp_path / "cos.h5", (3,)))
    x, y = RANDOM.normal(size=(4, 3)), RANDOM.normal(size=(4, 3))
    x[0] = 0
    lengths = np.maximum(np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1), 1e-7)
    wanted = ((x * y).sum(axis=1) / lengths)[:, None, None]
    found = np.asarray(model([x, y]))
    assert found.shape == (4, 1, 2)
    np.testing.assert_allclose(found, np.repeat(wanted, 2, axis=2), rtol=1e-5, atol=1e-6)


def test_merging_sequences_by_cosine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two vectors only"):
        load(_cosine(tmp_path / "cos.h5", (3, 2)))


@pytest.mark.parametrize("form", ["h5", "keras", "saved_model"])
def test_what_only_a_loss_computes_is_left_out(tmp_path: Path, form: str) -> None:
    """A variational autoencoder's graph holds its loss, with functions that Keras 3 lacks."""
    tf_keras.backend.clear_session()
    inputs = tf_keras.Input((6,))
    hidden = L.Dense(4)(inputs)
    mean, spread = L.Dense(2)(hidden), L.Dense(2)(hidden)
    outputs = L.Dense(6, activation="sigmoid")(mean + tf.exp(0.5 * spread))
    model = tf_keras.Model(inputs, outputs)
    own = L.Dense(3, name="only_for_the_loss")(outputs)
    model.add_loss(tf.reduce_mean(tf_keras.losses.binary_crossentropy(inputs, outputs)))
    model.add_loss(tf.reduce_mean(tf.math.digamma(1 + tf.square(own))))
    model.add_metric(tf.reduce_mean(spread), name="spread")
    loaded = _agrees(model, tmp_path, form)
    assert any("only_for_the_loss: is left out" in note for note in loaded.notes)


def test_what_only_a_loss_of_a_model_inside_computes_is_left_out(tmp_path: Path) -> None:
    tf_keras.backend.clear_session()
    start = tf_keras.Input((6,))
    code = L.Dense(3)(start)
    inner = tf_keras.Model(start, code, name="inner")
    inner.add_loss(tf.reduce_mean(tf.square(L.Dense(5)(code))))
    inputs = tf_keras.Input((6,))
    _agrees(tf_keras.Model(inputs, L.Dense(2)(inner(inputs))), tmp_path, "h5")
