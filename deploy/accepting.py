"""What a run had to keep, and whether it did."""

from __future__ import annotations

from typing import Any

from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import CheckFailed
from edgepress.deploy.recipe import Recipe

_ROUNDING = 1e-9


def refuse_at_chance(stages: list[dict[str, Any]]) -> None:
    """Stop before a pruning of a model that has learned nothing which holds on validation data.

    Args:
        stages: Records of the stages so far.

    Raises:
        CheckFailed: Says what was seen and where.
    """
    for stage in stages:
        for found in stage.get("diagnosis", []):
            if found["finding"] == "validation at chance":
                what, _, hint = found["advice"].partition("; ")
                raise CheckFailed(f"stopped after {stage['name']}, before pruning: {what}", hint)


def unmet(
    recipe: Recipe, task: Task, stages: list[dict[str, Any]], artifacts: list[dict[str, Any]]
) -> list[str]:
    """What fell by more than the recipe allows, one line each.

    Args:
        recipe: Its pruning steps and `accept` bound the fall.
        task: Says what a fall is.
        stages: Records of the stages, in order.
        artifacts: Records of the published files.
    """
    found = []
    pruned = [stage for stage in stages if stage["kind"] == "prune"]
    for spec, stage in zip(recipe.prune, pruned, strict=True):
        before, after = stage["before"]["value"], stage["after"]["value"]
        if spec.max_drop is not None and task.drop(before, after) > spec.max_drop + _ROUNDING:
            found.append(
                f"in {stage['name']} {task.metric} fell from {before:.4f} to {after:.4f},"
                f" more than its max_drop {spec.max_drop:g} allows"
            )
    allowed, source = recipe.accept.max_drop, stages[0]["value"]
    if allowed is None:
        return found
    for artifact in artifacts:
        value = (artifact.get("verified") or {}).get("value")
        if value is None or task.drop(source, value) > allowed + _ROUNDING:
            shown = "unknown" if value is None else f"{value:.4f}"
            found.append(
                f"{artifact['format']} {artifact['quantize']}: {task.metric} is {shown}, the given"
                f" model has {source:.4f}: more than --max-drop {allowed:g} allows"
            )
    return found
