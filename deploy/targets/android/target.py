"""An Android device behind `adb`, with TensorFlow's own `benchmark_model` binary.

The address is `adb:SERIAL` or `adb:HOST:PORT`. Options: `benchmark_model` (the binary for the
device, a local file; needed), `cores` (a CPU mask in hexadecimal, for taskset: the big or the
little ones), `litert` and `cc` (LiteRT's library for the device, and a compiler for it such as the
NDK's: outputs come back through a runner in C), `emulated=1`.

Source: flags and output of tensorflow/lite/tools/benchmark (README.md, benchmark_model.cc); the
adb program's shell_v2, which alone carries exit codes.
"""

from __future__ import annotations

import re
import shutil
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.target import RunOptions
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.processes.children import Late, run
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.deploy.targets.addresses import split_options
from edgepress.deploy.targets.android.session import AndroidSession, Phone
from edgepress.deploy.targets.native_runner import LIBRARY, compile_runner, find_library
from edgepress.deploy.targets.shell_host import SCRIPT, parse_host

_OPTIONS = ("benchmark_model", "cores", "litert", "cc", "emulated")
_STARTING = threading.Lock()
_HOME = "/data/local/tmp"
_NO_BINARY = (
    "get benchmark_model for the device's processor from TensorFlow Lite's site, then: "
    "edgepress devices add NAME 'adb:SERIAL?benchmark_model=/path/to/it'"
)


def android_target(url: str) -> AndroidTarget:
    """The device behind `adb:SERIAL` or `adb:HOST:PORT`.

    Raises:
        InputError: The address is malformed, adb is missing, or the binary isn't there.
    """
    bare, options = split_options(url, _OPTIONS)
    serial = bare.partition(":")[2]
    if not re.fullmatch(r"[\w.:-]+", serial):
        raise InputError(f"'{url}' is not a device", "the form is adb:SERIAL or adb:HOST:PORT")
    if shutil.which("adb") is None:
        raise InputError("Android devices need the program adb", "apt install adb")
    binary = Path(options.get("benchmark_model", "")).expanduser()
    if not options.get("benchmark_model"):
        raise InputError(f"'{bare}' needs a benchmark_model binary", _NO_BINARY)
    if not binary.is_file():
        raise InputError(f"'{binary}' (benchmark_model of '{bare}') does not exist")
    cores = options.get("cores", "")
    if cores and not re.fullmatch(r"[0-9a-fA-F]+", cores):
        raise InputError(f"cores '{cores}' is not a CPU mask", "give hexadecimal, such as f0")
    if ("litert" in options) != ("cc" in options):
        raise InputError(
            f"'{bare}' gives outputs back with both litert and cc",
            "litert is libLiteRt.so (or LiteRT's .aar) for the device, cc the NDK's clang",
        )
    emulated = options.get("emulated", "0") not in ("0", "no")
    native = (Path(options["litert"]).expanduser(), options["cc"]) if "litert" in options else None
    return AndroidTarget(bare, serial, binary, cores, native, not emulated)


