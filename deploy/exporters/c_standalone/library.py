"""The C source compiled for this machine, and run."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgepress.benchmarks.runtimes.runtime import LocalChannel, Runtime
from edgepress.compress.errors import DeviceError
from edgepress.compress.kernel.files import write_json
from edgepress.compress.processes.children import run
from edgepress.deploy.exporters.exporter import Unsupported

_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC")
_RUNNER = "edgepress.benchmarks.runtimes.library_runner"


def compiler() -> list[str]:
    """The C compiler of this machine: $CC, else the first that is found.

    Raises:
        Unsupported: There is none.
    """
    if chosen := os.environ.get("CC"):
        return shlex.split(chosen)
    found = next(filter(shutil.which, _COMPILERS), None)
    if found is None:
        raise Unsupported(
            "there is no C compiler here, without which what its source computes can't be verified",
            "install gcc or clang, or name one in $CC",
        )
    return [found]


def library_of(source: Path, folder: Path, described: Mapping[str, Any], timeout: float) -> Path:
    """Compile a source for this machine.

    Args:
        source: The `.c` file; its header lies beside it.
        folder: Where the library goes.
        described: The function that runs the network, and its inputs and outputs as a runtime
            describes them.
        timeout: Seconds that it may take.

    Returns:
        What `open_library` takes.

    Raises:
        DeviceError: The compiler refused it.
    """
    library = folder / f"{source.stem}.so"
    command = [*compiler(), *_FLAGS, "-o", str(library), str(source), "-lm"]
    try:
        done = run(command, timeout=timeout, errors="replace")
    except OSError as error:
        raise DeviceError(f"the C compiler '{command[0]}' can't be run: {error}") from None
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), "")
        raise DeviceError(f"the C compiler '{command[0]}' refuses '{source.name}': {first}")
    opened = library.with_suffix(".json")
    write_json(opened, {**described, "library": str(library)})
    return opened


def open_library(path: Path) -> Runtime:
    """What `library_of` made, in a process of its own."""
    return Runtime(path, channel=LocalChannel(("-m", _RUNNER)), runtime="c-standalone")
