import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepress.compress.weights.allocation.densities import ALLOCATIONS, Kernel, allocate
from edgepress.compress.weights.allocation.loss_curves import cheapest_zeros


@st.composite
def kernels(draw, most=5):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = []
    for _ in range(draw(st.integers(1, most))):
        shape = draw(st.tuples(st.integers(1, 9), st.integers(2, 20), st.integers(2, 20)))
        n = int(np.prod(shape))
        made.append(Kernel(shape, np.ones(n, np.int64), random.random(n) * random.random() * 9))
    return made


@given(kernels(), st.floats(0, 0.95), st.sampled_from(["global", "lamp", "erk"]))
def test_shared_sparsities_sum_to_the_one_asked(made, sparsity, name):
    zeros = ALLOCATIONS[name](made, sparsity)
    total = sum(k.weights for k in made)
    spare = len(made) if name != "erk" else 0
    assert sum(zeros) == min(round(sparsity * total), total) or total - sum(zeros) <= spare
    assert all(0 <= z <= k.weights for z, k in zip(zeros, made, strict=True))


@given(kernels(), st.floats(0, 0.99))
def test_uniform_is_the_same_share_of_each(made, sparsity):
    zeros = ALLOCATIONS["uniform"](made, sparsity)
    assert zeros == [round(sparsity * k.weights) for k in made]


@given(kernels(), st.floats(0, 0.99), st.sampled_from(["global", "lamp"]))
def test_a_global_rank_leaves_no_kernel_empty(made, sparsity, name):
    zeros = ALLOCATIONS[name](made, sparsity)
    assert all(z < k.weights for z, k in zip(zeros, made, strict=True))


@given(kernels(), st.floats(0.01, 0.9), st.floats(0.1, 100))
def test_lamp_does_not_depend_on_the_scale_of_a_kernel(made, sparsity, factor):
    scaled = [Kernel(made[0].shape, made[0].sizes, made[0].scores * factor), *made[1:]]
    a, b = ALLOCATIONS["lamp"](made, sparsity), ALLOCATIONS["lamp"](scaled, sparsity)
    assert np.abs(np.subtract(a, b)).max() <= 1


def test_global_takes_from_the_kernel_of_small_weights():
    small = Kernel((1, 10, 10), np.ones(100, np.int64), np.linspace(0, 1, 100))
    large = Kernel((1, 10, 10), np.ones(100, np.int64), np.linspace(10, 11, 100))
    assert ALLOCATIONS["global"]([small, large], 0.4) == [80, 0]


def test_erk_gives_wide_kernels_lower_density():
    wide = Kernel((1, 100, 100), np.ones(10000, np.int64), np.ones(10000))
    narrow = Kernel((1, 10, 10), np.ones(100, np.int64), np.ones(100))
    zeros = ALLOCATIONS["erk"]([wide, narrow], 0.9)
    # 1010 weights stay, in proportion to 1 + 100 + 100 and 1 + 10 + 10.
    assert zeros == [10000 - round(1010 * 201 / 222), 100 - round(1010 * 21 / 222)]


@given(kernels(), st.sampled_from(sorted(ALLOCATIONS)), st.floats(0.1, 0.9))
def test_overrides_come_before_the_rest(made, name, own):
    named = {f"k{i}": k for i, k in enumerate(made)}
    zeros = allocate(named, 0.5, name, {"k0": own})
    assert zeros["k0"] == round(own * made[0].weights)
    assert list(zeros) == list(named)
    assert zeros == {**zeros, **allocate({p: k for p, k in named.items() if p != "k0"}, 0.5, name)}


def test_an_unknown_allocation_lists_the_known():
    with pytest.raises(Exception, match="unknown allocation 'glboal'"):
        ALLOCATIONS["glboal"]


curves = st.lists(
    st.tuples(st.lists(st.floats(0, 9), min_size=7, max_size=7).map(np.array), st.integers(2, 300)),
    min_size=1,
    max_size=5,
)


@given(curves, st.floats(0, 0.9))
def test_measured_costs_are_shared_exactly_and_no_kernel_is_lost(kernels, sparsity):
    costs, sizes = zip(*kernels, strict=True)
    total = min(round(sparsity * sum(sizes)), sum(sizes) - len(sizes))
    zeros = cheapest_zeros(costs, np.array(sizes), total)
    assert sum(zeros) == total
    assert all(0 <= z < size for z, size in zip(zeros, sizes, strict=True))


def test_the_kernel_whose_zeros_cost_nothing_gives_them():
    free, dear = np.zeros(7), np.linspace(1, 7, 7)
    zeros = cheapest_zeros([dear, free], np.array([1000, 1000]), 900)
    assert zeros == [0, 900]
