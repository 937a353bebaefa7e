"""A label that marks what has no class counts neither in losses nor in metrics nor in verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgepress.compress import finetune, open_data
from edgepress.compress.data.metrics import metric_of
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec
from edgepress.deploy import export
from edgepress.deploy.verification.decisions import Decision, agreement_of, rights

RANDOM = np.random.default_rng(0)
VOID = 255


def dense(classes: int, activation: str | None = "softmax", size: int = 8) -> keras.Model:
    image = keras.Input((size, size, 2), name="image")
    layer = keras.layers.Conv2D(classes, 1, activation=activation, name="mask")
    return keras.Model(image, layer(image))


def masks(count: int = 24, classes: int = 3, size: int = 8) -> np.ndarray:
    found = RANDOM.integers(0, classes, (count, size, size))
    found[:, :2] = VOID
    return found


def images(truth: np.ndarray) -> np.ndarray:
    """(n, h, w, 2) images from which a 1x1 convolution learns the classes."""
    given = np.where(truth == VOID, 0, truth)
    noise = RANDOM.normal(0, 0.1, (*truth.shape, 2))
    return (np.stack([given, given == 1], -1) + noise).astype("float32")


def spec(x: np.ndarray, y: np.ndarray, **options: Any) -> DataSpec:
    half = len(x) // 2
    given = {"train": (x[:half], y[:half]), "test": (x[half:], y[half:])}
    return DataSpec(spec=given, **{"ignore_label": "255", **options})


# ---- metrics -------------------------------------------------------------------------------

CLASSES = st.integers(2, 5)


@settings(max_examples=60)
@given(CLASSES, st.integers(0, 2**32 - 1))
def test_metrics_are_those_of_the_places_that_count(classes, seed):
    random = np.random.default_rng(seed)
    scores = random.dirichlet(np.ones(classes), (6, 5)).astype(np.float32)
    truth = random.integers(0, classes, (6, 5))
    kept = random.random((6, 5)) < 0.7
    kept[0, 0] = True
    given = np.where(kept, truth, 0)
    flat, chosen = truth[kept], scores[kept].argmax(-1)
    labels = np.unique(np.concatenate([flat, chosen]))
    expected = {
        "accuracy": sk.accuracy_score(flat, chosen),
        "top1_accuracy": sk.accuracy_score(flat, chosen),
        "f1": sk.f1_score(flat, chosen, average="macro", labels=labels, zero_division=0),
        "iou": sk.jaccard_score(flat, chosen, average="macro", labels=labels, zero_division=0),
        "recall_micro": sk.recall_score(flat, chosen, average="micro"),
        "balanced_accuracy": np.mean([(chosen == c)[flat == c].mean() for c in np.unique(flat)]),
    }
    for name, value in expected.items():
        of_places = metric_of(name).of_places
        assert of_places is not None
        assert of_places(scores, given, False, kept)(None) == pytest.approx(value, abs=1e-12)
    some = random.integers(0, 6, 9)  # a bootstrap draw
    if kept[some].any():
        drawn = metric_of("accuracy").of_places(scores, given, False, kept)(some)
        right = (scores.argmax(-1) == truth)[some][kept[some]]
        assert drawn == pytest.approx(right.mean(), abs=1e-12)


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_labels_each_count_over_their_own_samples(labels, seed):
    random = np.random.default_rng(seed)
    scores = random.random((12, labels)).round(1)
    truth, kept = random.random((12, labels)) < 0.5, random.random((12, labels)) < 0.7
    columns = [(truth[k, i], scores[k, i]) for i, k in enumerate(kept.T)]
    f1 = [sk.f1_score(t, s > 0.5, zero_division=0) if len(t) else 0.0 for t, s in columns]
    auc = [sk.roc_auc_score(t, s) for t, s in columns if 0 < t.sum() < len(t)]
    precise = [sk.average_precision_score(t, s) if t.any() else 0.0 for t, s in columns if len(t)]
    expected = {
        "accuracy": ((scores > 0.5) == truth)[kept].mean() if kept.any() else np.nan,
        "f1": np.mean(f1),
        "auc": np.mean(auc) if auc else np.nan,
        "average_precision": np.mean(precise) if precise else np.nan,
        "mae": np.abs(scores - truth)[kept].mean() if kept.any() else np.nan,
    }
    for name, value in expected.items():
        found = metric_of(name).of_places(scores, truth & kept, False, kept)(None)
        assert found == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_agreement_and_right_decisions_leave_void_places_out():
    want = np.zeros((2, 3, 2))
    want[..., 0] = 1
    have = want.copy()
    have[:, 0] = have[:, 0, ::-1]  # another decision in the first place alone
    truth = np.array([[VOID, 0, 0], [VOID, 0, 0]])
    kept = truth != VOID
    assert agreement_of(Decision("classes"), have, want, (), kept)[0] == 1.0
    assert agreement_of(Decision("classes"), have, want, ())[0] == pytest.approx(2 / 3)
    found = rights(Decision("classes"), have, want, truth, kept)
    assert found is not None
    assert (found.truth >= 0).sum() == 4
    assert found.file[found.truth >= 0].all()


# ---- losses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "target", "name"),
    [
        ((3,), (4, 5, 5), "sparse_categorical_crossentropy"),
        ((1,), (4, 5, 5, 1), "binary_crossentropy"),
        ((3,), (9, 3), "binary_crossentropy"),
    ],
)
def test_a_loss_is_the_mean_over_places_that_count(output, target, name):
    model = _model_for(target, output)
    task = open_data(spec(*_data_for(model, target, output)), model).task.outputs[0]
    assert task.loss == name
    y = np.tile(_labels(target, output), (2, *[1] * (len(target) - 1)))
    p = RANDOM.uniform(0.1, 0.9, (len(y), *model.output_shape[1:])).astype("float32")
    kept = y != VOID
    loss = float(task.weighted_loss(tf.constant(y), tf.constant(p)))
    if name.startswith("sparse"):
        p /= p.sum(-1, keepdims=True)
        by_place = -np.log(np.take_along_axis(p, np.where(kept, y, 0)[..., None], -1))[..., 0]
    else:
        by_place = np.where(y == 1, -np.log(p), -np.log1p(-p))
    assert loss == pytest.approx(by_place[kept].mean(), rel=1e-4)
    weights = RANDOM.uniform(0, 2, len(y)).astype("float32")
    weighted = float(task.weighted_loss(tf.constant(y), tf.constant(p), tf.constant(weights)))
    each = weights.reshape(-1, *[1] * (y.ndim - 1))
    assert weighted == pytest.approx((by_place * each)[kept].mean(), rel=1e-4)


def _model_for(target: tuple[int, ...], output: tuple[int, ...]) -> keras.Model:
    if len(target) > 2:
        return dense(output[0], "sigmoid" if output[0] == 1 else "softmax", 5)
    vector = keras.Input((4,))
    return keras.Model(vector, keras.layers.Dense(output[0], activation="sigmoid")(vector))


def _labels(target: tuple[int, ...], output: tuple[int, ...]) -> np.ndarray:
    y = RANDOM.integers(0, output[0] if len(target) == 3 else 2, target)
    y.reshape(-1)[::4] = VOID
    return y


def _data_for(model: keras.Model, target: tuple[int, ...], output: tuple[int, ...]):
    y = np.concatenate([_labels(target, output) for _ in range(4)])
    return RANDOM.random((len(y), *model.input_shape[1:]), np.float32), y


@pytest.mark.parametrize("name", ["Dice", "Tversky"])
def test_a_loss_of_overlaps_sees_nothing_where_there_is_no_label(name):
    model = dense(1, "sigmoid")
    model.compile(loss=getattr(keras.losses, name)())
    y = RANDOM.integers(0, 2, (24, 8, 8, 1))
    y[:, :2] = VOID
    data = open_data(spec(images(y[..., 0]), y), model)
    truth, given = y[:6], RANDOM.random((6, 8, 8, 1), np.float32)
    found = float(data.task.outputs[0].weighted_loss(tf.constant(truth), tf.constant(given)))
    expected = getattr(keras.losses, name)()(truth[:, 2:].astype("float32"), given[:, 2:])
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_pixels_without_a_label_move_no_weight():
    y = masks()
    x = images(y)
    other = x.copy()
    other[:, :2] = RANDOM.normal(size=other[:, :2].shape) * 10
    tuned = [
        finetune(dense_of(), spec(given, y), epochs=2, batch_size=4).model for given in (x, other)
    ]
    for one, two in zip(tuned[0].get_weights(), tuned[1].get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def dense_of() -> keras.Model:
    keras.utils.set_random_seed(1)
    return dense(3)


def test_a_loss_that_was_compiled_with_a_class_to_ignore_is_heard():
    model = dense(3)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=VOID))
    y = masks()
    data = open_data(spec(images(y), y, ignore_label=()), model)
    void = data.task.outputs[0].void
    assert void is not None
    assert void.value == VOID
    assert np.isfinite(data.task.score([model.predict(images(y), verbose=0)], y))


def test_a_loss_of_ones_own_without_values_for_places_gets_the_label(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import tensorflow as tf, keras\n"
        "def whole(y, p):\n"
        "    kept = tf.cast(y != 255, tf.float32)\n"
        "    return tf.reduce_sum(kept * tf.reduce_max(p, -1)) / tf.reduce_sum(kept)\n"
        "def places(y, p):\n"
        "    return keras.losses.sparse_categorical_crossentropy(y, p)\n"
    )
    y = masks()
    for name, by in (("whole", "itself"), ("places", "places")):
        data = open_data(spec(images(y), y, loss=f"{tmp_path / 'mine.py'}:{name}"), dense(3))
        void = data.task.outputs[0].void
        assert void is not None
        assert void.by == by
        assert any("must leave it out itself" in w for w in data.warnings) == (by == "itself")


# ---- what is read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "made", "label", "channels", "expected"),
    [
        ([0, 1, 2, 255], "L", 255, 3, [0, 1, 2, 255]),
        ([0, 1, 2, 255], "P", 255, 3, [0, 1, 2, 255]),
        ([0, 1, 2, 65535], "I;16", 65535, 3, [0, 1, 2, 65535]),
        ([0, 1, 255], "L", 255, 1, [0, 1, 255]),
        ([0, 128, 255], "L", 128, 1, [0, 1, 128]),
        ([0, 128, 255], "L", 255, 1, [0, 1, 255]),
        ([0, 128, 255], "L", 128, 2, [0, 1, 128]),
    ],
)
def test_masks_keep_the_label_that_marks_what_has_none(
    tmp_path, values, made, label, channels, expected
):
    truth = np.array(values)[RANDOM.integers(0, len(values), (6, 8, 8))]
    truth[:, 0, : len(values)] = values
    save(tmp_path, truth, made)
    model = _rgb(channels)
    data = open_data(DataSpec(spec=str(tmp_path), ignore_label=label), model)
    read = np.concatenate([y for _, y in data.training_split.in_order(2).as_numpy_iterator()])
    assert sorted(np.unique(read)) == expected


def test_a_mask_that_lies_in_the_alpha_channel_is_refused(tmp_path):
    save(tmp_path, RANDOM.integers(0, 2, (6, 8, 8)), "alpha")
    with pytest.raises(InputError, match="transparent pixels"):
        open_data(DataSpec(spec=str(tmp_path)), _rgb(1))


@pytest.mark.parametrize("values", [[1, 2], [0, 128, 255]])
def test_grey_masks_of_other_values_for_one_channel_are_refused(tmp_path, values):
    save(tmp_path, np.array(values)[RANDOM.integers(0, len(values), (6, 8, 8))], "L")
    with pytest.raises(InputError, match="no two classes"):
        open_data(DataSpec(spec=str(tmp_path)), _rgb(1))


def test_masks_of_one_class_beside_the_label_are_refused(tmp_path):
    save(tmp_path, np.array([0, 255])[RANDOM.integers(0, 2, (6, 8, 8))], "L")
    with pytest.raises(InputError, match="one class is left"):
        open_data(DataSpec(spec=str(tmp_path), ignore_label=255), _rgb(1))


def save(folder: Path, truth: np.ndarray, made: str) -> None:
    for side in ("inputs", "targets"):
        (folder / side).mkdir()
    for place, mask in enumerate(truth):
        Image.fromarray(RANDOM.integers(0, 255, (8, 8, 3), np.uint8)).save(
            folder / f"inputs/{place}.png"
        )
        image = Image.fromarray(mask.astype(np.uint16 if made == "I;16" else np.uint8))
        if made == "P":
            image = Image.frombytes("P", (8, 8), mask.astype(np.uint8).tobytes())
            image.putpalette([value % 251 for value in range(768)])
        if made == "alpha":
            black = Image.new("L", (8, 8))
            image = Image.merge("RGBA", [black] * 3 + [image.point(lambda v: v * 255)])
        image.save(folder / f"targets/{place}.png")


def _rgb(channels: int) -> keras.Model:
    image = keras.Input((8, 8, 3))
    activation = "sigmoid" if channels == 1 else "softmax"
    return keras.Model(image, keras.layers.Conv2D(channels, 1, activation=activation)(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore_label": "7"}, "labels run from 0 to 255|hold 255 beside"),
        ({"ignore_label": "1"}, "hold 255 beside|labels run"),
        ({"ignore_label": "x"}, "'x' is no label"),
        ({"ignore_label": {"other": 255}}, "no output 'other'"),
        ({"ignore_label": {"mask": 254}}, "hold 255 beside|labels run"),
        ({"metric": "cer"}, "can't leave out label 255"),
        ({"ignore_label": ()}, "pass --ignore-label 255"),
    ],
)
def test_wrong_use_is_refused(options, message):
    y = masks()
    with pytest.raises(InputError, match=message):
        open_data(spec(images(y), y, **options), dense(3))


def test_labels_that_mark_nothing_are_not_mixed():
    picture = keras.Input((8, 8, 2))
    flat = keras.layers.GlobalAveragePooling2D()(picture)
    model = keras.Model(picture, keras.layers.Dense(3, activation="sigmoid")(flat))
    y = RANDOM.choice([0, 1, VOID], (24, 3))
    with pytest.raises(InputError, match="mixes labels"):
        open_data(spec(images(masks()), y, augment="mixup:0.2"), model)


@pytest.mark.parametrize(
    ("label", "message"), [("7", "occurs nowhere"), ("1", "is a class of output 'mask' too")]
)
def test_a_label_that_does_not_occur_or_is_a_class_is_refused(label, message):
    y = RANDOM.integers(0, 3, (24, 8, 8))
    with pytest.raises(InputError, match=message):
        open_data(spec(images(y), y, ignore_label=label), dense(3))


def test_values_have_no_label_to_leave_out():
    y = RANDOM.random((24, 8, 8, 1))
    with pytest.raises(InputError, match="are values"):
        open_data(spec(images(y[..., 0]), y), dense(1, None))


# ---- from one end to the other -------------------------------------------------------------


def test_a_file_is_judged_by_the_pixels_that_have_a_label(tmp_path):
    y = masks(64)
    x = images(y)
    given = spec(x, y, metric="iou")
    tuned = finetune(dense_of(), given, epochs=8, lr=0.2, batch_size=8)
    kept = y[32:] != VOID
    chosen = tuned.model.predict(x[32:], verbose=0).argmax(-1)
    expected = sk.jaccard_score(y[32:][kept], chosen[kept], average="macro")
    assert tuned.history.after == pytest.approx(expected, abs=1e-9)
    made = export(tuned.model, tmp_path / "o", ["tflite"], ["float32"], data=given).artifacts[0]
    assert made.verified is not None
    assert made.verified.value == pytest.approx(expected, abs=1e-6)
    columns = tuned.history.epochs
    assert columns["val_iou"][-1] > 0.8


@pytest.mark.parametrize("balanced", ["none", "balanced"])
def test_accuracy_in_training_leaves_samples_without_a_label_out(balanced):
    vector = keras.Input((4,))
    model = keras.Model(vector, keras.layers.Dense(3, activation="softmax")(vector))
    x = RANDOM.normal(size=(120, 4)).astype("float32")
    y = x[:, :3].argmax(1)
    y[::3] = -1
    given = {"train": (x, y), "test": (x, y)}
    data = DataSpec(spec=given, ignore_label="-1")
    tuned = finetune(model, data, epochs=10, lr=0.2, class_weights=balanced)
    kept = y >= 0
    right = tuned.model.predict(x, verbose=0).argmax(1) == y
    assert tuned.history.after == pytest.approx(right[kept].mean(), abs=1e-9)
    assert tuned.history.epochs["accuracy"][-1] > 0.8
