"""The metrics that a model was compiled with, as far as there is one here that means the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgepress.compress.data.metrics import is_always_right, metric_of
from edgepress.compress.data.output_task import OutputTask
from edgepress.compress.errors import InputError
from edgepress.compress.models.compiled_losses import CompiledMetrics

Settings = Mapping[str, Any]

# Keras's metrics that have one name here whatever their settings, by their plain names.
_PLAIN = {
    "accuracy": "accuracy", "acc": "accuracy", "categoricalaccuracy": "accuracy",
    "sparsecategoricalaccuracy": "accuracy", "meanabsoluteerror": "mae", "mae": "mae",
    "meansquarederror": "mse", "mse": "mse", "rootmeansquarederror": "rmse", "rmse": "rmse",
    "meanabsolutepercentageerror": "mape", "mape": "mape", "r2score": "r2",
    "meaniou": "mean_iou", "onehotmeaniou": "mean_iou",
}  # fmt: skip
# What files of Keras 2 wrap functions in.
_WRAPPERS = ("meanmetricwrapper", "metric")


@dataclass(frozen=True)
class _Said:
    """A metric as it was compiled.

    Attributes:
        shown: How people know it.
        name: Its plain name.
        settings: What it was given.
    """

    shown: str
    name: str
    settings: Settings


def with_compiled_metrics(
    outputs: Sequence[OutputTask],
    compiled: Sequence[CompiledMetrics],
    sizes: Sequence[int | None],
) -> tuple[list[OutputTask], list[str]]:
    """Outputs scored by the first metric of each that means the same here.

    Args:
        outputs: With the metrics that their targets suggest.
        compiled: What each was compiled with.
        sizes: Values that each gives for a place; None where that is free.

    Returns:
        The outputs, and a remark for each of them whose other metrics are not taken.
    """
    found, remarks = [], []
    for output, said, size in zip(outputs, compiled, sizes, strict=True):
        known = [_said(one) for one in said.metrics]
        names = [_fitting(output, one, size) for one in known] if output.scored else []
        chosen = next((name for name in names if name), "")
        rest = [one.shown for one, name in zip(known, names, strict=False) if name != chosen]
        rest += [f"weighted {_said(one).shown}" for one in said.weighted]
        found.append(replace(output, metric=chosen) if chosen else output)
        if rest and output.scored:
            remarks.append(
                f"output '{output.name}' was compiled with {', '.join(dict.fromkeys(rest))} too,"
                f" not taken: its metric is {found[-1].metric} (--metric names another)"
            )
    return found, remarks


def _said(given: object) -> _Said:
    """A metric of a configuration: a name, a class with settings, or a function."""
    if isinstance(given, str):
        return _Said(given, _plain(given), {})
    if not isinstance(given, Mapping):
        name = str(getattr(given, "name", getattr(given, "__name__", type(given).__name__)))
        return _Said(name, "", {})
    kind, config = str(given.get("class_name", "")), given.get("config")
    if not isinstance(config, Mapping):
        return _Said(str(config), "", {})
    plain = _plain(kind)
    if plain in _WRAPPERS:
        wrapped = str(config.get("fn") or config.get("name"))
        return _Said(wrapped, _plain(wrapped), config)
    own = str(given.get("registered_name") or "")
    return _Said(kind, "" if own and own != kind else plain, config)


def _plain(name: str) -> str:
    """One name for a class and a function: `SparseTopKCategoricalAccuracy` without its capitals."""
    return name.replace("_", "").lower()


def _fitting(output: OutputTask, said: _Said, size: int | None) -> str:
    """The metric here that means the same for an output; empty where there is none."""
    name = _counterpart(output, said)
    if not name or output.kind == "own" or is_always_right(name, size):
        return ""
    try:
        metric = metric_of(name)
    except InputError:
        return ""
    fits = (output.of_classes or not metric.of_classes) and not (
        metric.by_value and output.numbered
    )
    leaves_out = output.void is None or metric.of_places is not None
    decides = output.of_classes or name != "accuracy"
    return name if fits and leaves_out and decides else ""


def _counterpart(output: OutputTask, said: _Said) -> str:
    settings = said.settings
    if said.name in _PLAIN:
        return _PLAIN[said.name]
    if said.name == "binaryaccuracy":
        return _binary_accuracy(output, settings)
    if said.name in ("topkcategoricalaccuracy", "sparsetopkcategoricalaccuracy"):
        return f"top{settings.get('k', 5)}_accuracy"
    if said.name == "auc":
        return {"ROC": "auc", "PR": "average_precision"}.get(settings.get("curve", "ROC"), "")
    if said.name == "f1score":
        average = settings.get("average")
        return "f1" if average is None else f"f1_{average}"
    if said.name in ("precision", "recall"):
        return _decided(output, said)
    if said.name in ("iou", "binaryiou", "onehotiou"):
        return _overlap(said)
    return ""


def _binary_accuracy(output: OutputTask, settings: Settings) -> str:
    """Where it decides at one half of probabilities, as accuracy does here."""
    labels = not output.numbered and output.kind != "classification"
    usual = settings.get("threshold", 0.5) == (0.0 if output.logits else 0.5)
    return "accuracy" if labels and usual else ""


def _decided(output: OutputTask, said: _Said) -> str:
    """Precision or recall of yes and no; of one class of several Keras cuts at one half."""
    settings = said.settings
    plain = settings.get("thresholds") in (None, 0.5, [0.5]) and settings.get("top_k") is None
    if not plain or output.kind == "classification" or output.numbered:
        return ""
    number = settings.get("class_id")
    if number is not None:
        return f"{said.name}:{number}"
    return f"{said.name}_micro" if output.kind == "multi-label" else said.name


def _overlap(said: _Said) -> str:
    classes = said.settings.get("target_class_ids")
    if said.name == "binaryiou" and classes in (None, [0, 1], (0, 1)):
        return "mean_iou"
    if isinstance(classes, list | tuple) and len(classes) == 1:
        return "iou" if said.name == "binaryiou" and classes[0] == 1 else f"iou:{classes[0]}"
    return ""
