"""What is asked for of each output: loss, metric and weight, for all or by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgepress.compress.data.losses.keras_counterparts import loss_name
from edgepress.compress.data.metrics import metric_name
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.models.user_code import is_reference

# One for all outputs, or one for each by name.
ByOutput = str | Mapping[str, Any] | None
_NAMED = re.compile(r"([^=:/\\]+)=(.+)")


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        loss: Keras loss by name or reference to one of the user's; by output where it is a mapping.
        metric: Metric by name or reference, likewise.
        weights: What the loss of an output counts, by its name.
        ignored: The label that marks places without a class, likewise.
    """

    loss: ByOutput = None
    metric: ByOutput = None
    weights: Mapping[str, float] = field(default_factory=dict)
    ignored: ByOutput = None

    def loss_of(self, output: str) -> str | None:
        """The loss of one output, or None."""
        found = self.loss.get(output) if isinstance(self.loss, Mapping) else self.loss
        return found if found is None or is_reference(found) else loss_name(found)

    @property
    def metrics(self) -> dict[str, str]:
        """The metric of each output that has one of its own, in the order they were named."""
        if isinstance(self.metric, Mapping):
            return {output: metric_name(name) for output, name in self.metric.items()}
        return {}

    @property
    def one_metric(self) -> str | None:
        """The metric for all outputs that it fits, or None."""
        return metric_name(self.metric) if isinstance(self.metric, str) else None

    def check(self, outputs: Sequence[str]) -> None:
        """Refuse names of outputs that the model doesn't have.

        Raises:
            InputError: With the near names.
        """
        parts = {
            "loss": self.loss,
            "metric": self.metric,
            "loss weight": self.weights,
            "label to ignore": self.ignored,
        }
        for what, given in parts.items():
            for name in given if isinstance(given, Mapping) else ():
                if name not in outputs:
                    raise InputError(
                        f"there is no output '{name}' to have a {what}", near_names(name, outputs)
                    )


def by_output(texts: Sequence[str], what: str) -> ByOutput:
    """`mse`, or `a=mse` and `b=mae`, as one text or a mapping.

    Raises:
        InputError: Several are given, and not all for an output.
    """
    pairs = [_NAMED.fullmatch(text) for text in texts]
    named = {pair[1].strip(): pair[2].strip() for pair in pairs if pair}
    if not texts or (len(named) == len(texts)):
        return named or None
    if len(texts) > 1:
        raise InputError(
            f"{what} is given {len(texts)} times", f"give one, or one for each output: out={what}"
        )
    return texts[0]


def loss_weights(texts: Sequence[str]) -> dict[str, float]:
    """`a=0.5` and `b=2` as numbers by output.

    Raises:
        InputError: One is no weight of 0 or more, or is for no output.
    """
    found: dict[str, float] = {}
    for text in texts:
        pair = _NAMED.fullmatch(text)
        try:
            weight = float(pair[2]) if pair else math.nan
        except ValueError:
            weight = math.nan
        if pair is None or not 0 <= weight < math.inf:
            raise InputError(f"'{text}' is no loss weight", "write out=0.5, 0 or more")
        found[pair[1].strip()] = weight
    return found
