"""Cells done by the tools' own interpreters."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from pathlib import Path

from edgepress.benchmarks.studies.peers.cells import Answer, Cell, Cells
from edgepress.benchmarks.studies.peers.environments import NotInstalled, python_of
from edgepress.benchmarks.studies.peers.images import cifar10
from edgepress.benchmarks.studies.peers.networks import NETWORKS, trained
from edgepress.benchmarks.studies.peers.plan import Plan
from edgepress.benchmarks.studies.peers.tools import OWN, TOOLS
from edgepress.compress.kernel.files import content_key, sha256

# What is imported through the links of scripts/typing has its real place here.
ROOT = Path(__file__).resolve().parents[3]
# On what of edgepress's sources the result of a task of its own depends.
_SOURCES = {
    "channels": ("compress/structure", "compress/specs"),
    "zeros": ("compress/weights", "compress/training", "compress/specs"),
    "train": ("compress/training",),
    "export": ("deploy/exporters", "deploy/quantize", "deploy/lowerings"),
}


@cache
def _sources(task: str) -> str:
    files = [p for f in _SOURCES.get(task, ()) for p in sorted((ROOT / f).rglob("*.py"))]
    return content_key([sha256(path) for path in files])


class Workplace:
    """Folder, images, networks and interpreters of a run.

    Args:
        folder: Where everything is kept.
        source: Images and published networks, or None: downloaded and trained.
        goes_on: Whether a cell may still be begun.
    """

    def __init__(
        self, folder: Path, source: Path | None, goes_on: Callable[[], bool] = lambda: True
    ) -> None:
        self.folder = folder.resolve()
        self.source = source
        self._networks: dict[str, Path] = {}
        self.cells = Cells(self.folder / "cells", self._version, self._work, goes_on)

    @cached_property
    def data(self) -> Path:
        """The images."""
        return cifar10(self.source, self.folder)

    def network(self, name: str) -> Path:
        """Folder of a trained network: `model.*`, `graph.json`, `weights.npz`."""
        if name not in self._networks:
            self._networks[name] = self._prepared(name)
        return self._networks[name]

    def _prepared(self, name: str) -> Path:
        file = trained(name, self.data, self.source, self.folder / "networks")
        place = file.with_suffix("")
        if not (place / "graph.json").is_file():
            place.mkdir(exist_ok=True)
            (place / f"model{file.suffix}").write_bytes(file.read_bytes())
            ended = self._run(Cell(OWN, "graph", name), place, {}, place)
            if "failed" in ended:
                raise SystemExit(f"{NETWORKS[name].title}: {ended['failed']}")
        return place

    def measured(self, network: str, files: Mapping[str, Cell], plan: Plan) -> Answer:
        """Accuracy, bytes and latency of the files of some cells, all in one process.

        Args:
            network: Whose files they are.
            files: Cells that are done, by the name that each has in tables.
            plan: How many images and rounds.
        """
        if not files:
            return {"failed": "no tool made a file"}
        folders = {name: str(self.cells.folder(cell)) for name, cell in files.items()}
        options = {"of": folders, "files": plan.files, "rounds": plan.rounds}
        return self.cells.answer(Cell(OWN, "measure", network, options))

    def _inputs(self, network: str) -> str:
        model = next(self.network(network).glob("model.*"))
        return content_key(sha256(model), self.data.stat().st_size)

    def _version(self, cell: Cell) -> str:
        state = _sources(cell.task) if cell.tool == OWN else TOOLS[cell.tool].requires
        return content_key(state, self._inputs(cell.network))

    def _work(self, cell: Cell, out: Path, before: Mapping[str, str]) -> Answer:
        return self._run(cell, out, before, self.network(cell.network))

    def _run(self, cell: Cell, out: Path, before: Mapping[str, str], network: Path) -> Answer:
        tool = TOOLS[cell.tool]
        try:
            python = python_of(tool, self.folder / "environments")
        except NotInstalled as error:
            return {"failed": f"not installed: {error}"}
        job = {
            "task": cell.task,
            "network": str(network),
            "data": str(self.data),
            "out": str(out),
            "options": {**cell.options, **before},
        }
        (out / "job.json").write_text(json.dumps(job, indent=1))
        module = f"edgepress.benchmarks.studies.peers.sides.{tool.side}"
        paths = str(ROOT / "scripts/typing")
        environment = {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
        with (out / "log.txt").open("w") as log:
            ended = subprocess.run(
                [python, "-m", module, out / "job.json"], env=environment, cwd=ROOT,
                stdout=log, stderr=log, check=False,
            )  # fmt: skip
        if ended.returncode:
            last = (out / "log.txt").read_text("utf-8", "replace").strip().splitlines()
            return {"failed": (last or ["it said nothing"])[-1][:200]}
        return json.loads((out / "answer.json").read_text())
