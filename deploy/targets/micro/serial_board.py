"""A real microcontroller on a serial line, in the manner of MLPerf Tiny's runner.

The firmware holds the model and answers lines; every command ends with `%`, every answer with the
line `m-ready`. What edgepress asks for:

    name%              m-name-dut-[BOARD]
    model%             m-model-SHA256     the first 16 digits of the hash of the file in it
    db load N%         makes room for N bytes of input
    db HEX%            more bytes of input, in hexadecimal
    infer N W%         W inferences uncounted, N counted, all on the input given;
                       m-lap-us-T right before the first counted one and right after the last
    results%           m-results-[HEX,HEX,…]   the bytes of each output
    memory%            m-arena-BYTES      optional: the arena in use
    wrong command      e-[WHY]

Times come from the board's own clock, so the line's speed doesn't matter. The address is
`mcu:/dev/ttyUSB0`; options: `baud` (115200 by default), `emulated=1`.

Source: eembc/energyrunner and mlcommons/tiny, the serial interface of the reference submissions.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.measurement import Samples, SessionFacts
from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.runtimes.tensor_io import to_real, to_tensor
from edgepress.benchmarks.target import Job, RunOptions
from edgepress.benchmarks.tflite.graph import TFLiteGraph, read_graph
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.files import sha256
from edgepress.deploy.targets.addresses import split_options

_OPTIONS = ("baud", "emulated")
_CHUNK = 32


def serial_target(url: str) -> SerialTarget:
    """The board behind `mcu:/dev/tty…`.

    Raises:
        InputError: The speed is none that serial lines have, or what the address names is no line.
    """
    bare, options = split_options(url, _OPTIONS)
    baud = options.get("baud", "115200")
    if not hasattr(termios, f"B{baud}"):
        raise InputError(f"baud {baud} is not a speed of serial lines", "try 115200")
    emulated = options.get("emulated", "0") not in ("0", "no")
    port = Path(bare.partition(":")[2])
    _check_line(port)
    return SerialTarget(bare, port, int(baud), not emulated)


def _check_line(port: Path) -> None:
    """Refuse what is there and is no serial line; a board that is absent is told of later."""
    try:
        line = os.open(port, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if not os.isatty(line):
            raise InputError(
                f"'{port}' is no serial line", "name the board's port, such as /dev/ttyACM0"
            )
    finally:
        os.close(line)


class SerialTarget:
    """A board on a serial line.

    Args:
        name: Its address.
        port: The line's device file.
        baud: Its speed.
        timing_valid: Whether it is a real board.
    """

    def __init__(self, name: str, port: Path, baud: int, timing_valid: bool) -> None:
        self.name = self.url = name
        self.timing_valid = timing_valid
        self.estimated = False
        self.suffixes = frozenset((".tflite",))
        self.sends_files = False  # it holds the one that was built into its program
        self.on_this_machine = False
        self.gives_outputs = True
        self.takes: frozenset[str] = frozenset()
        self._port, self._baud = port, baud
        self._line: int | None = None
        self._rest = b""

    def environment(self) -> dict[str, Any]:
        """What the board calls itself."""
        (board,) = self.ask("name", r"m-name-dut-\[(.*)\]")
        return {"machine": "microcontroller", "processor": board}

    def open(self, path: Path, options: RunOptions) -> SerialSession:
        """Check that the board holds this artifact.

        Raises:
            DeviceError: It holds another one.
        """
        (held,) = self.ask("model", r"m-model-([0-9a-f]{16})")
        if not sha256(path).startswith(held):
            raise DeviceError(
                f"the board at '{self.name}' does not hold '{path.name}'",
                "flash a firmware that was built from this file",
            )
        return SerialSession(self, path, options.timeout)

    def ask(self, command: str, pattern: str, timeout: float = 10.0) -> tuple[str, ...]:
        """Send a command; give what the pattern's group matched in the lines before `m-ready`.

        Raises:
            DeviceError: No answer, an error of the board, or another answer than expected.
        """
        self._write(f"{command}%".encode())
        end = time.monotonic() + timeout
        found: list[str] = []
        while (text := self._read_line(end, command)) != "m-ready":
            if text.startswith("e-"):
                raise DeviceError(f"the board at '{self.name}' refused '{command}': {text}")
            match = re.search(pattern, text) if pattern else None
            if match:
                found.append(match.group(1))
        if pattern and not found:
            raise DeviceError(f"the board at '{self.name}' answered '{command}' without a result")
        return tuple(found)

    def _open_line(self) -> int:
        if self._line is not None:
            return self._line
        try:
            line = os.open(self._port, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            hint = "is the board plugged in, and are you in the group dialout?"
            raise DeviceError(f"'{self._port}' can't be opened: {error.strerror}", hint) from None
        try:
            fcntl.flock(line, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(line)
            raise DeviceError(f"'{self._port}' is in use by another run") from None
        try:
            _make_raw(line, self._baud)
        except termios.error as error:
            os.close(line)
            raise DeviceError(f"'{self._port}' can't be set up: {error.args[-1]}") from error
        self._line = line
        return line

    def _write(self, data: bytes) -> None:
        line = self._open_line()
        try:
            while data:
                data = data[os.write(line, data) :]
        except OSError as error:
            raise self._pulled(error) from None

    def _read_line(self, end: float, command: str) -> str:
        line = self._open_line()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([line], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise DeviceError(f"the board at '{self.name}' did not answer '{command}' in time")
            try:
                part = os.read(line, 4096)
            except OSError as error:
                raise self._pulled(error) from None
            if not part:
                raise DeviceError(f"the line to '{self.name}' was cut")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\n")
        return text.decode(errors="replace").strip()

    def _pulled(self, error: OSError) -> DeviceError:
        return DeviceError(f"the line to '{self.name}' was cut: {error.strerror}")

    def profile(self, path: Path, options: RunOptions) -> Profile:  # noqa: ARG002
        """Not possible: the serial protocol has no such command."""
        raise DeviceError(f"'{self.name}' can't tell the time of each operator")

    def close(self) -> None:
        """Give the line back."""
        if self._line is not None:
            os.close(self._line)
            self._line, self._rest = None, b""


class SerialSession:
    """The artifact that a board holds."""

    def __init__(self, target: SerialTarget, path: Path, timeout: float) -> None:
        self.target, self.path, self._timeout = target, path, timeout
        self._graph: TFLiteGraph = read_graph(path)
        self._specs = _tensor_specs(path)

    def __enter__(self) -> SerialSession:
        shapes = [self._graph.tensors[i].bytes for i in self._graph.inputs]
        self._load(bytes(sum(shapes)))
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to end: the firmware waits for the next command."""

    def _load(self, data: bytes) -> None:
        self.target.ask(f"db load {len(data)}", "")
        for begin in range(0, len(data), _CHUNK):
            self.target.ask(f"db {data[begin : begin + _CHUNK].hex()}", "")

    def run(self, job: Job) -> Samples:
        """The mean of the job's inferences, by the board's clock."""
        pattern = r"m-lap-us-(\d+)"
        laps = self.target.ask(f"infer {job.runs} {job.discard}", pattern, self._timeout)
        if len(laps) != 2 or int(laps[1]) < int(laps[0]):
            raise DeviceError(f"the board at '{self.target.name}' gave no two times: {laps}")
        mean = (int(laps[1]) - int(laps[0])) * 1e3 / job.runs
        return Samples("latency", "ns", "mean of a run of inferences, board's clock", (mean,))

    def facts(self) -> SessionFacts:
        """The arena, where the firmware tells it."""
        try:
            arena: int | None = int(self.target.ask("memory", r"m-arena-(\d+)")[0])
        except DeviceError:
            arena = None
        return SessionFacts(runtime="firmware", arena_bytes=arena)

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One sample after the other over the line."""
        specs_in, specs_out = self._specs
        arrays = [
            to_tensor(inputs[s["name"]] if len(inputs) > 1 else next(iter(inputs.values())), s)
            for s in specs_in
        ]
        outputs: list[list[NDArray[Any]]] = []
        for i in range(len(arrays[0])):
            self._load(b"".join(a[i : i + 1].tobytes() for a in arrays))
            self.target.ask("infer 1 0", r"m-lap-us-(\d+)", self._timeout)
            (text,) = self.target.ask("results", r"m-results-\[([0-9a-f,]*)\]")
            parts = [bytes.fromhex(part) for part in text.split(",")]
            outputs.append([_decoded(p, s) for p, s in zip(parts, specs_out, strict=True)])
        columns = zip(*outputs, strict=True)
        return {s["name"]: np.concatenate(c) for s, c in zip(specs_out, columns, strict=True)}


def _decoded(data: bytes, spec: dict[str, Any]) -> NDArray[Any]:
    array = np.frombuffer(data, spec["dtype"]).reshape(spec["shape"])
    real: NDArray[Any] = to_real(array, spec)
    return real


def _tensor_specs(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Inputs and outputs as LiteRT on this host describes them, with a batch of one."""
    from edgepress.benchmarks.runtimes.runtime import Runtime

    with Runtime(path) as runtime:
        description = runtime.describe()
    for spec in (*description["inputs"], *description["outputs"]):
        spec["shape"] = [size or 1 for size in spec["shape"]]
    return description["inputs"], description["outputs"]


def _make_raw(line: int, baud: int) -> None:
    """Let bytes through as they are, at a speed."""
    speed = getattr(termios, f"B{baud}")
    settings = termios.tcgetattr(line)
    control = termios.CS8 | termios.CREAD | termios.CLOCAL
    termios.tcsetattr(line, termios.TCSANOW, [0, 0, control, 0, speed, speed, settings[6]])
    termios.tcflush(line, termios.TCIOFLUSH)
