"""`prune` with targets that are measured on files and devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress import pruning
from edgepress.compress.kernel.context import Context, make_context
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.pruning_result import PruneResult
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.specs.signatures import takes_options
from edgepress.deploy.benchmarking.measurers import instruments_for

if TYPE_CHECKING:
    from edgepress.compress.typing import DataLike, ModelLike


@takes_options(PruneSpec)
def prune(
    model: ModelLike,
    data: DataLike | None = None,
    *,
    spec: PruneSpec | None = None,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> PruneResult:
    """`compress.prune`, for every target: `target_size`, `target_arena`, `target_latency` too.

    Args:
        model: Keras model, or anything that `load` takes. It stays as it is.
        data: Anything that `open_data` takes; without it nothing is trained or measured on data.
        seed: Makes the run repeatable.
        state_dir: Folder for the checkpoints of the training.
        progress: Receives the progress.
        spec: The options as a `PruneSpec`; those that are given by name change it.
        **options: Fields of `PruneSpec`.

    Returns:
        The pruned model and the account of it; `measured` holds what files and devices showed.

    Raises:
        InputError: An option is unknown or impossible, or the target can't be reached.
        DeviceError: The device can't be reached, or can't run a layer.
    """
    spec = make_spec(PruneSpec, options, base=spec)
    return prune_as(spec, model, data, seed=seed, state_dir=state_dir, progress=progress)


def prune_as(
    spec: PruneSpec,
    model: ModelLike,
    data: DataLike | None = None,
    context: Context | None = None,
    **fields: Any,
) -> PruneResult:
    """`prune` with the options as a spec; the context gets the instruments that it needs."""
    context = make_context(context, fields)
    with instruments_for(spec, progress=context.progress) as instruments:
        return pruning.prune_as(spec, model, data, replace(context, instruments=instruments))
