"""Real models and data: what tests look at besides the networks that they make themselves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


def _folder() -> Path:
    named = os.environ.get("EDGEPRESS_SHARED_DATA")
    return Path(named) if named else Path(__file__).parents[3] / "shared" / "data"


FOLDER = _folder()
MISSING = "" if (FOLDER / "MANIFEST.md").exists() else f"the shared data sets are not in {FOLDER}"


def also_real(*names: str) -> tuple[str, ...]:
    """Names of real files for a test that runs on made networks anyway; none where they are not.

    What is left out is said in the head of pytest's report.
    """
    return () if MISSING else names


def cifar_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of CIFAR-10's test set and their classes; only where `MISSING` is empty."""
    with np.load(FOLDER / "cifar10" / "test.npz") as file:
        differences = file["d"][:count]  # along both axes of the image
        images = differences.cumsum(1, dtype=np.uint8).cumsum(2, dtype=np.uint8)
        return images, file["y"][:count].astype("int64")
