"""Whether an output that passes no sigmoid or softmax gives logits, decided by what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.output_task import OutputTask

Array = NDArray[Any]

_SLACK = 1e-3
# Standard errors by which one threshold must do better than the other.
_CLEAR = 2.0


@dataclass(frozen=True)
class Seen:
    """What an output gave to some samples.

    Attributes:
        outputs: (samples, …).
        targets: (samples, …), of the same pass over the data.
    """

    outputs: Array
    targets: Array


# What each output gave, by name; asked for where something depends on it.
Look = Callable[[], Mapping[str, Seen]]


def read_output(task: OutputTask, compiled_logits: bool | None, seen: Seen) -> tuple[bool, str]:
    """Whether an output gives logits.

    Its values decide: outside of 0 to 1 they are no probabilities, unless one half tells its
    labels apart better than zero does, as where a linear output has learned 0 and 1.

    Args:
        task: What it is asked for; its loss is a cross-entropy, and it passes no activation that
            gives probabilities.
        compiled_logits: What the compiled loss was told of logits; None where that is not known.
        seen: What it gives.

    Returns:
        Whether its values are logits, and what to say of that; empty where nothing contradicts.
    """
    values = np.asarray(seen.outputs, np.float64)
    low, high = float(values.min()), float(values.max())
    within = low >= -_SLACK and high <= 1 + _SLACK
    halved = not task.loss.startswith(("categorical", "sparse")) and _half_is_better(values, seen)
    logits = not halved if compiled_logits is None else not (within or halved)
    if compiled_logits is None and logits:
        return True, ""
    said = "from_logits=False" if compiled_logits is False else "a cross-entropy"
    shown = f"its values run from {low:.3g} to {high:.3g} on the data"
    why = " and one half tells its labels apart" if halved and not within else ""
    taken = "logits" if logits else "probabilities"
    return logits, (
        f"output '{task.name}' was compiled with {said} and passes no sigmoid or softmax:"
        f" {shown}{why}, so they are taken as {taken}"
    )


def _half_is_better(values: Array, seen: Seen) -> bool:
    """Whether labels lie on their sides of one half more often than on their sides of zero."""
    truth = np.asarray(seen.targets).reshape(values.shape) > 0.5
    gained = ((values > 0.5) == truth).astype(float) - ((values > 0) == truth)
    error = np.sqrt(np.square(gained).mean() / gained.size)
    return bool(gained.mean() > _CLEAR * error)
