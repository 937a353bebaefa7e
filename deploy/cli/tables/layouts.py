"""The tables that several commands print: the names of their columns, and which matter most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgepress.deploy.cli.tables.printing import Layout, show_table

BEFORE_AFTER = Layout(("figure", "before", "after", "change"))
OUTPUTS = Layout(("output", "metric", "before", "after"), ("after", "before", "metric"))

# Of a benchmark.
ROWS = Layout(
    ("file", "median", "95 % interval", "bytes", "metric", "p90", "p99", "per second", "first",
     "load", "gzip", "zstd", "arena", "peak memory", "energy", "runs"),
    ("median", "bytes", "metric", "95 % interval", "peak memory", "arena"),
)  # fmt: skip
COMPARED = Layout(
    ("file", "against", "times", "95 % interval", "verdict"), ("times", "verdict", "against")
)
OPERATORS = Layout(
    ("output", "operator", "time", "share", "MACs", "GFLOP/s", "of peak", "bound by"),
    ("operator", "time", "share", "bound by", "of peak"),
)
OUTPUT_ROWS = Layout(("output", "metric", "file", "value"), ("value", "file", "metric"))
BENCHMARK = (ROWS, COMPARED, OPERATORS, OUTPUT_ROWS)

# Of a run.
STAGES = Layout(
    ("stage", "file", "gzip", "parameters", "MACs", "latency", "metric", "took"),
    ("file", "MACs", "latency", "metric"),
)
FILES = Layout(
    ("file", "precision", "bytes", "gzip", "zstd", "latency", "metric", "agreement",
     "largest error", "verified"),
    ("bytes", "latency", "metric", "verified", "agreement"),
)  # fmt: skip
STAGE_OUTPUTS = Layout(
    ("output", "metric", "of", "before", "value", "change"), ("of", "value", "change", "before")
)
RUN = (STAGES, FILES, STAGE_OUTPUTS, BEFORE_AFTER)

# Of a search's last measurement.
LATENCY = Layout(
    (
        "file",
        "median",
        "95 % interval",
        "p90",
        "p99",
        "first",
        "load",
        "peak memory",
        "arena",
        "runs",
    ),
    ("median", "95 % interval", "peak memory"),
)


def show_outputs(rows: Sequence[Mapping[str, Any]], heads: tuple[str, str]) -> None:
    """The metric of each output, where there are several.

    Args:
        rows: `OutputMetric`s by field.
        heads: What stands over the value beside it and over the value.
    """
    from edgepress.benchmarks.number_format import metric_text

    if len(rows) < 2:
        return
    show_table(
        OUTPUTS,
        "By output; * is in the figure above",
        [
            [f"{r['output']}{' *' if r['headline'] else ''}", r["metric"],
             metric_text(r["metric"], r["source_value"]), metric_text(r["metric"], r["value"])]
            for r in rows
        ],
        dict(zip(("before", "after"), heads, strict=True)),
    )  # fmt: skip
