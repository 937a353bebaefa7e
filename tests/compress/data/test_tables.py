"""What every metric and every augmentation promises, those to come too."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.data.augmentation.changes import AUGMENTATIONS
from edgepress.compress.data.metrics import METRICS
from edgepress.compress.data.metrics.boxes import BOXES
from edgepress.compress.data.metrics.sequences import SEQUENCES

CLASSES = 6
# Those that take one row for each sample; the others take sequences and images.
OF_ROWS = [name for name in METRICS if name not in {*SEQUENCES, *BOXES, "ssim"}]
some_classes = st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=20).filter(
    lambda drawn: len({*drawn}) > 1
)


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("name", OF_ROWS)
@settings(max_examples=25)
@given(classes=some_classes, seed=st.integers(0, 99))
def test_a_metric_prefers_what_is_right(
    name: str, logits: bool, classes: list[int], seed: int
) -> None:
    """Perfect outputs are better than half-right ones, and those better than wrong ones."""
    metric = METRICS[name]
    targets = np.eye(CLASSES, dtype=np.float32)[classes]
    wrong = 1 - targets
    mixed = np.where(np.arange(len(classes))[:, None] == 0, wrong, targets)
    given = [4 * x - 2 if logits and not _is_distance(name) else x for x in (targets, mixed, wrong)]
    right, half, worst = (metric.score(x, targets, logits) for x in given)
    sign = 1 if metric.higher_is_better else -1
    assert all(type(value) is float for value in (right, half, worst))
    # What is missed takes nothing from the precision of what is found.
    assert sign * right >= sign * half >= sign * worst
    assert right != worst
    assert right != half or name.startswith("precision")
    order = np.random.default_rng(seed).permutation(len(classes))
    assert metric.score(given[1][order], targets[order], logits) == pytest.approx(half)


def _is_distance(name: str) -> bool:
    """Whether outputs are compared with targets number by number, logits or not."""
    ones, zeros = np.ones((2, 2)), np.zeros((2, 2))
    targets = np.eye(2)
    score = METRICS[name].score
    return score(3 * targets + ones, targets, True) != score(targets + zeros, targets, False)


@pytest.mark.parametrize("name", OF_ROWS)
def test_a_metric_by_value_takes_targets_of_the_outputs_shape(name: str) -> None:
    """Class numbers are enough for the others."""
    metric = METRICS[name]
    outputs = np.eye(CLASSES, dtype=np.float32)
    if metric.by_value:
        with pytest.raises(ValueError, match=r"shape|number of output"):
            metric.score(outputs, np.arange(CLASSES), False)
    else:
        assert metric.score(outputs, np.arange(CLASSES), False) == metric.score(
            outputs, outputs, False
        )


SHAPES: dict[str, list[tuple[int, ...]]] = {
    "images": [(8, 9, 11, 3)],
    "sequences": [(8, 48, 20), (8, 48, 20, 1)],
    "all": [(8, 9, 11, 3), (8, 5), (8, 6, 4)],
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_is_drawn_from_its_seed_alone(name: str) -> None:
    known = AUGMENTATIONS[name]
    assert known.low <= known.default <= known.high
    for shape in SHAPES[known.of]:
        x = tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))
        found = [known.change(x, None, known.default, tf.constant([3, s])) for s in (*range(5), 0)]
        assert all(targets is None for _, targets in found)
        images = [np.asarray(inputs) for inputs, _ in found]
        assert all(image.shape == shape and image.dtype == np.float32 for image in images)
        np.testing.assert_array_equal(images[0], images[5])
        assert len({image.tobytes() for image in images}) > 1
        assert np.isfinite(images).all()


@pytest.mark.parametrize("name", [n for n in AUGMENTATIONS if AUGMENTATIONS[n].of != "sequences"])
def test_targets_that_are_images_move_along_or_stay(name: str) -> None:
    """What moves places moves them in both; what changes values leaves targets alone."""
    known = AUGMENTATIONS[name]
    x = tf.constant(np.random.default_rng(1).normal(size=(8, 9, 11, 3)).astype(np.float32))
    inputs, targets = known.change(x, x, known.default, tf.constant([1, 2]))
    moves = {*np.asarray(inputs).ravel()} <= {*np.asarray(x).ravel()}
    np.testing.assert_array_equal(targets, inputs if moves else x)
