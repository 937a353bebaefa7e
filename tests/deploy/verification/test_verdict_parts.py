"""What a verdict looks at: slices with a range of their own, classes, pixels, errors of values."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task
from edgepress.compress.kernel.artifact import Agreement
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.verification.decisions import changed_interval
from edgepress.deploy.verification.judging import judge
from edgepress.deploy.verification.source_outputs import SourceOutputs

INT8 = PRECISIONS["int8"]
NOISY = [name for name, p in PRECISIONS.items() if p.bounded == "noise"]


def source(*outputs, model=None, targets=None, task=None, names=()):
    metrics = task.figures(list(outputs), targets) if task else ()
    split = "test" if task else None
    return SourceOutputs(
        model, lambda: iter([]), list(outputs), targets, task, split, metrics, names
    )  # fmt: skip


def task(kind, loss, metric, *outputs, logits=False):
    return Task(tuple(OutputTask(o, kind, loss, metric, logits) for o in outputs or ("out",)))


def boxes_and_scores(axis, shape=(60, 9)):
    """Four boxes of up to 640 beside three scores of up to 1."""
    random = np.random.default_rng(0)
    parts = [random.random((*shape, 4)) * 640, random.random((*shape, 3))]
    return np.moveaxis(np.concatenate(parts, -1), -1, axis).astype("float32")


@pytest.mark.parametrize("name", PRECISIONS)
@pytest.mark.parametrize(
    ("axis", "shape", "told"),
    [(-1, (60, 9), "channels 4-6"), (1, (60, 9), "axis 1 places 4-6"), (-1, (90,), "channels 4-6"),
     (1, (20, 4, 4), "axis 1 places 4-6")],
)  # fmt: skip
def test_scores_that_are_lost_beside_boxes_fail_and_are_named(name, axis, shape, told):
    want = boxes_and_scores(axis, shape)
    lost = np.moveaxis(want.copy(), axis, -1)
    lost[..., 4:] = 0
    found = judge(source(want), [np.moveaxis(lost, -1, axis)], PRECISIONS[name])
    assert not found.passed
    assert told in found.reason
    assert found.outputs[0].slices == (told,)
    assert judge(source(want), [want.copy()], PRECISIONS[name]).passed


def test_scales_side_by_side_are_each_found():
    random = np.random.default_rng(0)
    want = random.normal(size=(100, 6)) * [1, 1, 1000, 1000, 0.001, 0.001]
    have = want.copy()
    have[:, 4:] = 0
    assert judge(source(want), [have], INT8).outputs[0].slices == ("channels 4-5",)
    have = want.copy()
    have[:, 0] = 0
    assert judge(source(want), [have], INT8).outputs[0].slices == ("channels 0-1",)


def dead_channels():
    random = np.random.default_rng(1)
    want = random.normal(size=(80, 5, 5, 6)).astype("float32") * 10
    want[..., 2] = 0
    want[..., 4] = 3.0
    want[..., 5] = np.where(random.random((80, 5, 5)) < 0.02, 0.3, 0)
    return want


def rare_classes():
    random = np.random.default_rng(2)
    logits = random.normal(size=(300, 10)) * 3
    logits[:, 7] -= 25
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return probabilities.astype("float32")


def masks():
    random = np.random.default_rng(3)
    want = (random.random((40, 8, 8, 3)) > 0.7).astype("float32")
    want[..., 1] = 0
    want[0, 0, 0, 1] = 1
    return want


def score_of_a_rare_class():
    want = boxes_and_scores(-1)
    want[..., 5] *= 0.002
    return want


@pytest.mark.parametrize("make", [dead_channels, rare_classes, masks, score_of_a_rare_class])
def test_slices_whose_smallness_means_nothing_fail_no_file(make):
    """As an int8 file rounds them: to 256 levels, those of scores of their own."""
    want = make()
    scale = np.full(want.shape[-1], np.ptp(want) / 255)
    if make is score_of_a_rare_class:
        scale[4:] = 1 / 256
    found = judge(source(want), [np.round(want / scale) * scale], INT8)
    assert found.passed, found.reason


def test_a_nearly_dead_relu_channel_fails_no_file():
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3))
    model = keras.Model(image, layers.Conv2D(4, 3, activation="relu")(image))
    kernel, bias = model.layers[1].get_weights()
    model.layers[1].set_weights([kernel * [100, 100, 100, 0.2], bias])
    want = model.predict(np.random.default_rng(0).random((50, 6, 6, 3)), verbose=0)
    step = want.max() / 255
    assert judge(source(want, model=model), [np.round(want / step) * step], INT8).passed


def borders(learned):
    """Pixels of which three are nearly always 0, and what an autoencoder has learned of them."""
    random = np.random.default_rng(4)
    truth = random.random((400, 12)) * 10
    truth[:, 9:] = np.where(random.random((400, 3)) < 0.12, 0.4, 0)
    want = truth + 0.1 * truth.std(0) * random.normal(size=truth.shape)
    want[:, 9:] *= learned
    have = want.copy()
    have[:, 9:] += 0.45 * want[:, 9:].std(0) * random.normal(size=(400, 3))
    values = Task((OutputTask("out", "regression", "mse", "mse"),))
    return judge(source(want, targets=truth, task=values), [have], INT8)


def test_noise_of_slices_that_targets_show_to_be_harmless_passes():
    assert borders(0.3).passed
    found = borders(1.0)  # a network that is good at them
    assert found.outputs[0].slices == ("channels 9-11",)
    assert not found.passed


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.parametrize("fault", ["zero", "negated", "times 4"])
def test_one_wrong_channel_of_many_fails(name, fault):
    want = np.random.default_rng(0).normal(size=(100, 40)).astype("float32")
    have = want.copy()
    have[:, 11] *= {"zero": 0, "negated": -1, "times 4": 4}[fault]
    found = judge(source(want), [have], PRECISIONS[name])
    if fault == "zero" and PRECISIONS[name].channel_tolerance > 1:
        pytest.skip("rounding to so few bits explains the noise of a channel that is zero")
    assert not found.passed
    assert "channel 11" in found.reason


@given(st.integers(0, 1000), st.floats(0, 0.9))
@settings(max_examples=30)
def test_noise_within_the_bound_passes_wherever_it_lies(seed, share):
    random = np.random.default_rng(seed)
    want = random.normal(size=(400, 6)) * random.uniform(0.2, 1, 6)
    noise = random.normal(size=want.shape) * share * INT8.tolerance * want.std()
    assert judge(source(want), [want + noise], INT8).passed


def classified(samples, classes=10, seed=0):
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, samples)
    return np.eye(classes)[truth] + random.normal(size=(samples, classes)) * 0.05, truth


def test_a_class_that_loses_too_much_fails_though_the_score_holds():
    want, truth = classified(1000)
    want = want.astype("float32")
    have = want.copy()
    mine = np.flatnonzero(truth == 3)
    have[mine[: len(mine) // 5], 3] -= 1.2
    given_ = source(
        want, targets=truth, names=tuple("abcdefghij"),
        task=task("classification", "sparse_categorical_crossentropy", "accuracy", logits=True),
    )  # fmt: skip
    found = judge(given_, [have], INT8)
    assert found.source_value - found.value < INT8.max_drop
    assert not found.passed
    assert "class 'd'" in found.reason
    worst = found.worst_class
    assert (worst.name, worst.samples) == ("d", len(mine))
    assert worst.drop == pytest.approx(0.2, abs=0.01)
    assert worst.low < worst.drop < worst.high


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_class_of_three_samples_shows_nothing(lost):
    want, truth = classified(500, 9)
    want = np.concatenate([want, np.full((500, 1), -1.0)], 1).astype("float32")
    truth[:3] = 9
    want[:3] = np.eye(10)[9] * 0.3
    have = want.copy()
    have[:lost, 9] -= 0.4
    given_ = source(
        want, targets=truth,
        task=task("classification", "sparse_categorical_crossentropy", "accuracy", logits=True),
    )  # fmt: skip
    found = judge(given_, [have], INT8)
    assert found.worst_class.name == "9"
    assert found.worst_class.drop == pytest.approx(lost / 3)
    assert found.passed, found.reason


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 100))
def test_the_interval_of_a_fall_holds_the_fall(lost, won, same):
    total = lost + won + same
    if not total:
        return
    low, high = changed_interval(lost, won, total, 0.01)
    assert -1 <= low <= (lost - won) / total <= high <= 1


@pytest.mark.parametrize("classes", [1, 4])
def test_agreement_of_masks_counts_pixels(classes):
    want = np.random.default_rng(0).normal(size=(4, 10, 10, classes)).astype("float32") * 4
    have = want.copy()
    have[0, 0, 0] = -want[0, 0, 0] if classes == 1 else np.roll(want[0, 0, 0], 1)
    loss = "binary_crossentropy" if classes == 1 else "sparse_categorical_crossentropy"
    truth = (want > 0).astype("float32") if classes == 1 else want.argmax(-1)
    metric = "iou" if classes == 1 else "accuracy"
    found = judge(
        source(want, targets=truth, task=task("image-to-image", loss, metric, logits=True)),
        [have], INT8,
    )  # fmt: skip
    assert found.agreement == pytest.approx(1 - 1 / 400)
    assert found.passed


def test_the_figure_is_that_of_the_output_that_agrees_least():
    random = np.random.default_rng(0)
    one, other = (random.normal(size=(200, 1)).astype("float32") for _ in range(2))
    found = judge(source(one, other), [one, other + 0.2 * other.std()], INT8)
    assert [row.agreement for row in found.outputs] == [1, 0]
    assert found.agreement == 0
    assert "within 0.1" in found.outputs[1].definition
    assert found.passed


def keypoints(error, noise, samples=400, seed=0):
    random = np.random.default_rng(seed)
    truth = random.random((samples, 8)).astype("float32")
    want = truth + error * random.normal(size=truth.shape)
    return truth, want, want + noise * random.normal(size=want.shape)


@pytest.mark.parametrize("metric", ["mae", "mse", "rmse", "psnr"])
def test_an_error_that_grows_by_half_fails(metric):
    truth, want, have = keypoints(0.02, 0.0232)
    given_ = source(want, targets=truth, task=task("regression", "mse", metric))
    found = judge(given_, [have], INT8)
    assert not found.passed
    assert "grows by" in found.reason
    assert judge(given_, [want + (have - want) / 5], INT8).passed


@pytest.mark.parametrize(("error", "samples"), [(0.0, 400), (1e-4, 400), (0.02, 2)])
def test_perfect_networks_and_few_samples_fail_no_file(error, samples):
    truth, want, have = keypoints(error, 0.02, samples)
    given_ = source(want, targets=truth, task=task("regression", "mse", "mae"))
    assert judge(given_, [have], INT8).passed


def test_every_output_of_values_is_bounded():
    truth, want, have = keypoints(0.02, 0.0232)
    both = task("regression", "mse", "mae", "first", "second")
    found = judge(
        source(want, want, targets={"first": truth, "second": truth}, task=both), [want, have], INT8
    )
    assert "output 'second'" in found.reason


def test_what_is_found_survives_json():
    want, truth = classified(100)
    given_ = source(
        want.astype("float32"), targets=truth,
        task=task("classification", "sparse_categorical_crossentropy", "accuracy", logits=True),
    )  # fmt: skip
    found = judge(given_, [want], INT8)
    assert Agreement.from_json(json.loads(json.dumps(found.to_json()))) == found
    old = {k: v for k, v in found.to_json().items() if k not in ("outputs", "worst_class")}
    assert Agreement.from_json(old).outputs == ()
