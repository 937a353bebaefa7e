"""`doctor` for files that hold no Keras model: what can be known without training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.doctor import Finding
from edgepress.compress.doctor.data_checks import logits, preprocessing
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.deploy.exporters.c.source import absent_in_micro
from edgepress.deploy.sources.contents.account import FileInspection
from edgepress.deploy.sources.contents.lacking_operators import lacking
from edgepress.deploy.sources.formats.tflite import TFLiteFile
from edgepress.deploy.sources.model_files import outputs_of
from edgepress.deploy.sources.signature import real_range
from edgepress.deploy.sources.source import Source

if TYPE_CHECKING:
    from edgepress.compress.typing import DataLike

_SAMPLES = 200
_IDLE = 0.5


def examine_file(
    source: Source, data: DataLike | None = None, seed: int = 0, runtime: str | None = None
) -> Iterator[Finding]:
    """Findings about a file and its data.

    Args:
        source: The opened file.
        data: Data as `open_data` takes it.
        seed: Draws samples.
        runtime: A runtime whose missing operators are a problem.

    Yields:
        A finding each.

    Raises:
        InputError: There is no such runtime, or it runs no files of this kind.
    """
    file = source.file
    looked_at = file.inspect()
    if runtime is not None:
        yield from _lacking(file.path, looked_at, runtime)
    yield Finding(
        "note",
        "graph",
        "",
        f"{file.what} that holds no Keras model: it can't be fine-tuned or pruned",
        "inspect, export, verify and benchmark take it",
    )
    for note in source.notes:
        yield Finding("note", "graph", "", note)
    yield from _open_sizes(file.signature.inputs)
    yield from _weights(looked_at)
    if isinstance(file, TFLiteFile):
        yield from _operators(file)
    if data is not None:
        yield from _on_data(source, data, seed)


def _open_sizes(inputs: tuple[TensorSpec, ...]) -> Iterator[Finding]:
    for spec in inputs:
        if None in spec.shape[1:]:
            yield Finding(
                "note",
                "input",
                spec.name,
                f"input '{spec.name}' leaves sizes free: {spec.shape[1:]}",
                "set them with --shape or --data on export; costs count them as 1",
            )


def _weights(found: Any) -> Iterator[Finding]:
    for note in found.notes:
        yield Finding("note", "graph", "", note)
    if found.sparsity >= _IDLE:
        yield Finding(
            "note",
            "weights",
            "",
            f"{found.sparsity:.0%} of the kernels' values are zeros",
            "they make the file smaller when it is compressed, not faster; only the Keras model"
            " can lose whole channels",
        )


def _lacking(path: Path, found: FileInspection, runtime: str) -> Iterator[Finding]:
    absent = lacking(path, (layer.type for layer in found.layers), runtime, found.hybrid)
    if absent:
        yield Finding(
            "problem",
            "runtime",
            "",
            f"{runtime} has no kernel for {', '.join(absent)}",
            "another runtime, or a model without these operators",
        )
    else:
        yield Finding("note", "runtime", "", f"{runtime} has kernels for all its operators")


def _operators(file: TFLiteFile) -> Iterator[Finding]:
    custom = sorted(name for name in file.operators if not name.isupper())
    if custom:
        yield Finding(
            "problem",
            "export",
            "",
            f"operators that are not TFLite's own: {', '.join(custom)}",
            "runtimes without TensorFlow's kernels or your own don't run the file",
        )
    lacking = [name for name in absent_in_micro(sorted(file.operators)) if name not in custom]
    if lacking:
        yield Finding(
            "note",
            "export",
            "",
            f"c: TensorFlow Lite Micro has no operator {', '.join(lacking)}",
        )


def _on_data(source: Source, data: DataLike | None, seed: int) -> Iterator[Finding]:
    from edgepress.compress.data import open_data

    dataset = open_data(data, source.model, seed)
    split = dataset.test or dataset.val or dataset.training_split
    inputs, targets = split.sample(_SAMPLES, seed)
    for text in dataset.warnings:
        yield Finding("warning", "data", "", text)
    yield from logits(dataset)
    for spec, values in zip(source.file.signature.inputs, inputs.values(), strict=True):
        yield from _quantised_range(spec, values)
    with source.file.runtime() as runtime:
        run = partial(outputs_of, source.file, runtime)
        yield from preprocessing(run, dataset, inputs, targets)


def _quantised_range(spec: TensorSpec, values: NDArray[Any]) -> Iterator[Finding]:
    """Samples that an integer input clips."""
    if spec.scale is None or values.dtype.kind != "f":
        return
    low, high = real_range(spec)
    clipped = float(np.mean((values < low - spec.scale) | (values > high + spec.scale)))
    if clipped > 0.01:
        yield Finding(
            "warning",
            "input",
            spec.name,
            f"{clipped:.0%} of the values of input '{spec.name}' are clipped: it accepts {low:.4g}"
            f" to {high:.4g}, the samples range from {values.min():.4g} to {values.max():.4g}",
            "the data needs another --scale or --mean",
        )
