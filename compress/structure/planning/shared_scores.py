"""Scores on data that several runs have in common: measured by the first, read by the others."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset
from edgepress.compress.kernel.files import atomic_output, content_key
from edgepress.compress.models.fingerprints import fingerprint
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.structure.tracing.groups import Channels, Group

Vector = NDArray[np.float64]


def known_scores(
    shared: Path,
    channels: Channels,
    groups: Sequence[Group],
    spec: ChannelsSpec,
    dataset: Dataset,
    seed: int,
    make: Callable[[], list[Vector]],
) -> list[Vector]:
    """The scores of a criterion as another run measured them, else measured now and left there.

    Args:
        shared: Folder of what the runs have in common.
        channels: The model's units.
        groups: Those that are scored.
        spec: Names the criterion, how coupled layers combine, and how many samples it sees.
        dataset: The samples are drawn from it.
        seed: Draws them.
        make: Measures the scores.

    Returns:
        For each group (units,) scores.
    """
    key = content_key(
        fingerprint(channels.model),
        (spec.criterion, spec.group_reduction, spec.calibration_samples),
        (dataset.fingerprint, dataset.task.text(), seed),
        [(group.name, group.size) for group in groups],
    )
    path = shared / f"scores-{key}.npz"
    found = _read(path, groups)
    if found is None:
        found = make()
        _write(path, found)
    return found


def _read(path: Path, groups: Sequence[Group]) -> list[Vector] | None:
    """The scores in a file; None where there is none, or it was damaged."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found = [np.asarray(file[f"arr_{n}"], np.float64) for n in range(len(groups))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = all(s.shape == (g.size,) for s, g in zip(found, groups, strict=True))
    return found if whole else None


def _write(path: Path, scores: Sequence[Vector]) -> None:
    """Leave the scores, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(path, force=True) as temporary, temporary.open("wb") as file:
        np.savez(file, *scores)
