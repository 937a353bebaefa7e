"""Boxes in pixels and scores of at most 1 in one output: int8 keeps both, or is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.deploy.exporting.export import export

SIZE, PIXELS = 12, 640.0


def begin():
    image = keras.Input((SIZE, SIZE, 3), name="image")
    return image, layers.Conv2D(12, 3, 2, activation="relu")(image)


def boxes(x):
    return layers.Rescaling(PIXELS)(layers.Conv2D(4, 1, activation="sigmoid")(x))


def scores(x, classes=3):
    return layers.Conv2D(classes, 1, activation="sigmoid")(x)


def channels():
    image, x = begin()
    return keras.Model(image, layers.Concatenate(name="both")([boxes(x), scores(x)]))


def anchors():
    """(n, anchors, 8), of two scales."""
    image, x = begin()
    rows = []
    for features, cells in ((x, 25), (layers.Conv2D(12, 3, 2, activation="relu")(x), 4)):
        parts = [layers.Reshape((cells, 4))(boxes(features))]
        parts += [layers.Reshape((cells, k))(scores(features, k)) for k in (1, 3)]
        rows.append(layers.Concatenate()(parts))
    return keras.Model(image, layers.Concatenate(axis=1)(rows))


def anchors_last():
    """(n, 7, anchors)."""
    image, x = begin()
    parts = [layers.Reshape((25, k))(p) for p, k in ((boxes(x), 4), (scores(x), 3))]
    return keras.Model(
        image, layers.Concatenate(axis=1)([layers.Permute((2, 1))(p) for p in parts])
    )


def three_parts():
    image, x = begin()
    angle = layers.Rescaling(20.0)(layers.Conv2D(2, 1, activation="tanh")(x))
    return keras.Model(image, layers.Concatenate()([boxes(x), scores(x), angle]))


def scaled_after():
    image, x = begin()
    both = layers.Concatenate()([layers.Conv2D(4, 1, activation="sigmoid")(x), scores(x)])
    return keras.Model(image, layers.Rescaling([PIXELS] * 4 + [1.0] * 3)(both))


def by_operations():
    image, x = begin()
    both = ops.concatenate([ops.sigmoid(layers.Conv2D(4, 1)(x)), scores(x)], -1)
    return keras.Model(image, both * ops.convert_to_tensor([PIXELS] * 4 + [1.0] * 3))


def one_layer():
    """Values of two scales from one dense layer."""
    image, x = begin()
    dense = layers.Dense(8)
    model = keras.Model(image, dense(layers.Dense(16, activation="relu")(layers.Flatten()(x))))
    kernel, bias = dense.get_weights()
    dense.set_weights([kernel * ([500.0] * 4 + [1.0] * 4), bias])
    return model


def many_classes():
    """Probabilities of 81 classes, most of them below what 1/256 can say."""
    image, x = begin()
    classes = layers.Conv2D(81, 1, activation="softmax")(x)
    return keras.Model(image, layers.Concatenate()([boxes(x), classes]))


def far_boxes():
    """Boxes so far from scores that 16 bits don't hold both."""
    image, x = begin()
    return keras.Model(
        image, layers.Concatenate(name="both")([layers.Rescaling(200.0)(boxes(x)), scores(x)])
    )


def exported(
    make, folder, worker, formats=("tflite", "onnx"), io="float", precision="int8", **options
):
    keras.utils.set_random_seed(0)
    model = make()
    x = np.random.default_rng(0).random((200, SIZE, SIZE, 3)).astype("float32")
    y = model.predict(x, verbose=0)
    data = {"train": (x, y), "test": (x[:64], y[:64])}
    return (
        export(model, folder / "out", formats, (precision,), data, io, worker=worker, **options),
        x[:64],
        y[:64],
    )


def check(make, folder, worker, axis=-1):
    result, x, want = exported(make, folder, worker)
    assert [a.format for a in result] == ["tflite", "onnx"], (result.skipped, result.failed)
    assert sum("in floats" in note for note in result.notes) == 2
    for artifact in result:
        with Runtime(artifact.path) as runtime:
            [got] = runtime.predict({"image": x}).values()
        small = [np.moveaxis(a, axis, -1)[..., 4:7] for a in (got, want)]
        assert np.std(small[0] - small[1]) < 0.15 * np.std(small[1])


def test_scores_beside_boxes_are_right_in_int8(tmp_path, worker):
    check(channels, tmp_path, worker)


def test_classes_beside_boxes_are_not_rounded_behind_their_softmax(tmp_path, worker):
    result, x, want = exported(many_classes, tmp_path, worker, ("tflite",))
    assert not result.failed
    with Runtime(result.artifacts[0].path) as runtime:
        [got] = runtime.predict({"image": x}).values()
    assert np.std(got[..., 4:] - want[..., 4:]) < 0.15 * np.std(want[..., 4:])


@pytest.mark.slow
def test_a_model_trained_for_int8_keeps_scores_beside_boxes(tmp_path, worker):
    result, x, _ = exported(channels, tmp_path, worker, ("tflite", "c"), qat_epochs=1)
    assert [a.format for a in result] == ["tflite", "c"], result.failed
    assert any("trained for int8" in note and "in floats" in note for note in result.notes)
    assert any("was never trained" in note for note in result.notes)
    with Runtime(result.artifacts[0].path) as runtime:
        [got] = runtime.predict({"image": x}).values()
    assert all(len(np.unique(got[..., part])) > 20 for part in range(4, 7))


def test_a_precision_that_has_no_floats_at_its_end_says_the_way_on(tmp_path, worker):
    result, _, _ = exported(far_boxes, tmp_path, worker, ("tflite",), precision="int16x8")
    [failed] = result.failed
    assert "int16x8 tflite files can't keep their end in floats" in failed.reason
    assert "separate outputs" in failed.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "axis"),
    [(anchors, -1), (anchors_last, 1), (three_parts, -1), (scaled_after, -1), (by_operations, -1),
     (one_layer, -1)],
)  # fmt: skip
def test_wherever_ranges_are_joined_each_is_right(make, axis, tmp_path, worker):
    check(make, tmp_path, worker, axis)


def test_integer_outputs_are_refused_with_the_way_on(tmp_path, worker):
    result, _, _ = exported(channels, tmp_path, worker, ("tflite",), "int8")
    [failed] = result.failed
    assert len(result) == 0
    assert "output 'both' channels 4-6" in failed.reason
    assert "--io float" in failed.reason
    assert failed.verified.outputs[0].slices == ("channels 4-6",)
