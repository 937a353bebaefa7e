"""How time and memory of a structured pruning and of its export grow with the network.

    python benchmarks/studies/pruning/growth.py [--rounds N] [--export]

Residual networks of 1, 2, 4 and 8 times the depth, and of as many times the width, with random
weights: tracing, planning (L1, half the MACs), surgery, repair on 64 random images and, with
--export, a verified float32 TFLite file. Sizes take turns; medians of processor seconds, and the
most by which the memory of a process of its own grew in each step. Prints both and the exponents of
growth: slopes of a straight line through the logarithms, over the number of layers for depth, and
over the number of weights for width.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

TIMES = (1, 2, 4, 8)
BLOCKS, WIDTH, SIZE, SAMPLES = 4, 16, 8, 64
Figures = dict[str, float]


def network(blocks: int, width: int) -> keras.Model:
    """A residual network of plain blocks."""
    import keras

    layers = keras.layers
    x = inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(width, 3, padding="same")(x)
    for _ in range(blocks):
        y = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        x = layers.Add()([x, layers.Conv2D(width, 3, padding="same")(y)])
    y = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, y)


def steps(model: keras.Model, export: bool) -> dict[str, Callable[[], None]]:
    """What is measured, in its order; each step goes on from the one before."""
    from edgepress import deploy
    from edgepress.compress.specs.pruning import ChannelsSpec
    from edgepress.compress.structure.budgets.measured_targets import Budget
    from edgepress.compress.structure.planning.allocate import allocate
    from edgepress.compress.structure.planning.scoring import score_groups
    from edgepress.compress.structure.repair.repair import repair
    from edgepress.compress.structure.surgery.surgery import remove
    from edgepress.compress.structure.tracing.groups import find_channels

    spec = ChannelsSpec(target_macs=0.5, criterion="l1")
    samples = np.random.default_rng(0).normal(size=(SAMPLES, SIZE, SIZE, 3)).astype(np.float32)
    kept: dict[str, Any] = {}

    def trace() -> None:
        kept["channels"] = find_channels(model)

    def plan() -> None:
        channels = kept["channels"]
        budget = Budget(channels)
        kept["alive"] = allocate(channels, score_groups(channels, spec, None, budget), spec, budget)

    def surgery() -> None:
        kept["surgery"] = remove(kept["channels"], kept["alive"])

    def refit() -> None:
        repair(kept["surgery"], {"x": samples})

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            deploy.export(kept["surgery"].model, Path(folder) / "out", formats="tflite")

    found = {"trace": trace, "plan": plan, "surgery": surgery, "repair": refit}
    return {**found, "export": write} if export else found


def seconds_of(model: keras.Model, export: bool) -> Figures:
    """Processor seconds of each step, children's too."""
    found = {}
    for name, step in steps(model, export).items():
        began = used()
        step()
        found[name] = used() - began
    return found


def used() -> float:
    """Processor seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def memory_of(blocks: int, width: int, export: bool) -> Figures:
    """Bytes by which the memory of a process of its own grew at most in each step."""
    command = [sys.executable, __file__, "--memory", str(blocks), str(width)]
    command += ["--export"] if export else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def tell_memory(blocks: int, width: int, export: bool) -> None:
    """The child: the most that each step took, after the same steps on the smallest network."""
    for step in steps(network(1, 4), False).values():
        step()
    model = network(blocks, width)
    found = {}
    for name, step in steps(model, export).items():
        # Linux: the peak is what it is now; getrusage would go on from the parent's peak.
        Path("/proc/self/clear_refs").write_text("5")
        before = in_memory("VmRSS")
        step()
        found[name] = in_memory("VmHWM") - before
    print(json.dumps(found))


def in_memory(field: str) -> float:
    """Bytes of this process: those that it has now (VmRSS), or had at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(field))) * 1024


def exponent(sizes: list[float], values: list[float]) -> float:
    """Slope of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def report(kind: str, rounds: int, export: bool) -> None:
    """Measure one way to grow and print its table."""
    shapes = [(BLOCKS * n, WIDTH) if kind == "depth" else (BLOCKS, WIDTH * n) for n in TIMES]
    models = [network(*shape) for shape in shapes]
    sizes = [float(len(m.layers) if kind == "depth" else m.count_params()) for m in models]
    seconds_of(network(1, 8), export)  # what happens once
    runs = [[seconds_of(model, export) for model in models] for _ in range(rounds)]
    peaks = [memory_of(*shape, export) for shape in shapes]
    print(f"\n{kind}: {', '.join(f'{size:,.0f}' for size in sizes)} ", end="")
    print("layers" if kind == "depth" else "weights")
    for name in runs[0][0]:
        times = [statistics.median(run[i][name] for run in runs) for i in range(len(models))]
        memory = [p[name] for p in peaks]
        shown = "  ".join(f"{t:8.3f} s" for t in times)
        grown = "  ".join(f"{m / 2**20:7.1f} MiB" for m in memory)
        print(f"{name:8} {shown}  exponent {exponent(sizes, times):5.2f}")
        steep = exponent(sizes, memory) if min(memory) > 2**20 else None
        what = "too little to tell" if steep is None else f"exponent {steep:5.2f}"
        print(f"{'':8} {grown}  {what}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--export", action="store_true")
    parser.add_argument("--memory", nargs=2, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if given.memory:
        blocks, width = given.memory
        tell_memory(blocks, width, given.export)
        return
    print(
        f"tensorflow {version('tensorflow')}, keras {version('keras')}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}, medians of {given.rounds} rounds"
    )
    for kind in ("depth", "width"):
        report(kind, given.rounds, given.export)


if __name__ == "__main__":
    main()
