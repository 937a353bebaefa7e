"""Mean average precision of boxes against COCO's own evaluation, and another one's."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest

from edgepress.compress import InputError
from edgepress.compress.data.metrics import metric_of


def _case(seed: int) -> tuple[Any, Any]:
    """Detections and boxes of some images; every third case is odd in one way."""
    random = np.random.default_rng(seed)
    images, most, kinds = (int(random.integers(1, top)) for top in (5, 6, 4))
    low = random.random((images, most, 2)) * 0.7
    size = 0.1 + random.random((images, most, 2)) * 0.3
    kind = random.integers(-1, kinds, (images, most, 1))
    crowd = (random.random(kind.shape) < (0.2 if seed % 3 else 0.0)) * 1.0
    truth = np.concatenate([low, low + size, kind, crowd], -1)
    truth[kind[..., 0] < 0] = -1
    many = int(random.integers(1, 3))
    near = np.repeat(truth[..., :4], many, 1)
    near = near + random.normal(0, 0.04, near.shape)
    near[..., 2:] = np.maximum(near[..., 2:], near[..., :2] + 0.01)
    # Scores of few values, so that many are equal.
    score = np.round(random.random((*near.shape[:2], 1)), 1 if seed % 2 else 6)
    guessed = np.repeat(kind, many, 1)
    other = random.integers(-1, kinds + (seed % 5 == 0), guessed.shape)
    guessed = np.where(random.random(guessed.shape) < 0.7, guessed, other)
    return np.concatenate([near, score, guessed], -1), truth


def _official(found: Any, truth: Any) -> dict[str, float]:
    """What pycocotools and faster-coco-eval say to files of COCO's."""
    import faster_coco_eval
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    kinds = {int(k) for k in (*truth[..., 4].ravel(), *found[..., 5].ravel()) if k >= 0}
    marks, results = [], []
    for image, (boxes, guesses) in enumerate(zip(truth, found, strict=True)):
        for x, y, right, bottom, kind, crowd in boxes[boxes[:, 4] >= 0]:
            marks.append(
                {
                    "id": len(marks) + 1, "image_id": image, "category_id": int(kind),
                    "bbox": [x, y, right - x, bottom - y], "iscrowd": int(crowd),
                    "area": (right - x) * (bottom - y),
                }
            )  # fmt: skip
        for x, y, right, bottom, score, kind in guesses[guesses[:, 5] >= 0]:
            results.append(
                {
                    "image_id": image, "category_id": int(kind), "score": score,
                    "bbox": [x, y, right - x, bottom - y],
                }
            )  # fmt: skip
    document = {
        "images": [{"id": n} for n in range(len(truth))],
        "annotations": marks,
        "categories": [{"id": kind} for kind in sorted(kinds)],
    }
    values = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for name, (files, evaluation) in {
            "pycocotools": (COCO, COCOeval),
            "faster": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
        }.items():
            given = files()
            given.dataset = json.loads(json.dumps(document))
            given.createIndex()
            if not results:
                values[name] = 0.0 if any(not m["iscrowd"] for m in marks) else -1.0
                continue
            run = evaluation(given, given.loadRes(json.loads(json.dumps(results))), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
            values[name] = float(run.stats[0])
    return values


def _agrees(seed: int) -> None:
    found, truth = _case(seed)
    ours = metric_of("map").score(found, truth, False)
    for name, value in _official(found, truth).items():
        if value == -1:
            assert np.isnan(ours), (name, seed)
        else:
            assert ours == pytest.approx(value, abs=1e-12), (name, seed)


def test_mean_precision_is_that_of_coco() -> None:
    for seed in range(40):
        _agrees(seed)


@pytest.mark.slow
def test_mean_precision_is_that_of_coco_in_a_thousand_cases() -> None:
    for seed in range(1000):
        _agrees(seed)


def test_parts_of_the_samples_are_scored_as_if_they_were_all() -> None:
    for seed in range(12):
        found, truth = _case(seed)
        for name in ("map", "map50", "map75"):
            scorer = metric_of(name).scorer(found, truth, False)
            chosen = np.random.default_rng(seed).integers(0, len(found), len(found))
            whole = metric_of(name).score(found[chosen], truth[chosen], False)
            assert scorer(chosen) == pytest.approx(whole, abs=1e-12, nan_ok=True)


def test_a_perfect_detector_has_1_and_one_that_finds_nothing_has_0() -> None:
    truth = np.array([[[0.1, 0.1, 0.5, 0.5, 2], [-1] * 5]])
    right = np.array([[[0.1, 0.1, 0.5, 0.5, 0.3, 2]]])
    assert metric_of("mAP").score(right, truth, False) == pytest.approx(1, abs=1e-12)
    none = np.array([[[0.1, 0.1, 0.5, 0.5, 0.3, -1]]])
    assert metric_of("map50").score(none, truth, False) == 0
    assert metric_of("map").higher_is_better
    with pytest.raises(InputError, match="takes detections"):
        metric_of("map").score(right[..., :5], truth, False)
    with pytest.raises(InputError, match="names no function"):
        metric_of("map:decode")
