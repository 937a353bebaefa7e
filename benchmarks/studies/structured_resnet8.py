"""What each part of structured pruning brings: ResNet-8 on CIFAR-10 at half the MACs, no training.

    python benchmarks/studies/structured_resnet8.py resnet8.h5 cifar10.npz [--recover EPOCHS]

Prints, for each criterion and allocation, the test accuracy right after the cut and after the
repair by least squares; with --recover also after that many epochs of distillation.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from edgepress.compress.data import evaluate, open_data
from edgepress.compress.models import load
from edgepress.compress.pruning import prune
from edgepress.compress.recipe import DataSpec, PruneSpec
from edgepress.compress.structure.allocate import allocate
from edgepress.compress.structure.budget import Budget
from edgepress.compress.structure.groups import find_channels
from edgepress.compress.structure.importance import CRITERIA
from edgepress.compress.structure.repair import repair
from edgepress.compress.structure.scoring import score_groups
from edgepress.compress.structure.surgery import remove


def cut_and_repair(model: Any, data: Any, spec: PruneSpec, seed: int) -> tuple[str, float, float]:
    """Widths, accuracy after the cut, accuracy after the repair."""
    channels = find_channels(model)
    budget = Budget(channels)
    scores = score_groups(channels, spec, data, budget, seed)
    surgery = remove(channels, allocate(channels, scores, spec, budget))
    cut = evaluate(surgery.model, data.report_split, data.task)
    repair(surgery, data.calibration(spec.calibration_samples, seed), seed)
    mended = evaluate(surgery.model, data.report_split, data.task)
    widths = [int(surgery.alive[g.units].sum()) for g in channels.groups if g.prunable]
    return " ".join(map(str, widths)), cut, mended


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--recover", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    model = load(given.model)
    spec = DataSpec(spec=given.data, augment=("flip", "crop:4"), validation_split=0.05)
    data = open_data(spec, model)
    print(f"uncut {evaluate(model, data.report_split, data.task):.4f}")
    print(f"{'allocation':10} {'criterion':15} {'widths':20} {'cut':>7} {'repaired':>9}")
    for allocation in ("uniform", "global"):
        for criterion in CRITERIA:
            step = PruneSpec(
                structure="channels",
                allocation=allocation,
                criterion=criterion,
                target_macs=0.5,
            )
            widths, cut, mended = cut_and_repair(model, data, step, 0)
            print(
                f"{allocation:10} {criterion:15} {widths:20} {cut:7.4f} {mended:9.4f}", flush=True
            )
    for seed in range(given.seeds if given.recover else 0):
        began = time.perf_counter()
        result = prune(
            model,
            data,
            seed=seed,
            structure="channels",
            target_macs=0.5,
            recover_epochs=given.recover,
        )
        took = time.perf_counter() - began
        print(f"recovered, seed {seed}: {result.after.value:.4f} in {took:.0f} s", flush=True)


if __name__ == "__main__":
    main()
