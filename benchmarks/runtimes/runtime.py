"""A native runtime in a subprocess: the runner script, here or on a board."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import DeviceError, FileRefused, InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.compress.processes.children import NO_MEMORY, Child, Died, Late
from edgepress.compress.processes.scratch import scratch_folder

RUNNER = Path(__file__).with_name("runner.py")
# What the runner needs beside itself, wherever it is.
RUNNER_FILES = (RUNNER, RUNNER.with_name("host_info.py"), RUNNER.with_name("tensor_io.py"))
# What ONNX Runtime and Python put before the words of a refusal.
_OF_RUNTIME = re.compile(
    r"^\w+: (?:\[ONNXRuntimeError\] : \d+ : \w+ : |\[Errno \d+\] )"
    r"|^NotHere: |^ValueError: "
)
_DAMAGED = "it is damaged, or holds what this version of its runtime can't run"
RUNTIME_OF_SUFFIX = {".tflite": "litert", ".onnx": "onnxruntime"}

Arrays = Mapping[str, NDArray[Any]]


def runtime_for(path: Path) -> str:
    """The runtime that a file needs, by its suffix.

    Raises:
        InputError: No runtime of ours reads such a file.
    """
    suffix = path.suffix.lower()
    if suffix not in RUNTIME_OF_SUFFIX:
        known = " or ".join(RUNTIME_OF_SUFFIX)
        raise InputError(f"'{path}' can't be run", f"give a {known} file")
    return RUNTIME_OF_SUFFIX[suffix]


def _cure(error: str) -> str:
    """What to do about an error of the runner, where that is known."""
    if NO_MEMORY.search(error):
        return "the device ran out of memory: end what else runs there, or give a smaller file"
    if "ModuleNotFoundError" in error:
        return "on the device: pip install numpy ai-edge-litert (or onnxruntime for .onnx)"
    if "Select TensorFlow op" in error or "Encountered unresolved custom op" in error:
        return "the runtime lacks an operator of this file: export without TensorFlow's own ops"
    return ""


class Channel(Protocol):
    """A running runner script and the way to it."""

    def ask_line(self, line: str, timeout: float) -> str:
        """Send one line and give the line that answers it.

        Raises:
            DeviceError: The process ended, or didn't answer within `timeout` seconds.
        """

    def put(self, path: Path) -> str:
        """Make a local file readable for the runner; give the path by which it knows the file."""

    def fetch(self, name: str, target: Path) -> None:
        """Copy the file `name` of the runner's folder to `target`."""

    def place(self, name: str) -> str:
        """The path by which the runner knows a file `name` in its own folder."""

    def close(self) -> None:
        """End the process and remove what was left."""


class LocalChannel:
    """The runner as a child process of this one.

    Args:
        arguments: What Python is called with.
    """

    # -P: the folder of the script holds modules whose names the standard library also has.
    def __init__(self, arguments: Sequence[str] = ("-P", str(RUNNER))) -> None:
        with ExitStack() as held:
            self._folder = held.enter_context(scratch_folder())
            errors = held.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            environment = {"TMPDIR": str(self._folder)}
            self._child = Child([sys.executable, *arguments], errors, environment)
            held.callback(self._child.close)
            self._held = held.pop_all()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def ask_line(self, line: str, timeout: float) -> str:
        """Send one line, wait for one; a process that stays silent is killed."""
        try:
            return self._child.ask(line, timeout)
        except Late as error:
            raise DeviceError(f"the runtime {error.message}") from None
        except Died as error:
            reason = f"the runtime's process {error.message}"
            if error.native and not NO_MEMORY.search(reason):
                raise FileRefused(reason, _DAMAGED) from None
            raise DeviceError(reason) from None

    def put(self, path: Path) -> str:
        """The file itself."""
        return str(path.absolute())

    def fetch(self, name: str, target: Path) -> None:
        """Move the file."""
        Path(self.place(name)).replace(target)

    def place(self, name: str) -> str:
        """A path in the channel's temporary folder."""
        return str(self._folder / name)

    def close(self) -> None:
        """Kill the process: it holds nothing that would have to be saved."""
        self._held.close()


