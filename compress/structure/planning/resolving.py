"""The specification of a structured pruning with "auto" filled in, checked against the data."""

from __future__ import annotations

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import PruneSpec

# What "auto" stands for: with data, and without.
AUTO = ("taylor", "l1")
DURING_TRAINING = ("constant", "polynomial")


def resolved(spec: PruneSpec, dataset: Dataset | None) -> PruneSpec:
    """The spec with "auto" filled in, checked against the data."""
    if spec.criterion == "auto":
        spec = spec.model_copy(update={"criterion": AUTO[dataset is None]})
    if dataset is None and spec.recover_epochs:
        raise InputError("recover_epochs needs data", "give data, or recover_epochs 0")
    _check_schedule(spec, dataset)
    return spec


def _check_schedule(spec: PruneSpec, dataset: Dataset | None) -> None:
    """Refuse a schedule that doesn't go with channels, the data or the other options."""
    if spec.schedule == "moving":
        raise InputError(
            "schedule moving is for structure weights; a removed channel doesn't come back",
            "give schedule one-shot, iterative, constant or polynomial",
        )
    if spec.schedule == "iterative" and spec.steps == 1:
        raise InputError("schedule iterative has one step only", "give steps, such as 3")
    if spec.schedule not in DURING_TRAINING:
        return
    if dataset is None or not spec.recover_epochs:
        lacks = "recover_epochs is 0" if dataset is not None else "there is no data"
        raise InputError(
            f"schedule {spec.schedule} removes channels during training, and {lacks}",
            "give data and recover_epochs, or schedule one-shot",
        )
    for name in ("steps", "initial_sparsity", "frequency"):
        if spec.asked(name):
            raise InputError(
                f"{name} is not for channels with schedule {spec.schedule}: they shrink a little"
                " with every step, and go at once",
                f"leave {name} out, or give schedule iterative with steps",
            )
    if spec.penalty_epochs is not None and spec.penalty_epochs > spec.recover_epochs:
        raise InputError(
            f"penalty_epochs {spec.penalty_epochs} is more than recover_epochs"
            f" {spec.recover_epochs}, of which they are a part",
            "give more recover_epochs",
        )
