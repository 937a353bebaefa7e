"""Recovery after a cut to 0.35 of the MACs: learning from the uncut model, or from labels.

Usage: python benchmarks/studies/training/distillation.py resnet8.h5 cifar10.npz [--epochs N]
    [--seeds N...]

The same epochs, rate and order of samples both ways. Prints the test accuracy of each seed.
"""

from __future__ import annotations

import argparse
import statistics

from edgepress import compress
from edgepress.compress.data import open_data
from edgepress.compress.specs.recipe import DataSpec


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    model = compress.load(given.model)
    spec = DataSpec(spec=given.data, augment=("flip", "crop:4"))
    ways: dict[bool, list[float]] = {True: [], False: []}
    for seed in given.seeds:
        data = open_data(spec, model, seed)
        for distill, values in ways.items():
            result = compress.prune(
                model,
                data,
                structure="channels",
                target_macs=0.35,
                recover_epochs=given.epochs,
                distill=distill,
                seed=seed,
            )
            assert result.after.value is not None
            values.append(result.after.value)
            how = "teacher" if distill else "labels"
            print(
                f"seed {seed} {how:8} {result.before.value:.4f} -> {result.after.value:.4f}",
                flush=True,
            )
    print(
        f"mean: teacher {statistics.mean(ways[True]):.4f}, labels "
        f"{statistics.mean(ways[False]):.4f}"
    )


if __name__ == "__main__":
    main()
