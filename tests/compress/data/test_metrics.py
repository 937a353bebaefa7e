"""Metrics by name are scikit-learn's, on whatever is drawn; what is undefined is defined."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache

import numpy as np
import pytest
import sklearn
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.data.metrics import METRICS, drop_of, fallen, metric_name, metric_of
from edgepress.compress.data.metrics.boxes import BOXES
from edgepress.compress.data.metrics.sequences import edits
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.figures import OutputMetric

AVERAGES = ("macro", "micro", "weighted")
RATES = ("precision", "recall", "f1")


def rates(truth, chosen, **settings):
    """Precision, recall and F1 in one call each, by name."""
    plain = sk.precision_recall_fscore_support(truth, chosen, zero_division=0, **settings)
    yield from zip(("precision", "recall", "f1"), plain[:3], strict=True)
    for average in AVERAGES:
        found = sk.precision_recall_fscore_support(truth, chosen, average=average, zero_division=0)
        yield from zip((f"{n}_{average}" for n in RATES), found[:3], strict=True)


def of_classes(truth, outputs, classes):
    """Metrics of one class of several by scikit-learn, by name."""
    chosen = outputs.argmax(-1)
    seen = [c for c in range(classes) if 0 < (truth == c).sum() < len(truth)]
    rows = np.eye(classes)[truth]
    yield "accuracy", sk.accuracy_score(truth, chosen)
    yield "balanced_accuracy", sk.balanced_accuracy_score(truth, chosen)
    yield from rates(truth, chosen, average="macro")
    yield from of_single_classes(truth, outputs, classes)
    one = sk.f1_score(truth, chosen, labels=range(classes), average=None, zero_division=0)
    yield "iou", sk.jaccard_score(truth, chosen, average="macro", zero_division=0)
    yield "mean_iou", sk.jaccard_score(truth, chosen, average="macro", zero_division=0)
    yield "dice", one[np.unique([*truth, *chosen])].mean()
    yield "auc", np.mean([sk.roc_auc_score(truth == c, outputs[:, c]) for c in seen] or [np.nan])
    yield "average_precision", np.mean(sk.average_precision_score(rows, outputs, average=None))


def of_single_classes(truth, outputs, classes):
    """What is taken of one class of several alone, by scikit-learn."""
    last = sk.f1_score(truth, outputs.argmax(-1), labels=[classes - 1], average=None,
                       zero_division=0)  # fmt: skip
    yield f"f1:{classes - 1}", last[0]
    if classes > 2:
        top = sk.top_k_accuracy_score(truth, outputs, k=2, labels=range(classes))
        yield "top2_accuracy", top


def of_decisions(truth, chosen):
    """Shares of right decisions, each for itself, by scikit-learn."""
    share = sk.accuracy_score(truth.ravel(), chosen.ravel())
    yield "accuracy", share
    yield "binary_accuracy", share


def of_labels(truth, outputs):
    """Metrics of several labels by scikit-learn, by name."""
    chosen = outputs > 0
    yield from rates(truth, chosen, average="macro")
    yield from of_decisions(truth, chosen)
    overlaps = sk.jaccard_score(truth, chosen, average=None, zero_division=1)
    found = sk.f1_score(truth, chosen, average=None, zero_division=1)
    there = (truth | chosen).any(0)  # others overlap with nothing
    yield "iou", overlaps[there].mean() if there.any() else 1.0
    yield "dice", found[there].mean() if there.any() else 1.0
    yield "mean_iou", overlaps.mean()
    sides = [sk.balanced_accuracy_score(t, c) for t, c in zip(truth.T, chosen.T, strict=True)]
    yield "balanced_accuracy", np.mean(sides)
    yield "average_precision", sk.average_precision_score(truth, outputs)
    seen = [c for c in range(truth.shape[1]) if 0 < truth[:, c].sum() < len(truth)]
    found = [sk.roc_auc_score(truth[:, c], outputs[:, c]) for c in seen]
    yield "auc", np.mean(found or [np.nan])


def of_yes_and_no(truth, outputs):
    """Metrics of one label by scikit-learn, by name."""
    truth, outputs = truth[:, 0], outputs[:, 0]
    chosen = outputs > 0
    yield from rates(truth, chosen, average="binary")
    yield from of_decisions(truth, chosen)
    yield "dice", sk.f1_score(truth, chosen, zero_division=1)
    yield "balanced_accuracy", sk.balanced_accuracy_score(truth, chosen)
    yield "iou", sk.jaccard_score(truth, chosen) if (truth | chosen).any() else 1.0
    yield "mean_iou", sk.jaccard_score(truth, chosen, average="macro")
    yield "auc", sk.roc_auc_score(truth, outputs) if 0 < truth.sum() < len(truth) else np.nan
    yield "average_precision", sk.average_precision_score(truth, outputs)


def of_values(truth, outputs):
    """Metrics of values by scikit-learn, by name."""
    yield "mae", sk.mean_absolute_error(truth, outputs)
    yield "mse", sk.mean_squared_error(truth, outputs)
    yield "rmse", np.sqrt(sk.mean_squared_error(truth.ravel(), outputs.ravel()))
    yield "mape", sk.mean_absolute_percentage_error(truth, outputs)
    yield "r2", sk.r2_score(truth, outputs)


def drawn(kind, seed):
    """Logits, targets and what scikit-learn says of them; few, so that classes go missing."""
    random = np.random.default_rng(seed)
    n, classes = int(random.integers(1, 9)), int(random.integers(2, 5))
    # Whole numbers are often alike, as int8 outputs are.
    outputs = random.integers(-3, 4, (n, classes)) * random.choice([1.0, 0.37])
    if kind in ("classes", "single classes"):
        truth = random.integers(0, classes, n)
        given = np.eye(classes)[truth] if seed % 2 else truth
        expected = of_classes if kind == "classes" else of_single_classes
        return outputs, given, expected(truth, outputs, classes)
    if kind == "values":
        truth = random.integers(-2, 3, outputs.shape) * 1.5
        return outputs, truth, of_values(truth, outputs)
    truth = random.random((n, classes)) < random.random()
    if kind == "labels":
        return outputs, truth, of_labels(truth, outputs)
    return outputs[:, :1], truth[:, :1], of_yes_and_no(truth, outputs)


def compare(kind, seed):
    """Hold all metrics of a case against scikit-learn's; gives their names."""
    compared = []
    with (
        warnings.catch_warnings(),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    ):
        warnings.simplefilter("ignore")
        outputs, targets, expected = drawn(kind, seed)
        for name, value in expected:
            compared.append(name.partition(":")[0])
            found = metric_of(name).score(outputs, targets, logits="classes" not in kind)
            assert (
                found == value
                or abs(found - value) <= 1e-12 * max(1, abs(value))
                or (np.isnan(found) and np.isnan(value))
            ), (name, found, value)
    return compared


