"""Properties of the union-find and of id arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgepress.compress.structure.channels.ids import Classes, compact

PAIRS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40)


def _components(pairs: list[tuple[int, int]]) -> list[int]:
    """The smallest member of each number's component, by brute force."""
    label = list(range(30))
    for _ in range(30):
        for a, b in pairs:
            label[a] = label[b] = min(label[a], label[b])
    return label


@given(PAIRS)
def test_classes_are_connected_components(pairs: list[tuple[int, int]]) -> None:
    classes = Classes()
    numbers = classes.fresh(30)
    if pairs:
        a, b = np.array(pairs).T
        classes.unite(a, b)
    assert classes.roots(numbers).tolist() == _components(pairs)


@given(PAIRS)
def test_all_at_once_is_one_by_one(pairs: list[tuple[int, int]]) -> None:
    once, single = Classes(), Classes()
    numbers = once.fresh(30)
    single.fresh(30)
    for a, b in reversed(pairs):
        single.unite(np.array([a]), np.array([b]))
    if pairs:
        once.unite(*np.array(pairs).T)
    assert np.array_equal(once.roots(numbers), single.roots(numbers))


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=4, max_side=4)))
def test_compact_ids_spread_to_what_they_were(array: np.ndarray) -> None:
    ids = compact(array[:1], (None, *array.shape[1:]))
    assert np.array_equal(ids.spread(), array[:1])
    assert all(not (ids.array == ids.array.take([0], axis)).all() for axis in ids.varying)


def test_slices_stay_apart() -> None:
    classes = Classes()
    array = classes.fresh(12).reshape(3, 4)
    found = classes.unite_across(array, 1)
    assert len(set(found.tolist())) == 4
    assert (classes.roots(array) == found).all()


def test_numbers_go_on_beyond_the_first_thousand() -> None:
    classes = Classes()
    first, second = classes.fresh(1000), classes.fresh(3000)
    classes.unite(first[:5], second[-5:])
    assert classes.roots(second[-5:]).tolist() == first[:5].tolist()
