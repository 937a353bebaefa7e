"""Metrics that are no mean over samples are tested by draws that both results share."""

from __future__ import annotations

import numpy as np
import pytest

from edgepress.benchmarks.gate.outcomes import Resampled, read_result
from edgepress.benchmarks.gate.resampling import drawn_counts, drawn_indices
from edgepress.benchmarks.gate.significance import paired, unpaired
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.data.tasks import Task
from edgepress.deploy.benchmarking.outcomes import outcomes_of

RANDOM = np.random.default_rng(0)
TRUTH = (RANDOM.random((200, 1)) > 0.8).astype(int)
GOOD = np.clip(TRUTH + 0.45 * RANDOM.normal(size=TRUTH.shape), 0, 1)
BAD = np.where(RANDOM.random(TRUTH.shape) > 0.7, RANDOM.random(TRUTH.shape), GOOD)


def result(metric, outputs):
    task = Task((OutputTask("out", "binary", "binary_crossentropy", metric),))
    (found,) = outcomes_of(task, [outputs], TRUTH)
    return found


def test_draws_are_the_same_as_indices_and_as_counts():
    indices = np.concatenate(list(drawn_indices(7, 5)))
    counts = np.concatenate(list(drawn_counts(7, 5)))
    assert [np.bincount(row, minlength=7).tolist() for row in indices] == counts.tolist()


@pytest.mark.parametrize("metric", ["auc", "average_precision", "f1", "balanced_accuracy"])
def test_a_fall_is_shown_by_the_paired_bootstrap_and_luck_is_not(metric):
    before, after, noisy = result(metric, GOOD), result(metric, BAD), result(metric, GOOD + 1e-9)
    kept = read_result(before.to_json())
    assert isinstance(kept, Resampled)
    assert kept.value == before.value
    fell = paired(kept, after)
    assert fell.method == "paired bootstrap"
    assert fell.significant
    assert fell.interval[1] < 0
    assert not paired(kept, noisy).significant
    low, high = unpaired((before.value, kept), (after.value, after), "others").interval
    assert high - low > fell.interval[1] - fell.interval[0]


def test_what_is_damaged_is_no_result():
    told = result("f1", GOOD).to_json()
    assert read_result({**told, "parts": "no"}) is None
    assert read_result({**told, "samples": "many"}) is None
