import keras
import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.weights.masks.prunable import find_kernels, matches

layers = keras.layers

EXPECTED = {
    "dense": ["dense/kernel", "dense_1/kernel"],
    "einsum": ["einsum_dense/kernel"],
    "conv1d": ["conv1d/kernel"],
    "conv2d": ["conv2d/kernel", "conv2d_1/kernel"],
    "grouped": ["conv2d/kernel"],
    "conv3d": ["conv3d/kernel"],
    "transposed": ["conv2d_transpose/kernel"],
    "separable": ["separable_conv2d/pointwise_kernel"],
    "lstm": ["lstm/lstm_cell/kernel", "lstm/lstm_cell/recurrent_kernel"],
    "gru": ["gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel"],
    "rnn": ["simple_rnn/simple_rnn_cell/kernel", "simple_rnn/simple_rnn_cell/recurrent_kernel"],
    "conv_lstm": ["conv_lstm2d/cell/kernel", "conv_lstm2d/cell/recurrent_kernel"],
    "time_distributed": ["time_distributed/dense/kernel"],
    "embedding": ["embedding/embeddings"],
    "attention": [
        "attention/query/kernel",
        "attention/key/kernel",
        "attention/value/kernel",
        "attention/attention_output/kernel",
    ],
    "nested": ["inner/in/kernel", "out/kernel"],
    "shared": ["shared/kernel"],
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_kernel_of_a_layer_is_found_once(models, kind):
    keras.backend.clear_session()
    kernels, pinned = find_kernels(models[kind]())
    assert [k.path for k in kernels] == EXPECTED[kind]
    assert all(p.reason.startswith("depthwise") for p in pinned)


def test_both_directions_and_all_cells_are_found(models):
    assert len(find_kernels(models["bidirectional"]())[0]) == 4
    assert len(find_kernels(models["stacked"]())[0]) == 4


def test_all_other_weights_are_vectors_or_depthwise(any_model):
    kernels, _ = find_kernels(any_model, depthwise=True)
    found = {id(k.variable) for k in kernels}
    rest = [w for w in any_model.weights if id(w) not in found]
    assert all(w.name in ("bias", "gamma", "beta") for w in rest)


def test_planes_tell_inputs_from_outputs(models):
    shapes = {
        kind: find_kernels(models[kind](), depthwise=True)[0][0].planes().shape
        for kind in ("dense", "einsum", "conv2d", "grouped", "transposed", "separable", "embedding")
    }
    assert shapes == {
        "dense": (1, 13, 11),
        "einsum": (1, 6, 15),
        "conv2d": (9, 3, 6),
        "grouped": (9, 2, 12),
        "transposed": (9, 6, 7),
        "separable": (9, 1, 5),
        "embedding": (1, 6, 17),
    }


def test_depthwise_kernels_stay_unless_asked_for():
    model = keras.Sequential([keras.Input((8, 8, 4)), layers.DepthwiseConv2D(3, name="dw")])
    kernels, pinned = find_kernels(model)
    assert not kernels
    assert pinned[0].layer == "dw/kernel"
    assert "depthwise" in pinned[0].reason
    assert [k.path for k in find_kernels(model, depthwise=True)[0]] == ["dw/kernel"]


def test_a_subclass_is_known_by_what_it_inherits_from():
    class Scaled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    model = keras.Sequential([keras.Input((4,)), Scaled(3, name="scaled")])
    assert [k.path for k in find_kernels(model)[0]] == ["scaled/kernel"]


def test_a_layer_of_the_users_is_walked_through_and_its_own_arrays_stay():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__(name="block")
            self.inner = layers.Dense(5, name="inner")

        def build(self, shape):
            self.inner.build(shape)
            self.table = self.add_weight(shape=(3, 4), name="table")

        def call(self, inputs):
            return self.inner(inputs)

    model = keras.Sequential([keras.Input((4,)), Block()])
    kernels, pinned = find_kernels(model)
    assert [k.path for k in kernels] == ["block/inner/kernel"]
    assert [(p.layer, p.reason) for p in pinned] == [
        ("block/table", "no rule for a Block's arrays")
    ]


def test_a_quantised_kernel_stays():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8, name="d")])
    model.quantize("int8")
    kernels, pinned = find_kernels(model)
    assert not kernels
    assert "quantised" in pinned[0].reason


def test_protect_covers_what_lies_inside(models):
    kernels, pinned = find_kernels(models["nested"](), protect=["inn*"])
    assert [k.path for k in kernels] == ["out/kernel"]
    assert (pinned[0].layer, pinned[0].reason) == ("inner/in/kernel", "protected")


def test_protect_that_matches_nothing_names_near_layers(models):
    with pytest.raises(InputError) as caught:
        find_kernels(models["nested"](), protect=["iner"])
    assert "protect 'iner' matches no layer" in caught.value.format_message()
    assert "inner" in caught.value.format_message()


def test_globs_match_a_layer_or_what_holds_it():
    assert matches("encoder/conv1", ["encoder"])
    assert matches("encoder/conv1", ["*/conv?"])
    assert not matches("encoder/conv1", ["conv1"])
