"""Metric, memory and energy against earlier ones; every regression is named, by its evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgepress.benchmarks.gate.change import Change
from edgepress.benchmarks.gate.comparison import compare_documents
from edgepress.benchmarks.gate.outcomes import Outcomes
from edgepress.benchmarks.gate.tolerances import Tolerances


def row(
    metric: str = "accuracy", parts: Any = None, output: str = "", **more: Any
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "artifact": "v/net.tflite", "label": "net.tflite", "device": "local", "threads": 1,
        "batch": 1, "runs": 50, "median_ms": 1.0, "bytes": 1000, "ci95_ms": [0.99, 1.01],
        "timing_valid": True,
    }  # fmt: skip
    if parts is not None:
        rising = metric in ("accuracy", "iou")
        found = Outcomes(metric, rising, np.asarray(parts, float), samples_hash="s")
        told.update(metric=metric, value=found.value, split="test", higher_is_better=rising)
        told["outcomes"] = [found.to_json()]
    return {**told, **more}


def held(old: dict[str, Any], new: dict[str, Any], **allowed: Any) -> dict[str, Change]:
    found = compare_documents({"rows": [old]}, {"rows": [new]}, Tolerances(**allowed))
    return {change.quantity: change for change in found.changes}


def right(count: int, of: int = 400) -> list[int]:
    return [1] * count + [0] * (of - count)


def test_half_of_the_accuracy_is_a_regression_with_its_evidence() -> None:
    change = held(row(parts=right(376)), row(parts=right(178)))["accuracy"]
    assert change.verdict == "regression"
    assert change.samples == 400
    assert change.p_value is not None
    assert change.p_value < 1e-9
    for words in ("-49.50 points", "198 were lost and 0 won", "tolerance of 1 points"):
        assert words in change.reason


def test_a_fall_within_the_tolerance_is_the_same_up_to_its_edge() -> None:
    old, new = row(parts=right(380)), row(parts=right(370))
    drop = 380 / 400 - 370 / 400
    assert held(old, new, max_drop=drop)["accuracy"].verdict == "same"
    assert "within the tolerance" in held(old, new, max_drop=drop)["accuracy"].reason
    assert held(old, new, max_drop=drop - 1e-6)["accuracy"].verdict == "regression"
    assert held(new, old, max_drop=drop - 1e-6)["accuracy"].verdict == "improvement"
    assert held(old, old, max_drop=0)["accuracy"].verdict == "same"


def test_a_fall_that_may_be_luck_is_the_same_and_says_so() -> None:
    change = held(row(parts=right(95, 100)), row(parts=right(92, 100)))["accuracy"]
    assert change.verdict == "same"
    assert "not significant" in change.reason


@pytest.mark.parametrize("metric", ["mae", "mse", "rmse"])
def test_errors_are_worse_when_they_grow(metric: str) -> None:
    errors = np.random.default_rng(0).gamma(2.0, 0.1, 300)
    old, new = row(metric, errors), row(metric, 1.5 * errors)
    change = held(old, new)[metric]
    assert (change.verdict, change.tolerance) == ("regression", 0.01)
    assert "+50.0%" in change.reason
    assert change.interval is not None
    assert held(new, old)[metric].verdict == "improvement"
    assert held(old, new, max_drop=0.51)[metric].verdict == "same"


def test_a_result_from_before_outcomes_is_held_by_an_unpaired_interval() -> None:
    old = {
        k: v for k, v in row(parts=right(376)).items() if k not in ("outcomes", "higher_is_better")
    }
    change = held(old, row(parts=right(178)))["accuracy"]
    assert change.verdict == "regression"
    assert "unpaired (the earlier result holds no outcomes by sample)" in change.reason
    assert held(old, row(parts=right(366)))["accuracy"].verdict == "same"
    errors = np.full(100, 0.5) + np.linspace(-0.1, 0.1, 100)
    before = {k: v for k, v in row("mae", errors).items() if k != "outcomes"}
    assert held(before, row("mae", 2 * errors))["mae"].verdict == "regression"


def test_other_samples_are_never_paired() -> None:
    old = row(parts=right(376))
    old["outcomes"][0]["samples_hash"] = "t"
    assert (
        "unpaired (other samples than the 400 earlier ones)"
        in held(old, row(parts=right(178)))["accuracy"].reason
    )


def test_outcomes_of_another_figure_are_no_evidence() -> None:
    change = held(row(parts=right(178), value=0.94), row(parts=right(178)))["accuracy"]
    assert change.verdict == "regression"
    assert "unpaired" in change.reason


def test_so_few_samples_that_nothing_can_be_told_are_not_called_the_same() -> None:
    change = held(row(parts=right(5, 5)), row(parts=right(0, 5)))["accuracy"]
    assert change.verdict == "not compared"
    assert "too few samples to tell" in change.reason
    assert held(row(parts=right(5, 5)), row(parts=right(5, 5)))["accuracy"].verdict == "same"
    assert held(row(parts=right(6, 6)), row(parts=right(0, 6)))["accuracy"].verdict == "regression"


def test_a_metric_that_is_not_measured_today_is_said() -> None:
    change = held(row(parts=right(376)), row())["accuracy"]
    assert (change.verdict, change.after) == ("not compared", None)
    assert "--data" in change.reason
    other = held(row(parts=right(376)), row("mae", right(3)))["mae"]
    assert other.verdict == "not compared"
    assert "accuracy" in other.reason
    split = held(row(parts=right(376)), row(parts=right(376), split="val"))["accuracy"]
    assert split.verdict == "not compared"


def test_outputs_that_are_no_numbers_are_a_regression() -> None:
    broken = row(metric="mae", value=None, value_problem="mae is nan: no finite numbers")
    assert held(row("mae", right(3)), {**broken, "metric": "mae"})["mae"].verdict == "regression"


def test_a_metric_without_outcomes_is_held_by_its_tolerance_alone() -> None:
    old, new = (row(metric="auc", value=v, split="test") for v in (0.9, 0.8))
    old["metric"] = new["metric"] = "auc"
    change = held(old, new)["auc"]
    assert change.verdict == "regression"
    assert "no test" in change.reason


def test_each_output_has_its_line() -> None:
    old, new = row(parts=right(376)), row(parts=right(376))
    for told, factor in ((old, 1.0), (new, 2.0)):
        values = factor * np.linspace(0.1, 0.2, 400)
        box = Outcomes("mae", False, values, output="box", samples_hash="s")
        told["outcomes"].append(box.to_json())
    found = held(old, new)
    assert found["accuracy"].verdict == "same"
    assert found["mae of output 'box'"].verdict == "regression"
    del new["outcomes"][1]
    assert held(old, new)["mae of output 'box'"].verdict == "not compared"
    del old["outcomes"][1]
    assert set(held(old, new)) == set(held(new, old)) == {"accuracy", "latency", "size"}


def test_outputs_whose_metric_has_no_outcomes_are_held_by_their_tolerance() -> None:
    old, new = row(parts=right(376)), row(parts=right(376))
    for told, value in ((old, 0.9), (new, 0.7)):
        accuracy = {"output": "kind", "metric": "accuracy", "value": told["value"]}
        told["metrics"] = [
            {**accuracy, "headline": True},
            {"output": "mask", "metric": "dice", "value": value, "headline": False},
        ]
    found = held(old, new)
    assert found["accuracy"].verdict == "same"
    assert found["dice of output 'mask'"].verdict == "regression"
    assert "accuracy of output 'kind'" not in found


def test_memory_and_energy_are_worse_where_their_launches_are_apart() -> None:
    fields = ("peak_memory_bytes", "peak_memory_launches_bytes", "energy_mj", "energy_launches_mj")
    old = row(**dict(zip(fields, (100, [99, 101], 1.0, [0.9, 1.1]), strict=True)))
    apart = row(**dict(zip(fields, (150, [149, 151], 2.0, [1.9, 2.1]), strict=True)))
    near = row(**dict(zip(fields, (150, [90, 210], 2.0, [1.0, 3.0]), strict=True)))
    worse, same = held(old, apart), held(old, near)
    for quantity in ("memory", "energy"):
        assert worse[quantity].verdict == "regression"
        assert same[quantity].verdict == "same"
        assert held(apart, old)[quantity].verdict == "improvement"
    allowed = held(old, apart, memory_tolerance=0.5, energy_tolerance="100%")
    assert allowed["memory"].verdict == allowed["energy"].verdict == "same"
    assert held(old, row())["energy"].verdict == "not compared"


def test_times_of_another_machine_are_not_compared() -> None:
    documents = [
        {"devices": [{"name": "local", "processor": p}], "rows": [row(median_ms=m, ci95_ms=[m, m])]}
        for p, m in (("one", 1.0), ("other", 9.0))
    ]
    found = {c.quantity: c for c in compare_documents(*documents).changes}
    assert found["latency"].verdict == "not compared"
    assert found["size"].verdict == "same"


def test_rows_without_a_counterpart_are_named() -> None:
    old = {"rows": [row(), row(artifact="v/old.tflite", label="old.tflite")]}
    new = {"rows": [row(), row(artifact="v/new.tflite", label="new.tflite")]}
    notes = compare_documents(old, new).notes
    assert any("new.tflite" in note and "nothing to compare" in note for note in notes)
    assert any("old.tflite" in note and "isn't today" in note for note in notes)


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [(-0.99, -0.2, "regression"), (-0.2, -0.99, "improvement"), (-0.99, -0.985, "same")],
)
def test_an_error_below_zero_that_rises_is_a_regression(
    before: float, after: float, verdict: str
) -> None:
    """Keras's cosine similarity is -1 where all is right."""
    change = held(row("loss", np.full(300, before)), row("loss", np.full(300, after)))["loss"]
    assert change.verdict == verdict
    assert ("+" in change.reason) == (after > before)


@pytest.mark.parametrize(("old", "new", "side"), [(True, False, "today"), (False, True, "earlier")])
def test_a_time_that_means_nothing_on_one_side_is_told(old: bool, new: bool, side: str) -> None:
    change = held(row(timing_valid=old), row(timing_valid=new, median_ms=9.0))["latency"]
    assert change.verdict == "not compared"
    assert side in change.reason


def test_times_of_two_emulations_are_left_out() -> None:
    assert "latency" not in held(row(timing_valid=False), row(timing_valid=False))
