"""Mean average precision of boxes by COCO's rule, computed by pycocotools."""

from __future__ import annotations

import contextlib
import inspect
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.metric import Metric, Scorer, score_of
from edgepress.compress.data.metrics.own import reference_key
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import running
from edgepress.compress.models.user_code import is_reference, resolve_reference, told_apart

if TYPE_CHECKING:
    from pycocotools.cocoeval import COCOeval

Array = NDArray[Any]
# Turns an output (samples, …), or several, into detections (samples, count, 6).
Decoder = Callable[..., Array]
DETECTION = 6
# COCO's range of areas that is named "all", and detections of a class and picture that count.
_AREAS, _MOST = [0, 1e5**2], 100
_NEEDS = "pip install 'edgepress[detection]'"
_KNOWN: dict[tuple[str, str, int], Metric] = {}
# Overlaps from which a detection is right, by the metric's name; None for COCO's ten.
_OVERLAPS = {"map": None, "map50": 0.5, "map75": 0.75}


def _prepared(
    name: str,
    decoder: Decoder | None,
    outputs: Array | list[Array],
    targets: Array,
    logits: bool,
) -> Scorer:
    """Matches every sample's boxes once; any of the samples are then scored.

    Args:
        name: Of the metric.
        decoder: Turns outputs into detections; None where they are.
        outputs: (samples, count, 6) detections: x_min, y_min, x_max, y_max, score and class; rows
            of a class below 0 are none. With a decoder of any shape. A list of several outputs
            is given to the decoder as it is; without one they are boxes and scores.
        targets: (samples, most, 5 or 6) boxes: x_min, y_min, x_max, y_max and class, below 0 where
            there is none; and 1 in a last column for what marks a crowd.
        logits: Means nothing here.
    """
    del logits
    if targets.ndim != 3 or targets.shape[-1] not in (5, 6):
        raise InputError(
            f"metric '{name}' is of boxes, but the targets' samples have shape {targets.shape[1:]}",
            "give rows of x_min, y_min, x_max, y_max, class: see docs/data.md",
        )
    found = detections(name, decoder, outputs)
    matched = _matched(found, targets.astype(np.float64), _OVERLAPS[name])
    return lambda chosen: _mean_precision(matched, chosen)


def detections(name: str, decoder: Decoder | None, outputs: Array | list[Array]) -> Array:
    """(samples, count, 6) detections of an output, or of several.

    Raises:
        InputError: It gives none, or holds NaN.
    """
    several = outputs if isinstance(outputs, list) else [outputs]
    if decoder is not None:
        with running(f"metric '{name}'"), told_apart():
            found = np.asarray(decoder(*several))
    else:
        found = _with_scores(*several) if len(several) == 2 else several[0]
    if found.ndim != 3 or found.shape[-1] != DETECTION or len(found) != len(several[0]):
        what = "its function gives" if decoder else "the output gives"
        raise InputError(
            f"metric '{name}' takes detections (samples, count, {DETECTION}), but {what}"
            f" {found.shape}",
            f"{name}:file.py:function turns outputs into rows of x_min, y_min, x_max, y_max,"
            " score, class",
        )
    found = found.astype(np.float64)
    kept = found[..., 5] >= 0
    if not np.isfinite(found[kept]).all():
        raise InputError(f"metric '{name}': detections hold NaN or infinite values")
    return found


def are_boxes_and_scores(shapes: Sequence[tuple[int | None, ...]]) -> bool:
    """Whether two outputs give (count, 4) boxes and (count, classes) scores, in this order."""
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
        return False
    (count, corners), (other, _) = shapes
    return count == other and corners == 4


def _with_scores(boxes: Array, scores: Array) -> Array:
    """(samples, count, 6) detections: each box with its highest score and the class of it."""
    best = scores.max(-1, keepdims=True)
    return np.concatenate([boxes, best, scores.argmax(-1)[..., None]], -1)


