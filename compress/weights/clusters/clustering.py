"""The step that lets weights share values, start to end: clusters, training under them, account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.data import Dataset
from edgepress.compress.kernel.context import Context
from edgepress.compress.pruning_run import PruningRun, model_figures, uncounted_notes
from edgepress.compress.specs.pruning import ClustersSpec
from edgepress.compress.specs.pruning_result import PruneResult
from edgepress.compress.weights.clusters.entropy import entropy_bounds
from edgepress.compress.weights.clusters.shared_values import HoldClusters, cluster_weights
from edgepress.compress.weights.masks.kernel_sparsity import kernel_sparsity
from edgepress.compress.weights.masks.prunable import find_kernels

if TYPE_CHECKING:
    import keras

_FLOAT_BYTES = 4


def prune_to_clusters(
    model: keras.Model,
    dataset: Dataset | None,
    spec: ClustersSpec,
    context: Context,
) -> PruneResult:
    """Let the weights of a copy of a model share few values and recover its accuracy.

    Args:
        model: A built Keras model; it stays as it is.
        dataset: What to train and measure on; without it nothing is trained or measured.
        spec: How many values, what stays, and the training.
        context: What travels with them.

    Returns:
        The clustered model and the account; nothing is listed as removed.
    """
    before = model_figures(model, dataset)
    context.progress.stage(f"cluster to {spec.clusters} values")
    run = PruningRun(model, dataset, spec, context)
    with run.timed("cluster"):
        copy, clusters = cluster_weights(
            model, spec.clusters, protect=spec.protect, seed=context.seed
        )
    if spec.recover.epochs and dataset is not None:
        context.progress.stage("recover")
        held = HoldClusters(copy, clusters)
        run.fit(copy, spec.recovery(), "recover", (held,))
        held.hold()  # a running average of the weights is taken before each step's hold
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


def _notes(model: keras.Model) -> tuple[str, ...]:
    bounds = entropy_bounds(model)
    dense = _FLOAT_BYTES * sum(bound.weights for bound in bounds)
    return (
        f"kernels could be coded in {sum(b.bytes for b in bounds):,} bytes of {dense:,}; files keep"
        " their length, their gzip and zstd shrink",
        "a batch normalisation that an exporter folds into a kernel scales each output by itself:"
        " few values are then few in each output channel",
    )
