"""Targets that are images are scaled with the inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress.data.dataset import Source
from edgepress.compress.data.inferring.output_range import reach_of
from edgepress.compress.data.preparation.inputs import Preparation, own_rescaling
from edgepress.compress.data.preparation.targets import scaled_targets
from edgepress.compress.data.readers.arrays import ArraySource
from edgepress.compress.data.readers.images.folders import ImageSource
from edgepress.compress.data.readers.images.reading import ImageReading

if TYPE_CHECKING:
    import keras

_TOP = 255.0
# What is no picture, a mask or a count, stays far below the whitest white.
_BRIGHT = 127


def with_scaled_targets(
    preparation: Preparation, sources: Mapping[str, Source], model: keras.Model
) -> tuple[Preparation, list[str]]:
    """The preparation that scales targets too, where they are pictures as the inputs are.

    Args:
        preparation: That of the inputs.
        sources: By split.
        model: The Keras model.

    Returns:
        The preparation, and a remark where targets are scaled.
    """
    if len(model.outputs) != 1 or len(model.inputs) != 1:
        return preparation, []
    output = model.outputs[0]
    tops = [_picture_top(source, tuple(output.shape)) for source in sources.values()]
    if not tops or None in tops:
        return preparation, []
    reach = reach_of(output)
    top = max(top for top in tops if top is not None)
    own = own_rescaling(model)
    factor = own[1] if own is not None else None
    found = scaled_targets(preparation, int(output.shape[-1]), top, reach.low, reach.high, factor)
    if found is None:
        return preparation, []
    how = "as the inputs are" if found.by is preparation else _numbers(found.by)
    return dataclasses.replace(preparation, targets=found), [f"target images are scaled {how}"]


def _numbers(preparation: Preparation) -> str:
    """What is done to values, as people read it."""
    low, high = ((v * (preparation.scale or 1)) - (preparation.mean or (0,))[0] for v in (0, _TOP))
    return f"by {preparation.scale:g}" if low == 0 else f"from 0..255 to {low:g}..{high:g}"


def _picture_top(source: Source, shape: tuple[int | None, ...]) -> float | None:
    """The largest value that target pictures may hold; None where targets are none."""
    if isinstance(source, ImageSource) and isinstance(source.answering, ImageReading):
        if not source.answering.deep:
            return _TOP
        return float(next(source.batches(None, 64).as_numpy_iterator())[1].max())
    if not isinstance(source, ArraySource) or isinstance(source.targets, dict):
        return None
    inputs, targets = next(iter(source.inputs.values())), source.targets
    pictures = (
        len(shape) == 4
        and inputs.dtype == targets.dtype == np.uint8
        and targets.ndim == inputs.ndim == 4
        and targets.shape[-1] == shape[-1]
        and targets.max() > _BRIGHT
    )
    return _TOP if pictures else None
