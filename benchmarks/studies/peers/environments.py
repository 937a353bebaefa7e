"""An environment for each tool, made once."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgepress.benchmarks.studies.peers.tools import Tool
from edgepress.compress.kernel.files import content_key


class NotInstalled(Exception):
    """A tool can't be installed here; says why."""


def _here(requirement: str) -> bool:
    """Whether the running interpreter has exactly what is pinned."""
    name, _, wanted = requirement.partition("==")
    try:
        return bool(wanted) and version(name) == wanted
    except PackageNotFoundError:
        return False


def python_of(tool: Tool, folder: Path) -> Path:
    """The interpreter that has a tool, which is installed now where it isn't yet.

    Args:
        tool: The tool; where this interpreter has all of its pins it is used.
        folder: Below which environments are made.

    Raises:
        NotInstalled: pip's last words.
    """
    if all(_here(requirement) for requirement in tool.requires):
        return Path(sys.executable)
    place = folder / f"{tool.side}-{content_key(*tool.requires)}"
    python, done = place / "bin/python", place / "installed"
    if not done.is_file():
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", "--clear", place], check=True
        )
        pip = [sys.executable, "-m", "pip", "--python", str(python)]
        command = [*pip, "install", "--quiet", "--no-compile", *tool.requires]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            lines = [x for x in ended.stderr.splitlines() if x.startswith("ERROR")]
            raise NotInstalled((lines or ["pip failed"])[-1])
        done.write_text("\n".join(tool.requires))
    return python
