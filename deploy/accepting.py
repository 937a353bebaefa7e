"""What a run had to keep, and whether it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgepress.compress.data.metrics import fallen
from edgepress.compress.data.tasks import Task
from edgepress.compress.figures import OutputMetric, compared
from edgepress.deploy.recipe import Recipe

_ROUNDING = 1e-9


def unmet(
    recipe: Recipe, task: Task, stages: list[dict[str, Any]], artifacts: list[dict[str, Any]]
) -> list[str]:
    """What fell by more than the recipe allows, one line for each output.

    Args:
        recipe: Its pruning steps and `accept` bound the fall.
        task: Says what a fall is.
        stages: Records of the stages, in order.
        artifacts: Records of the published files.
    """
    found = []
    pruned = [stage for stage in stages if stage["kind"] == "prune"]
    for spec, stage in zip(recipe.prune, pruned, strict=True):
        if spec.max_drop is None:
            continue
        rows = _rows(stage)
        found += [
            f"in {stage['name']} {_named(row, rows)} fell from {row.source_value:.4f} to"
            f" {_shown(row.value)}, more than its max_drop {spec.max_drop:g} allows"
            for row in fallen(rows, spec.max_drop + _ROUNDING)
        ]
    allowed = recipe.accept.max_drop
    if allowed is None:
        return found
    given = _rows(stages[0])
    for artifact in artifacts:
        what = f"{artifact['format']} {artifact['quantize']}"
        rows = compared(_rows(artifact.get("verified") or {}), given)
        if not rows:
            found.append(f"{what}: {task.metric} is unknown, so --max-drop {allowed:g} isn't kept")
        found += [
            f"{what}: {_named(row, rows)} is {_shown(row.value)}, the given model has"
            f" {row.source_value:.4f}: more than --max-drop {allowed:g} allows"
            for row in fallen(rows, allowed + _ROUNDING)
        ]
    return found


def _rows(record: dict[str, Any]) -> tuple[OutputMetric, ...]:
    return tuple(OutputMetric(**row) for row in record.get("metrics") or ())


def _named(row: OutputMetric, rows: Sequence[OutputMetric]) -> str:
    """The metric, and of which output it is where there are several."""
    return f"{row.metric} of output '{row.output}'" if len(rows) > 1 else row.metric


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
