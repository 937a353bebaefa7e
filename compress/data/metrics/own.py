"""A metric of the user's own: a function (targets, outputs) in a file or module."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.metrics.metric import Metric, Scorer, score_of
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import running
from edgepress.compress.models.user_code import resolve_reference, told_apart

Array = NDArray[Any]
# scikit-learn's convention, widened by how errors are commonly called.
_LOWER = re.compile(
    r"(^|_)(loss|error|errors|distance|deviance|rate|mae|mse|rmse|mape|cost|divergence|nll|wer|cer)"
    r"(_|\d|$)"
)
_KNOWN: dict[tuple[str, int], Metric] = {}


def own_metric(reference: str) -> Metric:
    """The metric that `file.py:function` or `module:function` names.

    The function takes targets and outputs as NumPy arrays (samples, …), as the data stores and the
    model gives them, and returns one number, or one for each sample, of which the mean counts.
    Higher is better unless its attribute `higher_is_better` is False, or its name says that it is
    a loss, an error, a distance or a rate.

    Raises:
        InputError: There is no such function, or its file fails.
    """
    key = reference_key(reference)
    if key not in _KNOWN:
        function = resolve_reference(reference)
        prepared = _prepared(function, reference)
        _KNOWN[key] = Metric(
            score_of(prepared), is_score(function, reference), any_shape=True, unitless=False,
            prepared=prepared, own=True,
        )  # fmt: skip
    return _KNOWN[key]


def reference_key(reference: str) -> tuple[str, int]:
    """The reference from any folder, and what changes with its file."""
    name, _, function = reference.rpartition(":")
    path = Path(name).absolute()
    if name.endswith(".py") and path.is_file():
        return f"{path}:{function}", path.stat().st_mtime_ns
    return reference, 0


def is_score(function: Callable[..., Any], reference: str) -> bool:
    """Whether higher is better."""
    said = getattr(function, "higher_is_better", None)
    if said is not None:
        return bool(said)
    return not _LOWER.search(reference.rpartition(":")[2].lower())


def _prepared(function: Callable[..., Any], reference: str) -> Any:
    def call(targets: Array, outputs: Array) -> Array:
        with running(f"metric '{reference}'"), told_apart():
            found = np.asarray(function(targets, outputs))
        if found.dtype.kind not in "biuf" or not found.size:
            raise InputError(
                f"metric '{reference}' returns {found.dtype} of shape {found.shape}",
                "return a number, or one for each sample",
            )
        return found.astype(np.float64)

    def prepared(outputs: Array, targets: Array, logits: bool) -> Scorer:
        del logits
        whole = call(targets, outputs)
        if not np.isfinite(whole).all():
            value = whole[~np.isfinite(whole)].flat[0] if whole.ndim else whole
            raise InputError(
                f"metric '{reference}' returns {value} of {len(outputs):,} samples",
                "return finite numbers, such as 0 where there is nothing to count",
            )
        if whole.size > 1 and len(whole) != len(outputs):
            raise InputError(
                f"metric '{reference}' returns {whole.shape} values of {len(outputs):,} samples",
                "return a number, or one for each sample",
            )
        if whole.size > 1:
            values = whole.reshape(len(whole), -1).mean(1)
            return lambda some: float((values if some is None else values[some]).mean())

        def scored(some: Array | None) -> float:
            return float((whole if some is None else call(targets[some], outputs[some])).mean())

        return scored

    return prepared
