"""An epoch of distillation of ResNet-8 cut to half its MACs, beside an older commit, interleaved.

    python benchmarks/studies/training/distillation_epoch.py resnet8.h5 OLDER [--rounds N]
        [--augment]

OLDER is a worktree of an earlier commit with an environment of its own (`.venv`). Both train in
processes of their own and take turns, an epoch each: 60 steps of 64 images drawn at random, the
uncut network as teacher. The first round compiles and is left out. Prints the medians of clock and
processor seconds and their ratio, and how far the losses of the two trainings are apart.
With --augment images are flipped and cropped, so a teacher is asked again in every step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

STEPS, BATCH = 60, 64


def images() -> tuple[Any, Any]:
    """Random images, and labels of ten classes."""
    random = np.random.default_rng(0)
    samples = STEPS * BATCH
    x = random.integers(0, 256, (samples, 32, 32, 3), dtype=np.uint8)
    return x, random.integers(0, 10, samples)


def serve(path: str, rounds: int, augment: bool) -> None:
    """The child: one epoch for each line that comes in, its seconds as a line."""
    from edgepress import compress  # isort: skip  # chooses the kernels before TensorFlow loads
    import keras

    from edgepress.compress.data import open_data

    # The earlier commit has no such module.
    sys.path.append(str(Path(__file__).parents[1]))
    found_in = import_module("earlier").found_in

    data_spec, train_spec = (
        found_in(f"edgepress.compress.specs.recipe:{name}", f"edgepress.compress.recipe:{name}")
        for name in ("DataSpec", "TrainSpec")
    )
    fit = found_in("edgepress.compress.training:fit", "edgepress.compress.finetune:fit")

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            del epoch, logs
            sys.stdin.readline()
            self.began = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            del epoch
            clock, processor = self.began
            print(
                time.perf_counter() - clock, time.process_time() - processor, logs["loss"],
                flush=True,
            )  # fmt: skip

    teacher = compress.load(path)
    student = compress.prune(teacher, structure="channels", target_macs=0.5, round_to=1).model
    x, y = images()
    arrays = {"x_train": x, "y_train": y, "x_val": x[:BATCH], "y_val": y[:BATCH]}
    np.savez(file := Path(os.environ["STUDY_FOLDER"]) / f"{os.getpid()}.npz", **arrays)
    spec = data_spec(spec=str(file), augment=("flip", "crop:4") if augment else ())
    dataset = open_data(spec, teacher)
    training = train_spec(epochs=rounds, batch_size=BATCH, lr=2e-3, restore_best=False)
    fit(student, dataset, training, callbacks=[Turns()], teacher=teacher)


def start(python: Path, given: argparse.Namespace, folder: str) -> subprocess.Popen[str]:
    """A training in a process of its own."""
    command = [str(python), str(Path(__file__).resolve()), given.model, "--serve"]
    command += ["--rounds", str(given.rounds), *(["--augment"] if given.augment else [])]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "STUDY_FOLDER": folder}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def compare(given: argparse.Namespace, folder: str) -> None:
    """Alternate the epochs of both and print the comparison."""
    pythons = {
        "now": Path(sys.executable),
        "before": Path(given.older).resolve() / ".venv/bin/python",
    }
    trainings = {name: start(python, given, folder) for name, python in pythons.items()}
    seconds: dict[str, list[list[float]]] = {name: [] for name in pythons}
    for _ in range(given.rounds + 1):
        for name, training in trainings.items():
            assert training.stdin is not None
            assert training.stdout is not None
            training.stdin.write("go\n")
            training.stdin.flush()
            seconds[name].append([float(word) for word in training.stdout.readline().split()])
    print(
        f"tensorflow {version('tensorflow')}, keras {version('keras')}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}, {given.rounds} rounds,"
        f" {'flips and crops' if given.augment else 'images as they are'}"
    )
    for place, what in enumerate(("clock", "processors")):
        now, before = ([row[place] for row in seconds[name][1:]] for name in pythons)
        print(
            f"{what:10} {statistics.median(now):.3f} s against {statistics.median(before):.3f} s:"
            f" x{statistics.median(a / b for a, b in zip(now, before, strict=True)):.2f}"
        )
    gaps = [abs(a[2] / b[2] - 1) for a, b in zip(*seconds.values(), strict=True)]
    print(f"largest relative gap of an epoch's loss: {max(gaps):.1e}")


def main() -> None:
    from tempfile import TemporaryDirectory

    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("older", nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.model, given.rounds + 1, given.augment)
    elif given.older:
        with TemporaryDirectory() as folder:
            compare(given, folder)
    else:
        parser.error("give the worktree of an earlier commit")


if __name__ == "__main__":
    main()
