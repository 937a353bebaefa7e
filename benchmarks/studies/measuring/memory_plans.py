"""How much memory does a plan in the file save in TensorFlow Lite Micro, and what is left to save?

Usage: python benchmarks/studies/measuring/memory_plans.py [FILE.tflite | APPLICATION]...

Without arguments: the networks of keras.applications of at most 30 million parameters that take
96 x 96 pixels. For each it prints the activations in TFLM's arena as TFLM lays them out by itself
and by the plan, the most bytes that are alive at one time with the order of operators that was
found, which no layout can go below, and the processor time of the search. Then a network with
branches grows, and the search with it.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from pathlib import Path

import keras

from edgepress import deploy
from edgepress.benchmarks.tflite.graph import TFLiteGraph, read_graph
from edgepress.benchmarks.tflite.planning.memory_plan import MemoryPlan, search_plan

_SIDE = 96
# Larger networks are nothing for a microcontroller.
_MOST = 30_000_000
_HEAD = ("network", "operators", "TFLM", "plan", "least", "saved", "above least", "seconds")


def applications() -> list[str]:
    """The networks of keras.applications, by name."""
    found = sorted(vars(keras.applications).items())
    return [name for name, build in found if callable(build) and name[:1].isupper()]


def graph_of(given: str, folder: Path) -> TFLiteGraph | None:
    """The graph of a file, or of a network's float32 file; None where it isn't for such images."""
    if given.endswith(".tflite"):
        return read_graph(given)
    try:
        build = getattr(keras.applications, given)
        model = build(weights=None, input_shape=(_SIDE, _SIDE, 3), classes=10)
    except ValueError:
        return None
    return exported(model, folder / given) if model.count_params() <= _MOST else None


def exported(model: keras.Model, folder: Path) -> TFLiteGraph:
    """The graph of a model's float32 file."""
    (artifact,) = deploy.export(model, folder, ["tflite"], ["float32"], verify_samples=1)
    return read_graph(artifact.path)


def timed(graph: TFLiteGraph) -> tuple[MemoryPlan, float]:
    """A plan, and the processor seconds that its search took."""
    begin = time.process_time()
    plan = search_plan(graph)
    return plan, time.process_time() - begin


def show(name: str, graph: TFLiteGraph) -> float:
    """Print a line; the share by which the plan lies above the least."""
    plan, seconds = timed(graph)
    above = plan.arena_bytes / plan.live_bytes - 1
    saved = 1 - plan.arena_bytes / plan.before_bytes
    print(
        f"{name:<28}{len(graph.operators):>10}{plan.before_bytes:>12,}{plan.arena_bytes:>12,}"
        f"{plan.live_bytes:>12,}{saved:>9.1%}{above:>13.2%}{seconds:>9.3f}",
        flush=True,
    )
    return above


def branches(blocks: int) -> keras.Model:
    """A network of blocks whose branches differ in width."""
    layers = keras.layers
    x = image = keras.Input((16, 16, 4))
    for block in range(blocks):
        sides = [
            layers.Conv2D(width, 1, activation="relu")(layers.Conv2D(wide, 1)(x))
            for wide, width in ((16, 4), (4 + block % 5, 4), (8, 4))
        ]
        x = layers.Add()([x, *sides])
    return keras.Model(image, x)


def main() -> None:
    """Both tables."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        print("{:<28}{:>10}{:>12}{:>12}{:>12}{:>9}{:>13}{:>9}".format(*_HEAD))
        graphs = ((g, graph_of(g, folder)) for g in sys.argv[1:] or applications())
        above = [show(Path(given).stem, graph) for given, graph in graphs if graph is not None]
        close = sum(share <= 0.02 for share in above)
        print(f"{close} of {len(above)} within 2 % of the least")
        sizes = [(n, exported(branches(n), folder / str(n))) for n in (8, 16, 32, 64)]
        grown = [(len(graph.operators), timed(graph)[1]) for _, graph in sizes]
        for (few, short), (many, long) in itertools.pairwise(grown):
            print(f"{few} to {many} operators: time {short:.3f} to {long:.3f} s, "
                  f"{long / short:.2f} times for {many / few:.2f} times as many")  # fmt: skip


if __name__ == "__main__":
    main()