class Runtime:
    """An artifact loaded in its runtime, in a process of its own.

    A crash, an endless loop or a refusal of the runtime becomes a `DeviceError` here; one of this
    machine's runtimes that the file itself is to blame for, a `FileRefused`.

    Args:
        path: A `.tflite` or `.onnx` file.
        threads: Threads of the runtime.
        timeout: Seconds that one request may take.
        xnnpack: Whether LiteRT applies XNNPACK by default.
        delegates: LiteRT delegates as (library, options).
        providers: ONNX Runtime execution providers; the CPU's by default.
        batch: Batch size that timing uses, where the model's is free.
        cpus: Cores that the process is bound to; all by default.
        channel: The way to the runner; a local child process by default.
        runtime: Name of the runtime in the runner; by the file's suffix by default.
        options: What that runtime alone needs to know to load a file.

    Attributes:
        is_plain: Whether it runs here with one thread and without further options.
    """

    def __init__(
        self,
        path: Path | str,
        threads: int = 1,
        timeout: float = 300.0,
        *,
        xnnpack: bool = True,
        delegates: Sequence[tuple[str, dict[str, str]]] = (),
        providers: Sequence[str] = (),
        batch: int | None = None,
        cpus: Sequence[int] = (),
        channel: Channel | None = None,
        runtime: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        runtime = runtime or runtime_for(self.path)
        if not self.path.is_file():
            raise InputError(f"'{self.path}' does not exist")
        self.timeout = timeout
        self._request: dict[str, Any] = {
            "do": "load",
            "runtime": runtime,
            "threads": threads,
            "xnnpack": xnnpack,
            "delegates": list(delegates),
            "providers": list(providers),
            "batch": batch,
            "cpus": list(cpus),
            **(options or {}),
        }
        set_apart = delegates or providers or batch or cpus or options or channel is not None
        self.is_plain = threads == 1 and xnnpack and not set_apart
        self._channel = channel or LocalChannel()
        self.load_ms = 0.0
        self.version = ""

    def __enter__(self) -> Runtime:
        try:
            reply = self.load(self.put(self.path))
        except BaseException:
            self._channel.close()
            raise
        self.load_ms = reply["load_ns"] / 1e6
        self.version = reply["version"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._channel.close()

    def ask(self, request: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """Send one request of the runner's protocol and give its answer.

        Raises:
            FileRefused: A runtime of this machine can't load or run the file.
            DeviceError: The runner refused, crashed or was too slow.
        """
        line = json.dumps(request)
        try:
            text = self._channel.ask_line(line, timeout or self.timeout)
        except DeviceError as error:
            kind = FileRefused if isinstance(error, FileRefused) else DeviceError
            raise kind(f"'{self.path.name}': {error.message}", error.hint) from None
        try:
            reply = json.loads(text)
        except json.JSONDecodeError:
            reply = None
        if not isinstance(reply, dict) or "ok" not in reply:
            said = " ".join(text.split())[:100]
            raise DeviceError(f"'{self.path.name}': the runner said '{said}'")
        if not reply.pop("ok"):
            raise self._refusal(reply["error"], bool(reply.get("file")))
        return reply

    def _refusal(self, error: str, of_file: bool) -> DeviceError:
        """What the runner raised; here, where the runtimes are known, as a fault of the file."""
        reason, cure = _OF_RUNTIME.sub("", error), _cure(error)
        if not of_file or NO_MEMORY.search(error) or not isinstance(self._channel, LocalChannel):
            return DeviceError(f"'{self.path.name}': {reason}", cure)
        kind, _, words = reason.partition(": ")
        if kind.isidentifier() and kind.endswith(("Error", "Exception")):
            reason = "a name in it isn't UTF-8" if kind == "UnicodeDecodeError" else words
        return FileRefused(f"'{self.path.name}': {reason}", cure or _DAMAGED)

    def put(self, path: Path) -> str:
        """Make a local file readable for the runner; give the path by which it knows the file."""
        return self._channel.put(path)

    def place(self, name: str) -> str:
        """The path by which the runner knows a file `name` in its own folder."""
        return self._channel.place(name)

    def load(self, path: str, profile: str = "") -> dict[str, Any]:
        """Load a file with this runtime's options, in the place of the one before.

        Args:
            path: By which the runner knows it.
            profile: Prefix of the files of ONNX Runtime's profiler; none by default.
        """
        return self.ask({**self._request, "path": path, "profile": profile})

    def describe(self) -> dict[str, Any]:
        """The runner's `describe`: inputs, outputs and operators."""
        return self.ask({"do": "describe"})

    def tensors(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs, named by the file's signature where it has one."""
        description = self.describe()

        def specs(side: str) -> tuple[TensorSpec, ...]:
            return tuple(
                TensorSpec(t["name"], tuple(t["shape"]), t["dtype"], t["scale"], t["zero_point"])
                for t in description[side]
            )

        return specs("inputs"), specs("outputs")

    def time(self, n: int, seed: int = 0, max_seconds: float = 1e6) -> list[int]:
        """Nanoseconds of up to `n` inferences, raw; fewer when `max_seconds` are over."""
        request = {"do": "time", "n": n, "seed": seed, "max_seconds": max_seconds}
        raw: list[int] = self.ask(request)["ns"]
        return raw

    def predict(self, inputs: Arrays, real: bool = True) -> dict[str, NDArray[Any]]:
        """Run all samples.

        Args:
            inputs: Arrays by input name, each (n, …); float arrays are quantised for quantised
                inputs.
            real: Whether quantised outputs come back as real numbers.

        Returns:
            Arrays by output name, each (n, …).
        """
        with scratch_folder() as folder:
            given, got = folder / "inputs.npz", folder / "outputs.npz"
            np.savez(given, allow_pickle=False, **inputs)
            remote = self._channel.put(given)
            name = self._channel.place("outputs.npz")
            self.ask({"do": "predict", "inputs": remote, "outputs": name, "real": real})
            self._channel.fetch("outputs.npz", got)
            with np.load(got) as file:
                return {key: file[key] for key in file.files}

    def memory(self) -> dict[str, int]:
        """Resident bytes now and at the peak, beside those right after the imports."""
        return self.ask({"do": "memory"})
