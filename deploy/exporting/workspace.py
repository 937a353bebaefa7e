"""What converters need beside a model: a scratch folder, probe samples, calibration samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.processes.scratch import scratch_folder
from edgepress.deploy.exporters import EXPORTERS, Job
from edgepress.deploy.exporters.exporter import Written
from edgepress.deploy.process.sharing import working
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.sources.source import Source, as_exported, keras_source
from edgepress.deploy.specs.export import ExportSpec

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data import Dataset
    from edgepress.compress.keras_types import ModelLike

_PROBE_SAMPLES = 4


@contextmanager
def prepared(
    source: Source,
    dataset: Dataset | None,
    spec: ExportSpec,
    quantize: Sequence[str],
    worker: Worker,
    seed: int,
) -> Iterator[Job]:
    """A job with a scratch folder, probe samples and calibration samples."""
    from edgepress.deploy.sources.sample_inputs import plausible_inputs

    model = source.model
    names = dict(zip((t.name for t in model.inputs), source.input_names, strict=True))

    def save(path: Path, arrays: dict[str, Any]) -> Path:
        np.savez(path, allow_pickle=False, **{names[k]: v for k, v in arrays.items()})
        return path

    with scratch_folder() as scratch:
        calibration = None
        takes = [PRECISIONS[name] for name in quantize]
        sampled = any(p.calibrated or p.rounded_by_samples for p in takes)
        if sampled and dataset is not None:
            arrays = _of_model(dataset.calibration(spec.calibration_samples, seed), model)
            calibration = save(scratch / "calibration.npz", arrays)
        count = spec.graph_batch if isinstance(spec.graph_batch, int) else _PROBE_SAMPLES
        probe = plausible_inputs(model, count, seed, spec.shapes)
        saved = save(scratch / "probe.npz", probe)
        sizes = _data_sizes(model, dataset)
        classes = () if dataset is None else tuple(dataset.class_names)
        yield Job(model, spec, worker, scratch, saved, calibration, sizes, source.trace, classes)


@contextmanager
def converted(
    model: Source | ModelLike, out: Path, format: str, precision: str, worker: Worker | None = None
) -> Iterator[Written]:
    """One file that nobody is to use: its size and memory, or its time, are measured.

    Args:
        model: A Keras model.
        out: The file.
        format: Name in `EXPORTERS`.
        precision: Name in `PRECISIONS`. Ranges of integer files are those of made-up inputs, on
            which neither their size nor their memory depends.
        worker: Where the conversion runs; one of its own by default.

    Yields:
        What was written; what isn't beside `out` is there as long as the context lasts.

    Raises:
        Unsupported: The model has no such file.
        DeviceError: The converter refused or crashed.
    """
    source, _ = as_exported(keras_source(model))
    with (
        working(worker) as at,
        prepared(source, None, ExportSpec(), [precision], at, 0) as job,
    ):
        if PRECISIONS[precision].calibrated:
            job = replace(job, calibration=job.probe)
        yield EXPORTERS[format].write(job, precision, out)


def _of_model(arrays: dict[str, Any], model: keras.Model) -> dict[str, Any]:
    """Samples by the names of a model's inputs, of which Keras names some again in a copy."""
    names = [tensor.name for tensor in model.inputs]
    return arrays if arrays.keys() == set(names) else dict(zip(names, arrays.values(), strict=True))


def _data_sizes(model: keras.Model, dataset: Dataset | None) -> dict[str, Sequence[int]]:
    """Sizes of the data's samples by input name, where the model leaves sizes free."""
    free = [tensor.name for tensor in model.inputs if None in tensor.shape[1:]]
    if dataset is None or not free:
        return {}
    sample = _of_model(dataset.calibration(1), model)
    return {name: sample[name].shape[1:] for name in free}
