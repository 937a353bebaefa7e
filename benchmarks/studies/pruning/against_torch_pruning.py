"""Pruning ResNet-50 at 224 x 224 to half its MACs, beside Torch-Pruning and an older commit.

    python benchmarks/studies/pruning/against_torch_pruning.py TORCH_PYTHON [--older WORKTREE]
        [--rounds 7]

TORCH_PYTHON is the interpreter of an environment with torch, torchvision and torch-pruning,
WORKTREE an earlier commit with an environment of its own (`.venv`). Each side is a process that
holds a freshly built network with random weights; rounds alternate, all others waiting while one
works, so that whatever else the machine does meets all. Prints the medians in seconds, of the clock
and of the processors, and the median ratio of paired rounds to Torch-Pruning with its quartiles.

The job: find what belongs together, score it by L1, choose what goes from a global ranking in
multiples of 8. Torch-Pruning's includes its slicing in place (`step`), which takes it little beside
the graph; edgepress's is timed without, and with, the new Keras model, and as a whole:
`compress.prune` with its account, first without TensorFlow kernels for the new shapes, then again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

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

    # Where torch has no CUDA, torchvision's own operators don't load, and its import looks for two.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
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


def keras_round(model: keras.Model) -> tuple[dict[str, tuple[float, float]], float]:
    """Seconds by what they took, and the share of MACs that is left."""
    import keras

    # The earlier commit has no such module.
    sys.path.append(str(Path(__file__).parents[1]))
    found_in = import_module("earlier").found_in

    inside = "edgepress.compress.structure."
    places = {
        "Budget": ("budgets.measured_targets", "budget"),
        "allocate": ("planning.allocate", "allocate"),
        "score_groups": ("planning.scoring", "scoring"),
        "remove": ("surgery.surgery", "surgery"),
        "find_channels": ("tracing.groups", "groups"),
    }
    budget_of, allocate, score_groups, remove, find_channels = (
        found_in(*(f"{inside}{module}:{name}" for module in modules))
        for name, modules in places.items()
    )
    spec_of = found_in(
        "edgepress.compress.specs.pruning:ChannelsSpec", "edgepress.compress.recipe:PruneSpec"
    )
    spec = spec_of(structure="channels", target_macs=0.5, criterion="l1")
    began = now()
    channels = find_channels(model)
    budget = budget_of(channels)
    alive = allocate(channels, score_groups(channels, spec, None, budget), spec, budget)
    planned = since(began)
    remove(channels, alive)
    rebuilt = since(began)
    # Forgets the kernels that TensorFlow has built for these shapes by now.
    keras.backend.clear_session()
    whole, again = whole_pruning(model), whole_pruning(model)
    share = budget.macs(alive) / budget.macs(channels.all_alive())
    found = {"plan": planned, "plan + model": rebuilt, "whole": whole, "whole again": again}
    return found, share


def whole_pruning(model: keras.Model) -> tuple[float, float]:
    """Seconds of all of `compress.prune`."""
    from edgepress import compress

    began = now()
    compress.prune(model, structure="channels", target_macs=0.5, criterion="l1")
    return since(began)


def serve_keras() -> None:
    """The child: one round for each line that comes in, its seconds as JSON."""
    import keras

    for _ in sys.stdin:
        model = keras.applications.ResNet50(weights=None)
        seconds, share = keras_round(model)
        keras.backend.clear_session()
        print(json.dumps({"seconds": seconds, "share": share}), flush=True)


class Side:
    """A process that does one round whenever it is asked."""

    def __init__(self, python: str | Path, serve: str) -> None:
        command = [str(python), str(Path(__file__).resolve()), "--serve", serve]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.rounds: list[dict[str, Any]] = []

    def round(self) -> None:
        """Do one."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write("go\n")
        self._child.stdin.flush()
        self.rounds.append(json.loads(self._child.stdout.readline()))

    def end(self) -> None:
        """Let the process end."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()


def ratio(name: str, ours: list[float], theirs: list[float]) -> str:
    """Both medians, and the paired ratio with its quartiles."""
    low, middle, high = statistics.quantiles(
        [a / b for a, b in zip(ours, theirs, strict=True)], n=4, method="inclusive"
    )
    return (
        f"{name:36} {statistics.median(ours):.3f} s against {statistics.median(theirs):.3f} s:"
        f" x{middle:.2f} (quartiles x{low:.2f} to x{high:.2f})"
    )


def compare(torch_python: str, older: str | None, rounds: int) -> None:
    """Alternate the rounds of all sides and print the comparison."""
    theirs = Side(torch_python, "torch")
    ours = {"now": Side(sys.executable, "keras")}
    if older is not None:
        ours["older"] = Side(Path(older) / ".venv/bin/python", "keras")
    for _ in range(rounds + 1):
        for side in (theirs, *ours.values()):
            side.round()
    for side in (theirs, *ours.values()):
        side.end()
    last = theirs.rounds[-1]
    print(
        f"MACs left: {ours['now'].rounds[-1]['share']:.3f}, torch-pruning {last['share']:.3f};"
        f" keras {version('keras')}, torch {last['torch']}, torch-pruning {last['torch-pruning']};"
        f" {rounds} rounds, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    for kind, what in enumerate(("clock", "processors")):
        # The first round imports and warms all sides.
        other = [r["seconds"][kind] for r in theirs.rounds[1:]]
        for name, side in ours.items():
            for part in side.rounds[0]["seconds"]:
                own = [r["seconds"][part][kind] for r in side.rounds[1:]]
                print(ratio(f"{what}: {part}, {name}", own, other))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("torch_python", nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--older", metavar="WORKTREE")
    parser.add_argument("--serve", choices=("torch", "keras"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        (serve_torch if given.serve == "torch" else serve_keras)()
    elif given.torch_python:
        compare(given.torch_python, given.older, given.rounds)
    else:
        parser.error("give the interpreter of the environment that holds torch-pruning")


if __name__ == "__main__":
    main()
