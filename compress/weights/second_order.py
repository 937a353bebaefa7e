"""One-shot pruning that repairs itself: weights that stay take over the work of those that go.

Layer by layer, from the input on, with inputs taken from the network as it is already pruned:

    minimise over W   ||X W - X0 W0||^2 + damping ||W - W0||^2    with W zero where the mask says so

W0 and X0 are the kernel and its inputs in the dense network, X the inputs in the pruned one; the
bias is refitted along. The mask grows in stages; in each, a weight's score is what its removal
costs when the others answer, w^2 / inverse(H)_ii (Optimal Brain Surgeon), with H = X'X over the
weights that its output still has.

Source: Frantar and Alistarh, Optimal Brain Compression, arXiv 2208.11580, and SparseGPT, arXiv
2301.00774.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from edgepress.compress.kernel.progress import Progress
from edgepress.compress.weights.allocation.planning import MaskPlan, apply_masks
from edgepress.compress.weights.layer_inputs import batches, inputs_of, reader_for
from edgepress.compress.weights.masks.masks import Mask
from edgepress.compress.weights.masks.prunable import PrunableWeight, walk_layers

if TYPE_CHECKING:
    import keras

_DAMPING = 0.01
# Stages in which a mask grows: as many as the inverses for each output allow within the budget of
# operations; where that is below the fewest, all outputs share one inverse.
_FEWEST, _MOST = 6, 32
_BUDGET = 1e11


@dataclass(frozen=True)
class Normal:
    """The least-squares problem of one group of outputs.

    Attributes:
        hessian: (r, r) X'X plus damping, r = S x I (+ 1 with a bias).
        target: (r, o) X'X0 W0 plus damping W0.
        outputs: Which outputs of the kernel these are.
    """

    hessian: Float[np.ndarray, "r r"]
    target: Float[np.ndarray, "r o"]
    outputs: slice


def refit_and_mask(
    source: keras.Model,
    model: keras.Model,
    plan: MaskPlan,
    samples: Mapping[str, Float[np.ndarray, "..."]],
    progress: Progress,
) -> tuple[dict[str, Mask], tuple[str, ...]]:
    """Choose masks from data and refit what stays; changes the weights of `model`.

    Kernels that aren't a matrix product over one visible input (recurrent, embeddings, transposed
    and separable convolutions) are masked by magnitude.

    Args:
        source: The dense model.
        model: A copy of it, whose kernels `plan` holds.
        plan: What is pruned.
        samples: (n, …) calibration inputs by name.
        progress: Receives the progress.

    Returns:
        (masks by kernel path, paths of the kernels that were masked by magnitude).
    """
    zeros = plan.zeros(plan.final)
    dense = dict(walk_layers(source))
    masks: dict[str, Mask] = {}
    unread: list[str] = []
    for number, kernel in enumerate(plan.kernels):
        progress.step(number, len(plan.kernels), kernel.path)
        normals = _normals((source, model), dense[kernel.layer_path], kernel, samples)
        if normals:
            masks[kernel.path] = _prune_kernel(plan, kernel, normals, zeros[kernel.path])
        else:
            scores = plan.criterion(kernel.planes())
            masks[kernel.path] = plan.mask(kernel, scores, zeros[kernel.path])
            apply_masks((kernel,), masks)
            unread.append(kernel.path)
    progress.step(len(plan.kernels), len(plan.kernels))
    return masks, tuple(unread)


def _normals(
    models: tuple[keras.Model, keras.Model],
    dense_layer: keras.Layer,
    kernel: PrunableWeight,
    samples: Mapping[str, Float[np.ndarray, "..."]],
) -> list[Normal]:
    """The problems of all groups, or none where the inputs can't be read."""
    source, model = models
    reader = reader_for(kernel)
    if reader is None:
        return []
    size = _weights(kernel).shape[0]
    gram = np.zeros((reader.groups, size, size))
    cross = np.zeros_like(gram)
    for batch in batches(source, samples):
        now, then = inputs_of(model, kernel.layer, batch), inputs_of(source, dense_layer, batch)
        if now is None or then is None:
            return []
        for value, dense_value in zip(now, then, strict=True):
            for group in range(reader.groups):
                rows = _with_bias(reader.rows(value, group), size)
                dense_rows = _with_bias(reader.rows(dense_value, group), size)
                gram[group] += rows.T @ rows
                cross[group] += rows.T @ dense_rows
    return [_normal(kernel, gram[g], cross[g], g, reader.groups) for g in range(reader.groups)]


def _normal(
    kernel: PrunableWeight,
    gram: Float[np.ndarray, "r r"],
    cross: Float[np.ndarray, "r r"],
    group: int,
    groups: int,
) -> Normal:
    weights = _weights(kernel)
    width = weights.shape[1] // groups
    outputs = slice(group * width, (group + 1) * width)
    damping = _DAMPING * float(np.mean(np.diag(gram))) + 1e-8
    eye = damping * np.eye(len(gram))
    return Normal(gram + eye, (cross + eye) @ weights[:, outputs], outputs)


