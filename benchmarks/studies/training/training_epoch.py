"""An epoch of ResNet-8 in edgepress beside plain Keras 3 and tf_keras `fit`, interleaved.

    python benchmarks/studies/training/training_epoch.py resnet8.h5 [--rounds N] [--same-kernels]

Each of the three trains in a process of its own, as a user would start it, and they take turns: 40
steps of 64 images a round. Images are random: an epoch's time does not depend on them. The first
round compiles and is left out. Prints the best and the median seconds and the processor seconds,
and their ratios to Keras. With --same-kernels the peers use oneDNN's kernels too, which TensorFlow
leaves off on processors without AVX-512 VNNI and edgepress does not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

STEPS, BATCH = 40, 64
NAMES = ("edgepress", "keras", "tf_keras")
Times = dict[str, list[tuple[float, float]]]


def images() -> tuple[Any, Any]:
    """Random images, and labels of ten classes."""
    random = np.random.default_rng(0)
    samples = STEPS * BATCH
    x = random.integers(0, 256, (samples, 32, 32, 3), dtype=np.uint8)
    return x, random.integers(0, 10, samples)


class Turns:
    """The trainer's end of the line: waits for its turn, says how long it took."""

    def __init__(self) -> None:
        self._began = (0.0, 0.0)

    def begin(self) -> None:
        """Wait until asked, and start the clock."""
        sys.stdin.readline()
        self._began = (time.perf_counter(), time.process_time())

    def end(self) -> None:
        """Tell wall and processor seconds."""
        wall, processor = self._began
        print(time.perf_counter() - wall, time.process_time() - processor, flush=True)


def each_epoch(turns: Turns) -> Any:
    """A callback whose epochs wait for their turn. Imports Keras, so edgepress must be first."""
    import keras

    class Hook(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            del epoch, logs
            turns.begin()

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            del epoch, logs
            turns.end()

    return Hook()


def train_edgepress(path: str, rounds: int) -> None:
    """Epochs of edgepress's own training."""
    from edgepress.compress.data import open_data
    from edgepress.compress.models import load
    from edgepress.compress.models.rebuilding.copying import copy_model
    from edgepress.compress.specs.recipe import TrainSpec
    from edgepress.compress.training import fit

    x, y = images()
    model = copy_model(load(path))
    # A small validation split of its own: Keras's epochs have none.
    few = (x[:BATCH], y[:BATCH])
    dataset = open_data({"train": (x, y), "val": few, "test": few}, model)
    spec = TrainSpec(epochs=rounds, batch_size=BATCH, restore_best=False)
    fit(model, dataset, spec, callbacks=[each_epoch(Turns())])


def train_keras(path: str, rounds: int) -> None:
    """Epochs of Keras 3; the file is carried by edgepress, which Keras itself could not load."""
    kernels = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    import keras
    import tensorflow as tf

    from edgepress.compress.models import load

    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == kernels
    model = load(path)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    take_turns(lambda data: model.fit(data, verbose=0), tf, rounds)


def train_tf_keras(path: str, rounds: int) -> None:
    """Epochs of Keras 2."""
    import tensorflow as tf
    import tf_keras

    model = tf_keras.models.load_model(path, compile=False)
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    take_turns(lambda data: model.fit(data, verbose=0), tf, rounds)


def take_turns(epoch: Callable[[Any], Any], tf: Any, rounds: int) -> None:
    """Train an epoch whenever asked, on shuffled batches as a user would write them."""
    x, y = images()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).batch(BATCH)
    batches = batches.map(lambda a, b: (tf.cast(a, tf.float32), b)).prefetch(tf.data.AUTOTUNE)
    turns = Turns()
    for _ in range(rounds):
        turns.begin()
        epoch(batches)
        turns.end()


TRAINERS = {"edgepress": train_edgepress, "keras": train_keras, "tf_keras": train_tf_keras}


def start(name: str, path: str, rounds: int, same_kernels: bool) -> subprocess.Popen[str]:
    """A trainer in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if same_kernels:
        environment["TF_ENABLE_ONEDNN_OPTS"] = "1"
    command = [sys.executable, __file__, path, "--rounds", str(rounds), "--train", name]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def measure(path: str, rounds: int, same_kernels: bool) -> Times:
    """Seconds of every round but the first, taken in turns."""
    trainers = {n: start(n, path, rounds + 1, same_kernels) for n in NAMES}
    times: Times = {name: [] for name in NAMES}
    for _ in range(rounds + 1):
        for name, trainer in trainers.items():
            assert trainer.stdin is not None
            assert trainer.stdout is not None
            trainer.stdin.write("go\n")
            trainer.stdin.flush()
            wall, processor = map(float, trainer.stdout.readline().split())
            times[name].append((wall, processor))
    return {name: values[1:] for name, values in times.items()}


def report(times: Times) -> None:
    """Print the table."""
    base = [statistics.median(t[i] for t in times["keras"]) for i in (0, 1)]
    for name, values in times.items():
        wall, processor = zip(*values, strict=True)
        print(
            f"{name:10} best {min(wall):6.3f} s  median {statistics.median(wall):6.3f} s"
            f" (x{statistics.median(wall) / base[0]:.2f})  processor"
            f" {statistics.median(processor):6.3f} s"
            f" (x{statistics.median(processor) / base[1]:.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--same-kernels", action="store_true")
    parser.add_argument("--train", choices=NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        TRAINERS[given.train](given.model, given.rounds)
    else:
        report(measure(given.model, given.rounds, given.same_kernels))


if __name__ == "__main__":
    main()
