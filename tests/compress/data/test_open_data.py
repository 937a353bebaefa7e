"""Opening data: every form, the task, the splits, the order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgepress.compress import open_data
from edgepress.compress.data.dataset import balanced_choice
from edgepress.compress.data.splits.drawing import split_indices
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

RANDOM = np.random.default_rng(0)


def dense(inputs: int = 4, outputs: int = 3, activation: str | None = "softmax") -> keras.Model:
    x = keras.Input((inputs,), name="x")
    return keras.Model(x, keras.layers.Dense(outputs, activation=activation, name="y")(x))


def image_model(channels: int = 3, classes: int = 2) -> keras.Model:
    x = keras.Input((8, 8, channels), name="image")
    y = keras.layers.Flatten()(x)
    return keras.Model(x, keras.layers.Dense(classes, activation="softmax")(y))


def arrays(n: int = 60, classes: int = 3) -> dict[str, np.ndarray]:
    x = RANDOM.normal(size=(n, 4)).astype(np.float32)
    return {"x": x, "y": np.arange(n) % classes}


def rows(dataset: object) -> np.ndarray:
    return np.concatenate([x.numpy() for x, _ in dataset])  # type: ignore[attr-defined]


def test_npz_without_splits_is_split_once_and_by_class(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **arrays())
    data = open_data(tmp_path / "d.npz", dense())
    assert (data.train.size, data.val.size, data.test) == (48, 12, None)
    _, y = data.val.sample(12)
    assert np.bincount(y).tolist() == [4, 4, 4]
    together = np.concatenate([rows(data.train.in_order()), rows(data.val.in_order())])
    assert len(np.unique(together, axis=0)) == 60


def test_report_split_prefers_test() -> None:
    a = arrays()
    data = open_data(
        {"x_train": a["x"], "y_train": a["y"], "x_test": a["x"], "y_test": a["y"]}, dense()
    )
    assert data.report_split.name == "test"
    assert data.val is not None


@given(epoch=st.integers(0, 50), skip=st.integers(0, 2))
@settings(max_examples=10, deadline=None)
def test_an_epoch_repeats_and_can_be_entered_in_the_middle(epoch: int, skip: int) -> None:
    a = arrays()
    data = open_data(DataSpec(spec=a, augment=("noise:0.1",)), dense())
    whole = rows(data.train.epoch(16, seed=1, epoch=epoch))
    rest = rows(data.train.epoch(16, seed=1, epoch=epoch, skip_batches=skip))
    np.testing.assert_array_equal(whole[skip * 16 :], rest)
    other = rows(data.train.epoch(16, seed=1, epoch=epoch + 1, augment=False))
    plain = rows(data.train.epoch(16, seed=1, epoch=epoch, augment=False))
    assert not np.array_equal(plain, other)
    np.testing.assert_array_equal(np.sort(plain, 0), np.sort(other, 0))


@given(st.integers(1, 200), st.integers(1, 6), st.integers(0, 9))
@settings(deadline=None)
def test_balanced_choice_takes_equal_parts(n: int, classes: int, seed: int) -> None:
    labels = np.arange(120) % classes
    chosen = balanced_choice(labels, 120, n, seed)
    assert len(set(chosen)) == len(chosen) == min(n, 120)
    counts = np.bincount(labels[chosen], minlength=classes)
    assert counts.max() - counts.min() <= 1


@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 5))
@settings(deadline=None)
def test_split_indices_partition(size: int, share: float, seed: int) -> None:
    kept, aside = split_indices(size, share, None, seed)
    assert len(kept) > 0
    assert len(aside) > 0
    assert sorted([*kept, *aside]) == list(range(size))


SPARSE, ONE_HOT, BINARY = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
)
LABELS = np.arange(30)
BITS = RANDOM.integers(0, 2, (30, 3))


def one_number() -> keras.Model:
    """A model that gives one number for each sample, without an axis for it."""
    model = dense(4, 1, None)
    return keras.Model(model.inputs, keras.layers.Reshape(())(model.outputs[0]))


def test_a_single_number_takes_single_targets() -> None:
    x, y = RANDOM.normal(size=(30, 4)).astype(np.float32), RANDOM.normal(size=(30, 1))
    with pytest.raises(InputError, match="targets have shape"):
        open_data({"x": x, "y": y}, one_number())


@pytest.mark.parametrize(
    ("model", "targets", "kind", "loss", "metric"),
    [
        (dense(), LABELS % 3, "classification", SPARSE, "accuracy"),
        (dense(), np.eye(3)[LABELS % 3], "classification", ONE_HOT, "accuracy"),
        (dense(4, 1, "sigmoid"), LABELS % 2, "binary", BINARY, "accuracy"),
        (dense(4, 3, "sigmoid"), BITS, "multi-label", BINARY, "accuracy"),
        (dense(4, 2, None), RANDOM.normal(size=(30, 2)), "regression", "mse", "mae"),
        (dense(4, 1, None), RANDOM.normal(size=30), "regression", "mse", "mae"),
        (one_number(), RANDOM.normal(size=30), "regression", "mse", "mae"),
    ],
)
def test_task_is_inferred(
    model: keras.Model, targets: np.ndarray, kind: str, loss: str, metric: str
) -> None:
    x = RANDOM.normal(size=(30, 4)).astype(np.float32)
    task = open_data({"x": x, "y": targets}, model).task
    assert (task.kind, task.loss, task.metric) == (kind, loss, metric)


@pytest.mark.parametrize(
    ("targets", "choice", "says"),
    [
        (LABELS % 3, {"metric": "mae"}, "metric 'mae' compares values"),
        (LABELS % 3, {"loss": "mse"}, "loss 'mse' takes values"),
        (LABELS % 3, {"loss": "categorical_crossentropy"}, "are class numbers"),
        (np.eye(3)[LABELS % 3], {"loss": SPARSE}, "takes class numbers"),
    ],
)
def test_a_loss_or_metric_that_does_not_fit_the_targets_is_refused(
    targets: np.ndarray, choice: dict[str, str], says: str
) -> None:
    x = RANDOM.normal(size=(30, 4)).astype(np.float32)
    with pytest.raises(InputError, match=says):
        open_data(DataSpec(spec={"x": x, "y": targets}, **choice), dense())


@pytest.mark.parametrize(
    ("metric", "left_out", "expected"), [(None, "value", 1 / 3), ("mae", "kind", 0.5)]
)
def test_classes_and_values_together_are_scored_by_one_of_them(
    metric: str | None, left_out: str, expected: float
) -> None:
    x = keras.Input((4,))
    kind = keras.layers.Dense(3, activation="softmax", name="kind")(x)
    model = keras.Model(x, [kind, keras.layers.Dense(1, name="value")(x)])
    arrays = {
        "x": RANDOM.normal(size=(30, 4)),
        "y__kind": LABELS % 3,
        "y__value": np.zeros(30),
    }
    data = open_data(DataSpec(spec=arrays, metric=metric), model)
    assert data.task.unscored == (left_out,)
    assert any(f"output {left_out}" in warning for warning in data.warnings)
    outputs = [np.eye(3)[np.zeros(30, int)], np.full((30, 1), 0.5)]
    targets = {"kind": LABELS % 3, "value": np.zeros(30)}
    assert data.task.score(outputs, targets) == pytest.approx(expected)


def test_image_to_image_masks() -> None:
    x = keras.Input((8, 8, 1))
    model = keras.Model(x, keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))
    images = RANDOM.normal(size=(20, 8, 8)).astype(np.float32)
    masks = (images > 0).astype(np.uint8)
    data = open_data(DataSpec(spec={"x": images, "y": masks}, augment=("flip:1",)), model)
    assert (data.task.kind, data.task.metric) == ("image-to-image", "iou")
    inputs, targets = next(iter(data.train.epoch(4, 0, 0)))
    np.testing.assert_array_equal(inputs.numpy()[..., 0] > 0, targets.numpy().reshape(4, 8, 8))


def test_several_inputs_and_outputs_by_name() -> None:
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    first = keras.layers.Dense(2, name="first")(joined)
    second = keras.layers.Dense(1, name="second")(joined)
    model = keras.Model([a, b], [first, second])
    x = RANDOM.normal(size=(20, 5)).astype(np.float32)
    data = open_data(
        {"x__b": x[:, :3], "x__a": x[:, 3:], "y__second": x[:, :1], "y__first": x[:, :2]}, model
    )
    inputs, targets = next(iter(data.train.epoch(4, 0, 0)))
    assert (set(inputs), set(targets)) == ({"a", "b"}, {"first", "second"})
    assert data.task.losses == ("mse", "mse")


def write_image(
    path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 8), value: int = 0
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(path)


def test_class_folders_with_mixed_images(tmp_path: Path) -> None:
    for number in range(5):
        write_image(tmp_path / "cat" / f"{number}.png", "RGB", (8, 8), 10)
        write_image(tmp_path / "dog" / f"{number}.png", "L", (13, 9), 200)
    data = open_data(tmp_path, image_model())
    assert data.class_names == ("cat", "dog")
    images, labels = data.train.sample(100)
    assert images["image"].shape[1:] == (8, 8, 3)
    assert set(images["image"][labels == 0].ravel()) == {10.0}
    assert set(images["image"][labels == 1].ravel()) == {200.0}


def test_image_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    image.paste((255, 255, 255), (0, 0, 8, 4))
    exif = image.getexif()
    exif[0x0112] = 3
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "1.png", exif=exif)
        image.save(tmp_path / name / "2.png", exif=exif)
    images, _ = open_data(tmp_path, image_model()).train.sample(1)
    assert images["image"][0, 0].max() == 0
    assert images["image"][0, -1].min() == 255


def test_folder_with_splits_and_pairs(tmp_path: Path) -> None:
    x = keras.Input((8, 8, 1))
    model = keras.Model(x, keras.layers.Conv2D(1, 1)(x))
    for split in ("train", "val"):
        for side in ("inputs", "targets"):
            for number in range(12):
                write_image(tmp_path / split / side / f"{number}.png", "L", value=number * 20)
    data = open_data(tmp_path, model)
    assert (data.train.size, data.val.size, data.task.kind) == (12, 12, "image-to-image")
    for inputs, targets in data.val.in_order():
        np.testing.assert_array_equal(inputs.numpy(), targets.numpy())


def test_user_function_with_streams(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np, tensorflow as tf\n"
        "def data():\n"
        "    x = np.ones((20, 4), 'float32'); y = np.arange(20) % 3\n"
        "    return {'train': tf.data.Dataset.from_tensor_slices((x, y)).batch(7), 'val': (x, y)}\n"
    )
    data = open_data(f"{tmp_path / 'mine.py'}:data", dense())
    assert (data.train.size, data.val.size) == (20, 20)
    assert [len(x) for x, _ in data.train.epoch(8, 0, 0)] == [8, 8, 4]


def test_csv_with_named_classes(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    lines = ["a,b,kind"] + [f"{i},{i / 2},{'yes' if i % 2 else 'no'}" for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = open_data(DataSpec(spec=tmp_path / "t.csv", target="kind"), dense(2, 2))
    assert data.class_names == ("no", "yes")
    with pytest.raises(InputError, match="no column 'knd'") as caught:
        open_data(DataSpec(spec=tmp_path / "t.csv", target="knd"), dense(2, 2))
    assert "did you mean 'kind'" in caught.value.hint


def test_scale_is_applied_once(tmp_path: Path) -> None:
    images = np.full((20, 8, 8, 3), 255, np.uint8)
    spec = DataSpec(spec={"x": images, "y": np.arange(20) % 2}, scale="1/255")
    data = open_data(spec, image_model())
    assert data.input_range == (1.0, 1.0)
    x = keras.Input((8, 8, 3))
    y = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255, name="own")(x))
    rescaling = keras.Model(x, keras.layers.Dense(2, activation="softmax")(y))
    with pytest.raises(InputError, match="'own'"):
        open_data(spec, rescaling)


BAD = {
    "shape": ({"x": np.zeros((9, 5)), "y": np.zeros(9, int)}, r"\(5,\).*\(4,\)"),
    "labels": ({"x": np.zeros((9, 4)), "y": np.arange(9)}, "labels run from 0 to 8.*3 classes"),
    "nan": ({"x": np.full((9, 4), np.nan), "y": np.zeros(9, int)}, "NaN.*sample 0"),
    "length": ({"x": np.zeros((9, 4)), "y": np.zeros(8, int)}, "input 'x' 9, targets 8"),
    "complex": ({"x": np.zeros((9, 4), complex), "y": np.zeros(9, int)}, "complex128"),
    "turned": ({"x": np.zeros((9, 4, 1)), "y": np.zeros(9, int)}, r"\(4, 1\).*\(4,\)"),
    "empty": ({"x": np.zeros((0, 4)), "y": np.zeros(0, int)}, "no samples"),
    "names": ({"a": np.zeros((9, 4))}, "holds a"),
    "lonely": ({"x": np.zeros((9, 4))}, "no array 'y'"),
    "target": ({"x": np.zeros((9, 4)), "y": np.zeros((9, 2))}, r"\(2,\).*\(3,\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_one_clear_line(name: str, tmp_path: Path) -> None:
    data, message = BAD[name]
    np.savez(tmp_path / "d.npz", **data)
    with pytest.raises(InputError, match=message) as caught:
        open_data(tmp_path / "d.npz", dense())
    assert "\n" not in caught.value.format_message()


def test_bad_files_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "o.npz", x=np.array([{}], object), y=np.zeros(1))
    np.savez(tmp_path / "good.npz", **arrays())
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:200])
    for name, message in {
        "missing.npz": "does not exist", "empty": "is empty", "o.npz": "Python objects",
        "cut.npz": "incomplete or corrupt .npz",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=message):
            open_data(tmp_path / name, dense())


def test_a_pair_of_arrays_is_the_data_and_other_objects_are_named() -> None:
    given = arrays()
    opened = open_data((given["x"], given["y"]), dense())
    assert (opened.train.size, opened.val.size) == (48, 12)
    for wrong in (given["x"], 3, (1, 2, 3)):
        with pytest.raises(InputError, match=f"of the type {type(wrong).__name__}"):
            open_data(wrong, dense())


def test_several_inputs_and_outputs_may_be_lists_in_the_models_order() -> None:
    one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
    outputs = [keras.layers.Dense(n, name=f"out_{n}")(i) for n, i in ((4, one), (1, two))]
    model = keras.Model([one, two], outputs)
    x = [np.zeros((20, 3)), np.ones((20, 2))]
    data = open_data((x, (np.zeros((20, 4)), np.ones((20, 1)))), model)
    inputs, targets = data.train.sample(5)
    assert {k: v.shape for k, v in inputs.items()} == {"one": (5, 3), "two": (5, 2)}
    assert {k: v.shape for k, v in targets.items()} == {"out_4": (5, 4), "out_1": (5, 1)}
    with pytest.raises(InputError, match="arrays of different shapes"):
        open_data((x, [np.zeros((20, 4)), np.ones((19, 3)), np.ones((20, 1))]), model)


def test_tables_with_text_and_gaps_say_what_was_done(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    rows = [f"{'' if i == 3 else i},{('red', 'blue')[i % 2]},{i % 2}" for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(["size,colour,y", *rows]))
    data = open_data(DataSpec(spec=tmp_path / "t.csv", target="y"), dense(2, 2))
    assert any("'size': 1 gaps filled with its median" in w for w in data.warnings)
    assert any("'colour': text read as 0 to 1 (blue, red)" in w for w in data.warnings)
    x, y = data.train.sample(100)
    np.testing.assert_array_equal(x["x"][:, 1], 1 - y)


def test_uneven_classes_and_shared_samples_are_told() -> None:
    x = RANDOM.normal(size=(60, 4)).astype(np.float32)
    y = np.repeat([0, 1, 2], [50, 6, 4])
    data = open_data({"x_train": x, "y_train": y, "x_test": x[:5], "y_test": y[:5]}, dense())
    assert any("classes are imbalanced: class 2 has" in w for w in data.warnings)
    assert any("samples of the test split are in the training split" in w for w in data.warnings)
    again = {"x_train": x[:40], "y_train": y[:40], "x_val": x[40:], "y_val": y[40:]}
    data = open_data({**again, "x_test": x[50:], "y_test": y[50:]}, dense())
    assert any(
        "10 samples of the test split are in the validation split" in w for w in data.warnings
    )
    assert data.chosen_on_test
    clean = open_data({"x": x, "y": np.arange(60) % 3}, dense())
    assert not clean.chosen_on_test
    assert not any("uneven" in w or "training split too" in w for w in clean.warnings)


def test_labels_of_every_split_are_checked() -> None:
    a = arrays()
    bad = {"x_train": a["x"], "y_train": a["y"], "x_test": a["x"], "y_test": a["y"] + 9}
    with pytest.raises(InputError, match="labels run from 9 to 11"):
        open_data(bad, dense())


def test_sequences_of_different_length_are_padded_with_the_mask() -> None:
    x = keras.Input((None, 2))
    masked = keras.layers.Masking(mask_value=-1.0)(x)
    y = keras.layers.Dense(2, activation="softmax")(keras.layers.GRU(3)(masked))
    model = keras.Model(x, y)
    sequences = [RANDOM.normal(size=(3 + i % 4, 2)) for i in range(20)]
    data = open_data({"x": sequences, "y": np.arange(20) % 2}, model)
    inputs, _ = data.train.sample(100)
    padded = inputs[model.inputs[0].name]
    assert padded.shape[1:] == (6, 2)
    assert set(np.unique((padded == -1).all(-1).sum(1))) <= {0, 1, 2, 3}
