"""What `inspect` costs on large models, in processor time and memory, against another commit.

Usage: python benchmarks/studies/measuring/inspect_large.py [OTHER] [LAYERS] [MEGABYTES]

OTHER is a folder with another commit checked out (`git worktree add OTHER COMMIT`); without it only
this tree is measured. Both take turns, each inspection in a process of its own. Seconds are the
processor time of the whole command and of `inspect` on the file; memory is what the process holds
alone at most (resident, less shared).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

ROOT = Path(__file__).parents[3]
_PARTS = ("compress", "benchmarks", "deploy")

# Runs in the child: the installed edgepress is left aside for the tree beside it.
_CHILD = """
import json, sys, threading, time
tree, path = sys.argv[1:]
sys.meta_path = [f for f in sys.meta_path if "edgepress" not in getattr(f, "__module__", "")]
sys.path.insert(0, tree)
import psutil
process, peak = psutil.Process(), 0
def watch():
    global peak
    while True:
        memory = process.memory_info()
        peak = max(peak, memory.rss - memory.shared)
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
from edgepress.deploy.cli.quiet import load_frameworks
load_frameworks(False)
from edgepress.compress import inspection
assert inspection.__file__.startswith(tree), inspection.__file__
begin = time.process_time()
found = inspection.inspect(path)
end = time.process_time()
print(json.dumps([end, end - begin, peak, found.params, found.macs, found.bytes]))
"""


def deep_network(layers: int) -> keras.Model:
    """A residual network of about that many layers, of 8 channels each."""
    import keras

    kinds = keras.layers
    x = given = keras.Input((8, 8, 8))
    for _ in range(layers // 4):
        y = kinds.Conv2D(8, 3, padding="same", use_bias=False)(x)
        y = kinds.ReLU()(kinds.BatchNormalization()(y))
        x = kinds.Add()([x, y])
    return keras.Model(given, kinds.Dense(10)(kinds.GlobalAveragePooling2D()(x)))


def large_network(megabytes: int, width: int = 2048) -> keras.Model:
    """Dense layers of that width (2048: 16.8 MB each), of that size together."""
    import keras

    count = round(megabytes * 1e6 / 4 / width**2)
    wide = [keras.layers.Dense(width, activation="relu") for _ in range(count)]
    return keras.Sequential([keras.Input((width,)), *wide, keras.layers.Dense(10)])


def _linked(tree: Path, folder: Path) -> Path:
    """A folder in which a tree is importable as `edgepress`."""
    package = folder / "edgepress"
    package.mkdir(parents=True)
    for file in (tree / "package").glob("*.py") if (tree / "package").is_dir() else ():
        (package / file.name).symlink_to(file.resolve())
    for name in _PARTS:
        (package / name).symlink_to((tree / name).resolve())
    return folder


def inspected(importable: Path, model: Path) -> list[float]:
    """Seconds of all and of `inspect`, bytes of memory, and what was found."""
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(importable), str(model)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: list[float] = json.loads(child.stdout.splitlines()[-1])
    return figures


def compare(trees: dict[str, Path], model: Path, name: str, rounds: int = 2) -> None:
    """Print the least of some rounds for each tree, and the ratios to the last of them."""
    size = model.stat().st_size
    runs: dict[str, list[list[float]]] = {tree: [] for tree in trees}
    for _ in range(rounds):
        for tree, path in trees.items():
            runs[tree].append(inspected(path, model))
    best = {
        tree: [min(column) for column in zip(*figures, strict=True)]
        for tree, figures in runs.items()
    }
    for tree, (total, look, peak, *found) in best.items():
        print(
            f"{name:>12} {tree:>6}: {total:6.2f} s in all, {look:6.2f} s inspecting,"
            f" {peak / size:6.2f} times the file in memory; {found}"
        )
    if len(best) > 1:
        ours, other = best["this"], best["other"]
        shares = [f"{a / b:.2f}" for a, b in zip(ours[:3], other[:3], strict=True)]
        print(f"{name:>12}  ratio: {' , '.join(shares)} (all, inspecting, memory)")


def main() -> None:
    """Make the models, and inspect them with both trees."""
    import keras

    other = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    layers = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    megabytes = int(sys.argv[3]) if len(sys.argv) > 3 else 500
    print(
        f"tensorflow {version('tensorflow')}, keras {version('keras')}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = {"this": _linked(ROOT, folder / "this")}
        if other is not None:
            trees["other"] = _linked(other, folder / "other")
        for count in (layers // 4, layers // 2, layers):
            keras.utils.clear_session()
            deep_network(count).save(folder / "deep.keras")
            compare(trees, folder / "deep.keras", f"{count} layers")
        if megabytes:
            for width in (2048, 4096):
                large_network(megabytes, width).save(folder / "large.keras")
                name = f"{megabytes} MB, {4 * width**2 / 1e6:.0f} each"
                compare(trees, folder / "large.keras", name, rounds=1)


if __name__ == "__main__":
    main()
