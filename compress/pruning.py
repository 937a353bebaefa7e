"""`prune`: one door to every structure that can be removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.graph import graph_of, require_open_batch
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.pruning_result import PruneResult
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.specs.signatures import takes_options

if TYPE_CHECKING:
    from edgepress.compress.structure.budgets.measured_targets import Instruments


@takes_options(PruneSpec)
def prune(
    model: Any,
    data: Any = None,
    *,
    spec: PruneSpec | None = None,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> PruneResult:
    """Prune a copy of a model and recover its accuracy.

    Args:
        model: Keras model, or anything that `load` takes. It stays as it is.
        data: Anything that `open_data` takes; without it nothing is trained or measured.
        seed: Makes the run repeatable.
        state_dir: Folder for the checkpoints of the training, from which an interrupted run goes
            on; None keeps none.
        progress: Receives the progress.
        spec: The options as a `PruneSpec`; those that are given by name change it.
        **options: Fields of `PruneSpec`.

    Returns:
        The pruned model and the account of it.

    Raises:
        InputError: An option is unknown or impossible, or the target can't be reached.
    """
    spec = make_spec(PruneSpec, options, base=spec)
    return prune_as(spec, model, data, seed=seed, state_dir=state_dir, progress=progress)


def prune_as(
    spec: PruneSpec,
    model: Any,
    data: Any = None,
    *,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
    instruments: Instruments | None = None,
) -> PruneResult:
    """`prune` with the options as a spec, and with what measures files and devices."""
    from edgepress.compress.data import open_data
    from edgepress.compress.models import load_noted, restore_compilation
    from edgepress.compress.models.own_training import refuse_own_step

    loaded = load_noted(model)
    source = loaded.model
    if data is not None and spec.recover_epochs:
        refuse_own_step(source)
    if source is not model:
        restore_compilation(loaded, model)
    if data is not None and graph_of(source) is not None:
        require_open_batch(source)
    dataset = None if data is None else open_data(data, source, seed)
    how = _pruner(spec.structure)
    more = {} if instruments is None else {"instruments": instruments}
    return how(source, dataset, spec, seed=seed, state_dir=state_dir, progress=progress, **more)


def _pruner(structure: str) -> Callable[..., PruneResult]:
    if structure in ("channels", "layers"):
        from edgepress.compress.structure import prune_structure

        return prune_structure
    from edgepress.compress.weights import prune_weights

    return prune_weights