def _prune_kernel(
    plan: MaskPlan, kernel: PrunableWeight, normals: list[Normal], zeros: int
) -> Mask:
    """Grow the mask of one kernel in stages, refitting after each; assign the result."""
    shape = kernel.layout.shape(kernel.shape)
    rows = shape[0] * shape[1]
    weights = _weights(kernel).astype(np.float64)
    keep = np.ones(weights.shape, bool)
    mask = None
    final = zeros / kernel.size
    affordable = int(_BUDGET / (weights.shape[1] * float(weights.shape[0]) ** 3))
    stages = min(max(affordable, _FEWEST), _MOST)
    for stage in range(1, stages + 1):
        share = (1 - (1 - final) ** (stage / stages)) / final if final else 1.0
        scores = np.empty_like(weights)
        for normal in normals:
            o = normal.outputs
            scores[:, o] = _scores(normal.hessian, weights[:, o], keep[:, o], affordable < _FEWEST)
        planes = scores[:rows].reshape(shape)
        mask = plan.mask(kernel, planes, round(zeros * share), share)
        keep[:rows] = kernel.layout.planes(mask.array).reshape(rows, -1)
        for normal in normals:
            o = normal.outputs
            weights[:, o] = solve_masked(normal.hessian, normal.target, keep[:, o], weights[:, o])
    assert mask is not None
    _assign(kernel, weights)
    return mask


def _scores(
    hessian: Float[np.ndarray, "r r"],
    weights: Float[np.ndarray, "r o"],
    keep: Bool[np.ndarray, "r o"],
    share_inverse: bool,
) -> Float[np.ndarray, "r o"]:
    """What removing each weight costs; below zero where it is already gone."""
    scores = np.full(weights.shape, -1.0)
    if share_inverse or keep.all():
        variance = np.diag(np.linalg.inv(hessian))[:, None]
        return np.where(keep, weights**2 / variance, scores)
    for o in range(weights.shape[1]):
        kept = np.flatnonzero(keep[:, o])
        variance = np.diag(np.linalg.inv(hessian[np.ix_(kept, kept)]))
        scores[kept, o] = weights[kept, o] ** 2 / variance
    return scores


def solve_masked(
    hessian: Float[np.ndarray, "r r"],
    target: Float[np.ndarray, "r o"],
    keep: Bool[np.ndarray, "r o"],
    start: Float[np.ndarray, "r o"],
    iterations: int = 300,
    tolerance: float = 1e-6,
) -> Float[np.ndarray, "r o"]:
    """Solve hessian x = target with x zero outside `keep`, for all outputs at once.

    Conjugate gradients on the kept entries, scaled by the diagonal: each output has a support of
    its own, so a factorisation couldn't be shared.

    Args:
        hessian: (r, r) symmetric positive definite.
        target: (r, o) right-hand sides.
        keep: (r, o) entries that may differ from zero.
        start: (r, o) where to begin.
        iterations: At most so many.
        tolerance: Relative residual at which an output is done.

    Returns:
        (r, o) the solution.
    """
    inverse_diagonal = 1 / np.diag(hessian)[:, None]
    x = np.where(keep, start, 0.0)
    residual = np.where(keep, target - hessian @ x, 0.0)
    bound = tolerance**2 * np.sum(np.where(keep, target, 0.0) ** 2 * inverse_diagonal, axis=0)
    direction = residual * inverse_diagonal
    energy = np.sum(residual * direction, axis=0)
    for _ in range(iterations):
        open_outputs = energy > bound
        if not open_outputs.any():
            break
        change = np.where(keep, hessian @ direction, 0.0)
        curvature = np.sum(direction * change, axis=0)
        step = np.where(open_outputs, energy / np.where(curvature > 0, curvature, 1.0), 0.0)
        x += step * direction
        residual -= step * change
        scaled = residual * inverse_diagonal
        renewed = np.sum(residual * scaled, axis=0)
        direction = (
            scaled + np.where(energy > 0, renewed / np.where(energy > 0, energy, 1), 0) * direction
        )
        energy = renewed
    return x


def _weights(kernel: PrunableWeight) -> Float[np.ndarray, "r o"]:
    """The kernel as a matrix (S x I, O), its bias as one more row."""
    planes = kernel.planes()
    matrix = planes.reshape(-1, planes.shape[2])
    bias = _bias(kernel)
    if bias is None:
        return matrix
    return np.concatenate([matrix, np.asarray(bias.numpy()).reshape(1, -1)])


def _assign(kernel: PrunableWeight, weights: Float[np.ndarray, "r o"]) -> None:
    shape = kernel.layout.shape(kernel.shape)
    rows = shape[0] * shape[1]
    kernel.variable.assign(kernel.layout.kernel(weights[:rows].reshape(shape), kernel.shape))
    bias = _bias(kernel)
    if bias is not None:
        bias.assign(weights[rows].reshape(bias.shape))


def _bias(kernel: PrunableWeight) -> keras.Variable | None:
    """The layer's bias, where it has one for each output."""
    bias = getattr(kernel.layer, "bias", None)
    outputs = kernel.layout.shape(kernel.shape)[2]
    return bias if bias is not None and int(np.prod(bias.shape)) == outputs else None


def _with_bias(rows: Float[np.ndarray, "n c"], size: int) -> Float[np.ndarray, "n r"]:
    """Add the column of ones that the bias multiplies, where the problem has one."""
    return rows if rows.shape[1] == size else np.hstack([rows, np.ones((len(rows), 1), np.float32)])
