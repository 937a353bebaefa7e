"""Planning the pruning of ResNet-50 at 224 x 224 to half its MACs, beside Torch-Pruning.

    python benchmarks/studies/pruning/against_torch_pruning.py TORCH_PYTHON [--rounds 7]

TORCH_PYTHON is the interpreter of an environment with torch, torchvision and torch-pruning. Both
sides hold a freshly built network with random weights; rounds alternate, one side waiting while the
other works, so that whatever else the machine does meets both. Prints the medians in seconds, of
the clock and of the processors, and the median ratio of paired rounds with its quartiles.

The job: find what belongs together, score it by L1, choose what goes from a global ranking in
multiples of 8. Torch-Pruning's includes its slicing in place (`step`), which takes it little beside
the graph; edgepress's is timed without, and with, the new Keras model.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Torch-Pruning takes a share of channels; this one leaves about half the MACs of ResNet-50.
SHARE_REMOVED = 0.3


def now() -> tuple[float, float]:
    """Seconds of the clock, and those that this process took of all processors."""
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float]) -> tuple[float, float]:
    """Seconds of both kinds since then."""
    clock, processors = now()
    return clock - began[0], processors - began[1]


def serve_torch() -> None:
    """The child: one round for each line that comes in, its seconds as JSON."""
    import torch
    import torch_pruning
    import torchvision

    sample = torch.randn(1, 3, 224, 224)
    for _ in sys.stdin:
        model = torchvision.models.resnet50(weights=None).eval()
        full, _ = torch_pruning.utils.count_ops_and_params(model, sample)
        began = now()
        pruner = torch_pruning.pruner.BasePruner(
            model,
            sample,
            importance=torch_pruning.importance.GroupMagnitudeImportance(p=1),
            pruning_ratio=SHARE_REMOVED,
            global_pruning=True,
            round_to=8,
            ignored_layers=[model.fc],
        )
        pruner.step()
        seconds = since(began)
        left, _ = torch_pruning.utils.count_ops_and_params(model, sample)
        versions = {name: version(name) for name in ("torch", "torch-pruning")}
        print(json.dumps({"seconds": seconds, "share": left / full, **versions}), flush=True)


def keras_round(model: Any) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Seconds of planning, seconds with the new model, and the share of MACs that is left."""
    from edgepress.compress.specs.recipe import PruneSpec
    from edgepress.compress.structure.budgets.measured_targets import Budget
    from edgepress.compress.structure.planning.allocate import allocate
    from edgepress.compress.structure.planning.scoring import score_groups
    from edgepress.compress.structure.surgery.surgery import remove
    from edgepress.compress.structure.tracing.groups import find_channels

    spec = PruneSpec(structure="channels", target_macs=0.5, criterion="l1")
    began = now()
    channels = find_channels(model)
    budget = Budget(channels)
    alive = allocate(channels, score_groups(channels, spec, None, budget), spec, budget)
    planned = since(began)
    remove(channels, alive)
    rebuilt = since(began)
    return planned, rebuilt, budget.macs(alive) / budget.macs(channels.all_alive())


def ratio(name: str, ours: list[float], theirs: list[float]) -> str:
    """Both medians, and the paired ratio with its quartiles."""
    low, middle, high = statistics.quantiles(
        [a / b for a, b in zip(ours, theirs, strict=True)], n=4, method="inclusive"
    )
    return (
        f"{name:24} {statistics.median(ours):.3f} s against {statistics.median(theirs):.3f} s:"
        f" 1/{1 / middle:.1f} (quartiles 1/{1 / low:.1f} to 1/{1 / high:.1f})"
    )


def compare(torch_python: str, rounds: int) -> None:
    """Alternate the rounds of both sides and print the comparison."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    command = [torch_python, str(Path(__file__).resolve()), "--serve"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    planned, rebuilt, theirs = [], [], []
    for number in range(rounds + 1):
        child.stdin.write("go\n")
        child.stdin.flush()
        torch_round = json.loads(child.stdout.readline())
        model = keras.applications.ResNet50(weights=None)
        plan, model_too, share = keras_round(model)
        keras.backend.clear_session()
        if number:  # The first round imports and warms both sides.
            planned.append(plan)
            rebuilt.append(model_too)
            theirs.append(torch_round["seconds"])
    child.stdin.close()
    child.wait()
    print(
        f"MACs left: {share:.3f}, torch-pruning {torch_round['share']:.3f}; keras"
        f" {version('keras')}, torch {torch_round['torch']}, torch-pruning"
        f" {torch_round['torch-pruning']}; {rounds} rounds, load {os.getloadavg()[0]:.1f}"
    )
    for kind, what in enumerate(("clock", "processors")):
        other = [t[kind] for t in theirs]
        print(ratio(f"{what}: plan", [t[kind] for t in planned], other))
        print(ratio(f"{what}: plan + model", [t[kind] for t in rebuilt], other))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("torch_python", nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve_torch()
    elif given.torch_python:
        compare(given.torch_python, given.rounds)
    else:
        parser.error("give the interpreter of the environment that holds torch-pruning")


if __name__ == "__main__":
    main()
