"""`edgepress compress` without training, beside an older commit: processor time and memory.

    python benchmarks/studies/commands/compressing.py resnet8.h5 cifar10.npz OLDER [--rounds N]

OLDER is a worktree of an earlier commit with an environment of its own (`.venv`). ResNet-8 is cut
to half its MACs, repaired, written as TFLite and ONNX in float32 and int8, verified, and each file
is measured 200 times. The commits take turns.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepress.benchmarks.studies.commands.processes import (
    Spent,
    alternate,
    compared,
    spent_by,
    surroundings,
)

_OPTIONS = (
    "--structure", "channels", "--target-macs", "0.5", "--recover-epochs", "0",
    "--format", "tflite", "--format", "onnx", "--quantize", "float32", "--quantize", "int8",
    "--runs", "200",
)  # fmt: skip


def compress(python: Path, model: str, data: str) -> Spent:
    """One run in a folder of its own."""
    with TemporaryDirectory() as folder:
        command: list[str | Path] = [python.with_name("edgepress"), "compress", model]
        return spent_by([*command, "--data", data, *_OPTIONS, "-o", Path(folder) / "run"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("older", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    pythons = {"now": Path(sys.executable), "before": given.older / ".venv/bin/python"}
    ways = {
        name: lambda python=python: compress(python, given.model, given.data)
        for name, python in pythons.items()
    }
    found = alternate(ways, given.rounds)
    print(surroundings(given.rounds))
    print(compared(found, "before"))


if __name__ == "__main__":
    main()
