"""What runs artifacts on a board: the Python runner, or the one in C where there is no Python."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, Protocol

from edgepress.benchmarks.runtimes import host_info, roofline_peak
from edgepress.benchmarks.runtimes.raw_runtime import RawRuntime
from edgepress.benchmarks.runtimes.runtime import RUNNER, RUNNER_FILES, Runtime
from edgepress.benchmarks.session import RUNNER_TAKES
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.processes.children import died
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.deploy.targets.native_runner import (
    FLAGS,
    SOURCE,
    compile_runner,
    complaint,
    find_library,
)
from edgepress.deploy.targets.shell_host import SCRIPT, parse_host
from edgepress.deploy.targets.ssh.link import Link


class BoardRunner(Protocol):
    """A way to run artifacts on a board that is reached."""

    @property
    def kind(self) -> type[Runtime]:
        """How arrays go there and come back."""

    @property
    def takes(self) -> frozenset[str]:
        """Fields of `RunOptions` that it honours."""

    @property
    def suffixes(self) -> frozenset[str]:
        """Endings of the files that it runs."""

    async def prepare(self, link: Link) -> None:
        """Put everything in its place there, once."""

    async def environment(self, link: Link) -> dict[str, Any]:
        """The board and its present state."""

    async def peak(self, link: Link, threads: int) -> dict[str, float]:
        """What the board does at best, by `roofline_peak.py`; empty where it can't be had."""

    def command(self, link: Link) -> str:
        """What the board's shell executes."""

    def ended(self, code: int, chatter: str) -> DeviceError:
        """What to say when it ended by itself."""


class PythonRunner:
    """The runner script, in the board's Python or in a virtual environment made for the run.

    Args:
        name: The board, in messages.
        python: The board's Python.
        wheels: A local folder of wheels to install there, or "".
    """

    kind = Runtime
    takes = RUNNER_TAKES
    suffixes = frozenset((".tflite", ".onnx"))

    def __init__(self, name: str, python: str, wheels: str) -> None:
        self._name, self._own, self._wheels = name, python, wheels
        self._python = python
        self._prepared = ""

    async def prepare(self, link: Link) -> None:
        """Send the script with what it needs beside it; install the wheels."""
        place = f"{link.folder}/runner"
        for file in RUNNER_FILES:
            await link.upload(file, f"{place}/{file.name}")
        if self._wheels and self._prepared != link.folder:
            await self._install(link)
            self._prepared = link.folder

    async def _install(self, link: Link) -> None:
        wheels = sorted(Path(self._wheels).expanduser().glob("*.whl"))
        if not wheels:
            raise InputError(f"'{self._wheels}' holds no wheels", "pip download them for the board")
        place, venv = f"{link.folder}/wheels", f"{link.folder}/venv"
        await link.run(f"mkdir {place}")
        for wheel in wheels:
            await link.send(wheel, f"{place}/{wheel.name}")
        code, out, err = await link.run(
            f"{self._own} -m venv {venv} && "
            f"{venv}/bin/python -m pip install -q --no-index --no-deps {place}/*.whl",
            timeout=600,
        )
        if code == 127:
            raise self.ended(code, err)
        if code != 0:
            last = (err or out).strip().splitlines()[-1:]
            raise DeviceError(f"'{self._name}' could not install the wheels: {' '.join(last)}")
        self._python = f"{venv}/bin/python"

    async def environment(self, link: Link) -> dict[str, Any]:
        """What the board's Python tells."""
        script = f"{link.folder}/runner/{Path(host_info.__file__).name}"
        code, out, err = await link.run(f"{self._python} {script}")
        if code != 0:
            raise self.ended(code, err)
        try:
            reply = json.loads(out.splitlines()[-1])
        except (ValueError, IndexError):
            reply = None
        if not isinstance(reply, dict) or "machine" not in reply:
            said = " ".join(out.split())[:100] or "nothing"
            raise DeviceError(f"Python on '{self._name}' said '{said}'")
        return reply

    async def peak(self, link: Link, threads: int) -> dict[str, float]:
        """Measured by the board's NumPy."""
        path = Path(roofline_peak.__file__)
        script = await link.upload(path, f"{link.folder}/runner/{path.name}")
        limits = f"OPENBLAS_NUM_THREADS={threads} OMP_NUM_THREADS={threads}"
        code, out, err = await link.run(f"{limits} {self._python} {script}")
        if code != 0:
            raise self.ended(code, err)
        found: dict[str, float] = json.loads(out)
        return found

    def command(self, link: Link) -> str:
        """Python with the script."""
        return f"{self._python} {link.folder}/runner/{RUNNER.name}"

    def ended(self, code: int, chatter: str) -> DeviceError:
        """Python is missing, or ended by itself."""
        if code == 127 or "not found" in chatter:
            return DeviceError(
                f"'{self._name}' has no {self._python}",
                "install Python 3.10 or newer there, or name it: ssh://…?python=/path/to/python3;"
                " without Python: ssh://…?litert=WHEEL (a wheel of ai-edge-litert for the board)",
            )
        return DeviceError(f"Python on '{self._name}' {died(code, chatter)}")


class NativeRunner:
    """The runner in C with LiteRT's library, for boards without Python.

    Args:
        name: The board, in messages.
        litert: A local wheel or library for the board.
        compiler: A local compiler for the board; "" for the board's own `cc`.
    """

    kind = RawRuntime
    takes = frozenset(("threads", "batch", "xnnpack", "cpus", "profile"))
    suffixes = frozenset((".tflite",))

    def __init__(self, name: str, litert: str, compiler: str) -> None:
        self._name, self._litert, self._compiler = name, Path(litert).expanduser(), compiler
        self._prepared = ""

    async def prepare(self, link: Link) -> None:
        """Send the library, and build the runner here or there."""
        if self._prepared == link.folder:
            return
        with scratch_folder() as folder:
            library = find_library(self._litert, folder, link.machine)
            await link.upload(library, f"{link.folder}/runner/{library.name}")
            self._library = f"{link.folder}/runner/{library.name}"
            if self._compiler:
                built = compile_runner(self._compiler, folder)
                await link.upload(built, f"{link.folder}/runner/runner")
                await link.run(f"chmod 755 {link.folder}/runner/runner")
            else:
                await self._build_there(link)
        self._prepared = link.folder

    async def _build_there(self, link: Link) -> None:
        source = await link.upload(SOURCE, f"{link.folder}/runner/{SOURCE.name}")
        flags = " ".join(FLAGS)
        code, _, err = await link.run(f"cc {flags} -o {link.folder}/runner/runner {source} -ldl")
        if code == 127:
            raise DeviceError(
                f"'{self._name}' has no C compiler",
                "name one here that builds for it: ssh://…?litert=WHEEL&cc=aarch64-linux-gnu-gcc",
            )
        if code != 0:
            raise DeviceError(f"'{self._name}' can't build the runner: {complaint(err)}")

    async def environment(self, link: Link) -> dict[str, Any]:
        """What the board's shell tells."""
        code, out, err = await link.run(SCRIPT)
        if code != 0:
            raise DeviceError(f"the shell of '{self._name}' {died(code, err)}")
        return parse_host(out)

    async def peak(self, link: Link, threads: int) -> dict[str, float]:  # noqa: ARG002
        """Unknown without NumPy."""
        return {}

    def command(self, link: Link) -> str:
        """The program with the library's path."""
        return f"{link.folder}/runner/runner {shlex.quote(self._library)}"

    def ended(self, code: int, chatter: str) -> DeviceError:
        """It could not start, or ended by itself."""
        return DeviceError(f"the runner on '{self._name}' {died(code, chatter)}")
