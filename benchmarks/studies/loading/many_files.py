"""What the list of a hundred thousand small images costs in memory.

    python benchmarks/studies/loading/many_files.py [--files N]

Makes PNG images of 4 x 4 pixels in ten class folders, opens them as data and draws a first batch of
an epoch. Prints how much the process has grown by then, beyond TensorFlow and a first pass over a
hundred files, and the seconds of opening.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil


def make(folder: Path, count: int) -> Path:
    """Equal files under different names, in ten class folders."""
    import io

    from PIL import Image

    with io.BytesIO() as file:
        Image.new("RGB", (4, 4)).save(file, "PNG")
        content = file.getvalue()
    for number in range(count):
        if number < 10:
            (folder / f"class_{number}").mkdir(parents=True)
        (folder / f"class_{number % 10}" / f"image_{number:07d}.png").write_bytes(content)
    return folder


def first_batch(folder: Path, model: Any) -> Any:
    """Open a folder and draw a batch; gives the open data."""
    from edgepress.compress.data import open_data

    data = open_data(folder, model)
    next(iter(data.training_split.epoch(64, 0, 0)))
    return data


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=100_000)
    given = parser.parse_args()
    import keras

    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as temporary:
        first_batch(make(Path(temporary) / "few", 100), model)
        folder = make(Path(temporary) / "many", given.files)
        before, began = process.memory_info().rss, time.perf_counter()
        data = first_batch(folder, model)
        grown = (process.memory_info().rss - before) / 1e6
        print(f"{given.files:,} images ({data.training_split.size:,} to train on):"
              f" {grown:.0f} MB, opened in {time.perf_counter() - began:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
