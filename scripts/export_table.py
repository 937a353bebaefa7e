"""Write docs/exports.md: every format and precision of many models, verified or with its reason.

    python scripts/export_table.py FOLDER [FOLDER…] [--applications] -o docs/exports.md

FOLDER holds Keras models (.keras, .h5, .hdf5). `--applications` adds the networks of
`keras.applications` at a small input, with random weights. Files are compared with their sources
on made-up inputs, which calibrate the integer ones too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from edgepress.compress.errors import EdgepressError
from edgepress.compress.files import atomic_output
from edgepress.deploy.export_result import ExportResult
from edgepress.deploy.exporters import EXPORTERS
from edgepress.deploy.exporting import export, made_by
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.worker import Worker

SAMPLES = 256
ENDINGS = (".keras", ".h5", ".hdf5")


def files(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names of the models under a folder, each with what loads it."""
    from edgepress.compress.models import load

    for path in sorted(folder.rglob("*")):
        if path.suffix in ENDINGS:
            yield path.stem, lambda path=path: load(path)


def applications() -> Iterator[tuple[str, Callable[[], Any]]]:
    """The networks of `keras.applications`, each with what builds it."""
    import keras

    for name, value in sorted(vars(keras.applications).items()):
        builder = getattr(value, name, value)
        if name[0].isupper() and callable(builder):
            size = 299 if "Inception" in name or name == "Xception" else 96
            if name.startswith("NASNet"):
                size = 224 if "Mobile" in name else 331
            yield name, lambda b=builder, s=size: b(weights=None, input_shape=(s, s, 3), classes=10)


def own_data(model: Any) -> dict[str, Any]:
    """Made-up inputs with what the model says of them."""
    from edgepress.compress.data.tasks import output_names
    from edgepress.deploy.exporters.plausible import plausible_inputs
    from edgepress.deploy.verifying import run_source

    inputs = plausible_inputs(model, SAMPLES)
    outputs = run_source(model, iter([inputs]), batch_size=32)
    x = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    y = dict(zip(output_names(model), outputs, strict=True)) if len(outputs) > 1 else outputs[0]
    return {"train": (x, y), "val": (x, y)}


def measure(build: Callable[[], Any], worker: Worker) -> ExportResult | str:
    """All files of one model, or why there is no model."""
    try:
        model = build()
        data = own_data(model)
        with tempfile.TemporaryDirectory() as folder:
            return export(
                model, Path(folder) / "out", list(EXPORTERS), list(PRECISIONS), data, worker=worker
            )
    except EdgepressError as error:
        return error.format_message()


def cells(result: ExportResult) -> dict[tuple[str, str], str]:
    """What each combination came to, in a few characters."""
    found = {}
    for artifact in result:
        error = artifact.verified.max_abs_error if artifact.verified else 0.0
        found[artifact.format, artifact.quantize] = f"{error:.0e}".replace("0e+00", "0")
    for failed in result.failed:
        found[failed.format, failed.quantize] = "**failed**"
    for skipped in result.skipped:
        found[skipped.format, skipped.quantize] = "–"
    return found


def table(results: dict[str, ExportResult | str]) -> list[str]:
    """The Markdown table and the reasons under it."""
    columns = [(f, p) for f, e in EXPORTERS.items() for p in PRECISIONS if p in e.precisions]
    lines = [
        "| model | " + " | ".join(f"{f} {p}" for f, p in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    reasons: dict[str, list[str]] = {}
    for name, result in results.items():
        if isinstance(result, str):
            reasons.setdefault(result, []).append(f"`{name}`")
            continue
        row = cells(result)
        lines.append(f"| `{name}` | " + " | ".join(row.get(c, "") for c in columns) + " |")
        for end in (*result.skipped, *result.failed):
            if (end.format, end.quantize) in columns:
                where = f"`{name}` {end.format} {end.quantize}"
                reasons.setdefault(end.reason, []).append(where)
    told = [f"- {reason}: {', '.join(places)}" for reason, places in reasons.items()]
    return [*lines, "", "Why some are missing:", "", *told]


def main() -> None:
    """Read the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--applications", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    models = [m for folder in options.folders for m in files(folder)]
    models += list(applications()) if options.applications else []
    results: dict[str, ExportResult | str] = {}
    with Worker() as worker:
        for name, build in models:
            results[name] = measure(build, worker)
            print(name, flush=True)
    versions = ", ".join(f"{k} {v}" for k, v in made_by().items())
    head = [
        "# Which files come out of which model",
        "",
        "Made by `scripts/export_table.py`. A number is the largest difference between the file's",
        f"outputs and the Keras model's on {SAMPLES} made-up inputs; such a file passed its",
        "verification. A dash is a file that doesn't exist, with its reason below the table.",
        "",
        f"Versions: {versions}.",
        "",
    ]
    with atomic_output(options.output, force=True) as temporary:
        temporary.write_text("\n".join([*head, *table(results)]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
