"""Training goes on after surgery: the optimizer's slots are cut like their weights."""

from __future__ import annotations

from typing import Any

from edgepress.compress.structure.surgery import Surgery, sliced


def carry_optimizer(surgery: Surgery) -> Any:
    """An optimizer for the pruned model with the state that the original's had.

    A slot has the shape of its weight (a moment for each number), so it loses the same positions.
    State that belongs to no weight (iterations, a schedule's step) is taken over as it is.

    Args:
        surgery: The original, compiled and perhaps trained, and the pruned model.

    Returns:
        A new optimizer of the same kind, built for the pruned model's trainable weights; None
        where the original has none.
    """
    old = getattr(surgery.channels.model, "optimizer", None)
    if old is None:
        return None
    new = type(old).from_config(old.get_config())
    new.build(surgery.model.trainable_variables)
    before = {id(v): v for v in surgery.channels.model.trainable_variables}
    by_path = {_slot_key(v.path): v for v in before.values()}
    for source, target in zip(old.variables, new.variables, strict=True):
        weight = _weight_of(source, by_path)
        if weight is None:
            target.assign(source)
        else:
            target.assign(sliced(source, surgery.kept(weight)))
    return new


def _slot_key(path: str) -> str:
    """How Keras writes a weight's path into the names of its slots."""
    return path.replace("/", "_")


def _weight_of(slot: Any, by_path: dict[str, Any]) -> Any:
    """The weight that a slot belongs to: of the same shape, and named in the slot's path."""
    fitting = [
        (len(key), weight)
        for key, weight in by_path.items()
        if key in _slot_key(slot.path) and tuple(weight.shape) == tuple(slot.shape)
    ]
    return max(fitting, key=lambda f: f[0])[1] if fitting else None
