"""`prune`: one door to every structure that can be removed."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.graph import graph_of, require_open_batch
from edgepress.compress.kernel.context import Context, make_context
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.specs.construction import make_spec
from edgepress.compress.specs.pruning_result import PruneResult
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.specs.signatures import takes_options

if TYPE_CHECKING:
    from edgepress.compress.typing import DataLike, ModelLike

# What prunes each structure: a function of (model, dataset, spec, context) that gives a
# `PruneResult`, as module:name; it is imported when it is needed.
PRUNERS: dict[str, str] = {
    **dict.fromkeys(("weights", "blocks", "nm", "kernels"), "weights.pruning:prune_weights"),
    "clusters": "weights.pruning:prune_weights",
    "channels": "structure.pruning:prune_channels",
    "layers": "structure.layers.layer_removal:prune_layers",
}


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
    """Prune a copy of a model and recover its accuracy.

    Trains in this process: where native code crashes, it ends the process. The command line trains
    in a child process and goes on by itself.

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
    model: ModelLike,
    data: DataLike | None = None,
    context: Context | None = None,
    **fields: Any,
) -> PruneResult:
    """`prune` with the options as a spec, and with what measures files and devices.

    Args:
        spec: The step.
        model: Keras model, or anything that `load` takes. It stays as it is.
        data: Anything that `open_data` takes; without it nothing is trained or measured.
        context: What travels with them.
        **fields: Those of a `Context`, where none is given.
    """
    from edgepress.compress.data import open_data
    from edgepress.compress.models import load_noted, restore_compilation
    from edgepress.compress.models.own_training import refuse_own_step
    from edgepress.compress.training.weight_checks import check_weights

    context = make_context(context, fields)
    loaded = load_noted(model)
    source = loaded.model
    if data is not None and spec.recover.epochs:
        refuse_own_step(source)
    if source is not model:
        restore_compilation(loaded, model)
    if data is not None and graph_of(source) is not None:
        require_open_batch(source)
    dataset = None if data is None else open_data(data, source, context.seed)
    if dataset is not None and spec.recover.epochs:
        check_weights(source, dataset, spec.recover, spec.recover.distill)
    module, _, name = PRUNERS[spec.structure].partition(":")
    how = getattr(import_module(f"edgepress.compress.{module}"), name)
    result: PruneResult = how(source, dataset, spec, context)
    return result
