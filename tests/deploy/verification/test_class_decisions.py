"""Confusion matrices: every sample stands where it was decided, and none twice."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepress.compress.kernel.artifact import ClassDecisions
from edgepress.deploy.verification.decisions import Decision, class_decisions, decides_few_classes


def outputs(classes: list[int], count: int) -> np.ndarray:
    return np.eye(count)[classes]


@settings(max_examples=40)
@given(st.integers(2, 6).flatmap(lambda n: st.tuples(st.just(n), st.lists(
    st.tuples(*[st.integers(0, n - 1)] * 3), min_size=1, max_size=60))))  # fmt: skip
def test_matrices_count_every_sample_once(drawn: tuple[int, list[tuple[int, int, int]]]) -> None:
    count, rows = drawn
    truth, source, file = (list(column) for column in zip(*rows, strict=True))
    want, have = outputs(source, count), outputs(file, count)
    found = class_decisions("y", ("a",), have, want, np.array(truth))
    for matrix, decided in ((found.source, source), (found.file, file)):
        assert np.sum(matrix) == len(rows)
        for i in range(count):
            for j in range(count):
                assert matrix[i][j] == sum(
                    t == i and d == j for t, d in zip(truth, decided, strict=True)
                )
    assert [c[1:] for c in found.changed] == [r for r in rows if r[1] != r[2]][:50]
    assert found.names[:2] == ("a", "1")
    # One-hot targets and a column of numbers mean the same.
    for same in (outputs(truth, count), np.array(truth)[:, None]):
        assert class_decisions("y", ("a",), have, want, same) == found
    assert ClassDecisions.from_json(json.loads(json.dumps(asdict(found)))) == found


def test_samples_of_no_class_do_not_count() -> None:
    found = class_decisions("y", (), outputs([0, 1], 2), outputs([1, 1], 2), np.array([-1, 1]))
    assert found.source == ((0, 0), (0, 1))
    assert found.changed == ()


def test_only_a_few_classes_of_whole_samples_have_a_matrix() -> None:
    assert decides_few_classes(Decision("classes"), np.zeros((4, 30)))
    assert not decides_few_classes(Decision("classes"), np.zeros((4, 31)))
    assert not decides_few_classes(Decision("classes"), np.zeros((4, 8, 8, 3)))
    assert not decides_few_classes(Decision("labels"), np.zeros((4, 3)))
