"""An epoch of ResNet-8 in edgepress beside plain Keras 3 and tf_keras `fit`, interleaved.

Usage: python benchmarks/studies/training_epoch.py resnet8.h5 [ROUNDS]

Images are random: an epoch's time does not depend on them. Every round trains 40 steps of 64 in
each of the three; the first round compiles and is left out. Prints the best and the median seconds
and the processor seconds, and their ratios to Keras.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tf_keras

from edgepress.compress.data import open_data
from edgepress.compress.finetune import fit
from edgepress.compress.finetune.copying import copy_model
from edgepress.compress.models import load
from edgepress.compress.recipe import TrainSpec

SAMPLES = 64 * 40
Times = dict[str, list[tuple[float, float]]]


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


class Rounds(keras.callbacks.Callback):
    """Times each epoch of edgepress, and after it one of each peer."""

    def __init__(self, peers: dict[str, Callable[[], Any]]) -> None:
        super().__init__()
        self.times: Times = {name: [] for name in ("edgepress", *peers)}
        self._peers = peers
        self._began = (0.0, 0.0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        del epoch, logs
        self._began = (time.perf_counter(), time.process_time())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop it, and give each peer its turn."""
        del epoch, logs
        wall, processor = self._began
        self.times["edgepress"].append(
            (time.perf_counter() - wall, time.process_time() - processor)
        )
        for name, run in self._peers.items():
            self.times[name].append(timed(run))


def main(path: str, rounds: int) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (SAMPLES, 32, 32, 3), dtype=np.uint8)
    y = random.integers(0, 10, SAMPLES)
    model = copy_model(load(path))
    # A small validation split of its own: Keras's epochs below have none.
    few = (x[:64], y[:64])
    dataset = open_data({"train": (x, y), "val": few, "test": few}, model)
    batches = dataset.training_split.epoch(64, 0, 0)

    plain = copy_model(model)
    plain.compile("adam", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    legacy = tf_keras.models.load_model(path, compile=False)
    legacy.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    peers = {
        "keras": lambda: plain.fit(batches, verbose=0),
        "tf_keras": lambda: legacy.fit(batches, verbose=0),
    }
    recorder = Rounds(peers)
    spec = TrainSpec(epochs=rounds + 1, batch_size=64, restore_best=False)
    fit(model, dataset, spec, callbacks=[recorder])
    report(recorder.times)


def report(times: Times) -> None:
    base = [statistics.median(t[i] for t in times["keras"][1:]) for i in (0, 1)]
    for name, values in times.items():
        wall, processor = zip(*values[1:], strict=True)
        print(
            f"{name:10} best {min(wall):6.3f} s  median {statistics.median(wall):6.3f} s"
            f" (x{statistics.median(wall) / base[0]:.2f})  processor"
            f" {statistics.median(processor):6.3f} s"
            f" (x{statistics.median(processor) / base[1]:.2f})"
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 9)
