"""A run of the pipeline, as what watches over its process knows it."""

from __future__ import annotations

from pathlib import Path

import click

from edgepress.deploy.cli.supervised.supervision import Work
from edgepress.deploy.pipeline.run_folder import RunFolder


def run_work(output: Path) -> Work:
    """The work of a command that runs the pipeline.

    Args:
        output: Folder of the run. One that is there now is this run's only if it is resumed.
    """
    context = click.get_current_context()
    words: list[str] = context.find_root().obj or []
    resumes = context.params.get("resume") is not None
    earlier = _identity(output)

    def go_on() -> list[str] | None:
        if not RunFolder(output).recipe.is_file():
            return None
        if resumes:
            return words
        if _identity(output) == earlier:
            return None
        return ["compress", "--resume", str(output), *_shown(context)]

    return Work(output, go_on)


def _shown(context: click.Context) -> list[str]:
    """The options of a command that say how it speaks, which a run's recipe doesn't hold."""
    names = {"as_json": "--json", "verbose": "--verbose", "debug": "--debug"}
    return [flag for name, flag in names.items() if context.params.get(name)]


def _identity(folder: Path) -> int | None:
    return folder.stat().st_ino if folder.is_dir() else None
