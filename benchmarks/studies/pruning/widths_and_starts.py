"""What a recovery gains from widths, from channels and from a repaired start, each by itself.

    python benchmarks/studies/pruning/widths_and_starts.py MODEL DATA --share 0.5 --epochs 5
        [--images 8000] [--seeds 0 1] [--kept ANSWER] [--only WAY...]
    python benchmarks/studies/pruning/widths_and_starts.py MODEL DATA --plans [--seeds 0 1 2 3]

DATA is a `.npz` with x_train, y_train, x_test and y_test. The first cuts the network in each way,
trains it by distillation, and prints widths, MACs left and accuracy before and after. ANSWER is
what another tool kept: JSON with `kept`, for each layer the output channels that stay. --plans
trains nothing: it prints the widths of every seed, how far parameters and widths scatter.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgepress import compress  # isort: skip  # chooses the kernels before TensorFlow loads
from edgepress.compress.cost import model_cost
from edgepress.compress.data import evaluate, open_data
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.specs.recipe import DataSpec, TrainSpec
from edgepress.compress.structure.budgets.measured_targets import Budget
from edgepress.compress.structure.planning.allocate import allocate
from edgepress.compress.structure.planning.scoring import score_groups
from edgepress.compress.structure.repair.repair import repair
from edgepress.compress.structure.surgery.surgery import remove
from edgepress.compress.structure.tracing.groups import Alive, Channels, find_channels
from edgepress.compress.training import fit


@dataclass(frozen=True)
class Way:
    """How a network is cut.

    Attributes:
        widths: By which criterion groups get their widths; "kept" is what another tool kept.
        units: By which criterion the units of a group stay; that of the widths where empty.
        repaired: Whether least squares follow.
        options: Other fields of the specification.
    """

    widths: str
    units: str = ""
    repaired: bool = True
    options: tuple[tuple[str, Any], ...] = ()


WAYS = {
    "default": Way("taylor"),
    "default, unrepaired": Way("taylor", repaired=False),
    "l1": Way("l1"),
    "l1, unrepaired": Way("l1", repaired=False),
    "kept": Way("kept"),
    "kept, unrepaired": Way("kept", repaired=False),
    "widths of kept, units by taylor": Way("kept", "taylor"),
    "widths of l1, units by taylor": Way("l1", "taylor"),
    "default, half of each group stays": Way("taylor", options=(("min_share", 0.5),)),
}


def chosen(channels: Channels, data: Any, way: Way, share: float, seed: int, kept: Any) -> Alive:
    """The units that stay."""
    spec = ChannelsSpec(target_macs=share, round_to=1, **dict(way.options))
    if way.widths == "kept":
        alive = channels.all_alive()
        for group in channels.groups:
            left = next((kept[path] for path in group.layers if path in kept), None)
            if left is not None and group.prunable:
                alive[group.units] = np.isin(np.arange(group.size), left)
    else:
        alive = by_criterion(channels, data, spec, way.widths, seed)[0]
    if not way.units:
        return alive
    scores = by_criterion(channels, data, spec, way.units, seed)[1]
    for group in (g for g in channels.groups if g.prunable):
        order = np.argsort(-scores[group.name], kind="stable")
        width = int(alive[group.units].sum())
        alive[group.units] = np.isin(np.arange(group.size), order[:width])
    return alive


def by_criterion(
    channels: Channels, data: Any, spec: ChannelsSpec, criterion: str, seed: int
) -> tuple[Alive, Any]:
    """What a criterion keeps, and its scores."""
    spec = spec.model_copy(update={"criterion": criterion})
    budget = Budget(channels)
    scores = score_groups(channels, spec, data, budget, seed)
    return allocate(channels, scores, spec, budget), scores


def widths_of(channels: Channels, alive: Alive) -> list[int]:
    """What is left of each group that can be pruned."""
    return [int(alive[g.units].sum()) for g in channels.groups if g.prunable]


def recovered(
    teacher: Any, data: Any, way: Way, given: argparse.Namespace, seed: int
) -> tuple[list[int], float, float, float]:
    """Widths, share of MACs, accuracy before and after the training."""
    channels = find_channels(teacher)
    alive = chosen(channels, data, way, given.share, seed, given.kept)
    surgery = remove(channels, alive)
    if way.repaired:
        repair(surgery, data.calibration(256, seed), seed, None, data.judging(256, seed))
    before = evaluate(surgery.model, data.report_split, data.task)
    spec = TrainSpec(epochs=given.epochs, lr=2e-3, schedule="cosine", restore_best=False)
    fit(surgery.model, data, spec, seed=seed, teacher=teacher)
    share = model_cost(surgery.model).macs / model_cost(teacher).macs
    after = evaluate(surgery.model, data.report_split, data.task)
    return widths_of(channels, alive), share, before, after


def compare(teacher: Any, given: argparse.Namespace, spec: DataSpec) -> None:
    """Print each way and seed, and the means."""
    for name in given.only:
        values = []
        for seed in given.seeds:
            began = time.process_time()
            data = open_data(spec, teacher, seed)
            widths, share, before, after = recovered(teacher, data, WAYS[name], given, seed)
            values.append(after)
            took = time.process_time() - began
            print(
                f"{name:34} seed {seed} {' '.join(map(str, widths)):40} {share:.4f} of the MACs:"
                f" {before:.4f} -> {after:.4f} ({took:.0f} s of processors)",
                flush=True,
            )
        if len(values) > 1:
            print(f"{name:34} mean {statistics.fmean(values):.4f}", flush=True)


def plans(teacher: Any, given: argparse.Namespace, spec: DataSpec) -> None:
    """Print the widths of all seeds and how much they scatter."""
    channels = find_channels(teacher)
    data, budget = open_data(spec, teacher, 0), Budget(channels)
    for name in given.only:
        rows, params = [], []
        for seed in given.seeds:
            alive = chosen(channels, data, WAYS[name], given.share, seed, given.kept)
            rows.append(widths_of(channels, alive))
            params.append(budget.params(alive))
            print(
                f"{name:34} seed {seed} {' '.join(map(str, rows[-1]))}  {params[-1]:,}", flush=True
            )
        spread = np.std(rows, axis=0) / np.mean(rows, axis=0)
        low, high = min(params), max(params)
        print(
            f"{name:34} parameters {low:,} to {high:,} (x{high / low:.3f}),"
            f" widths scatter by {spread.mean():.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--kept", type=lambda path: json.loads(Path(path).read_text())["kept"])
    parser.add_argument("--only", nargs="+", choices=WAYS, default=None)
    parser.add_argument("--plans", action="store_true")
    given = parser.parse_args()
    others = [n for n, way in WAYS.items() if given.kept or way.widths != "kept"]
    given.only = given.only or others
    with np.load(given.data) as file:
        arrays = {n: v[: given.images] if n.endswith("train") else v for n, v in file.items()}
    fewer = given.data.with_name(f"{given.data.stem}-{given.images}.npz")
    np.savez(fewer, **arrays)
    spec = DataSpec(spec=str(fewer), augment=("flip", "crop:4"), validation_split=0.05)
    teacher = compress.load(given.model)
    (plans if given.plans else compare)(teacher, given, spec)


if __name__ == "__main__":
    main()
