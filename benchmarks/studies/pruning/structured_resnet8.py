"""What each part of structured pruning brings: ResNet-8 on CIFAR-10 at half the MACs.

    python benchmarks/studies/pruning/structured_resnet8.py resnet8.h5 cifar10.npz
    python benchmarks/studies/pruning/structured_resnet8.py … --recover EPOCHS [--seeds N...]
    python benchmarks/studies/pruning/structured_resnet8.py … --ablation EPOCHS [--seeds N...]
        [--only W...]

The first prints, for each criterion and allocation, the test accuracy right after the cut and after
the repair by least squares, without any training. --recover prints the accuracy after that many
epochs of recovery, and the time of all of it. --ablation does so for the whole method and for the
method without one of its parts at a time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

from edgepress.compress.data import evaluate, open_data
from edgepress.compress.models import load
from edgepress.compress.pruning import prune
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.specs.recipe import DataSpec
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.importance import CRITERIA
from edgepress.compress.structure.planning.allocate import allocate
from edgepress.compress.structure.planning.scoring import score_groups
from edgepress.compress.structure.repair.repair import repair
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import find_channels

if TYPE_CHECKING:
    import keras

WAYS: dict[str, dict[str, Any]] = {
    "whole": {},
    "uniform": {"allocation": "uniform"},
    "l1": {"criterion": "l1"},
    "unrepaired": {"repair": False},
    "labels": {"distill": False},
    "steps": {"schedule": "iterative", "steps": 3},
    "plain": {"allocation": "uniform", "criterion": "l1", "repair": False, "distill": False},
}


def cut_and_repair(
    model: keras.Model, data: Any, spec: ChannelsSpec, seed: int
) -> tuple[str, float, float]:
    """Widths, accuracy after the cut, accuracy after the repair."""
    channels = find_channels(model)
    budget = Budget(channels)
    scores = score_groups(channels, spec, data, budget, seed)
    surgery = remove(channels, allocate(channels, scores, spec, budget))
    cut = evaluate(surgery.model, data.report_split, data.task)
    repair(surgery, data.calibration(spec.calibration_samples, seed), seed)
    repaired = evaluate(surgery.model, data.report_split, data.task)
    widths = [int(surgery.alive[g.units].sum()) for g in channels.groups if g.prunable]
    return " ".join(map(str, widths)), cut, repaired


def untrained(model: keras.Model, data: Any) -> None:
    """Print what every criterion and allocation leaves, without any training."""
    print(f"{'allocation':10} {'criterion':15} {'widths':20} {'cut':>7} {'repaired':>9}")
    for allocation in ("uniform", "global"):
        for criterion in CRITERIA:
            step = ChannelsSpec(
                structure="channels", allocation=allocation, criterion=criterion, target_macs=0.5
            )
            widths, cut, repaired = cut_and_repair(model, data, step, 0)
            print(
                f"{allocation:10} {criterion:15} {widths:20} {cut:7.4f} {repaired:9.4f}", flush=True
            )


def recovered(model: keras.Model, spec: DataSpec, epochs: int, way: str, seeds: list[int]) -> None:
    """Print the accuracy of each seed after recovery, and their mean."""
    values = []
    for seed in seeds:
        data = open_data(spec, model, seed)
        began = time.perf_counter()
        result = prune(
            model,
            data,
            seed=seed,
            structure="channels",
            target_macs=0.5,
            recover_epochs=epochs,
            **WAYS[way],
        )
        took = time.perf_counter() - began
        share = result.after.macs / result.before.macs
        assert result.after.value is not None
        values.append(result.after.value)
        print(
            f"{way:10} {epochs} epochs, seed {seed}: {values[-1]:.4f} at {share:.3f} of the MACs,"
            f" {took:.0f} s",
            flush=True,
        )
    if len(seeds) > 1:
        print(f"{way:10} mean of {len(seeds)}: {statistics.mean(values):.4f}", flush=True)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser()
    found.add_argument("model")
    found.add_argument("data")
    what = found.add_mutually_exclusive_group()
    what.add_argument("--recover", type=int, metavar="EPOCHS")
    what.add_argument("--ablation", type=int, metavar="EPOCHS")
    found.add_argument("--seeds", type=int, nargs="+", default=[0])
    found.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    return found


def main() -> None:
    given = parser().parse_args()
    model = load(given.model)
    spec = DataSpec(spec=given.data, augment=("flip", "crop:4"), validation_split=0.05)
    if given.recover:
        recovered(model, spec, given.recover, "whole", given.seeds)
    elif given.ablation:
        for way in given.only:
            recovered(model, spec, given.ablation, way, given.seeds)
    else:
        data = open_data(spec, model)
        print(f"uncut {evaluate(model, data.report_split, data.task):.4f}")
        untrained(model, data)


if __name__ == "__main__":
    main()