# Of images, sequences and boxes: compared with TensorFlow, by hand, and with pycocotools.
OTHERS = {"ssim", "psnr", "cer", "wer", *BOXES}
KINDS = ["classes", "labels", "yes and no", "values"]


@settings(max_examples=25, deadline=None)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32))
def test_as_scikit_learn_has_it(kind, seed):
    compare(kind, seed)


# Cases of each kind, so that each metric is in a thousand of them or more.
THOUSAND = {"classes": 500, "labels": 500, "yes and no": 500, "values": 1000}
THOUSAND["single classes"] = 1500


@pytest.mark.slow
def test_a_thousand_cases_of_each_metric_are_as_scikit_learn_has_them():
    counts = Counter()
    for kind, cases in THOUSAND.items():
        for seed in range(cases):
            counts.update(compare(kind, seed))
    assert min(counts.values()) >= 1000, counts
    assert set(METRICS) - {name.replace("top2", "top5") for name in counts} == OTHERS


def test_every_metric_that_scikit_learn_has_is_compared():
    compared = {
        name.partition(":")[0].replace("top2", "top5")
        for kind in KINDS
        for seed in range(20)
        for name, _ in drawn(kind, seed)[2]
    }
    assert set(METRICS) - compared == OTHERS


def scored(name, outputs, targets, kind="binary", **fields):
    task = OutputTask("out", kind, "binary_crossentropy", name, **fields)
    return task.score(np.asarray(outputs, float), np.asarray(targets))


ALL = [*METRICS, "top3_accuracy", "f1:1", "cer:0", "wer:3"]


