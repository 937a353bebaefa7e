"""The specification of a structured pruning with "auto" filled in, checked against the data."""

from __future__ import annotations

from edgepress.compress.data import Dataset
from edgepress.compress.specs.pruning import ChannelsSpec

# What "auto" stands for: with data, and without.
AUTO = ("taylor", "l1")


def resolved(spec: ChannelsSpec, dataset: Dataset | None) -> ChannelsSpec:
    """The spec with "auto" filled in, checked against the data.

    Raises:
        InputError: The step can't be done with or without data.
    """
    spec.check(dataset is not None)
    if spec.criterion == "auto":
        spec = spec.model_copy(update={"criterion": AUTO[dataset is None]})
    return spec
