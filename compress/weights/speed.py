"""Where zeros make a network faster, and where not: what was measured, and what follows from it.

LiteRT has a kernel of its own for dense layers whose float weights are encoded in blocks of four
inputs. XNNPACK's kernels for zeros (1x1 convolutions) are switched off on x86 processors with AVX,
where its dense ones are taken to be faster. All else multiplies by zeros as by any number.

Source: `benchmarks/studies/pruning/sparse_speed.py`, table in docs/weights.md; XNNPACK's
`xnn_is_chw_compatible_config`.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from edgepress.compress.weights.allocation.planning import MaskPlan
from edgepress.compress.weights.masks.masks import FAST_BLOCK, FAST_FROM, count_zeros, parse_block
from edgepress.compress.weights.masks.prunable import PrunableWeight


def speed_remark(plan: MaskPlan) -> str:
    """One line: whether the zeros of a pruned model make it faster, and what would.

    Args:
        plan: What was pruned; its kernels hold the zeros.
    """
    dense = [k for k in plan.kernels if isinstance(k.layer, keras.layers.Dense)]
    share = _share(dense)
    if dense and plan.granularity == "blocks" and parse_block(plan.pattern)[0] % FAST_BLOCK == 0:
        if share >= FAST_FROM:
            return (
                f"dense layers with {share:.0%} zeros in blocks of {FAST_BLOCK} inputs run faster"
                " in a float32 TFLite file with encoded zeros, which export writes; other layers,"
                " precisions and runtimes are not faster for their zeros"
            )
        return (
            "zeros do not make it faster yet: dense layers in blocks of"
            f" {FAST_BLOCK} inputs run faster with {FAST_FROM:.0%} zeros or more (here"
            f" {share:.0%}), other layers with structure channels"
        )
    weights = sum(k.size for k in dense) / sum(k.size for k in plan.kernels)
    also = (
        f"; for its dense layers ({weights:.0%} of the weights) structure blocks, block"
        f" {FAST_BLOCK}x1 and a sparsity of {FAST_FROM:g} or more"
        if weights >= 0.1
        else ""
    )
    return (
        "zeros do not make it faster: LiteRT and ONNX Runtime multiply by them as by any number;"
        f" for less latency use structure channels{also}"
    )


def _share(kernels: Sequence[PrunableWeight]) -> float:
    zeros, weights = count_zeros([k.value() for k in kernels])
    return zeros / weights if weights else 0.0
