"""16-bit files leave room beyond what calibration reached; 8-bit sums are right in every kernel."""

from __future__ import annotations

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

from edgepress.deploy import export


def test_16_bits_do_not_saturate_on_larger_samples_than_those_of_the_calibration(tmp_path, worker):
    """A dynamic file, which has no ranges, was thirty times nearer to the model."""
    keras.utils.set_random_seed(0)
    values = keras.Input((12,), name="values")
    model = keras.Model(values, layers.Dense(4)(layers.Dense(32, activation="relu")(values)))
    small = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    large = 1.6 * small[:60]
    outputs = model.predict(large, verbose=0)
    data = {"train": (small, model.predict(small, verbose=0)), "test": (large, outputs)}
    [artifact] = export(
        model, tmp_path / "out", ("tflite",), ("int16x8",), data, worker=worker
    ).artifacts
    assert artifact.verified.max_abs_error < 0.02 * np.abs(outputs).max()


def test_8_bit_sums_are_right_in_the_reference_kernels(tmp_path, worker):
    """LiteRT's reference kernel of SUM is off by a half where sum and terms differ in scale."""
    keras.utils.set_random_seed(0)
    values = keras.Input((6, 8), name="values")
    x = keras.ops.sum(keras.ops.abs(layers.Dense(8)(values)), axis=1)
    model = keras.Model(values, layers.Dense(3)(x))
    samples = np.random.default_rng(0).normal(size=(200, 6, 8)).astype(np.float32)
    outputs = model.predict(samples, verbose=0)
    [artifact] = export(
        model, tmp_path / "out", ("tflite",), ("int8",), (samples, outputs), worker=worker
    ).artifacts
    interpreter = Interpreter(
        str(artifact.path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    run = interpreter.get_signature_runner()
    found = np.concatenate([next(iter(run(values=s[None]).values())) for s in samples[:40]])
    assert np.std(found - outputs[:40]) < 0.1 * outputs.std()
