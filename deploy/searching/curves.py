"""The recovery curve of a trial: its metric after each epoch, and what its model costs."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import COST_FILE, read_json

if TYPE_CHECKING:
    from edgepress.compress.data import Dataset

# Of one epoch, each so that less is better: the metric, MACs, weights that aren't zero.
Point = tuple[float, ...]
# The metric of an epoch that ended in no number.
WORST = 1e300
# Objectives that follow from the metric, from the MACs, from the number of weights.
_BY_MACS = frozenset({"latency", "macs", "ram", "memory", "energy"})
_BY_WEIGHTS = frozenset({"bytes", "gzip_bytes", "params"})


@dataclass(frozen=True)
class Judged:
    """What epochs are judged by.

    Attributes:
        columns: Of a training's history; the first that is there counts.
        higher: Whether more of them is better; of the loss less always is.
        costs: Whether MACs and weights count.
    """

    columns: tuple[str, ...]
    higher: bool
    costs: tuple[bool, bool]

    @classmethod
    def of(cls, data: Dataset, objectives: Sequence[str]) -> Judged:
        """By the task's metric on validation data, and the costs that objectives follow from.

        Args:
            data: The data set.
            objectives: Of the search; one that it doesn't know may follow from any cost.
        """
        metric = data.task.metric
        known = {"metric"} | _BY_MACS | _BY_WEIGHTS
        other = any(name not in known for name in objectives)
        macs = other or any(name in _BY_MACS for name in objectives)
        weights = other or any(name in _BY_WEIGHTS for name in objectives)
        columns = (f"val_{metric}", metric, "val_loss", "loss")
        return cls(columns, data.task.higher_is_better, (macs, weights))

    def points(self, history: Mapping[str, Any], macs: float, weights: float) -> list[Point]:
        """One point for each epoch of a training."""
        name = next((c for c in self.columns if history.get(c)), None)
        if name is None:
            return []
        sign = -1.0 if self.higher and not name.endswith("loss") else 1.0
        costs = [c for c, counts in zip((macs, weights), self.costs, strict=True) if counts]
        values = [sign * float(value) for value in history[name]]
        return [(v if math.isfinite(v) else WORST, *costs) for v in values]


def curve_of(folder: Path, judged: Judged) -> list[Point]:
    """The epochs of a run so far, of all its trainings in order.

    A run that is under way is read while it writes: its files are whole at any moment.

    Args:
        folder: The run's folder.
        judged: What epochs are judged by.
    """
    stages = folder / "stages"
    if not stages.is_dir():
        return []
    names = {path.name.removeprefix(".").removesuffix(".state") for path in stages.iterdir()}
    macs = weights = 0.0
    found: list[Point] = []
    for name in sorted(names):
        result = _read(stages / name / "result.json")
        if result is None:
            for history, *costs in _trainings(stages / f".{name}.state", macs, weights):
                found += judged.points(history, *costs)
            continue
        macs = float(result.get("macs") or macs)
        kept = 1 - float(result.get("sparsity") or 0.0)
        weights = kept * float(result["params"]) if result.get("params") else weights
        found += judged.points(result.get("history") or {}, macs, weights)
    return found


def _trainings(
    state: Path, macs: float, weights: float
) -> Iterator[tuple[Mapping[str, Any], float, float]]:
    """Trainings of a stage that isn't done, the first one first: history, MACs, weights."""
    files = [path for path in state.rglob("training.npz") if path.is_file()]
    for file in sorted(files, key=lambda path: path.parent.stat().st_ctime):
        model = _read(file.with_name(COST_FILE)) or {}
        columns, nonzero = _checkpoint(file)
        yield columns, float(model.get("macs") or macs), nonzero or weights


def _checkpoint(file: Path) -> tuple[Mapping[str, Any], float]:
    """The figures of all whole epochs of a training, and how many weights aren't zero."""
    import numpy as np

    try:
        with np.load(file, allow_pickle=False) as arrays:
            facts = json.loads(arrays["facts"].tobytes())
            held = [name for name in arrays.files if name.startswith("model/")]
            nonzero = sum(int(np.count_nonzero(arrays[name])) for name in held)
        return dict(facts["columns"]), float(nonzero)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return {}, 0.0


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        found = read_json(path) if path.is_file() else None
    except (InputError, OSError):
        return None
    return found if isinstance(found, dict) else None