@dataclass
class AndroidTarget:
    """An Android device.

    Attributes:
        url: Its address.
        serial: Its serial number, or host and port.
        binary: The benchmark_model that is run there.
        cores: CPU mask in hexadecimal, or "".
        native: LiteRT's library and a compiler, both for the device, or None.
        timing_valid: Whether it is a real device.
        estimated: No: something runs there.
        on_this_machine: No.
        takes: What benchmark_model and taskset have flags for.
        suffixes: Of the files that benchmark_model reads.
    """

    url: str
    serial: str
    binary: Path
    cores: str = ""
    native: tuple[Path, str] | None = None
    timing_valid: bool = True
    estimated: bool = False
    on_this_machine: bool = False
    takes: frozenset[str] = frozenset(
        ("threads", "batch", "xnnpack", "delegates", "cpus", "profile")
    )
    suffixes: frozenset[str] = frozenset((".tflite",))

    def __post_init__(self) -> None:
        self.name = self.url
        self.folder = ""

    @property
    def gives_outputs(self) -> bool:
        """Only through the runner in C: benchmark_model keeps them for itself."""
        return self.native is not None

    def environment(self) -> dict[str, Any]:
        """The device and its present state; connects and takes the lock the first time."""
        self._open()
        properties = ("ro.product.model", "ro.product.cpu.abi", "ro.build.version.release",
                      "ro.soc.model")  # fmt: skip
        model, abi, release, soc = (self.shell(f"getprop {p}").strip() for p in properties)
        return {
            **parse_host(self.shell(SCRIPT)),
            "machine": abi,
            "system": f"Android {release}",
            "processor": " ".join(filter(None, (model, soc))),
        }

    def _open(self) -> None:
        """Connect, check that exit codes arrive, take the lock, send the binary."""
        if self.folder:
            return
        with _STARTING:  # several clients that start adb's server at once get in each other's way
            self._adb("start-server")
        if re.search(r":\d+$", self.serial):
            self._adb("connect", self.serial)
        features = self._adb("-s", self.serial, "features")
        if "shell_v2" not in features:
            raise DeviceError(
                f"'{self.name}' has an old adb daemon that loses exit codes",
                "Android 7 or newer is needed",
            )
        lock = f"{_HOME}/edgepress.lock"
        code, _, _ = self.try_shell(f"mkdir {lock}")
        if code != 0:
            raise DeviceError(
                f"'{self.name}' is being measured by another run",
                f"if that one is gone: adb -s {self.serial} shell rmdir {lock}",
            )
        self.folder = f"{_HOME}/edgepress-{uuid.uuid4().hex[:8]}"
        self.shell(f"mkdir {self.folder}")
        self.push(self.binary, "benchmark_model")
        self.shell(f"chmod 755 {self.folder}/benchmark_model")
        if self.native is not None:
            self._send_runner(*self.native)

    def _send_runner(self, library: Path, compiler: str) -> None:
        """Build the runner in C and send it with LiteRT's library."""
        abi = self.shell("getprop ro.product.cpu.abi").strip()
        with scratch_folder() as folder:
            self.push(find_library(library, folder, abi), LIBRARY)
            self.push(compile_runner(compiler, folder), "runner")
        self.shell(f"chmod 755 {self.folder}/runner")

    def open(self, path: Path, options: RunOptions) -> AndroidSession:
        """Send an artifact to the device."""
        if path.suffix.lower() != ".tflite":
            raise DeviceError(f"'{path.name}' can't run on '{self.name}'", "give a .tflite file")
        self._open()
        phone = Phone(
            self.name,
            self.folder,
            self.cores,
            self.gives_outputs,
            self.push,
            self.pull,
            self.try_shell,
        )
        return AndroidSession(phone, path, options)

    def profile(self, path: Path, options: RunOptions) -> Profile:
        """By operator, as benchmark_model tells."""
        with self.open(path, options) as session:
            return session.profile()

    def close(self) -> None:
        """Remove everything from the device."""
        if self.folder:
            self.try_shell(f"rm -rf {self.folder} {_HOME}/edgepress.lock")
            self.folder = ""

    def push(self, path: Path, name: str) -> str:
        """Send a file into our folder there; give its path."""
        remote = f"{self.folder}/{name}"
        self._adb("-s", self.serial, "push", str(path), remote, timeout=600)
        return remote

    def pull(self, remote: str, target: Path) -> None:
        """Get a file from there."""
        self._adb("-s", self.serial, "pull", remote, str(target), timeout=600)

    def shell(self, command: str, timeout: float = 60.0) -> str:
        """Run a command there and give its output.

        Raises:
            DeviceError: It failed, or the device is gone.
        """
        code, out, err = self.try_shell(command, timeout)
        if code != 0:
            last = (err or out).strip().splitlines()[-1:] or [f"exit code {code}"]
            raise DeviceError(f"'{self.name}': '{command.split()[0]}' failed: {last[0]}")
        return out

    def try_shell(self, command: str, timeout: float = 60.0) -> tuple[int, str, str]:
        """Run a command there; exit code, standard output, standard error."""
        return self._run(["-s", self.serial, "shell", command], timeout)

    def _adb(self, *arguments: str, timeout: float = 60.0) -> str:
        code, out, err = self._run(list(arguments), timeout)
        # `adb connect` tells its failures on standard output, with exit code 0.
        if code != 0 or re.search(r"^(failed|cannot|unable) ", out):
            last = (err or out).strip().splitlines()[-1:] or [f"exit code {code}"]
            hint = "is its cable in, USB debugging on, and this computer allowed on its screen?"
            raise DeviceError(f"adb: {last[0].removeprefix('adb: ')}", hint)
        return out

    def _run(self, arguments: list[str], timeout: float) -> tuple[int, str, str]:
        try:
            done = run(["adb", *arguments], timeout=timeout, errors="replace")
        except Late as error:
            raise DeviceError(f"'{self.name}' {error.message}") from None
        return done.returncode, done.stdout, done.stderr
