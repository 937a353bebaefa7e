"""What a TFLite file says of itself."""

from __future__ import annotations

from pathlib import Path

from edgepress.benchmarks.tflite.lean import make_lean
from edgepress.compress.data import Dataset
from edgepress.deploy.exporters.exporter import Job
from edgepress.deploy.exporters.tflite.metadata import describe


def name_parts(path: Path, job: Job, dataset: Dataset | None, origin: str, converted: bool) -> None:
    """Tell a file how its data is called and prepared, or take all names away.

    Args:
        path: A TFLite file.
        job: The model, and whether names are asked for.
        dataset: What it is verified on.
        origin: One line on where the file comes from.
        converted: Whether it is new; a file that was given keeps what it says.
    """
    if job.settings.strip_names:
        make_lean(path)
    elif converted and dataset is not None:
        preparation = dataset.report_split.preparation
        describe(path, job.model.name, origin, preparation, dataset.class_names)
