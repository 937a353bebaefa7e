"""SIGTERM stops every command that works for long as Ctrl-C does, and leaves nothing lying about.

The moments are drawn once: most fall into loading, tracing or the first epochs. `test_kills.py` has
many moments and goes on afterwards.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fuzz_case import Server

_DATA = ("--data", "d.npz")
_TUNE = (*_DATA, "--epochs", "200", "--batch-size", "8")
COMMANDS: dict[str, tuple[str, ...]] = {
    "finetune": ("m.keras", *_TUNE, "-o", "out.keras"),
    "unfreeze-search": ("m.keras", *_TUNE, "-o", "out"),
    "lr-find": ("m.keras", *_DATA, "--steps", "5000", "-o", "out.png"),
    "sensitivity": ("m.keras", *_DATA, "-o", "out.png"),
    "advise": ("m.keras", *_DATA),
    "doctor": ("m.keras", *_DATA),
    "prune": ("m.keras", *_DATA, "--structure", "channels", "--target-macs", "0.5",
              "--recover-epochs", "200", "-o", "out.keras"),
    "export": ("m.keras", *_DATA, "--quantize", "int8", "-o", "out"),
    "verify": ("m.keras", "m.tflite", *_DATA, "--layers"),
    "benchmark": ("m.tflite", "--runs", "100000", "--max-seconds", "600", "-o", "out.json"),
    "compress": ("m.keras", *_TUNE, "-o", "out"),
    "search": ("s.yaml", "--trials", "9", "-o", "out"),
}  # fmt: skip
_SEARCH = """model: m.keras
data: d.npz
prune:
  - {structure: weights, sparsity: 0.5}
export: {formats: [tflite], quantize: [float32]}
search:
  space: {prune.0.sparsity: [0.3, 0.6]}
  objectives: [metric, bytes]
"""
# What a stopped command may keep: checkpoints, and a run or search that goes on.
_KEPT = (".out.keras.state", ".out.state", "out")


@pytest.fixture(scope="module")
def server(
    edge_model: Callable[[str], Path],
    edge_file: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Runs command lines in forks, each in a folder with a model, its file, data and a recipe."""
    base = tmp_path_factory.mktemp("base") / "files"
    base.mkdir()
    (base / "m.keras").write_bytes(edge_model("resnet8.keras").read_bytes())
    (base / "m.tflite").write_bytes(edge_file("resnet8_float").read_bytes())
    images = np.random.default_rng(0).normal(size=(80, 32, 32, 3)).astype(np.float32)
    np.savez(base / "d.npz", x=images, y=np.arange(80) % 10)
    (base / "s.yaml").write_text(_SEARCH)
    with Server(tmp_path_factory.mktemp("stops"), base) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_asked_to_stop_leaves_nothing(name: str, server: Server) -> None:
    folder = server.place()
    before = set((folder / "place").iterdir())
    after_s = random.Random(name).uniform(0.3, 3)
    told = server.ask(folder, (name, *COMMANDS[name]), (after_s, signal.SIGTERM))
    assert told["code"] in (0, 128 + signal.SIGTERM), told["err"]
    if told["code"]:
        assert "stopped" in told["err"].splitlines()[-1]
        # Native code that imports prints by itself what it makes of a signal.
        assert "KeyboardInterrupt" not in told["err"]
        left = {path.name for path in set((folder / "place").iterdir()) - before}
        assert left <= set(_KEPT)
    assert told["orphans"] == []
    assert list((folder / "tmp").iterdir()) == []
    assert not [path for path in (folder / "place").rglob("*") if ".edgepress-" in path.name]
