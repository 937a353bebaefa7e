"""A board behind SSH: a runner and the artifact go there, the figures come back.

The board needs Python 3.10 or newer with NumPy and a LiteRT or ONNX Runtime wheel, or nothing but a
shell where `litert` is given; nothing stays there. Options of the address: `key`, `known_hosts`,
`python`, `wheels` (a local folder of wheels for the board, installed there for the time of the
run), `litert` (a wheel of ai-edge-litert for the board: its library is run without Python, by a
runner that `cc`, a local compiler for the board, or the board's own cc builds), `emulated=1`.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.operators.profile import profile_artifact
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.session import RuntimeSession, runtime_with
from edgepress.benchmarks.target import RunOptions
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.targets.addresses import Address, read_address
from edgepress.deploy.targets.ssh.link import Link, in_words, load_asyncssh, wait_for
from edgepress.deploy.targets.ssh.runners import BoardRunner, NativeRunner, PythonRunner

T = TypeVar("T")

_OPTIONS = ("key", "known_hosts", "python", "wheels", "litert", "cc", "emulated")


def _runner(name: str, options: Mapping[str, str]) -> BoardRunner:
    """The runner that the address's options ask for.

    Raises:
        InputError: They ask for both.
    """
    if "litert" not in options:
        if "cc" in options:
            raise InputError("cc builds the runner for LiteRT's library", "give litert too")
        return PythonRunner(name, options.get("python", "python3"), options.get("wheels", ""))
    for one in ("python", "wheels"):
        if one in options:
            raise InputError(f"litert is for boards without Python: leave out {one}")
    return NativeRunner(name, options["litert"], options.get("cc", ""))


def ssh_target(url: str) -> SshTarget:
    """The board behind `ssh://user@host:port`.

    Raises:
        InputError: The address is malformed, or asyncssh isn't installed.
    """
    load_asyncssh()
    return SshTarget(read_address(url, _OPTIONS))


class SshTarget:
    """A board behind SSH.

    Args:
        address: Where it is.
        name: How the user calls it; the address by default.
    """

    def __init__(self, address: Address, name: str = "") -> None:
        self.address = address
        self.url = address.url
        self.name = name or address.url
        self.timing_valid = address.options.get("emulated", "0") in ("0", "no")
        self.estimated = False
        self.on_this_machine = False
        self.gives_outputs = True
        self.runner = _runner(self.name, address.options)
        self.takes = self.runner.takes
        self.suffixes = self.runner.suffixes
        self._link = Link(address)

    def environment(self) -> dict[str, Any]:
        """The board and its present state."""
        return self.reach(self._environment())

    def open(self, path: Path, options: RunOptions) -> RuntimeSession:
        """Load an artifact in a fresh process on the board."""
        channel = self._start(path, options)
        return RuntimeSession(path, options, channel, kind=self.runner.kind)

    def _start(self, path: Path, options: RunOptions) -> _SshChannel:
        """A runner for a file, in a process of its own."""
        if path.suffix.lower() not in self.runner.suffixes:
            raise DeviceError(f"'{path.name}' needs Python there", "leave litert out")
        self.reach(self._prepare())
        return _SshChannel(self, options.timeout)

    def profile(self, path: Path, options: RunOptions) -> Profile:
        """Each operator cut out and timed alone there, or ONNX Runtime's own profile."""

        def opened(file: Path) -> Runtime:
            return runtime_with(file, options, self._start(file, options), self.runner.kind)

        return profile_artifact(
            path,
            options,
            open_runtime=opened,
            best=self.reach(self.runner.peak(self._link, options.threads)),
            device=self.name,
        )

    def close(self) -> None:
        """Remove everything from the board and hang up; a lost board cleans up by itself."""
        with suppress(DeviceError):
            self.reach(self._link.close())

    def reach(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work on the wire; what goes wrong there becomes one clear line."""
        try:
            return wait_for(work)
        except (OSError, load_asyncssh().Error, TimeoutError) as error:
            raise in_words(self.address, error) from None

    async def _environment(self) -> dict[str, Any]:
        await self._prepare()
        environment = await self.runner.environment(self._link)
        if environment["machine"] != self._link.machine:
            # Its shell and its Python disagree on the processor: Python runs in an emulator.
            self.timing_valid = False
        return environment

    async def _prepare(self) -> None:
        await self._link.open()
        await self.runner.prepare(self._link)

    async def start_runner(self, limit: float) -> tuple[Any, str]:
        """Start the runner in a folder of its own; give the process and the folder."""
        code, folder, err = await self._link.run(f"mktemp -d {self._link.folder}/s.XXXXXX")
        if code != 0:
            raise DeviceError(f"'{self.name}' has no room: {err.strip()}", "is its disk full?")
        folder = folder.strip()
        # What libraries leave in the temporary folder goes with ours.
        inner = (
            f"echo $$ > {folder}/pid; export TMPDIR={folder};"
            f" exec {self.runner.command(self._link)}"
        )
        command = f"exec timeout -k 2 {limit:g} sh -c {shlex.quote(inner)}"
        return await self._link.start(command), folder

    async def put(self, path: Path) -> str:
        """Send a file, once."""
        return await self._link.upload(path)

    async def send(self, path: Path, remote: str) -> None:
        """Send a file to a path there."""
        await self._link.send(path, remote)

    async def fetch(self, remote: str, target: Path) -> None:
        """Get a file from there."""
        await self._link.fetch(remote, target)

    async def end_runner(self, process: Any, folder: str) -> None:
        """Kill a runner, whatever it does, and remove its folder."""
        self._link.ended()
        process.close()
        await self._link.run(f"kill -9 $(cat {folder}/pid) 2>/dev/null; rm -rf {folder}")


class _SshChannel:
    """The runner on a board."""

    def __init__(self, target: SshTarget, timeout: float) -> None:
        self._target = target
        self._process, self._folder = target.reach(target.start_runner(4 * timeout))

    def ask_line(self, line: str, timeout: float) -> str:
        """Send one line, wait for one."""
        return self._target.reach(self._ask(line, timeout))

    async def _ask(self, line: str, timeout: float) -> str:
        process = self._process
        try:
            process.stdin.write(line + "\n")
            reply: str = await asyncio.wait_for(process.stdout.readline(), timeout)
        except BrokenPipeError:
            reply = ""
        except TimeoutError:
            raise DeviceError(f"no answer within {timeout:g} s; the runtime was stopped") from None
        if reply:
            return reply
        chatter = await asyncio.wait_for(process.stderr.read(), 10)
        await asyncio.wait_for(process.wait_closed(), 10)
        code = process.exit_status
        if code in (124, 137) or (process.exit_signal and process.exit_signal[0] == "KILL"):
            raise DeviceError("the runtime was killed (out of memory, or the time limit?)")
        if process.exit_signal:
            raise DeviceError(f"the runtime crashed (SIG{process.exit_signal[0]})")
        if code is None or code < 0:
            raise DeviceError(f"the connection to '{self._target.name}' was lost")
        raise self._target.runner.ended(code, chatter)

    def put(self, path: Path) -> str:
        """Send the file: artifacts once for all sessions, arrays into this session's folder."""
        if path.suffix in (".npz", ".raw"):
            remote = self.place(path.name)
            self._target.reach(self._target.send(path, remote))
            return remote
        return self._target.reach(self._target.put(path))

    def fetch(self, name: str, target: Path) -> None:
        """Get a file of the session's folder."""
        self._target.reach(self._target.fetch(self.place(name), target))

    def place(self, name: str) -> str:
        """A path in the session's folder."""
        return f"{self._folder}/{name}"

    def close(self) -> None:
        """End the runner; a broken connection has ended it already."""
        with suppress(DeviceError):
            self._target.reach(self._target.end_runner(self._process, self._folder))
