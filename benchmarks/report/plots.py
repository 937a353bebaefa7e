"""Pictures of a run as SVG that takes its colours from the page, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.benchmarks.number_format import is_share, metric_text, ms_text
from edgepress.benchmarks.records import BenchmarkRow, StageRecord
from edgepress.benchmarks.records.rows import NOT_REAL
from edgepress.benchmarks.records.run import StageTime

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# On two lines, since it stands at the edge of a plot.
_NOT_REAL = NOT_REAL.replace(", ", ",\n")

# Matplotlib knows no CSS, so it draws in these colours, and they are replaced afterwards.
_TEXT, _LINE = "#010203", "#020304"
_SERIES = tuple(f"#0a0b{i:02x}" for i in range(6))
_TO_CSS = {
    _TEXT: "currentColor",
    _LINE: "var(--line)",
    **{c: f"var(--c{i})" for i, c in enumerate(_SERIES)},
}
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _LINE,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Point:
    """One file in the plot of accuracy over size.

    Attributes:
        label: What stands beside it.
        bytes: Its size.
        value: Its metric.
        group: Which run it belongs to.
        reference: Whether it is the model that the run began with.
    """

    label: str
    bytes: int
    value: float
    group: str
    reference: bool = False


def accuracy_over_size(points: Sequence[Point], metric: str) -> str:
    """Each file's metric over its size, one colour for each run."""
    factor = 100 if is_share(metric) else 1
    with _figure(7.4, max(3.5, 0.8 + 0.19 * len(points))) as (figure, finish):
        axes = figure.add_subplot()
        groups = list(dict.fromkeys(p.group for p in points))
        for i, group in enumerate(groups):
            chosen = [p for p in points if p.group == group]
            colour = _SERIES[i % len(_SERIES)]
            for p in chosen:
                face = "none" if p.reference else colour
                axes.plot(
                    p.bytes / 1000, p.value * factor, "o", ms=8, mfc=face, mec=colour, mew=1.6,
                    clip_on=False,
                )  # fmt: skip
            axes.plot([], [], "o", color=colour, label=group)
        axes.set_xscale("log")
        _log_ticks(axes, [p.bytes / 1000 for p in points])
        axes.margins(x=0.08, y=0.15)
        if factor == 100:
            _within(axes, 0, 100)
        _label(axes, [(p.bytes / 1000, p.value * factor, p.label) for p in points])
        axes.set_xlabel("size of the file (kB, logarithmic)")
        axes.set_ylabel(f"{metric} (%)" if factor == 100 else metric)
        axes.grid(visible=True)
        if len(groups) > 1:
            figure.legend(loc="outside lower center", ncols=min(len(groups), 4))
        listed = ", ".join(f"{p.label} {metric_text(metric, p.value)}" for p in points)
        return finish("accuracy", f"{metric} over size", listed)


def _within(axes: Axes, lowest: float, highest: float) -> None:
    """Keep an axis to values that there can be."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, lowest), min(high, highest))


def _label(axes: Axes, places: Sequence[tuple[float, float, str]]) -> None:
    """Names in a column beside the plot, each with a line to its point: none covers another."""
    order = sorted(places, key=lambda place: (-place[1], place[0]))
    step = 1 / max(len(order), 8)
    top = 0.5 + step * (len(order) - 1) / 2
    for position, (x, y, text) in enumerate(order):
        axes.annotate(
            text,
            (x, y),
            xytext=(1.06, top - step * position),
            textcoords="axes fraction",
            va="center",
            fontsize=8.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": _LINE, "lw": 0.8, "shrinkA": 2, "shrinkB": 5},
        )


def latency_distribution(rows: Sequence[BenchmarkRow]) -> str:
    """Every measured inference of every file, its median and the interval of that.

    Args:
        rows: Rows with samples; those of several devices name theirs, and what is no real time
            says so.
    """
    medians = [r.median_ms or 0.0 for r in rows]
    several = len({r.device for r in rows}) > 1
    with _figure(7.4, 0.8 + 0.5 * len(rows)) as (figure, finish):
        axes = figure.add_subplot()
        random = np.random.default_rng(0)
        for i, row in enumerate(rows):
            values = np.array(row.samples_ms)
            shift = random.uniform(-0.26, 0.26, len(values))
            axes.plot(values, i + shift, ".", ms=2.6, alpha=0.45, color=_SERIES[0], mew=0)
            low, high = row.ci95_ms or (medians[i], medians[i])
            axes.fill_betweenx([i - 0.36, i + 0.36], low, high, color=_SERIES[1], alpha=0.3, lw=0)
            axes.plot([medians[i]] * 2, [i - 0.36, i + 0.36], color=_SERIES[1], lw=2.2)
        axes.set_yticks(range(len(rows)), [_row_name(r, several) for r in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        if min(medians) > 0 and max(medians) > 8 * min(medians):
            axes.set_xscale("log")
            _log_ticks(axes, [v for r in rows for v in r.samples_ms])
            axes.set_xlabel("ms an inference (logarithmic)")
        else:
            top = max(float(np.quantile(r.samples_ms, 0.99)) for r in rows)
            axes.set_xlim(0, 1.15 * top)
            axes.set_xlabel("ms an inference (the slowest 1 % lie beyond the edge)")
        axes.grid(visible=True, axis="x")
        listed = ", ".join(f"{r.name} {ms_text(r.median_ms)}" for r in rows)
        return finish("latency", "Time of every inference", f"Medians: {listed}")


def _row_name(row: BenchmarkRow, several: bool) -> str:
    where = f"\n{row.device}" if several else ""
    return row.name + where + ("" if row.timing_valid else f"\n{_NOT_REAL}")


def receipt_lines(stages: Sequence[StageRecord], times: Sequence[StageTime]) -> str:
    """Size, MACs, parameters and time after each stage, as shares of the start.

    Args:
        stages: What each stage left.
        times: The latency of each, all on one device.
    """
    first_timed = next((t for t in times if t.ms is not None), None)
    mark = "" if first_timed is None or first_timed.real else f"\n({_NOT_REAL})"
    kinds: dict[str, Sequence[float | None]] = {
        "file": [s.raw_bytes for s in stages],
        "file, gzip": [s.gzip_bytes for s in stages],
        "parameters": [s.params for s in stages],
        "MACs": [s.macs for s in stages],
        f"time{f' on {first_timed.device}' if first_timed and first_timed.device else ''}{mark}": [
            t.ms for t in times
        ],
    }
    with _figure(7.4, 3.1) as (figure, finish):
        axes = figure.add_subplot()
        for i, (label, values) in enumerate(kinds.items()):
            start = values[0]
            if start:
                line = [float("nan") if v is None else 100 * v / start for v in values]
                style = "--" if label == "file, gzip" else "-"
                axes.plot(line, style, marker="o", ms=4.5, color=_SERIES[i], label=label, lw=1.8,
                          clip_on=False)  # fmt: skip
        axes.set_xticks(range(len(stages)), [_on_lines(s.name) for s in stages], fontsize=8)
        axes.set_ylim(0, max(100, axes.dataLim.y1))
        axes.set_ylabel("% of the start")
        axes.grid(visible=True, axis="y")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        drawn = ", ".join(label.partition("\n")[0] for label, values in kinds.items() if values[0])
        text = f"{drawn} after each of {', '.join(s.name for s in stages)}"
        return finish("receipt", "What each stage left, in per cent of the start", text)


def _on_lines(name: str) -> str:
    """A stage's name on lines that stand beside each other: `02-prune-channels` on three."""
    return name.replace("-", "\n")


