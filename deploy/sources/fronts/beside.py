"""What is written beside files for what stands before them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgepress.compress.data import Dataset
from edgepress.compress.kernel.artifact import Artifact
from edgepress.deploy.sources.fronts.sounds import write_features
from edgepress.deploy.sources.fronts.tables import write_tables
from edgepress.deploy.sources.fronts.tokens import TokenFront

if TYPE_CHECKING:
    from edgepress.deploy.process.worker import Worker


def write_beside(
    front: TokenFront | None,
    dataset: Dataset | None,
    folder: Path,
    artifacts: Iterable[Artifact],
    worker: Worker,
) -> tuple[list[Path], list[str]]:
    """Write look-ups and features of sounds for those who compute them before the files.

    Args:
        front: Look-ups of texts, or None.
        dataset: The data set that the model's inputs come from, or None.
        folder: Where the files go.
        artifacts: The files that are exported.
        worker: Where ONNX Runtime runs.

    Returns:
        The files, and remarks.
    """
    features = write_features(dataset, folder)
    if front is None:
        return features, []
    taking = next((a.path for a in artifacts if a.format == "onnx"), None)
    tables, notes = write_tables(front, taking, worker) if taking is not None else ([], [])
    return [*front.write(folder), *tables, *features], notes
