"""`edgepress benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepress.benchmarks.history import Change, changes, check_history, earlier, keep
from edgepress.benchmarks.report.ci import render_github, render_junit
from edgepress.compress.errors import CheckFailed, DeviceError, InputError
from edgepress.compress.files import atomic_output, check_output, write_json
from edgepress.deploy.cli import display
from edgepress.deploy.cli.options import (
    Values,
    benchmark_options,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    output_options,
    spec_from,
)
from edgepress.deploy.recipe import BenchmarkSpec


@click.command()
@click.argument(
    "artifacts", nargs=-1, required=True, metavar="ARTIFACT…", type=click.Path(path_type=Path)
)
@benchmark_options
@click.option(
    "--model",
    metavar="MODEL",
    help="What the files were made from: the data is understood through it.",
)
@click.option(
    "--against",
    metavar="EARLIER",
    type=click.Path(path_type=Path),
    help="An earlier result (RUN folder, .json, history or history@LABEL): exit code 1 on a"
    " regression.",
)
@click.option(
    "--history", type=click.Path(path_type=Path), help="SQLite file that this result is added to."
)
@click.option("--label", default="", help="Name of this result in the history, such as a commit.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also write JUnit's XML here.")
@click.option(
    "--github",
    type=click.Path(path_type=Path),
    help="Also write JSON for GitHub's benchmark action.",
)
@data_options(required=False, skip=("augment",))
@output_options(required=False, help="Also write the JSON document to this file.")
@common_options
@keyword_values
def command(values: Values) -> None:
    """Measure size, latency, memory and accuracy of ARTIFACTs (.tflite, .onnx), interleaved.

    A SavedModel folder is measured as the float32 TFLite file that `export` makes of it.

    --data measures the accuracy from the outputs that come back from the device; the data is
    understood through --model, the model that the files were made from, else the first file.
    """
    from edgepress.deploy.benchmarking import benchmark

    _check_pairs(values)
    spec = spec_from(BenchmarkSpec, given(values, BenchmarkSpec))
    for path in values["artifacts"]:
        if not path.exists():
            raise InputError(f"artifact '{path}' does not exist")
    _check_outputs(values)
    before = earlier(values["against"]) if values["against"] else None
    dataset = _dataset(values)
    with display.ConsoleProgress() as progress:
        result = benchmark(
            list(values["artifacts"]),
            data=dataset,
            seed=values["seed"],
            progress=progress,
            **spec.model_dump(),
        )
    document = result.to_json()
    if values["output"]:
        write_json(values["output"], document, force=values["force"])
    found = changes(before, document) if before is not None else []
    if before is not None:
        document["changes"] = [change.to_json() for change in found]
    _keep(values, document, found)
    if values["as_json"]:
        display.print_json(document)
    else:
        show_benchmark(document)
    if document["failures"]:
        first = document["failures"][0]
        raise DeviceError(f"{first['device']}: {first['artifact']} failed: {first['reason']}")
    worse = [change for change in found if change.verdict == "regression"]
    if worse:
        raise CheckFailed(
            f"{worse[0].quantity} of {worse[0].artifact} grew from {worse[0].before:.4g} to"
            f" {worse[0].after:.4g} ({worse[0].reason})"
        )


def _check_pairs(values: Values) -> None:
    """Refuse options that say how to do what isn't asked for."""
    for option, needed in (("model", "data"), ("label", "history"), ("force", "output")):
        if values[option] and not values[needed]:
            raise click.UsageError(f"--{option} needs --{needed}")


def _check_outputs(values: Values) -> None:
    """Refuse, before anything is measured, what can't be written."""
    if values["output"]:
        check_output(values["output"], values["force"])
    for option in ("junit", "github"):
        if values[option]:
            check_output(values[option], force=True)
    if values["history"]:
        check_history(values["history"])


def _keep(values: Values, document: dict[str, Any], found: list[Change]) -> None:
    """Add the result to the history, and tell CI servers."""
    if values["history"]:
        keep(values["history"], document, values["label"])
    for option, render in (("junit", lambda: render_junit(document, found)),
                           ("github", lambda: render_github(document))):  # fmt: skip
        if values[option]:
            with atomic_output(values[option], force=True) as temporary:
                temporary.write_text(render(), "utf-8")


def _dataset(values: Values) -> Any:
    """The data, understood through the model or, without one, through the artifact."""
    data = data_spec(values)
    if data is None:
        return None
    from edgepress.deploy.cli.quiet import load_frameworks

    load_frameworks(values["verbose"])
    from edgepress.compress import open_data
    from edgepress.deploy.source import open_source

    return open_data(
        data, open_source(values["model"] or values["artifacts"][0]).model, values["seed"]
    )


