"""Files that people published load, compute what they computed, and are refused in one line."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras1_files import keras1_layer, write_keras1
from old_files import NETWORKS
from old_keras import outputs_of
from real_files import also_real

from edgepress.compress.errors import InputError
from edgepress.compress.models import load, load_noted, save
from edgepress.compress.models.legacy import carry

TOLERANCE = 1e-5
# Of the real ones: one of each kind of layer, for the run that everybody makes.
CHOSEN = (
    "models/legacy/examples__12net.h5",
    "models/legacy/examples__masking__masking_two_lstm.h5",
    "models/legacy/fullconfigs__cnn__cnn_batch_norm.h5",
    "models/legacy/tfkeras__cnn2d_106.h5",
    "models/legacy/tfkeras__cnn2d_117.h5",
    "models/legacy/tfkeras__cnn2d_42.h5",
    "models/legacy/tfkeras__cnn3d_20.h5",
    "models/legacy/tfkeras__convlstm2d_9.h5",
    "models/legacy/tfkeras__rnn_177.h5",
    "models/legacy/tfkeras__rnn_239.h5",
    "models/legacy/tfkeras__tfop_0.h5",
    "models/legacy/weights__embedding_lstm_theano_2.h5",
    "models/legacy/weights__keras-attention.h5",
    "models/tf_keras_only/conv1d_bn_spectrum.h5",
    "models/tf_keras_only/masking_lstm.h5",
    "models/tf_keras_only/tf_op_layer.h5",
    "models/tf_keras_only/wgan_discriminator.h5",
    "models/keras3_ok/mini_xception_emotion.hdf5",
    "models/savedmodel/basic_pitch_nmp",
)
OldFile = Callable[[str], Path]


def _batch(inputs: Any, seed: int, integers: bool) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    arrays = []
    for tensor in inputs:
        shape = [size or 24 for size in tensor.shape]
        shape[0] = tensor.shape[0] or 2
        whole = integers or "int" in str(tensor.dtype)
        arrays.append(
            (random.integers(0, 2, shape) if whole else random.uniform(-1, 1, shape)).astype(
                "float32"
            )
        )
    return arrays


def _agree(path: Path, model: Any) -> None:
    import tensorflow as tf
    import tf_keras

    reference = tf_keras.models.load_model(path, compile=False)
    integers = any("Embedding" in type(layer).__name__ for layer in reference.layers)
    for seed in range(3):
        x = _batch(reference.inputs, seed, integers)
        x = x[0] if len(x) == 1 else x
        wanted = outputs_of(reference, x)
        found = tf.nest.flatten(model(x, training=False))
        assert len(wanted) == len(found)
        for a, b in zip(wanted, found, strict=True):
            a, b = np.asarray(a), np.asarray(b)
            assert a.shape == b.shape
            assert np.abs(a - b).max(initial=0) <= TOLERANCE * np.abs(a).max(initial=1e-9)


@pytest.mark.parametrize("name", [*NETWORKS, *also_real(*CHOSEN)])
def test_a_file_computes_what_tf_keras_computes(old_file: OldFile, name: str) -> None:
    path = old_file(name)
    _agree(path, load(path))


@pytest.mark.slow
def test_every_published_file_computes_what_tf_keras_computes(shared_data: Path) -> None:
    paths = sorted((shared_data / "models" / "legacy").glob("*.h*5"))
    assert len(paths) == 59
    for path in paths:
        _agree(path, load(path))


@pytest.mark.parametrize("form", ["normalised.keras", "normalised"])
def test_files_of_one_network_give_one_model(old_file: OldFile, form: str) -> None:
    _equal(load(old_file("normalised.h5")), load(old_file(form)))


def test_mlperf_files_equal_the_copies_beside_them(shared_data: Path) -> None:
    folder = shared_data / "mlperf_tiny"
    for old, new in (
        ("vww/vww_96.h5", "vww/vww_96_keras3.keras"),
        ("kws/kws_savedmodel", "kws/kws_keras3.keras"),
    ):
        _equal(load(folder / new), load(folder / old))


def _equal(copy: Any, carried: Any) -> None:
    x = _batch(copy.inputs, 0, integers=False)[0]
    a, b = np.asarray(copy(x)), np.asarray(carried(x))
    assert np.abs(a - b).max() <= TOLERANCE * np.abs(a).max()


@pytest.mark.parametrize(
    "name",
    [
        *("recurrent.h5", "operators.h5", "convolutions.h5", "normalised"),
        *also_real(
            "models/legacy/tfkeras__rnn_148.h5",
            "models/legacy/tfkeras__tfop_0.h5",
            "models/loads_in_neither/cyclegan_unet_source.h5",
            "models/savedmodel/basic_pitch_nmp",
        ),
    ],
)
def test_a_carried_model_is_saved_and_loaded_unchanged(
    old_file: OldFile, tmp_path: Path, name: str
) -> None:
    import keras

    model = load(old_file(name))
    again = load(save(model, tmp_path / "model.keras"))
    x = _batch(model.inputs, 0, integers=False)
    x = x[0] if len(x) == 1 else x
    for a, b in zip(keras.tree.flatten(model(x)), keras.tree.flatten(again(x)), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def _keras1_network(path: Path) -> Path:
    """Two convolutions, a pooling and a dense layer, the weights flat as Keras 1 kept them."""
    random = np.random.default_rng(6)
    names = ("convolution2d_1", "convolution2d_2", "maxpooling2d_1", "flatten_1", "dense_1")
    sizes: dict[str, Any] = {"subsample": [1, 1], "dim_ordering": "tf", "bias": True}
    sizes |= {"border_mode": "valid", "activation": "sigmoid", "nb_row": 3, "nb_col": 3}
    pool = {"pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid", "dim_ordering": "tf"}
    shape = [None, 10, 10, 2]
    config = [
        keras1_layer("Convolution2D", names[0], batch_input_shape=shape, nb_filter=4, **sizes),
        keras1_layer("Convolution2D", names[1], nb_filter=3, **sizes),
        keras1_layer("MaxPooling2D", names[2], **pool),
        keras1_layer("Flatten", names[3]),
        keras1_layer("Dense", names[4], output_dim=5, activation="softmax", bias=True),
    ]
    shapes = {names[0]: (3, 3, 2, 4), names[1]: (3, 3, 4, 3), names[4]: (27, 5)}
    weights = [
        (name, [random.normal(size=s) for s in (shapes[name], shapes[name][-1:])])
        if name in shapes
        else (name, [])
        for name in names
    ]
    return write_keras1(path, "Sequential", config, weights)


@pytest.mark.parametrize("name", ["", *also_real("models/loads_in_neither/keras1_cnn.h5")])
def test_keras1_network_computes_as_its_weights_say(
    old_file: OldFile, tmp_path: Path, name: str
) -> None:
    """Its first convolution, computed here with NumPy alone."""
    path = old_file(name) if name else _keras1_network(tmp_path / "keras1.h5")
    model = load(path)
    x = _batch(model.inputs, 0, integers=False)[0]
    assert np.isfinite(np.asarray(model(x))).all()
    with h5py.File(path, "r") as file:
        group = file["model_weights"]["convolution2d_1"]
        kernel, bias = (np.asarray(group[name]) for name in group.attrs["weight_names"])
    first = model.layers[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
    wanted = 1 / (1 + np.exp(-(np.einsum("bijcrs,rsco->bijo", windows, kernel) + bias)))
    np.testing.assert_allclose(np.asarray(first(x)), wanted, rtol=1e-4, atol=1e-5)


def _refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(path, **options)
    line = caught.value.format_message()
    assert "\n" not in line
    assert caught.value.hint
    return line


def _lambda_file(path: Path) -> Path:
    import tf_keras

    inputs = tf_keras.Input((3,))
    x = tf_keras.layers.Lambda(lambda x: x**2, name="lambda_3")(inputs)
    x = tf_keras.layers.Lambda(lambda x: x, name="lambda_4")(tf_keras.layers.Dense(2)(x))
    tf_keras.Model(inputs, x).save(path)
    return path


def test_refusals_say_what_the_file_is(tmp_path: Path) -> None:
    import tf_keras

    weights = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(2,)) for _ in range(10)])
    weights.save_weights(tmp_path / "weights.h5")
    assert "weights of 10 layers but no model" in _refusal(tmp_path / "weights.h5")
    assert "code in old files is never run" in _refusal(_lambda_file(tmp_path / "lambda.h5"))


def test_refusals_say_what_real_files_are(shared_data: Path) -> None:
    folder = shared_data / "models" / "loads_in_neither"
    assert "code in old files is never run" in _refusal(folder / "python_lambda.h5")
    assert "weights of 10 layers but no model" in _refusal(folder / "weights_only.h5")


@pytest.mark.parametrize("name", ["", *also_real("models/loads_in_neither/python_lambda.h5")])
def test_a_lambda_takes_the_users_function_of_its_name(
    old_file: OldFile, tmp_path: Path, name: str
) -> None:
    code = tmp_path / "mine.py"
    code.write_text("def lambda_3(x):\n    return x**2\n\ndef lambda_4(x):\n    return x\n")
    path = old_file(name) if name else _lambda_file(tmp_path / "lambda.h5")
    model = load(path, custom_objects=code)
    assert any(layer.name == "lambda_3" for layer in model.layers)


def _edited(source: Path, target: Path, edit: Any) -> Path:
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edit(config)
        file.attrs["model_config"] = json.dumps(config)
    return target


def test_an_unknown_layer_is_named_with_the_way_on(old_file: OldFile, tmp_path: Path) -> None:
    def edit(config: Any) -> None:
        config["config"]["layers"][1]["class_name"] = "MyOwnLayer"

    source = old_file("conv1d.h5")
    line = _refusal(_edited(source, tmp_path / "own.h5", edit))
    assert "MyOwnLayer" in line
    assert "--custom-objects" in line


def test_a_file_cut_short_is_said_to_be_damaged(old_file: OldFile, tmp_path: Path) -> None:
    whole = old_file("conv1d.h5").read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged or truncated" in _refusal(path)


def test_an_archive_cut_short_is_said_to_be_damaged(tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    model.save(tmp_path / "whole.keras")
    path = tmp_path / "cut.keras"
    path.write_bytes((tmp_path / "whole.keras").read_bytes()[:-200])
    assert "incomplete .keras archive" in _refusal(path)


def test_hdf5_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "measurements.h5"
    with h5py.File(path, "w") as file:
        file["temperature"] = np.arange(3.0)
    line = _refusal(path)
    assert "not one of Keras" in line
    assert "temperature" in line


def test_a_file_whose_weights_are_missing_is_refused(old_file: OldFile) -> None:
    path = old_file("conv1d.h5")
    with h5py.File(path, "r+") as file:
        group = file["model_weights"]
        for name in list(group):
            group[name].attrs["weight_names"] = []
    assert "no weights" in _refusal(path)


def test_a_saved_model_without_keras(tmp_path: Path) -> None:
    import tensorflow as tf

    class Doubler(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3])])
        def __call__(self, x: Any) -> Any:
            return 2 * x

    tf.saved_model.save(Doubler(), str(tmp_path / "plain"))
    line = _refusal(tmp_path / "plain")
    assert "holds no Keras model" in line
    assert "export, verify and benchmark" in line


def test_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert "no saved_model.pb" in _refusal(tmp_path)


def test_a_lambda_in_an_archive_of_tf_keras_is_never_run(tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential(
        [tf_keras.layers.Dense(2, input_shape=(3,)), tf_keras.layers.Lambda(lambda x: 2 * x)]
    )
    model.save(tmp_path / "lambda.keras")
    assert "never run" in _refusal(tmp_path / "lambda.keras")
    assert "never run" in _refusal(tmp_path / "lambda.keras", unsafe_lambda=True)
    model.save(tmp_path / "lambda.h5")
    assert "never run" in _refusal(tmp_path / "lambda.h5")


def test_a_layer_of_the_users_own_in_a_saved_model(tmp_path: Path) -> None:
    """Its class isn't in the folder; the graph that was traced of it is."""
    import tf_keras

    class Affine(tf_keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(name="scale", shape=(3,), initializer="random_normal")

        def call(self, x: Any) -> Any:
            return tf_keras.backend.relu(x * self.scale + 0.5)

    model = tf_keras.Sequential([tf_keras.Input((3,)), Affine(), tf_keras.layers.Dense(2)])
    model.save(tmp_path / "own", save_format="tf")
    carried = carry(tmp_path / "own")
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    np.testing.assert_allclose(
        np.asarray(model(x)), np.asarray(carried.model(x)), rtol=1e-5, atol=1e-6
    )
    assert carried.model.count_params() == model.count_params()
    assert any("traced" in note for note in carried.notes)


def test_hard_sigmoid_keeps_its_old_slope(tmp_path: Path) -> None:
    """Keras 3 loads such a file without a word, with its own, other hard sigmoid."""
    import tf_keras

    model = tf_keras.Sequential(
        [tf_keras.layers.Dense(3, activation="hard_sigmoid", input_shape=(2,))]
    )
    model.save(tmp_path / "old.h5")
    x = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.testing.assert_allclose(
        np.asarray(model(x)), np.asarray(load(tmp_path / "old.h5")(x)), atol=1e-6
    )


def test_archives_with_a_broken_member(tmp_path: Path) -> None:
    path = tmp_path / "empty.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{")
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
    assert "incomplete .keras archive" in _refusal(path)


