"""Zeros in ResNet-8 on CIFAR-10: one-shot, second-order, gradual, and TFMOT's wrapper.

    python benchmarks/studies/pruning/weights_resnet8.py resnet8.h5 cifar10.npz results.jsonl
        [--seeds 0,1,2] [--sparsities 0.5,0.75,0.9] [--methods "NAME;…"] [--epochs 3] [--images N]
    python benchmarks/studies/pruning/weights_resnet8.py --report results.jsonl

Every figure is one line of the results file, and what is there already isn't computed again, so
the study can be run in pieces. All methods start from the same weights. The two that train get the
same images, epochs, batch size, optimizer (Adam 0.001, cosine to zero) and ramp (to three quarters
of the steps, masks rebuilt at the same steps); TFMOT's runs in tf_keras, on which it was made.
It takes the same share of every kernel: the rows with uniform shares are those to set beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BATCH, LR = 64, 1e-3


@dataclass(frozen=True)
class Given:
    """What all methods start from; images are 0..255, as this network wants them."""

    model: Path
    arrays: dict[str, Any]
    epochs: int

    @property
    def steps(self) -> int:
        """Steps of a training."""
        return self.epochs * math.ceil(len(self.arrays["x_train"]) / BATCH)


Method = Callable[[Given, float, int], float]


def ours(**options: Any) -> Method:
    """A method of `prune`; returns the test accuracy."""

    def run(given: Given, sparsity: float, seed: int) -> float:
        from edgepress.compress import load, prune

        trains = options.get("schedule") == "polynomial"
        epochs = given.epochs if trains else 0
        settings: dict[str, Any] = {
            "recover_epochs": epochs,
            "recover_lr": LR,
            "recover_batch_size": BATCH,
        }
        result = prune(
            load(given.model),
            given.arrays,
            seed=seed,
            structure="weights",
            sparsity=sparsity,
            **settings,
            **options,
        )
        assert abs(result.sparsity - sparsity) < 0.01
        return float(result.after.value or 0.0)

    return run


def tfmot_wrapper(given: Given, sparsity: float, seed: int) -> float:
    """`prune_low_magnitude` on all layers, trained with `fit`, stripped; returns the accuracy."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    tf_keras.utils.set_random_seed(seed)
    sparse = tfmot.sparsity.keras
    end = given.steps * 3 // 4
    schedule = sparse.PolynomialDecay(0.0, sparsity, 0, end, frequency=min(100, max(1, end // 30)))
    source = tf_keras.models.load_model(given.model, compile=False)
    model = sparse.prune_low_magnitude(source, schedule)
    rate = tf_keras.optimizers.schedules.CosineDecay(LR, given.steps)
    model.compile(tf_keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    arrays = given.arrays
    model.fit(
        arrays["x_train"].astype(np.float32),
        arrays["y_train"],
        batch_size=BATCH,
        epochs=given.epochs,
        verbose=0,
        callbacks=[sparse.UpdatePruningStep()],
    )
    plain = sparse.strip_pruning(model)
    kernels = [w.numpy() for w in plain.weights if "kernel" in w.name]
    zeros = sum(int((k == 0).sum()) for k in kernels) / sum(k.size for k in kernels)
    assert abs(zeros - sparsity) < 0.01, zeros
    scores = plain.predict(arrays["x_test"].astype(np.float32), batch_size=256, verbose=0)
    return float((scores.argmax(1) == arrays["y_test"]).mean())


METHODS: dict[str, Method] = {
    "magnitude, one-shot": ours(criterion="magnitude"),
    "second-order, one-shot": ours(criterion="second-order"),
    "gradual": ours(schedule="polynomial", distill=False),
    "gradual, distilled": ours(schedule="polynomial"),
    "gradual, uniform": ours(schedule="polynomial", distill=False, allocation="uniform"),
    "gradual, uniform, distilled": ours(schedule="polynomial", allocation="uniform"),
    "TFMOT's wrapper": tfmot_wrapper,
}


def run(options: argparse.Namespace) -> None:
    """Compute what the results file lacks."""
    data = np.load(options.data)
    arrays = {name: data[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    held = len(arrays["x_train"]) * 19 // 20
    count = min(options.images or held, held)
    arrays |= {f"{a}_val": arrays[f"{a}_train"][held:] for a in "xy"}
    arrays |= {f"{a}_train": arrays[f"{a}_train"][:count] for a in "xy"}
    given = Given(options.model, arrays, options.epochs)
    done = {(r["method"], r["sparsity"], r["seed"]) for r in lines(options.results)}
    for seed in map(int, options.seeds.split(",")):
        for sparsity in map(float, options.sparsities.split(",")):
            for name in options.methods.split(";") if options.methods else METHODS:
                if (name, sparsity, seed) in done:
                    continue
                began = time.perf_counter()
                value = METHODS[name](given, sparsity, seed)
                seconds = round(time.perf_counter() - began, 1)
                row = {"method": name, "sparsity": sparsity, "seed": seed, "accuracy": value}
                row |= {"epochs": options.epochs, "images": count, "seconds": seconds}
                with options.results.open("a") as file:
                    print(json.dumps(row), file=file)
                print(f"{name}, {sparsity:g}, seed {seed}: {value:.4f} in {seconds} s", flush=True)


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows that are there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def report(path: Path) -> None:
    """The table, in Markdown: mean over seeds, and their standard deviation."""
    rows = lines(path)
    sparsities = sorted({r["sparsity"] for r in rows})
    print("| method | " + " | ".join(f"{100 * s:g} %" for s in sparsities) + " |")
    print("| --- |" + " --- |" * len(sparsities))
    for name in METHODS:
        cells = []
        for sparsity in sparsities:
            found = [
                r["accuracy"] for r in rows if (r["method"], r["sparsity"]) == (name, sparsity)
            ]
            spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
            cells.append(f"{statistics.mean(found):.3f}{spread}" if found else "-")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sparsities", default="0.5,0.75,0.9")
    parser.add_argument("--methods", help="some of them, with ; between")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, help="training images, all by default")
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    if options.report:
        report(options.report)
    elif options.results is None:
        parser.error("give model, data and results, or --report")
    else:
        run(options)


if __name__ == "__main__":
    main()
