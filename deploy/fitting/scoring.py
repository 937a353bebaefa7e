"""How much a file's metric falls on the data that choices are made by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.benchmarks.number_format import is_share
from edgepress.compress.data.metrics import drop_of
from edgepress.compress.errors import CheckFailed, EdgepressError
from edgepress.compress.kernel.files import sha256

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data import Dataset


@dataclass(frozen=True)
class Score:
    """A file on validation data.

    Attributes:
        value: Its metric.
        drop: The fall from the given model on the same samples.
        error: One standard error of that fall, at most: of decisions, as if each one that changed
            had changed the metric; 0 where it can't be told.
    """

    value: float
    drop: float
    error: float


@dataclass
class Scorer:
    """Scores files beside the given model, each file once.

    Attributes:
        model: The given model.
        data: Its data.
        scores: Those so far, by hash of the file.
    """

    model: keras.Model
    data: Dataset
    scores: dict[str, Score] = field(default_factory=dict)

    @property
    def split(self) -> str:
        """The split that choices are made by."""
        return "val" if self.data.val is not None else self.data.report_split.name

    def score(self, file: Path) -> float:
        """The metric of a file.

        Raises:
            CheckFailed: It is no finite number.
        """
        from edgepress.deploy.verification.verifying import verify

        name = sha256(file)
        if name not in self.scores:
            held = self.data if self.data.val is None else replace(self.data, test=None)
            found = verify(self.model, file, held)
            if found.value is None or found.source_value is None or not math.isfinite(found.value):
                raise CheckFailed(
                    f"'{file.name}' has no {self.data.task.metric} on {self.split} data"
                )
            drop = drop_of(self.data.task.metric, found.source_value, found.value)
            changed = max(0.0, 1 - found.agreement) if is_share(self.data.task.metric) else 0.0
            error = math.sqrt(changed / max(1, found.samples))
            self.scores[name] = Score(found.value, drop, error)
        return self.scores[name].value

    def fall(self, file: Path) -> float | None:
        """How much a file falls, with one standard error; None where it can't be told."""
        try:
            self.score(file)
        except EdgepressError:
            return None
        found = self.scores[sha256(file)]
        return found.drop + found.error
