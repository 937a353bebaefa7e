import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.errors import InputError
from edgepress.compress.stripping import is_inert, strip

layers = keras.layers
IDLE = [
    lambda: layers.Dropout(0.5),
    lambda: layers.SpatialDropout2D(0.3),
    lambda: layers.GaussianNoise(0.1),
    lambda: layers.ActivityRegularization(0.1),
    lambda: layers.RandomFlip(),
    lambda: layers.RandomRotation(0.1),
]
WORK = [
    lambda: layers.Conv2D(3, 3, padding="same"),
    lambda: layers.BatchNormalization(),
    lambda: layers.ReLU(),
]


def random_weights(model, seed):
    random = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(random.random(weight.shape) + 0.1)


def same_outputs(model, plain):
    x = np.random.default_rng(1).random((3, 6, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain.predict(x, verbose=0))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([*IDLE, *WORK]), min_size=1, max_size=6), st.booleans())
def test_outputs_stay_and_idle_layers_go(stack, functional):
    made = [build() for build in stack]
    if functional:
        inputs = keras.Input((6, 6, 3))
        tensor = inputs
        for layer in made:
            tensor = layer(tensor)
        model = keras.Model(inputs, layers.Activation("tanh", name="end")(tensor + inputs))
    else:
        model = keras.Sequential(
            [keras.Input((6, 6, 3)), *made, layers.Activation("tanh", name="end")]
        )
    random_weights(model, len(stack))
    model.compile("adam", "mse")
    plain = strip(model)
    same_outputs(model, plain)
    assert not any(is_inert(layer) for layer in plain.layers)
    kept = [layer.name for layer in model.layers if not is_inert(layer)]
    assert sorted(layer.name for layer in plain.layers) == sorted(kept)
    assert not plain.compiled
    assert not {id(w) for w in plain.weights} & {id(w) for w in model.weights}


def test_nested_shared_models_are_stripped_inside():
    inner = keras.Sequential(
        [keras.Input((6, 6, 3)), layers.Dropout(0.5), layers.Conv2D(3, 1, name="c")], name="inner"
    )
    inputs = keras.Input((6, 6, 3))
    model = keras.Model(inputs, inner(inner(inputs)))
    random_weights(model, 0)
    plain = strip(model)
    same_outputs(model, plain)
    assert [layer.name for layer in plain.get_layer("inner").layers] == ["c"]


def test_a_subclass_that_acts_at_inference_stays():
    class AlwaysOn(layers.Dropout):
        def call(self, inputs, training=None):
            return super().call(inputs, training=True)

    model = keras.Sequential([keras.Input((4,)), AlwaysOn(0.5, name="always"), layers.Dense(2)])
    assert strip(model).layers[0].name == "always"


def test_a_layer_that_names_the_output_stays():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dropout(0.5, name="last")(layers.Dense(2)(inputs)))
    assert strip(model).layers[-1].name == "last"


def test_a_crop_works_at_inference_and_stays():
    assert not is_inert(layers.RandomCrop(4, 4))
    assert not is_inert(layers.Equalization())


def test_zeros_stay_exactly():
    model = keras.Sequential([keras.Input((9,)), layers.Dropout(0.1), layers.Dense(7)])
    kernel = model.layers[-1].kernel
    mask = np.random.default_rng(0).random(kernel.shape) > 0.7
    kernel.assign(kernel.numpy() * mask)
    np.testing.assert_array_equal(strip(model).layers[-1].kernel.numpy() != 0, mask)


def pruned_by_tfmot():
    import tf_keras
    from tensorflow_model_optimization.sparsity.keras import (
        ConstantSparsity,
        UpdatePruningStep,
        prune_low_magnitude,
    )

    model = tf_keras.Sequential(
        [
            tf_keras.layers.Conv2D(6, 3, input_shape=(6, 6, 3), activation="relu"),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(5),
        ]
    )
    wrapped = prune_low_magnitude(model, ConstantSparsity(0.75, 0, frequency=1))
    wrapped.compile("sgd", "mse")
    random = np.random.default_rng(0)
    x, y = random.random((8, 6, 6, 3)), random.random((8, 5))
    wrapped.fit(x, y, epochs=2, verbose=0, callbacks=[UpdatePruningStep()])
    return wrapped, x


def test_tfmots_pruning_wrappers_come_off_with_their_masks():
    pytest.importorskip("edgepress.compress.models.legacy")
    wrapped, x = pruned_by_tfmot()
    plain = strip(wrapped)
    assert isinstance(plain, keras.Model)
    np.testing.assert_allclose(
        plain.predict(x, verbose=0), wrapped.predict(x, verbose=0), atol=1e-6
    )
    kernels = [w.numpy() for w in plain.weights if w.name == "kernel"]
    assert [float((k == 0).mean()) for k in kernels] == pytest.approx([0.75, 0.75], abs=0.01)


def test_tfmots_clustering_wrappers_come_off():
    pytest.importorskip("edgepress.compress.models.legacy")
    import tf_keras
    from tensorflow_model_optimization.clustering.keras import (
        CentroidInitialization,
        cluster_weights,
    )

    model = tf_keras.Sequential([tf_keras.layers.Dense(20, input_shape=(9,))])
    clustered = cluster_weights(model, 4, CentroidInitialization.LINEAR)
    plain = strip(clustered)
    assert len(np.unique(plain.weights[0].numpy())) == 4


def test_what_is_no_model_is_refused():
    with pytest.raises(InputError, match="strip takes a Keras model, not a dict"):
        strip({})


def test_a_copy_keeps_the_names_of_inputs_and_leaves_the_compilation():
    from edgepress.compress.models.rebuilding.copying import copy_model

    one, two = keras.Input((3,)), keras.Input((3,), name="second")
    model = keras.Model({"a": one, "b": two}, layers.Add()([one, two]))
    model.compile("adam", "mse")
    copy = copy_model(model)
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    assert not copy.compiled


@pytest.mark.parametrize("functional", [False, True])
def test_a_lambda_of_a_model_in_memory_stays(functional: bool) -> None:
    """Keras refuses to build one from its settings: they may come out of a stranger's file."""
    stack = [layers.Dense(3), layers.Dropout(0.5), layers.Lambda(lambda x: 2 * x)]
    if functional:
        x = y = keras.Input((4,))
        for layer in stack:
            y = layer(y)
        model = keras.Model(x, y)
    else:
        model = keras.Sequential([keras.Input((4,)), *stack])
    plain = strip(model)
    given = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(model(given), plain(given))
    assert [type(layer) for layer in plain.layers[-2:]] == [layers.Dense, layers.Lambda]


def test_a_layer_that_can_not_be_built_again_is_named() -> None:
    class Own(keras.layers.Layer):
        def __init__(self, factor: float) -> None:
            super().__init__(name="mine")
            self.factor = factor

        def get_config(self) -> dict[str, object]:
            return {"name": "mine"}

        def call(self, inputs: object) -> object:
            return inputs

    model = keras.Sequential([keras.Input((4,)), Own(2.0), keras.layers.Dense(2)])
    with pytest.raises(InputError, match=r"'mine' \(Own\) can't be rebuilt"):
        strip(model)
