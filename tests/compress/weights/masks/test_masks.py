import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.compress.errors import InputError
from edgepress.compress.weights.masks.layouts import Layout
from edgepress.compress.weights.masks.masks import (
    GRANULARITIES,
    Mask,
    keep_highest,
    n_of_m_for,
    parse_block,
    parse_n_of_m,
)

shapes = st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
shares = st.floats(0, 1)
seeds = st.integers(0, 2**32 - 1)


def scores_of(shape, seed, levels=None):
    random = np.random.default_rng(seed)
    return random.integers(0, levels, shape).astype(float) if levels else random.random(shape)


@given(shapes, shares, seeds, st.sampled_from([None, 1, 3]))
def test_single_weights_are_removed_in_exactly_the_number_asked_even_with_ties(
    shape, share, seed, levels
):
    scores = scores_of(shape, seed, levels)
    zeros = round(share * scores.size)
    keep = keep_highest(GRANULARITIES["weights"](shape, ""), scores, zeros)
    assert (~keep).sum() == zeros
    if 0 < zeros < scores.size:
        assert scores[~keep].max() <= scores[keep].min()


@given(shapes, shares, seeds, st.integers(1, 5), st.integers(1, 5))
def test_blocks_go_whole_and_sum_to_the_nearest_number(shape, share, seed, rows, columns):
    units = GRANULARITIES["blocks"](shape, f"{rows}x{columns}")
    zeros = round(share * np.prod(shape))
    keep = keep_highest(units, scores_of(shape, seed), zeros)
    for s in range(shape[0]):
        for i in range(0, shape[1], rows):
            for o in range(0, shape[2], columns):
                block = keep[s, i : i + rows, o : o + columns]
                assert block.all() or not block.any()
    assert abs((~keep).sum() - zeros) <= rows * columns / 2


@given(shapes, seeds, st.integers(1, 7), st.integers(1, 7))
def test_n_of_m_keeps_the_n_best_of_every_group_along_the_inputs(shape, seed, n, more):
    m = n + more
    scores = scores_of(shape, seed)
    keep = keep_highest(GRANULARITIES["nm"](shape, f"{n}:{m}"), scores, 0)
    for i in range(0, shape[1], m):
        group, chosen = scores[:, i : i + m], keep[:, i : i + m]
        kept = min(n, group.shape[1])
        assert (chosen.sum(1) == kept).all()
        best = np.sort(group, axis=1)[:, -kept:].sum(1)
        np.testing.assert_allclose(np.where(chosen, group, 0).sum(1), best)


@given(shapes, shares, seeds)
def test_whole_kernels_are_the_same_at_every_position(shape, share, seed):
    plane = round(share * shape[1] * shape[2])
    units = GRANULARITIES["kernels"](shape, "")
    keep = keep_highest(units, scores_of(shape, seed), plane * shape[0])
    assert (keep == keep[:1]).all()
    assert (~keep[0]).sum() == plane


@given(seeds, st.permutations(range(4)), st.integers(0, 4), st.integers(0, 4))
def test_planes_and_kernel_undo_each_other(seed, axes, first, second):
    low, high = sorted((first, second))
    layout = Layout(tuple(axes[:low]), tuple(axes[low:high]), tuple(axes[high:]))
    kernel = np.random.default_rng(seed).random((2, 3, 4, 5))
    planes = layout.planes(kernel)
    assert planes.shape == layout.shape(kernel.shape)
    np.testing.assert_array_equal(layout.kernel(planes, kernel.shape), kernel)


@pytest.mark.parametrize("text", ["", "4", "0x4", "1x", "axb", "1:4"])
def test_a_block_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="not of the form 1x4"):
        parse_block(text)


@pytest.mark.parametrize("text", ["", "2", "4:4", "5:4", "0:4", "1x4"])
def test_a_pattern_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="not of the form 2:4"):
        parse_n_of_m(text)


@given(st.sampled_from([4, 8, 16]), st.data())
def test_a_sparsity_names_its_pattern(group, data):
    removed = data.draw(st.integers(1, group - 1))
    kept, of = parse_n_of_m(n_of_m_for(removed / group))
    assert 1 - kept / of == removed / group
    assert of == max(4, group // math.gcd(removed, group))


def test_a_sparsity_that_no_pattern_has_is_refused():
    with pytest.raises(InputError, match=r"no N:M pattern up to 16 has the sparsity 0\.7"):
        n_of_m_for(0.7)


@given(shapes, st.integers(0, 60), seeds)
def test_a_mask_counts_what_it_removes(shape, zeros, seed):
    units = GRANULARITIES["weights"](shape, "")
    zeros = min(zeros, units.index.size)
    mask = Mask("kernel", keep_highest(units, scores_of(shape, seed), zeros), "weights")
    assert mask.zeros == zeros
