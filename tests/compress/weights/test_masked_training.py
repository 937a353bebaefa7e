import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.weights.allocation.planning import apply_masks, plan_masks
from edgepress.compress.weights.masked_training import GradualMasks, HoldMasks, MaskEngine

layers = keras.layers


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(8, 3, name="conv"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, name="head"),
        ]
    )


def data(n=32):
    random = np.random.default_rng(0)
    return random.random((n, 8, 8, 4), np.float32), random.random((n, 6), np.float32)


def train(model, callback, epochs=2):
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(*data(), batch_size=4, epochs=epochs, verbose=0, callbacks=[callback], shuffle=False)


@settings(max_examples=8, deadline=None)
@given(st.floats(0.05, 0.95))
def test_tfmots_engine_makes_the_masks_that_ours_make(sparsity):
    plan = plan_masks(network(), PruneSpec(sparsity=sparsity, allocation="uniform"))
    ours = plan.masks(sparsity)
    engine = MaskEngine(plan.kernels)
    engine.make({path: mask.zeros for path, mask in ours.items()})
    theirs = engine.masks(plan.label)
    for path in ours:
        np.testing.assert_array_equal(ours[path].array, theirs[path].array)


@pytest.mark.parametrize("layer", ["conv", "head"])
def test_two_of_four_is_the_pattern_of_tfmot(layer):
    import tensorflow as tf

    from edgepress.compress.weights.masked_training import pruning_engine

    plan = plan_masks(network(), PruneSpec(structure="nm", pattern="2:4"))
    kernel = next(k for k in plan.kernels if k.layer_path == layer)
    mask = tf.Variable(tf.ones(kernel.shape))
    engine = pruning_engine()(
        lambda: 1, [(kernel.variable.value, mask, tf.Variable(0.0))], None, (1, 1), "AVG", (2, 4)
    )
    engine.conditional_mask_update()
    ours = plan.masks(plan.final)[kernel.path].array
    np.testing.assert_array_equal(ours, mask.numpy() > 0)


@pytest.mark.parametrize("block", ["2x2", "4x1", "1x3"])
def test_blocks_on_a_matrix_are_those_of_tfmot(block):
    import tensorflow as tf

    from edgepress.compress.weights.masked_training import pruning_engine

    spec = PruneSpec(structure="blocks", block=block, sparsity=0.5, allocation="uniform")
    plan = plan_masks(keras.Sequential([keras.Input((8,)), layers.Dense(12)]), spec)
    kernel = plan.kernels[0]
    mask = tf.Variable(tf.ones(kernel.shape))
    size = tuple(int(n) for n in block.split("x"))
    part = [(kernel.variable.value, mask, tf.Variable(0.0))]
    engine = pruning_engine()(lambda: 0, part, lambda _step: (tf.constant(True), 0.5), size, "AVG")
    engine.conditional_mask_update()
    np.testing.assert_array_equal(plan.masks(0.5)[kernel.path].array, mask.numpy() > 0)


def test_held_zeros_stay_zero_and_the_rest_learns():
    model = network()
    plan = plan_masks(model, PruneSpec(sparsity=0.7))
    masks = plan.masks(0.7)
    apply_masks(plan.kernels, masks)
    before = {k.path: k.value() for k in plan.kernels}
    train(model, HoldMasks(plan.kernels, masks))
    for kernel in plan.kernels:
        keep, value = masks[kernel.path].array, kernel.value()
        assert not value[~keep].any()
        assert (value[keep] != before[kernel.path][keep]).mean() > 0.9


@pytest.mark.parametrize(
    "options",
    [
        {"structure": "weights"},
        {"structure": "weights", "allocation": "uniform"},
        {"structure": "blocks", "block": "2x2"},
        {"structure": "kernels"},
        {"structure": "nm"},
    ],
)
def test_a_ramp_ends_exactly_and_never_falls(options):
    model = network()
    plan = plan_masks(model, PruneSpec(sparsity=0.5, **options))
    seen = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(sum(int((k.value() == 0).sum()) for k in plan.kernels))

    gradual = GradualMasks(plan, {2: 0.1, 5: 0.3, 9: 0.5})
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(*data(), batch_size=4, epochs=2, verbose=0, callbacks=[gradual, Count()])
    assert seen == sorted(seen)
    assert seen[1] == 0
    assert 0 < seen[5] < seen[9] == seen[15]
    total = sum(k.size for k in plan.kernels)
    assert abs(seen[-1] - total / 2) <= (0 if options["structure"] in ("weights", "nm") else 6)


def test_a_state_that_is_restored_goes_on_as_if_nothing_had_happened():
    def trained(change_callback_after_first_epoch):
        model = network()
        plan = plan_masks(model, PruneSpec(sparsity=0.6))
        turns = {2: 0.2, 12: 0.4, 20: 0.6}
        model.compile(keras.optimizers.SGD(0.1), "mse")
        gradual = GradualMasks(plan, turns)
        for epoch in range(3):
            if epoch == 1 and change_callback_after_first_epoch:
                state = gradual.state()
                gradual = GradualMasks(plan, turns)
                gradual.restore(state)
            model.fit(*data(), batch_size=4, verbose=0, shuffle=False, callbacks=[gradual])
        return [w.numpy() for w in model.weights]

    for whole, split in zip(trained(False), trained(True), strict=True):
        np.testing.assert_array_equal(whole, split)


@pytest.mark.slow
def test_importing_the_engine_leaves_child_processes_on_keras_3():
    script = (
        "import os\n"
        "from edgepress.compress.weights.masked_training import pruning_engine\n"
        "pruning_engine()\n"
        "assert os.environ.get('TF_USE_LEGACY_KERAS') in (None, '0')\n"
    )
    clean = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