@pytest.mark.parametrize("name", ALL)
def test_nothing_and_nan_have_no_value_and_nothing_warns(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(scored(name, np.zeros((0, 1)), np.zeros((0, 1))))
        assert np.isnan(scored(name, [[np.nan], [1.0]], [[1], [0]]))


@pytest.mark.parametrize(
    ("name", "truth", "value"),
    [
        ("auc", [[1], [1]], np.nan),
        ("average_precision", [[0], [0]], 0.0),
        ("f1", [[0], [0]], 0.0),
        ("precision", [[0], [0]], 0.0),
        ("recall", [[0], [0]], 0.0),
        ("balanced_accuracy", [[0], [0]], 1.0),
        ("iou", [[0], [0]], 1.0),
        ("dice", [[0], [0]], 1.0),
        ("r2", [[0], [0]], 1.0),
        ("mape", [[0], [0]], 0.0),
    ],
)
def test_one_class_only(name, truth, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scored(name, [[0.0], [0.0]], truth) == pytest.approx(value, nan_ok=True)


def test_labels_of_one_each_are_labels_all_the_same():
    outputs, targets = [[0.9, 0.8], [0.1, 0.9]], [[1.0, 0.0], [0.0, 1.0]]
    assert scored("f1_micro", outputs, targets, "multi-label") == pytest.approx(0.8)
    assert scored("f1_micro", outputs, targets, "classification") == 1.0


@pytest.mark.parametrize("name", [*(m for m in METRICS if m not in BOXES), "top3_accuracy"])
def test_a_perfect_answer_is_better_than_a_bad_one(name):
    random = np.random.default_rng(0)
    if name in ("cer", "wer"):
        truth = random.integers(1, 4, (5, 6))
        good, bad = np.eye(4)[truth], np.eye(4)[(truth + 1) % 4]
    elif metric_of(name).of_classes or name == "accuracy":
        truth = np.repeat(np.arange(8), 5)
        good = np.eye(8)[truth]
        bad = -good
    else:
        truth = (random.random((6, 12, 12, 1)) > 0.4).astype(float)
        good, bad = truth, 1 - truth
    metric = metric_of(name)
    best, worst = (metric.score(o, truth, logits=False) for o in (good, bad))
    assert (best > worst) == metric.higher_is_better
    assert best == pytest.approx({True: 100.0 if name == "psnr" else 1.0, False: 0.0}[best > worst])


def test_masks_of_several_classes_have_the_mean_over_classes():
    random = np.random.default_rng(1)
    truth, outputs = random.integers(0, 3, (4, 6, 6)), random.random((4, 6, 6, 3))
    expected = sk.jaccard_score(truth.ravel(), outputs.argmax(-1).ravel(), average="macro")
    for given_ in (truth, np.eye(3)[truth]):
        assert metric_of("iou").score(outputs, given_, logits=False) == pytest.approx(expected)
    some = metric_of("iou").scorer(outputs, truth, False)(np.array([0, 2, 2]))
    again = metric_of("iou").score(outputs[[0, 2, 2]], truth[[0, 2, 2]], False)
    assert some == pytest.approx(again)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("balanced-accuracy", "balanced_accuracy"),
        ("AUC", "auc"),
        ("roc_auc", "auc"),
        ("top-5", "top5_accuracy"),
        ("F1:2", "f1:2"),
        ("mine.py:f1", "mine.py:f1"),
    ],
)
def test_names(name, plain):
    assert metric_name(name) == plain


@pytest.mark.parametrize("name", ["f2", "f1:x", "top0", "accuracy:1", "cer:a"])
def test_a_metric_that_is_none_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        metric_of(name)


@settings(max_examples=60, deadline=None)
@given(one=st.text("abc", max_size=6), other=st.text("abc", max_size=6))
def test_edits_are_the_fewest(one, other):
    @cache
    def fewest(i, j):
        if not i or not j:
            return i + j
        replaced = fewest(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(fewest(i - 1, j) + 1, fewest(i, j - 1) + 1, replaced)

    assert edits(one, other) == fewest(len(one), len(other))


def test_error_rates_read_ctc_and_words():
    steps = np.eye(4)[[[1, 1, 0, 1, 3, 2, 2]]]  # without repeats and blanks 1 1 3 2
    assert metric_of("cer").score(steps, np.array([[1, 1, 2, 0]]), False) == pytest.approx(1 / 3)
    assert metric_of("wer:3").score(steps, np.array([[1, 1, 3, 1]]), False) == pytest.approx(0.5)
    assert metric_of("cer:3").score(steps, np.array([[1, 0, 1, 2, -1]]), False) == 0.0


def test_structural_similarity_is_tensorflows():
    import tensorflow as tf

    random = np.random.default_rng(2)
    truth = random.random((3, 16, 20, 2)).astype("float32")
    given_ = np.clip(truth + 0.2 * random.normal(size=truth.shape), 0, 1).astype("float32")
    peak = float(truth.max() - truth.min())
    expected = float(tf.reduce_mean(tf.image.ssim(truth, given_, peak)))
    assert metric_of("ssim").score(given_, truth, False) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("before", "after", "drop"),
    [(-0.8, -0.4, 0.5), (-0.4, -0.8, -1.0), (0.5, 0.75, 0.5), (-0.5, 0.5, 2.0), (0.0, 0.3, 0.3)],
)
def test_an_error_of_any_sign_is_worse_as_it_rises(before, after, drop):
    assert drop_of("loss", before, after) == pytest.approx(drop)
    figure = OutputMetric("out", "loss", after, before)
    assert bool(fallen([figure], 0.1)) == (drop > 0.1)
