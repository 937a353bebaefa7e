"""What half the MACs is worth in time: plan with this machine's clock, prune, export, measure.

    python benchmarks/studies/pruning/pruned_latency.py NAME=MODEL[:DATA] … [--share 0.5]
        [--runs 300]

For each network prints, in Markdown, the share of MACs and of latency (original against pruned,
interleaved, with the 95 % interval of the ratio) of the float32 and the int8 file, with one thread
and two. `--plain` plans without the clock, by MACs alone. Without data, random inputs calibrate
the int8 file: its time doesn't depend on them.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress import deploy
from edgepress.compress.data import open_data
from edgepress.compress.models import load
from edgepress.compress.specs.recipe import DataSpec
from edgepress.compress.structure.tracing.groups import find_channels
from edgepress.deploy.exporting.export import export
from edgepress.deploy.versions import machine

if TYPE_CHECKING:
    import keras

PRECISIONS = ("float32", "int8")
HEADING = (
    "| network | plan | MACs | file | threads | before, ms | latency | 95 % | accuracy | widths |"
)


def random_data(model: keras.Model) -> dict[str, Any]:
    """Inputs between 0 and 1 with the labels that the model gives them."""
    shape = [size or 1 for size in model.input_shape[1:]]
    x = np.random.default_rng(0).random((96, *shape), np.float32)
    y = np.asarray(model(x)).argmax(-1)
    return {"x_train": x[:64], "y_train": y[:64], "x_test": x[64:], "y_test": y[64:]}


def pruned(model: keras.Model, data: Any, share: float, plain: bool) -> keras.Model:
    """The result of pruning to a share of the MACs, with this machine's clock or without."""
    device = None if plain else "local"
    return deploy.prune(model, data, structure="channels", target_macs=share, device=device)


def files_of(model: keras.Model, data: Any, folder: Path) -> dict[str, Path]:
    """The model's TFLite files by precision, those that agree with it."""
    found = export(model, folder, ["tflite"], list(PRECISIONS), data)
    return {a.quantize: Path(a.path) for a in found.artifacts}


def measured(before: Path, after: Path, threads: int, runs: int) -> tuple[float, Any]:
    """Milliseconds of the original, and the ratio of the pruned file with its interval."""
    result = deploy.benchmark([before, after], runs=runs, threads=threads).devices[0]
    first = float(np.median(result.measurements[0].series.values)) / 1e6
    return first, result.comparisons[0]


def rows_of(
    name: str, model: keras.Model, data: Any, given: argparse.Namespace, plain: bool
) -> None:
    """Print one network's rows."""
    result = pruned(model, data, given.share, plain)
    widths = [g.size for g in find_channels(result.model).groups if g.prunable]
    kept = result.after.macs / result.before.macs
    accuracy = "" if data is None else f"{result.before.value:.3f} → {result.after.value:.3f}"
    samples = random_data(model) if data is None else data
    with tempfile.TemporaryDirectory() as folder:
        files = [
            files_of(m, samples, Path(folder) / n)
            for n, m in (("before", model), ("after", result.model))
        ]
        for precision in PRECISIONS:
            if not all(precision in f for f in files):
                print(f"{name}: no {precision} file was kept (see edgepress verify)", flush=True)
                continue
            for threads in given.threads:
                first, ratio = measured(
                    files[0][precision], files[1][precision], threads, given.runs
                )
                print(
                    f"| {name} | {'MACs alone' if plain else 'with the clock'} | {kept:.3f}"
                    f" | {precision} | {threads} | {first:.3f} | {ratio.ratio:.3f}"
                    f" | {ratio.interval.low:.3f} to {ratio.interval.high:.3f} | {accuracy}"
                    f" | {' '.join(map(str, widths))} |",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("networks", nargs="+", metavar="NAME=MODEL[:DATA]")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--plain", action="store_true", help="plan without the clock, too")
    given = parser.parse_args()
    where = machine()
    versions = ", ".join(f"{p} {version(p)}" for p in ("edgepress", "keras", "ai-edge-litert"))
    print(f"{where} {versions}\n\n{HEADING}\n|{' --- |' * (HEADING.count('|') - 1)}", flush=True)
    for text in given.networks:
        name, _, files = text.partition("=")
        path, _, spec = files.partition(":")
        model = load(path)
        data = open_data(DataSpec(spec=spec), model) if spec else None
        for plain in (False, True) if given.plain else (False,):
            rows_of(name, model, data, given, plain)


if __name__ == "__main__":
    main()
