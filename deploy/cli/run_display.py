"""Showing a run: its progress, its table before and after, its receipt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepress.compress.errors import CheckFailed, DeviceError, Stopped
from edgepress.deploy.cli import display
from edgepress.deploy.pipeline import RunResult, run
from edgepress.deploy.recipe import Recipe

_FIGURES = ("params", "macs", "raw_bytes", "gzip_bytes", "median_ms")


def run_line(recipe: Recipe, output: Path, resume: bool, force: bool) -> RunResult:
    """Run the whole line with its progress on standard error.

    Raises:
        Stopped: The user stopped it; says how to go on.
    """
    try:
        with display.ConsoleProgress() as progress:
            return run(recipe, output, resume=resume, force=force, progress=progress)
    except (KeyboardInterrupt, Stopped):
        raise Stopped(
            f"stopped; what is finished stays in '{output}'",
            f"go on with: edgepress compress --resume {output}",
        ) from None


def finish(result: RunResult, as_json: bool) -> None:
    """Show a run that is done.

    Raises:
        DeviceError: A device could not measure something; everything else is done and shown.
        CheckFailed: An artifact was not accepted.
    """
    if as_json:
        display.print_json(result.to_json())
    else:
        _show(result)
    failures = result.record["benchmark"]["failures"]
    if failures:
        first = failures[0]
        what = f"{first['device']} {first['artifact']}".strip()
        raise DeviceError(f"{what} was not measured: {first['reason']}", "all else is done")
    if not result.accepted:
        raise CheckFailed(_why(result.record))


def _why(record: dict[str, Any]) -> str:
    rejected = record["rejected"]
    if rejected:
        first = rejected[0]
        return f"{first['format']} {first['quantize']} was not published: {first['reason']}"
    return str(record["unmet"][0])


def _show(result: RunResult) -> None:
    record = result.record
    display.print_table(
        "What each stage brought (as a float32 TFLite file)",
        ["stage", "params", "MACs", "bytes", "gzip", "ms", record["before"]["metric"]],
        [[s["name"], *(_changed(s, f) for f in _FIGURES), s["value"]] for s in record["stages"]],
    )
    for stage in record["stages"]:
        words = "; ".join(filter(None, (stage["note"], stage["time_note"])))
        if words:
            click.echo(f"  {stage['name']}: {words}")
    _show_artifacts(record)
    for warning in record["warnings"]:
        click.echo(f"note: {warning}")
    for skip in record["skipped"]:
        click.echo(f"skipped {skip['format']} {skip['quantize']}: {skip['reason']}")
    folder = result.folder
    click.echo(f"report: {folder / 'report.html'}   everything measured: {folder / 'run.json'}")


def _changed(stage: dict[str, Any], figure: str) -> str:
    """A figure with its change since the stage before."""
    value, change = stage[figure], stage["change"].get(figure)
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
    # A smaller change of a time is not told from noise.
    visible = 0.03 if figure == "median_ms" else 0.005
    return text if change is None or abs(change) < visible else f"{text} ({change:+.0%})"


def _show_artifacts(record: dict[str, Any]) -> None:
    times = {row["artifact"]: row for row in record["benchmark"]["rows"]}
    base = record["stages"][0]
    metric = f"{base['metric']} ({base['split']})"
    rows: list[list[Any]] = [
        ["before: float32 TFLite", base["raw_bytes"], base["gzip_bytes"], base["macs"],
         base["median_ms"], base["value"], ""]
    ]  # fmt: skip
    for artifact in record["artifacts"]:
        verified = artifact["verified"] or {}
        row = times.get(artifact["path"], {})
        rows.append(
            [f"{Path(artifact['path']).name}", artifact["bytes"], artifact["gzip_bytes"],
             record["after"]["macs"], row.get("median_ms"),
             verified.get("value"), "verified" if verified.get("passed") else "not verified"]
        )  # fmt: skip
    display.print_table(
        "Before and after", ["file", "bytes", "gzip", "MACs", "ms", metric, ""], rows
    )
