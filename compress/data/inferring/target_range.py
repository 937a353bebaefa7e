"""Whether an output can give what its targets ask for."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.inferring.output_range import Reach
from edgepress.compress.errors import InputError

Array = NDArray[Any]

# Refused from this share of the targets' variance that lies out of reach on.
_MOST_LOST = 0.75
# So few targets out of reach are outliers, if the others vary.
_OUTLIERS = 0.01
_VARIES = 0.01
# Resized masks overshoot a little; nothing else that isn't a probability comes so near.
_OVERSHOOT = 0.1
_SLACK = 1e-3
# Between the output that a remark is of and its figures.
RUNS = " run from "
# Axes of pictures: samples, height, width, channels.
_PICTURES = 4
_MOST_VALUES = 5_000_000


def check_range(name: str, targets: Array, reach: Reach, loss: str) -> str:
    """Hold targets against the values that an output can take.

    Args:
        name: Of the output.
        targets: (samples, …) values of the output's shape.
        reach: What the output can give.
        loss: Keras's name of it; a cross-entropy takes probabilities, whatever the output gives.

    Returns:
        A remark where some targets are out of reach, else empty.

    Raises:
        InputError: The output can't learn them: most of how they vary is out of reach, or they
            are no probabilities for a cross-entropy.
    """
    pictures = np.asarray(targets).dtype == np.uint8 and np.ndim(targets) == _PICTURES
    values = np.asarray(targets).ravel()
    values = values[:: max(1, values.size // _MOST_VALUES)].astype(np.float64)
    if not values.size:
        return ""
    low, high = float(values.min()), float(values.max())
    runs = f"targets of output '{name}'{RUNS}{low:g} to {high:g}"
    if "crossentropy" in loss and (low < -_OVERSHOOT or high > 1 + _OVERSHOOT):
        hint = (
            _way_out(low, high, 1, pictures)
            if low >= 0
            else "scale the targets, or take another --loss"
        )
        raise InputError(f"{runs}, but {loss} takes probabilities, 0 to 1", hint)
    width = reach.high - reach.low if reach.bounded else max(high - low, _SLACK)
    within = np.clip(values, reach.low - _SLACK * width, reach.high + _SLACK * width)
    outside = within != values
    share = float(outside.mean())
    if not share:
        return ""
    gives = f"its {reach.by or 'last activation'} gives {_ends(reach)}"
    few = int(outside.sum()) <= max(1, _OUTLIERS * values.size)
    varied = float(values[~outside].std()) > _VARIES * width if share < 1 else False
    # A hinge loss only asks on which side an output is.
    signs = "hinge" not in loss and bool(np.isin(values, (-1, 1)).all())
    if reach.squashing == "sigmoid" and signs:
        raise InputError(f"{runs}, but {gives}", "make the labels -1 and 1 into 0 and 1")
    if _lost(values, within, share, reach) and not (few and varied):
        raise InputError(f"{runs}, but {gives}", _way_out(low, high, reach.high, pictures))
    return f"{runs}, but {gives}: {share:.1%} of them lie outside that range"


def _lost(values: Array, within: Array, share: float, reach: Reach) -> bool:
    """Whether what is out of reach is most of what there is to learn."""
    if not reach.bounded:
        return share > 1 - _OUTLIERS
    spread = float(np.square(values - values.mean()).sum())
    missed = float(np.square(values - within).sum())
    return missed > _MOST_LOST * spread


def _ends(reach: Reach) -> str:
    if not isfinite(reach.high):
        return f"nothing below {reach.low:g}"
    if not isfinite(reach.low):
        return f"nothing above {reach.high:g}"
    return f"{reach.low:g} to {reach.high:g}"


def _way_out(low: float, high: float, reached: float, pictures: bool) -> str:
    if low < 0 or high <= 1.5 or reached > 1:
        return (
            "scale the targets into that range, or give a model whose last layer has no activation"
        )
    if pictures:
        return (
            "--scale 1/255 is for target images too, where inputs are pictures from 0 to 255;"
            " class numbers need one output for each class"
        )
    return (
        f"scale the targets: divide them by {255 if 200 < high <= 255 else high:g}; class numbers"
        " need one output for each class"
    )
