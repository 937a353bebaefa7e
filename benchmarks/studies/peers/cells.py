"""Cells: single results, each kept under the hash of what it follows from.

A run that was ended goes on where it was. The folder of a cell is made under another name and
renamed when its answer is there, so a cell is there or it isn't; a training within it is resumed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepress.compress.kernel.files import content_key

# What a tool said of a job: see `sides.job.serve`. One that failed has "failed" alone.
Answer = dict[str, Any]
NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Cell:
    """One result: a task done by a tool with a network.

    Attributes:
        tool: In the table of tools.
        task: One of its tasks.
        network: Whose weights it is about.
        options: Of the task, JSON-able.
        after: Cells whose folders it reads, by the name of the option that gets the folder.
    """

    tool: str
    task: str
    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Cell] = field(default_factory=dict)

    def parts(self, version: Callable[[Cell], str]) -> list[Any]:
        """What its result follows from, JSON-able.

        Args:
            version: What tells one state of a cell's tool from another.
        """
        before = {name: cell.parts(version) for name, cell in self.after.items()}
        own = [self.tool, self.task, self.network, dict(self.options)]
        return [*own, version(self), before]


class Cells:
    """All cells below a folder.

    Args:
        folder: Where they are kept.
        version: What tells one state of a cell's tool, network and data from another.
        work: Does a cell in a folder, which may have what an ended attempt left; the answer.
        goes_on: Whether a cell may still be begun; those that aren't answer that they weren't run.
    """

    def __init__(
        self,
        folder: Path,
        version: Callable[[Cell], str],
        work: Callable[[Cell, Path, Mapping[str, str]], Answer],
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._folder = folder
        self._version = version
        self._work = work
        self._goes_on = goes_on
        self._failed: dict[str, Answer] = {}

    def folder(self, cell: Cell) -> Path:
        """Where a cell's files are once it is done."""
        key = content_key(*cell.parts(self._version))
        return self._folder / f"{cell.tool}-{cell.task}-{cell.network}-{key}"

    def known(self, cell: Cell) -> Answer | None:
        """A cell's answer, where it was found already."""
        file = self.folder(cell) / "answer.json"
        if file.is_file():
            return json.loads(file.read_text("utf-8"))
        return self._failed.get(self.folder(cell).name)

    def answer(self, cell: Cell) -> Answer:
        """A cell's answer; it is found now where it isn't known.

        One that failed in this run isn't tried again in it, nor what follows from it.
        """
        answer = self.known(cell)
        if answer is not None:
            return answer
        folder = self.folder(cell)
        for before in cell.after.values():
            if "failed" in (found := self.answer(before)):
                return found
        if not self._goes_on():
            return {"failed": NOT_RUN}
        begun = folder.with_name(folder.name + ".begun")
        begun.mkdir(parents=True, exist_ok=True)
        paths = {name: str(self.folder(before)) for name, before in cell.after.items()}
        answer = self._work(cell, begun, paths)
        if "failed" in answer:
            self._failed[folder.name] = answer
        else:
            (begun / "answer.json").write_text(json.dumps(answer, indent=1), "utf-8")
            begun.rename(folder)
        return answer
