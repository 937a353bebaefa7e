"""All metrics by name, so that Keras, LiteRT and ONNX Runtime outputs are scored by the same code.

Every metric takes outputs as the model gives them and targets as the data gives them. Outputs are
probabilities unless `logits` says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from edgepress.compress.data.metrics.boxes import BOXES
from edgepress.compress.data.metrics.decisions import DECISIONS
from edgepress.compress.data.metrics.metric import Array, Metric
from edgepress.compress.data.metrics.own import own_metric
from edgepress.compress.data.metrics.ranking import RANKING
from edgepress.compress.data.metrics.sequences import SEQUENCES
from edgepress.compress.data.metrics.shares import SHARES, top_k
from edgepress.compress.data.metrics.similarity import SIMILARITY
from edgepress.compress.data.metrics.values import VALUES
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.figures import OutputMetric, fall
from edgepress.compress.kernel.registry import Table
from edgepress.compress.models.user_code import is_reference


def _no_loss(outputs: Array, targets: Array, logits: bool) -> float:
    del outputs, targets, logits
    raise InputError("a loss as a metric is taken by the task of an output", "call its score")


METRICS: Table[Metric] = Table(
    "metric",
    {**SHARES, **DECISIONS, **RANKING, **SEQUENCES, **SIMILARITY, **VALUES, **BOXES},
    "edgepress.metrics",
)
# What else a metric of the table is called.
_ALIASES = {
    "roc_auc": "auc", "auroc": "auc", "ap": "average_precision", "jaccard": "iou",
    "miou": "mean_iou", "f1_score": "f1",
    "map50_95": "map", "coco_map": "map", "box_map": "map", "map_50": "map50", "map_75": "map75",
}  # fmt: skip
# The loss itself, which only a task can take.
LOSS = "loss"
_LOSS = Metric(_no_loss, False, any_shape=True, unitless=False, own=True)
_TOP = re.compile(r"top_?(\d+)(_accuracy)?")


def metric_name(text: str) -> str:
    """The name of a metric as the table has it: `balanced-accuracy` is `balanced_accuracy`.

    >>> metric_name("ROC-AUC"), metric_name("top-3"), metric_name("mine.py:f")
    ('auc', 'top3_accuracy', 'mine.py:f')
    """
    if text in METRICS:
        return text
    head, colon, rest = text.partition(":")
    plain = head.strip().lower().replace("-", "_")
    plain = _ALIASES.get(plain, plain)
    found = _TOP.fullmatch(plain)
    if found:
        return f"top{int(found[1])}_accuracy" + colon + rest
    return plain + colon + rest if plain in METRICS else text


def is_always_right(name: str, classes: int | None) -> bool:
    """Whether a metric is of the class among the K highest of K classes or fewer."""
    found = _TOP.fullmatch(metric_name(name))
    return found is not None and classes is not None and int(found[1]) >= classes


def with_class_number(name: str, classes: Sequence[str]) -> str:
    """`f1:cat` as `f1:2`, by the names of the classes; other names as they are."""
    head, colon, rest = metric_name(name).partition(":")
    takes = colon and head in METRICS and METRICS[head].argument is not None
    return f"{head}:{classes.index(rest)}" if takes and rest in classes else name


def metric_of(name: str) -> Metric:
    """The metric of a name: of the table, `topK_accuracy`, `f1:CLASS`, or `file.py:function`.

    Raises:
        InputError: There is no such metric.
    """
    plain = metric_name(name)
    if plain == LOSS:
        return _LOSS
    found = _TOP.fullmatch(plain)
    if found and plain not in METRICS:
        return top_k(int(found[1]))
    head, colon, rest = plain.partition(":")
    if colon and head in METRICS and (made := METRICS[head].argument) is not None:
        return made(rest)
    return own_metric(name) if is_reference(name) and head not in METRICS else METRICS[plain]


def fallen(figures: Iterable[OutputMetric], allowed: float) -> list[OutputMetric]:
    """Figures that are worse than those beside them by more than is allowed, each in its own unit.

    Args:
        figures: With what they are compared with.
        allowed: Points of a score, or the share of an error.
    """
    return [
        f
        for f in figures
        if f.source_value is not None
        # What is no number is no better than anything.
        and (f.value is None or not drop_of(f.metric, f.source_value, f.value) <= allowed)
    ]


def worst_drop(figures: Iterable[OutputMetric]) -> float:
    """The largest fall of any figure from what stands beside it; infinite where one is missing."""
    falls = [
        drop_of(f.metric, f.source_value, f.value)
        if f.value is not None and f.source_value is not None
        else np.inf
        for f in figures
    ]
    return max((fall if fall == fall else np.inf for fall in falls), default=np.inf)


def drop_of(metric: str, before: float, after: float) -> float:
    """How much worse `after` is: points for scores, the share of `before` for errors."""
    return fall(before, after, metric_of(metric).higher_is_better)
