"""`edgepress benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.files import check_output, write_json
from edgepress.compress.specifying import make_spec
from edgepress.deploy.cli import display
from edgepress.deploy.cli.options import (
    Values,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    output_options,
    spec_options,
)
from edgepress.deploy.recipe import BenchmarkSpec


@click.command()
@click.argument(
    "artifacts", nargs=-1, required=True, metavar="ARTIFACT…", type=click.Path(path_type=Path)
)
@spec_options(BenchmarkSpec, rename={"devices": "device"})
@click.option("--model", metavar="MODEL", help="Keras source; needed with --data.")
@data_options(required=False)
@output_options(required=False, help="Also write the JSON document to this file.")
@common_options
@keyword_values
def command(values: Values) -> None:
    """Measure size, latency, memory and accuracy of ARTIFACTs (.tflite, .onnx), interleaved.

    --data measures the accuracy from the outputs that come back from the device; the data is
    understood through --model, the Keras model that the files were made from.
    """
    from edgepress.deploy.benchmarking import benchmark

    spec = make_spec(BenchmarkSpec, given(values, BenchmarkSpec))
    for path in values["artifacts"]:
        if not path.is_file():
            raise InputError(f"artifact '{path}' does not exist")
    if values["output"]:
        check_output(values["output"], values["force"])
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
    if values["as_json"]:
        display.print_json(document)
    else:
        show_benchmark(document)
    if document["failures"]:
        first = document["failures"][0]
        raise DeviceError(f"{first['device']}: {first['artifact']} failed: {first['reason']}")


def _dataset(values: Values) -> Any:
    """The data, understood through the model or, without one, through the artifact."""
    data = data_spec(values)
    if data is None:
        return None
    from edgepress.deploy.cli.quiet import load_frameworks

    load_frameworks(values["verbose"])
    from edgepress.compress import load, open_data

    if values["model"] is not None:
        return open_data(data, load(values["model"]), values["seed"])
    from edgepress.deploy.stand_in import stand_in

    return open_data(data, stand_in(values["artifacts"][0]), values["seed"])


def show_benchmark(document: dict[str, Any]) -> None:
    """Rows and comparisons as tables."""
    device, rows = document["device"], document["rows"]
    several = len(document["devices"]) > 1
    metric = next((r["metric"] for r in rows if r["value"] is not None), None)
    display.print_table(
        f"On {', '.join(d['name'] for d in document['devices'])}",
        ["file", "bytes", "gzip", "median ms", "95 % interval", "p90", "p99", "first ms",
         "peak memory", "arena", metric or "metric"],
        [
            [f"{row['label']} ({row['device']})" if several else row["label"], row["bytes"],
             row["gzip_bytes"], row["median_ms"], "{:.4g} to {:.4g}".format(*row["ci95_ms"]),
             row["p90_ms"], row["p99_ms"], row["first_ms"], row["peak_memory_bytes"],
             row["arena_bytes"], row["value"]]
            for row in rows
        ],
    )  # fmt: skip
    display.print_table(
        "Ratios of time",
        ["a", "b", "b / a", "95 % interval"],
        [
            [Path(c["a"]).name, Path(c["b"]).name, c["ratio"],
             "{:.3f} to {:.3f}".format(*c["ci95"])]
            for c in document["comparisons"]
        ],
    )  # fmt: skip
    if device.get("smallest_difference"):
        click.echo(
            f"smallest difference that this run can see: {device['smallest_difference']:.1%}"
        )
    for line in [w for d in document["devices"] for w in d.get("warnings", [])]:
        click.echo(f"note: {line}")
