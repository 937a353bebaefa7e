"""What a TFLite file says of itself, and of its memory."""

from __future__ import annotations

from pathlib import Path

from edgepress.benchmarks.tflite.lean import make_lean
from edgepress.benchmarks.tflite.planning.memory_plan import plan_memory
from edgepress.compress.data import Dataset
from edgepress.deploy.exporters.exporter import Job
from edgepress.deploy.exporters.tflite.metadata import describe


def name_parts(
    path: Path, job: Job, dataset: Dataset | None, origin: str, converted: bool
) -> list[str]:
    """Tell a file how its data is called and prepared, or take all names away; lay out its memory.

    Args:
        path: A TFLite file.
        job: The model, and whether names and a memory plan are asked for.
        dataset: What it is verified on.
        origin: One line on where the file comes from.
        converted: Whether it is new; a file that was given keeps what it says.

    Returns:
        What a memory plan saves, where it does.
    """
    if job.settings.strip_names:
        make_lean(path)
    plan = plan_memory(path) if job.settings.plan_memory else None
    if converted and dataset is not None and not job.settings.strip_names:
        preparation = dataset.report_split.preparation
        describe(path, job.model.name, origin, preparation, dataset.class_names)
    return [f"{path.name}: {plan.line()}"] if plan and plan.pays else []
