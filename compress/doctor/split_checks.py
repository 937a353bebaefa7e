"""Whether the splits of a data set are on one scale: what is trained on, and what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset
from edgepress.compress.doctor.findings import Finding

Array = NDArray[Any]
_SAMPLES = 200
# Bytes against shares of 1, or against standardised values, differ by far more.
_APART = 8.0


def scales_of_splits(dataset: Dataset, seed: int = 0) -> Iterator[Finding]:
    """Inputs that one split has on another scale than the first, or about another mean.

    Args:
        dataset: Data opened for a model.
        seed: Draws the samples.
    """
    splits = [s for s in (dataset.train, dataset.val, dataset.test) if s is not None]
    first, *others = [(s.name, s.sample(min(_SAMPLES, s.size), seed)[0]) for s in splits]
    for split, inputs in others:
        yield from _apart(first, (split, inputs))


def _apart(
    one: tuple[str, Mapping[str, Array]], other: tuple[str, Mapping[str, Array]]
) -> Iterator[Finding]:
    for name, values in one[1].items():
        pair = values, other[1][name]
        if any(a.dtype.kind != "f" or not a.size or not np.isfinite(a).all() for a in pair):
            continue
        sizes = [float(np.quantile(np.abs(a), 0.99)) for a in pair]
        means, spreads = [float(a.mean()) for a in pair], [float(a.std()) for a in pair]
        told = f"input '{name}' of the {one[0]} split and of the {other[0]} split"
        if max(sizes) > _APART * min(sizes) > 0:
            yield Finding(
                "problem",
                "data",
                "",
                f"99 % of the values of {told} lie below {sizes[0]:.3g} and {sizes[1]:.3g}: they"
                " are scaled otherwise",
                "scale all splits alike",
            )
        elif abs(means[0] - means[1]) > min(spreads) > 0:
            yield Finding(
                "warning",
                "data",
                "",
                f"the values of {told} lie about {means[0]:.3g} and {means[1]:.3g}, further apart"
                f" than they spread ({min(spreads):.3g})",
                "preprocess all splits alike",
            )
