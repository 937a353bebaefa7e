"""CIFAR-10 as one file: from a folder that has it, or downloaded by Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgepress.compress.errors import InputError

# What every cell trains on, so that runs with and without all of CIFAR-10 are alike.
TRAIN = 16_000


def cifar10(source: Path | None, folder: Path) -> Path:
    """The images as `x_train`, `y_train`, `x_test`, `y_test` in a file.

    Args:
        source: A `.npz` with these arrays, or a folder with `cifar10/test.npz` and
            `cifar10/train_*.npz` as row and column differences; None downloads the set.
        folder: Where the file is kept.
    """
    kept = folder / "cifar10.npz"
    if kept.is_file():
        return kept
    if source is None:
        import keras

        (x, y), (x_test, y_test) = keras.datasets.cifar10.load_data()
    elif source.is_file():
        with np.load(source) as file:
            x, y, x_test, y_test = (file[f"{n}_{s}"] for s in ("train", "test") for n in "xy")
    else:
        x, y, x_test, y_test = _differences(source / "cifar10")
    folder.mkdir(parents=True, exist_ok=True)
    part = {"x_train": x[:TRAIN], "y_train": y.ravel()[:TRAIN].astype(np.int64)}
    np.savez(kept, **part, x_test=x_test, y_test=y_test.ravel().astype(np.int64))
    return kept


def _differences(folder: Path) -> tuple[Any, Any, Any, Any]:
    files = sorted(folder.glob("train_*.npz"))
    if not files or not (folder / "test.npz").is_file():
        raise InputError(
            f"{folder}: no test.npz and train_*.npz of CIFAR-10",
            "give --data a .npz with x_train, y_train, x_test, y_test, or leave it out to download",
        )
    parts = [_read(path) for path in files]
    x, y = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return (x, y, *_read(folder / "test.npz"))


def _read(path: Path) -> tuple[Any, Any]:
    with np.load(path) as file:
        pixels = file["d"].cumsum(1, dtype=np.uint8).cumsum(2, dtype=np.uint8)
        return pixels, file["y"]
