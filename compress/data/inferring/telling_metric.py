"""A metric that tells more than a share of right answers where most answers are alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Nested

Array = NDArray[Any]
# What one answer everywhere may be right in, so that the share of right answers still tells enough.
_MOST = 0.9


def with_telling_metric(task: Task, targets: Nested) -> Task:
    """The task, by F1 for rare labels and by the overlap for masks of one class nearly everywhere.

    Args:
        task: Inferred, with the metrics that its kinds have.
        targets: Of the data's first split.

    Returns:
        The task, with a remark where a metric was changed.
    """
    found, remarks = [], []
    for output, given in zip(task.outputs, task.target_list(targets), strict=True):
        metric = _telling(output, given)
        found.append(replace(output, metric=metric) if metric else output)
        if metric:
            remarks.append(
                f"output '{output.name}': one answer everywhere would nearly always be right, so"
                f" figures are {metric}; the share of right answers is --metric accuracy"
            )
    return replace(task, outputs=tuple(found), remarks=(*task.remarks, *remarks))


def _telling(output: OutputTask, targets: NDArray[Any] | None) -> str:
    """The metric to take instead; empty where accuracy tells enough, or isn't what is taken."""
    dense = output.kind == "image-to-image"
    if not output.scored or output.metric != "accuracy" or targets is None:
        return ""
    values, counting = np.asarray(targets), output.counting(targets)
    if output.kind in ("binary", "multi-label"):
        kept = np.ones(values.shape, bool) if counting is None else counting
        width = values.shape[-1] if output.kind == "multi-label" else 1
        kept, labels = (a.reshape(-1, width) for a in (kept, values > 0.5))
        share = (labels & kept).sum(0) / np.maximum(kept.sum(0), 1)
        if output.kind == "binary" and not 0 < share.mean() < 1:
            return ""  # of one side alone no metric tells anything
        return "f1" if float(np.maximum(share, 1 - share).mean()) > _MOST else ""
    if not dense:
        return ""
    classes = values if output.numbered else values.argmax(-1)
    counts = np.unique(classes if counting is None else classes[counting], return_counts=True)[1]
    return "iou" if counts.max() > _MOST * counts.sum() else ""
