"""Pictures of a training: loss, metric and learning rate against the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.kernel.files import atomic_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_curves(columns: Mapping[str, Sequence[float]], path: Path | str) -> Path:
    """Draw loss, metric and learning rate by epoch.

    Args:
        columns: A history's `epochs`: "loss", "lr", the metric, and their "val_" columns.
        path: A `.png`, `.svg` or `.pdf` file; replaced where it exists.

    Returns:
        The path.

    Raises:
        InputError: The file can't be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    loss, metric, rate = figure.subplots(1, 3)
    name = metric_of(columns)
    _panel(loss, columns, {"loss": "training", "val_loss": "validation"}, "loss")
    _panel(metric, columns, {name: "training", f"val_{name}": "validation"}, name)
    _panel(rate, columns, {"lr": "learning rate"}, "learning rate")
    if min(columns.get("lr") or [0.0]) > 0:
        rate.set_yscale("log")
    return save_figure(figure, Path(path))


def metric_of(columns: Mapping[str, Sequence[float]]) -> str:
    """The metric that a history follows, or "metric" where it has none."""
    judged = [name for name in columns if name.startswith("val_")] or list(columns)
    names = [name.removeprefix("val_") for name in judged]
    # The headline comes before those of single outputs.
    return next((name for name in names if name not in ("loss", "lr", "seconds")), "metric")


def _panel(
    axes: Axes, columns: Mapping[str, Sequence[float]], shown: Mapping[str, str], title: str
) -> None:
    for column, label in shown.items():
        values = columns.get(column, [])
        if values:
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, marker="o", markersize=3, label=label)
    if axes.lines:
        axes.legend(frameon=False)
    axes.set_xlabel("epoch")
    axes.set_title(title)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure, whole or not at all."""
    with atomic_output(path, force=True) as temporary:
        figure.savefig(temporary, dpi=120)
    return path
