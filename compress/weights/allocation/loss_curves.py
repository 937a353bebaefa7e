"""Densities from measurement: how far the outputs move when a kernel alone is pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import keras
import numpy as np
from jaxtyping import Float, Int

from edgepress.compress.data import Dataset
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.weights.allocation.planning import MaskPlan
from edgepress.compress.weights.masks.prunable import PrunableWeight

RATIOS = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95])


def measured_densities(
    model: keras.Model,
    plan: MaskPlan,
    dataset: Dataset,
    samples: int,
    seed: int,
    progress: Progress,
) -> dict[str, float]:
    """The sparsities at which the outputs move least, were the kernels independent.

    Args:
        model: The model whose kernels `plan` holds; it is as before afterwards.
        plan: What is pruned; kernels with an override have their sparsity already.
        dataset: Gives samples of the training split.
        samples: How many.
        seed: Draws them.
        progress: Receives the progress.

    Returns:
        Sparsity by kernel path; together they reach `plan.final`.

    Source: the sensitivity analysis of Han et al., Learning both Weights and Connections,
    arXiv 1506.02626, section 3; shared out where a weight costs least.
    """
    kernels = [k for k in plan.kernels if k.path not in plan.overrides]
    deviation = _deviation_on(model, dataset, samples, seed)
    scores, curves = plan.scores(), []
    for number, kernel in enumerate(kernels):
        progress.step(number, len(kernels), kernel.path)
        curves.append(_curve(plan, kernel, scores, deviation))
    progress.step(len(kernels), len(kernels))
    sizes = np.array([k.size for k in kernels])
    zeros = cheapest_zeros(curves, sizes, round(plan.final * int(sizes.sum())))
    return {k.path: z / k.size for k, z in zip(kernels, zeros, strict=True)}


def cheapest_zeros(
    curves: Sequence[Float[np.ndarray, " r"]], sizes: Int[np.ndarray, " k"], zeros: int
) -> list[int]:
    """Zeros of each kernel that together cost least, each curve made convex from below.

    Args:
        curves: Of each kernel, the cost at each of `RATIOS`.
        sizes: (k,) weights of each.
        zeros: How many of them all become zero.

    Returns:
        Zeros of each kernel; they sum to `zeros`, and each kernel keeps a weight.
    """
    segments = sorted(
        (slope, kernel, count)
        for kernel, (curve, size) in enumerate(zip(curves, sizes, strict=True))
        for slope, count in _segments(curve, int(size))
    )
    given = [0] * len(curves)
    left = zeros
    for _, kernel, count in segments:
        taken = min(count, left)
        given[kernel] += taken
        left -= taken
    return given


def _segments(curve: Float[np.ndarray, " r"], size: int) -> list[tuple[float, int]]:
    """(cost of a zero, how many) along the lower hull of a curve, costs rising."""
    # What lies beyond the last ratio is the dearest of all: the kernel all but vanishes.
    counts = [0, *(round(r * (size - 1)) for r in RATIOS), size - 1]
    costs = [0.0, *np.maximum.accumulate(np.maximum(curve, 0.0)), np.inf]
    hull = [0]
    for point in range(1, len(counts)):
        if counts[point] == counts[hull[-1]]:
            continue
        while len(hull) > 1 and _slope(counts, costs, hull[-2], hull[-1]) >= _slope(
            counts, costs, hull[-1], point
        ):
            hull.pop()
        hull.append(point)
    return [(_slope(counts, costs, a, b), counts[b] - counts[a]) for a, b in pairwise(hull)]


def _slope(counts: Sequence[int], costs: Sequence[float], a: int, b: int) -> float:
    return (costs[b] - costs[a]) / (counts[b] - counts[a])


def _curve(
    plan: MaskPlan,
    kernel: PrunableWeight,
    scores: Mapping[str, Float[np.ndarray, "s i o"]],
    deviation: Callable[[], float],
) -> Float[np.ndarray, " r"]:
    dense = kernel.value()
    costs = []
    for ratio in RATIOS:
        mask = plan.mask(kernel, scores[kernel.path], round(ratio * kernel.size), float(ratio))
        kernel.variable.assign(np.where(mask.array, dense, 0.0))
        costs.append(deviation())
    kernel.variable.assign(dense)
    return np.array(costs)


def _deviation_on(
    model: keras.Model, dataset: Dataset, samples: int, seed: int
) -> Callable[[], float]:
    """Mean squared change of the outputs on some samples, over their variance."""
    inputs, _ = dataset.training_split.sample(samples, seed)
    given = next(iter(inputs.values())) if len(inputs) == 1 else inputs

    def outputs() -> list[Float[np.ndarray, "..."]]:
        found = keras.tree.flatten(model(given, training=False))
        return [keras.ops.convert_to_numpy(tensor) for tensor in found]

    before = outputs()
    spreads = [float(np.var(b)) + 1e-12 for b in before]

    def deviation() -> float:
        parts = zip(outputs(), before, spreads, strict=True)
        return sum(float(np.square(now - then).mean()) / spread for now, then, spread in parts)

    return deviation