@pytest.mark.parametrize("edit", ["class_name", "config"])
def test_a_configuration_that_lacks_a_part(old_file: OldFile, tmp_path: Path, edit: str) -> None:
    def cut(config: Any) -> None:
        del config["config"]["layers"][1][edit]

    source = old_file("conv1d.h5")
    assert "incomplete configuration" in _refusal(_edited(source, tmp_path / "cut.h5", cut))


@pytest.mark.parametrize("name", ["recurrent.h5", *also_real("models/legacy/tfkeras__rnn_148.h5")])
def test_what_was_translated_is_told(old_file: OldFile, name: str) -> None:
    notes = load_noted(old_file(name)).notes
    assert any("hard_sigmoid" in note for note in notes)
    assert notes[0].startswith("read from an HDF5 file of Keras")


def test_training_mode_computes_the_same(tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential(
        [
            tf_keras.layers.Conv2D(4, 3, input_shape=(6, 6, 2)),
            tf_keras.layers.BatchNormalization(momentum=0.5),
            tf_keras.layers.Dense(3, activation="relu"),
        ]
    )
    model.save(tmp_path / "old.h5")
    carried = load(tmp_path / "old.h5")
    x = np.random.default_rng(0).normal(2, 3, (8, 6, 6, 2)).astype("float32")
    wanted, found = np.asarray(model(x, training=True)), np.asarray(carried(x, training=True))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    means = model.layers[1].moving_mean.numpy(), carried.layers[1].moving_mean.numpy()
    np.testing.assert_allclose(*means, rtol=1e-4, atol=1e-5)
