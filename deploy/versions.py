"""Which packages and which machine a figure comes from."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edgepress.benchmarks.runtimes.host_info import read_environment

_PACKAGES = (
    "edgepress",
    "tensorflow",
    "keras",
    "tensorflow-model-optimization",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "tflite-micro",
    "numpy",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    return dict(_installed())


@cache  # each is read from a long text
def _installed() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def made_by() -> dict[str, str | None]:
    """When, by which command line and at which commit a result was made.

    Returns:
        `date` in UTC; `command`, None where a program called the library; `commit` of the working
        directory, None outside of a repository or without git.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "commit": _commit(),
    }


def _command() -> str | None:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    as_module = module is not None and module.name.startswith("edgepress.")
    if not as_module and Path(sys.argv[0]).name != "edgepress":
        return None
    return shlex.join(["edgepress", *sys.argv[1:]])


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def machine() -> dict[str, Any]:
    """The machine that this process runs on, without its present state."""
    found = read_environment()
    return {name: found[name] for name in ("system", "machine", "processor", "cores")}
