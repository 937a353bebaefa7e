import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.kernel.progress import Silent
from edgepress.compress.models.rebuilding.copying import copy_model
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.weights.allocation.planning import apply_masks, plan_masks
from edgepress.compress.weights.layer_inputs import inputs_of, reader_for
from edgepress.compress.weights.masks.prunable import find_kernels
from edgepress.compress.weights.second_order import refit_and_mask, solve_masked

layers = keras.layers


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 4), st.floats(0.1, 1))
def test_a_masked_problem_is_solved_as_each_output_by_itself(seed, size, outputs, share):
    random = np.random.default_rng(seed)
    x = random.normal(size=(size + 5, size))
    hessian = x.T @ x + 0.1 * np.eye(size)
    target = random.normal(size=(size, outputs))
    keep = random.random((size, outputs)) < share
    found = solve_masked(hessian, target, keep, np.zeros((size, outputs)))
    for o in range(outputs):
        k = np.flatnonzero(keep[:, o])
        wanted = np.linalg.solve(hessian[np.ix_(k, k)], target[k, o])
        np.testing.assert_allclose(found[k, o], wanted, atol=1e-3, rtol=1e-3)
    assert not found[~keep].any()


READABLE = {
    "dense": lambda: layers.Dense(5),
    "dense on a sequence": lambda: layers.Dense(5),
    "einsum": lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"),
    "conv1d": lambda: layers.Conv1D(5, 3, strides=2, padding="same"),
    "causal": lambda: layers.Conv1D(5, 3, dilation_rate=2, padding="causal"),
    "conv2d": lambda: layers.Conv2D(6, (3, 2), strides=(2, 1)),
    "same": lambda: layers.Conv2D(6, 3, padding="same", dilation_rate=2),
    "grouped": lambda: layers.Conv2D(6, 3, groups=2),
    "conv3d": lambda: layers.Conv3D(4, 2),
}
SHAPES = {
    "dense": (7,),
    "conv2d": (6, 5, 4),
    "same": (6, 5, 4),
    "grouped": (6, 5, 4),
    "conv3d": (4, 4, 4, 2),
}


@pytest.mark.parametrize("kind", READABLE)
def test_rows_times_the_kernel_are_the_outputs(kind):
    model = keras.Sequential([keras.Input(SHAPES.get(kind, (6, 4))), READABLE[kind]()])
    kernel = find_kernels(model)[0][0]
    kernel.layer.bias.assign(
        np.arange(np.prod(kernel.layer.bias.shape)).reshape(kernel.layer.bias.shape)
    )
    x = np.random.default_rng(0).random((3, *model.input_shape[1:])).astype(np.float32)
    outputs = model(x).numpy()
    reader = reader_for(kernel)
    value = inputs_of(model, kernel.layer, x)[0]
    planes = kernel.planes()
    matrix = planes.reshape(-1, planes.shape[2])
    width = matrix.shape[1] // reader.groups
    parts = [
        reader.rows(value, g) @ matrix[:, g * width : (g + 1) * width] for g in range(reader.groups)
    ]
    made = np.hstack(parts) + kernel.layer.bias.numpy().reshape(-1)
    np.testing.assert_allclose(made.reshape(outputs.shape), outputs, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Conv1DTranspose(3, 2),
        lambda: layers.LSTM(3),
        lambda: layers.SeparableConv1D(3, 2),
        lambda: layers.EinsumDense("abc,bd->adc", (5, 4)),
    ],
)
def test_what_is_no_product_over_one_input_has_no_reader(layer):
    model = keras.Sequential([keras.Input((6, 4)), layer()])
    assert all(reader_for(k) is None for k in find_kernels(model)[0])


def test_every_call_of_a_layer_is_seen():
    model = keras.Sequential([keras.Input((6, 4)), layers.TimeDistributed(layers.Dense(3))])
    kernel = find_kernels(model)[0][0]
    seen = inputs_of(model, kernel.layer, np.ones((2, 6, 4), np.float32))
    assert [value.shape for value in seen] == [(2, 4)] * 6


def test_a_layer_inside_a_compiled_function_cannot_be_seen():
    import tensorflow as tf

    class Compiled(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Dense(3)

        def build(self, shape):
            self.inner.build(shape)

        def call(self, inputs):
            return tf.function(self.inner)(inputs)

    model = keras.Sequential([keras.Input((4,)), Compiled()])
    kernel = find_kernels(model)[0][0]
    assert inputs_of(model, kernel.layer, np.ones((2, 4), np.float32)) is None
    assert "call" not in vars(kernel.layer)


def run(model, spec, samples):
    pruned = copy_model(model)
    plan = plan_masks(pruned, spec)
    masks, _ = refit_and_mask(model, pruned, plan, samples, Silent())
    return pruned, plan, masks


@settings(max_examples=3, deadline=None)
@given(
    st.sampled_from(
        [
            {"sparsity": 0.6},
            {"sparsity": 0.3, "allocation": "uniform"},
            {"structure": "nm", "pattern": "1:4"},
            {"structure": "blocks", "block": "2x2", "sparsity": 0.5},
            {"structure": "kernels", "sparsity": 0.5},
        ]
    )
)
def test_any_layer_comes_out_with_its_mask(any_model, options):
    random = np.random.default_rng(0)
    high = 5 if "embedding" in any_model.layers[0].name else 1
    samples = {
        t._keras_history.operation.name: (random.random((8, *t.shape[1:])) * high).astype("float32")
        for t in any_model.inputs
    }
    _, plan, masks = run(any_model, PruneSpec(**options), samples)
    for kernel in plan.kernels:
        assert not kernel.value()[~masks[kernel.path].array].any()
        assert np.isfinite(kernel.value()).all()
    by_magnitude = plan_masks(copy_model(any_model), PruneSpec(**options)).masks(plan.final)
    slack = 2 if options.get("structure") == "blocks" else 0
    for path, mask in masks.items():
        assert mask.zeros == pytest.approx(by_magnitude[path].zeros, abs=slack)


def test_redundant_inputs_take_over_for_each_other():
    # Every input comes twice, so half of the weights could go at no loss.
    model = keras.Sequential([keras.Input((12,)), layers.Dense(5)])
    half = np.random.default_rng(0).normal(size=(200, 6))
    x = np.repeat(half, 2, axis=1).astype(np.float32)
    pruned, _, masks = run(model, PruneSpec(sparsity=0.5), {"x": x})
    assert sum(m.zeros for m in masks.values()) == 30
    wanted = model.predict(x, verbose=0)
    repaired = np.square(pruned.predict(x, verbose=0) - wanted).mean()
    by_magnitude = copy_model(model)
    again = plan_masks(by_magnitude, PruneSpec(sparsity=0.5))
    apply_masks(again.kernels, again.masks(0.5))
    assert repaired < 0.2 * np.square(by_magnitude.predict(x, verbose=0) - wanted).mean()


def test_the_bias_takes_over_a_constant_input():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    kernel = np.ones((4, 3), np.float32)
    kernel[0] = 0.1
    model.layers[0].kernel.assign(kernel)
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    x[:, 0] = 1.0
    pruned, _, masks = run(model, PruneSpec(sparsity=0.25), {"x": x})
    assert not next(iter(masks.values())).array[0].any()
    np.testing.assert_allclose(pruned.layers[0].bias.numpy(), 0.1, atol=0.01)
