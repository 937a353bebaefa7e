"""Training goes on after surgery: the optimizer's slots are cut like their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from edgepress.compress.structure.surgery.slicing import sliced
from edgepress.compress.structure.surgery.surgery import Surgery
from edgepress.compress.training.optimization.optimizer_state import copy_slots, slots_of

if TYPE_CHECKING:
    import keras

    from edgepress.compress.structure.tracing.groups import Units


def carry_optimizer(
    surgery: Surgery, optimizer: keras.Optimizer | None = None
) -> keras.Optimizer | None:
    """An optimizer for the pruned model with the state that the original's had.

    A slot has the shape of its weight (a moment for each number), so it loses the same positions.
    State that belongs to no weight (the count of steps) is taken over as it is; a slot of another
    shape than its weight's (Adafactor's rows and columns) starts over.

    Args:
        surgery: The original, and the pruned model.
        optimizer: A built optimizer for the original; by default the one it is compiled with.

    Returns:
        A new optimizer of the same kind, built for the pruned model's trainable weights; None
        where there is none with a state.
    """
    model = surgery.channels.model
    old = getattr(model, "optimizer", None) if optimizer is None else optimizer
    return _carried(old, model, surgery.model, surgery.pairs(), surgery.kept)


def copy_optimizer(source: keras.Model, copy: keras.Model) -> keras.Optimizer | None:
    """An optimizer for a copy of a model with the state that the model's own has, or None."""
    pairs = zip(source.variables, copy.variables, strict=True)
    return _carried(getattr(source, "optimizer", None), source, copy, pairs, None)


def _carried(
    old: keras.Optimizer | None,
    model: keras.Model,
    new_model: keras.Model,
    pairs: Iterable[tuple[keras.Variable, keras.Variable]],
    kept: Callable[[keras.Variable], list[Units]] | None,
) -> keras.Optimizer | None:
    """See `carry_optimizer`; `kept` gives for a weight the positions that stay of each axis."""
    if old is None or not old.built:
        return None
    new = type(old).from_config(old.get_config())
    new.build(new_model.trainable_variables)
    held = slots_of(old, model.weights)
    origins = {id(after): before for before, after in pairs}
    for (owner, kind), target in slots_of(new, new_model.weights).items():
        weight = origins.get(owner)
        source = held.get((0 if weight is None else id(weight), kind))
        if source is None:
            continue
        value = source.numpy()
        if weight is not None and kept and tuple(source.shape) == tuple(weight.shape):
            value = sliced(value, kept(weight))
        if value.shape == tuple(target.shape):
            target.assign(value)
    return new


def compile_like(source: keras.Model, model: keras.Model, optimizer: keras.Optimizer | None) -> str:
    """Compile a pruned model as the original is, with the optimizer's state where there is one.

    Args:
        source: The original, compiled.
        model: The pruned model.
        optimizer: A built optimizer for the pruned model, or None.

    Returns:
        What is to be said about it.
    """
    try:
        model.compile_from_config(source.get_compile_config())
    except Exception as error:  # whatever the user's own losses and metrics raise
        model.compiled, model.optimizer = False, None
        return (
            "the pruned model is not compiled: what the original was compiled with can't be"
            f" restored ({type(error).__name__})"
        )
    if optimizer is None or type(optimizer) is not type(source.optimizer):
        return "the pruned model is compiled as the original was, its optimizer without a state"
    copy_slots(optimizer, model.optimizer, model)
    return "the pruned model is compiled as the original was, with its optimizer's state cut to fit"
