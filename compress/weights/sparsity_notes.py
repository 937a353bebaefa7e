"""What a user should know about a model with zeros: what they bring, and what they don't."""

from __future__ import annotations

from edgepress.compress.weights.allocation.planning import MaskPlan
from edgepress.compress.weights.masks.masks import count_zeros
from edgepress.compress.weights.speed import speed_remark

_SIZE = (
    "the .keras and integer .tflite files keep their length; what shrinks is the compressed"
    " download (gzip, zstd), and float .tflite files where export encodes zeros"
)


def remarks(plan: MaskPlan, sparsity: float) -> tuple[str, ...]:
    """One line each on reach, speed and size.

    Args:
        plan: What was pruned.
        sparsity: Share of zeros over all kernels of the model, 0 to 1.

    Returns:
        Lines for the user.
    """
    zeros, weights = count_zeros([k.value() for k in plan.kernels])
    lines = []
    if weights and abs(zeros / weights - sparsity) > 0.005:
        lines.append(
            f"{zeros / weights:.1%} of the {weights:,} weights that may be pruned are zero,"
            f" {sparsity:.1%} over all kernels"
        )
    if plan.granularity == "nm" and abs(zeros / weights - plan.final) > 0.005:
        lines.append(
            f"pattern {plan.pattern} leaves {zeros / weights:.1%} zeros: kernels whose inputs are"
            " no multiple of the group keep more"
        )
    return (*lines, speed_remark(plan), _SIZE)