def training_curves(history: Mapping[str, Sequence[float]]) -> str:
    """Losses, metrics and the learning rate over the epochs, side by side."""
    panels = _panels(history)
    with _figure(2.9 * len(panels) + 0.4, 2.5) as (figure, finish):
        for position, (title, names) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), position)
            for i, name in enumerate(names):
                values = list(history[name])
                style = "--" if name.startswith("val_") else "-"
                axes.plot(
                    range(1, len(values) + 1), values, style, color=_SERIES[i], label=name, lw=1.8
                )
            if title == "learning rate" and min(history[names[0]]) > 0:
                axes.set_yscale("log")
                axes.minorticks_off()
            elif is_share(title) and max(max(history[n]) for n in names) <= 1:
                axes.margins(y=0.08)
                _within(axes, 0, 1)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(visible=True)
            if len(names) > 1:
                axes.legend(fontsize=8)
        return finish("training", "Training curves", f"{', '.join(panels)} over the epochs")


def _panels(history: Mapping[str, Sequence[float]]) -> dict[str, list[str]]:
    """Which curves share a panel."""
    panels: dict[str, list[str]] = {}
    for name, values in history.items():
        if name == "seconds" or not _are_numbers(values):
            continue
        base = name.removeprefix("val_")
        title = "learning rate" if base in ("lr", "learning_rate") else base
        panels.setdefault(title, []).append(name)
    return panels


def _are_numbers(values: object) -> bool:
    """Whether they can be drawn: one or more finite numbers."""
    return (
        isinstance(values, Sequence)
        and len(values) > 0
        and all(isinstance(v, int | float) and np.isfinite(v) for v in values)
    )


def has_curves(history: object) -> bool:
    """Whether there is anything to draw."""
    return isinstance(history, Mapping) and bool(_panels(history))


def _log_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Ticks 1, 2, 5, 10, … as plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    exponents = range(int(np.floor(np.log10(min(values)))), int(np.ceil(np.log10(max(values)))) + 1)
    steps = (1, 2, 5) if len(exponents) < 4 else (1,)
    ticks = [m * 10.0**e for e in exponents for m in steps]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


class _figure:
    """A figure in our style, and the function that makes SVG of it."""

    def __init__(self, width: float, height: float) -> None:
        self._size = (width, height)

    def __enter__(self) -> tuple[Any, Any]:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        self._context = mpl.rc_context(_STYLE)
        self._context.__enter__()
        self._figure = Figure(figsize=self._size, layout="constrained")
        return self._figure, self._finish

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(None, None, None)

    def _finish(self, name: str, title: str, description: str) -> str:
        import matplotlib as mpl
        from markupsafe import escape

        out = io.StringIO()
        mpl.rcParams["svg.hashsalt"] = name
        self._figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        text = out.getvalue()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text, count=1)
        text = re.sub(r'<g id="[^"]*"', "<g", text)
        for colour, css in _TO_CSS.items():
            text = text.replace(colour, css)
        caption = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        head, _, rest = text.partition(">")
        return f'{head} role="img" aria-label="{escape(title)}">{caption}{rest}'