def show_benchmark(document: dict[str, Any]) -> None:
    """Rows and comparisons as tables."""
    _show_rows(document)
    several = len(document["devices"]) > 1
    if document["comparisons"]:
        names = {row["artifact"]: row["label"] for row in document["rows"]}
        display.print_table(
            "Ratios of time",
            [*["device"] * several, "a", "b", "b / a", "95 % interval", "verdict"],
            [
                [*[c["device"]] * several, names[c["a"]], names[c["b"]], c["ratio"],
                 "{:.3f} to {:.3f}".format(*c["ci95"]), c["verdict"]]
                for c in document["comparisons"]
            ],
        )  # fmt: skip
    for profile in document["profiles"]:
        _show_profile(profile)
    for change in document.get("changes", []):
        click.echo(
            f"{change['verdict']}: {change['quantity']} of {change['artifact']}"
            f" {change['before']:.6g} -> {change['after']:.6g} ({change['reason']})"
        )
    for device in document["devices"]:
        where = f" on {device['name']}" if several else ""
        if device.get("smallest_difference"):
            least = f"{device['smallest_difference']:.1%}"
            click.echo(f"smallest difference that this run can see{where}: {least}")
        for line in device.get("warnings", []):
            click.echo(f"note{where}: {line}")
    _show_notes(document["rows"])


def _show_rows(document: dict[str, Any]) -> None:
    """The figures of each row, and below them how they were got."""
    rows, several = document["rows"], len(document["devices"]) > 1
    metric = next((r["metric"] for r in rows if r["value"] is not None), None)
    energy = any("energy_mj" in row for row in rows)
    display.print_table(
        f"On {', '.join(d['name'] for d in document['devices'])}",
        ["file", "bytes", "gzip", "zstd", "median ms", "95 % interval", "p90", "p99", "per second",
         "first ms", "peak memory", "arena", *["mJ"] * energy, metric or "metric"],
        [
            [f"{row['label']} ({row['device']})" if several else row["label"], row["bytes"],
             row["gzip_bytes"], row["zstd_bytes"], row["median_ms"],
             "{:.4g} to {:.4g}".format(*row["ci95_ms"]),
             row["p90_ms"], row["p99_ms"], row["throughput_per_s"], row["first_ms"],
             row["peak_memory_bytes"], row["arena_bytes"], *[row.get("energy_mj")] * energy,
             row["value"]]
            for row in rows
        ],
    )  # fmt: skip
    for way in dict.fromkeys(_way(row) for row in rows):
        holders = [row["label"] for row in rows if _way(row) == way]
        click.echo(f"{way}: {', '.join(dict.fromkeys(holders))}")


def _way(row: dict[str, Any]) -> str:
    """How a row was run, in a few words."""
    if not row["timing_valid"]:
        return f"{row['runtime']} ({row['method']})"
    delegates, providers = row["delegates"] or [], row["providers"] or []
    words = [
        row["runtime"],
        "" if row["xnnpack"] in (None, True) else "without XNNPACK",
        *delegates,
        *(p for p in providers if p != "CPUExecutionProvider"),
        f"{row['threads']} thread" + "s" * (row["threads"] > 1),
        f"{row['runs']} runs in {row['launches']} launch" + "es" * (row["launches"] > 1),
    ]
    return ", ".join(word for word in words if word)


def _show_profile(profile: dict[str, Any]) -> None:
    """The twenty operators that take the most time, against what the device can do at best."""
    best = profile["peak"]
    display.print_table(
        f"Time by operator on {profile['device']}: {Path(profile['artifact']).name}",
        ["output", "operator", "ms", "share", "MACs", "GFLOP/s", "of peak", "bound by"],
        [
            [op["name"][-60:], op["operator"], op["ms"], f"{op['share']:.1%}", op["macs"],
             op["gflops"], display.percent(op["of_peak"]), op["bound"]]
            for op in sorted(profile["operators"], key=lambda o: -o["ms"])[:20]
        ],
    )  # fmt: skip
    if best:
        click.echo(
            f"measured peak: {best['gflops']:.4g} GFLOP/s in float32 products,"
            f" {best['gbytes_per_s']:.4g} GB/s from memory"
        )
    for note in profile["notes"]:
        click.echo(f"note: {note}")


def _show_notes(rows: list[dict[str, Any]]) -> None:
    """What the rows have to say, each remark once."""
    told = [(row["label"], note) for row in rows for note in (*row["notes"], *_doubts(row))]
    for note in dict.fromkeys(note for _, note in told):
        holders = dict.fromkeys(label for label, said in told if said == note)
        where = "" if len(holders) == len(rows) else f" ({', '.join(holders)})"
        click.echo(f"note: {note}{where}")


def _doubts(row: dict[str, Any]) -> list[str]:
    """What keeps a row's times from being taken at their word."""
    if not row["timing_valid"]:
        return [f"times on {row['device']} are not those of real hardware: they are never ranked"]
    found = [] if row["steady"] else ["the latency was still falling when the warm-up was over"]
    if row["outliers"] > 0.05 * row["runs"]:
        found.append(f"{row['outliers']} of {row['runs']} runs are outliers; all of them count")
    return found