def takes(metric: str, outputs: int) -> bool:
    """Whether a metric of boxes has a function that takes so many outputs at once."""
    reference = metric.partition(":")[2]
    if outputs < 2 or metric.partition(":")[0] not in _OVERLAPS or not is_reference(reference):
        return False
    try:
        inspect.signature(resolve_reference(reference)).bind(*[None] * outputs)
    except (TypeError, ValueError):
        return False
    return True


def _evaluation() -> type[COCOeval]:
    try:
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise InputError("the mean average precision of boxes needs pycocotools", _NEEDS) from None
    return COCOeval


@dataclass(frozen=True)
class _Matched:
    """Samples, each a picture, whose detections are matched with their boxes.

    Attributes:
        evaluation: Takes precisions of pictures.
        by_class: What it found for each class and picture.
        pictures: How many there are.
    """

    evaluation: COCOeval
    by_class: list[list[Any]]
    pictures: int


def _matched(found: Array, truth: Array, overlap: float | None) -> _Matched:
    """Detections matched with the boxes of their class, from each overlap on."""
    evaluation = _evaluation()(iouType="bbox")
    params = evaluation.params
    params.imgIds = list(range(len(found)))
    classes = {int(n) for rows in (truth[..., 4], found[..., 5]) for n in np.unique(rows) if n >= 0}
    params.catIds = sorted(classes)
    params.areaRng, params.areaRngLbl, params.maxDets = [_AREAS], ["all"], [_MOST]
    if overlap is not None:
        params.iouThrs = np.array([overlap])
    number = 0
    for place, (boxes, detected) in enumerate(zip(truth, found, strict=True)):
        for row in boxes[boxes[:, 4] >= 0]:
            number += 1
            crowd = int(len(row) > 5 and row[5] > 0)
            evaluation._gts[place, int(row[4])].append(
                {**_box(row, number), "iscrowd": crowd, "ignore": crowd}
            )
        for row in detected[detected[:, 5] >= 0]:
            number += 1
            evaluation._dts[place, int(row[5])].append(
                {**_box(row, number), "score": float(row[4])}
            )
    pairs = [(place, kind) for place in params.imgIds for kind in params.catIds]
    evaluation.ious = {pair: evaluation.computeIoU(*pair) for pair in pairs}
    by_class = [
        [evaluation.evaluateImg(place, kind, _AREAS, _MOST) for place in params.imgIds]
        for kind in params.catIds
    ]
    return _Matched(evaluation, by_class, len(found))


def _box(row: Array, number: int) -> dict[str, Any]:
    low, size = row[:2], row[2:4] - row[:2]
    return {"id": number, "bbox": [*map(float, (*low, *size))], "area": float(size.prod())}


def _mean_precision(matched: _Matched, chosen: Array | None) -> float:
    """The mean over classes and overlaps; NaN where no class has a box to be found."""
    evaluation = matched.evaluation
    taken = range(matched.pictures) if chosen is None else chosen.tolist()
    evaluation.evalImgs = [pictures[place] for pictures in matched.by_class for place in taken]
    evaluation.params.imgIds = list(range(len(taken)))  # one that is drawn twice counts twice
    evaluation._paramsEval = evaluation.params
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")


def _metric(name: str, decoder: Decoder | None = None) -> Metric:
    prepared = partial(_prepared, name, decoder)
    return Metric(
        score_of(prepared), True, any_shape=True, prepared=prepared, own=True,
        argument=None if decoder else partial(_decoded, name),
    )  # fmt: skip


def _decoded(name: str, reference: str) -> Metric:
    """`map:file.py:function`: of what a function makes of the outputs."""
    if not is_reference(reference):
        raise InputError(
            f"'{reference}' names no function",
            f"write {name}:file.py:function, which turns outputs into detections",
        )
    key = (name, *reference_key(reference))
    if key not in _KNOWN:
        _KNOWN[key] = _metric(name, resolve_reference(reference))
    return _KNOWN[key]


BOXES = {name: _metric(name) for name in _OVERLAPS}
