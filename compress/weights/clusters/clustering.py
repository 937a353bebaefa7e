"""The step that lets weights share values, start to end: clusters, training under them, account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgepress.compress.data import Dataset
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.pruning_run import PruningRun, model_figures, uncounted_notes
from edgepress.compress.specs.pruning_result import PruneResult
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.compress.weights.clusters.entropy import entropy_bounds
from edgepress.compress.weights.clusters.shared_values import HoldClusters, cluster_weights
from edgepress.compress.weights.masks.kernel_sparsity import kernel_sparsity
from edgepress.compress.weights.masks.prunable import find_kernels

_FLOAT_BYTES = 4


def prune_to_clusters(
    model: Any,
    dataset: Dataset | None,
    spec: PruneSpec,
    *,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress,
) -> PruneResult:
    """Let the weights of a copy of a model share few values and recover its accuracy.

    Args:
        model: A built Keras model; it stays as it is.
        dataset: What to train and measure on; without it nothing is trained or measured.
        spec: How many values, what stays, and the training.
        seed: Makes the run repeatable.
        state_dir: Folder for the training's checkpoints.
        progress: Receives the progress.

    Returns:
        The clustered model and the account; nothing is listed as removed.
    """
    before = model_figures(model, dataset)
    progress.stage(f"cluster to {spec.clusters} values")
    run = PruningRun(model, dataset, spec, seed, state_dir, progress)
    with run.timed("cluster"):
        copy, clusters = cluster_weights(model, spec.clusters, protect=spec.protect, seed=seed)
    if spec.recover_epochs and dataset is not None:
        progress.stage("recover")
        run.fit(copy, spec.recovery(), "recover", (HoldClusters(copy, clusters),))
    after = model_figures(copy, dataset)
    return PruneResult(
        model=copy,
        structure=spec.structure,
        criterion="k-means",
        before=before,
        after=after,
        sparsity=kernel_sparsity(copy),
        removed=(),
        pinned=find_kernels(copy, spec.protect, depthwise=True)[1],
        seconds=run.seconds,
        history=run.history,
        notes=(*_notes(copy), *run.notes, *uncounted_notes(after.uncounted)),
    )


def _notes(model: Any) -> tuple[str, ...]:
    bounds = entropy_bounds(model)
    dense = _FLOAT_BYTES * sum(bound.weights for bound in bounds)
    return (
        f"kernels could be coded in {sum(b.bytes for b in bounds):,} bytes of {dense:,}; files keep"
        " their length, their gzip and zstd shrink",
        "a batch normalisation that an exporter folds into a kernel scales each output by itself:"
        " few values are then few in each output channel",
    )
