"""The wire to a board: one event loop for all boards, strict host keys, errors in plain words."""

from __future__ import annotations

import asyncio
import shlex
import threading
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.files import sha256
from edgepress.deploy.targets.addresses import Address

T = TypeVar("T")

# sshd allows 10 sessions in one connection by default (MaxSessions).
_SESSIONS_PER_CONNECTION = 7

_CREATING = threading.Lock()

# Logins are heavy work for this machine; more than a few at once only make all of them late.
_LOGINS_AT_ONCE = 4
# A board that let us in is there; a shell may still take long to start on a busy one.
_FIRST_WORD_SECONDS = 90.0

# Holds the board's lock and its temporary folder for as long as the connection lives, and removes
# both whatever ends it: the end of its input, a hang-up or a signal.
_KEEPER = """
set -- $SSH_CONNECTION
lock=${TMPDIR:-/tmp}/edgepress-$3-$4.lock
if ! mkdir "$lock" 2>/dev/null; then
  old=$(cat "$lock/pid" 2>/dev/null)
  if [ -n "$old" ] && kill -0 "$old" 2>/dev/null; then echo busy "$old"; exit 75; fi
  rm -rf "$lock"; mkdir "$lock" || exit 73
fi
trap 'exit 0' HUP INT TERM PIPE
trap 'rm -rf "$lock" "$folder"' EXIT
echo $$ > "$lock/pid"
folder=$(mktemp -d "${TMPDIR:-/tmp}/edgepress.XXXXXX") && mkdir "$folder/runner" || exit 73
echo ready "$folder" "$(uname -m)"
cat > /dev/null
"""


@cache
def _only_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="edgepress-ssh", daemon=True).start()
    return loop


def _loop() -> asyncio.AbstractEventLoop:
    """The loop of all boards, in a thread of its own."""
    with _CREATING:  # many boards ask at the same moment, and a cache alone would make many loops
        return _only_loop()


@cache
def _logins() -> asyncio.Semaphore:
    return asyncio.Semaphore(_LOGINS_AT_ONCE)


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the loop of the boards and wait for it."""
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


def load_asyncssh() -> Any:
    """The asyncssh package.

    Raises:
        InputError: It isn't installed.
    """
    try:
        import asyncssh
    except ImportError:
        hint = "pip install 'edgepress[devices]'"
        raise InputError("ssh devices need the package asyncssh", hint) from None
    return asyncssh


def in_words(address: Address, error: BaseException) -> DeviceError:
    """An error of the connection as one line with the cure."""
    asyncssh = load_asyncssh()
    where = address.host + (f":{address.port}" if address.port else "")
    port = f"-p {address.port} " if address.port else ""
    if isinstance(error, DeviceError):
        return error
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return DeviceError(
            f"the host key of '{where}' is unknown or has changed",
            f"when you trust that board: ssh-keyscan {port}{address.host} >> ~/.ssh/known_hosts",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return DeviceError(
            f"'{where}' refused the login as '{address.user or 'the present user'}'",
            f"put your key there: ssh-copy-id {port}{address.user or 'USER'}@{address.host}",
        )
    lost = (asyncssh.ConnectionLost, asyncssh.ChannelOpenError, BrokenPipeError)
    if isinstance(error, (*lost, ConnectionResetError)):
        return DeviceError(f"the connection to '{where}' was lost: {error}")
    if isinstance(error, asyncio.TimeoutError):
        return DeviceError(f"'{where}' did not answer in time", "is it on, and the address right?")
    if isinstance(error, asyncssh.SFTPError):
        return DeviceError(
            f"'{where}' could not store a file: {error.reason or error}", "is its disk full?"
        )
    return DeviceError(f"'{where}' can't be reached: {error}", "is it on, and the address right?")


class Link:
    """Connections to one board, its lock, and a folder there that vanishes with them.

    Args:
        address: Where the board is. Options: `key` (private key file), `known_hosts` (file).
        connect_timeout: Seconds to wait for the board.
    """

    def __init__(self, address: Address, connect_timeout: float = 15.0) -> None:
        self.address = address
        self.folder = ""
        self.machine = ""
        self._timeout = connect_timeout
        self._connections: list[Any] = []
        self._sessions = 0
        self._keeper: Any = None
        self._sftp: Any = None
        self._uploaded: dict[Path, str] = {}
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Connect, take the lock, make the folder; nothing where that is done.

        Raises:
            DeviceError: The board can't be reached, refuses, or is in use.
        """
        async with self._lock:
            if self.folder:
                return
            connection = await self._connect()
            self._keeper = await connection.create_process(f"sh -c {shlex.quote(_KEEPER)}")
            word = self._keeper.stdout.readline()
            answer = (await asyncio.wait_for(word, _FIRST_WORD_SECONDS)).split()
            if len(answer) != 3 or answer[0] != "ready":
                raise await self._refusal(answer)
            self._sftp = await connection.start_sftp_client()
            _, self.folder, self.machine = answer

    async def _refusal(self, answer: list[str]) -> DeviceError:
        if answer and answer[0] == "busy":
            return DeviceError(
                f"'{self.address.host}' is being measured by another run"
                f" (process {answer[1]} there)",
                "two at once would disturb each other: wait for it",
            )
        said = " ".join((await self._keeper.stderr.read()).split())
        return DeviceError(f"'{self.address.host}' gave no working folder: {said}")

    async def _connect(self) -> Any:
        asyncssh = load_asyncssh()
        options = self.address.options
        chosen: dict[str, Any] = {}
        if self.address.port:
            chosen["port"] = self.address.port
        if self.address.user:
            chosen["username"] = self.address.user
        if "key" in options:
            chosen["client_keys"] = [str(Path(options["key"]).expanduser())]
        if "known_hosts" in options:
            chosen["known_hosts"] = str(Path(options["known_hosts"]).expanduser())
        login = asyncssh.connect(
            self.address.host, keepalive_interval=10, keepalive_count_max=3, **chosen
        )
        async with _logins():
            connection = await asyncio.wait_for(login, self._timeout)
        self._connections.append(connection)
        return connection

    async def start(self, command: str) -> Any:
        """Start a command; a new connection is made when those there are full."""
        await self.open()
        self._sessions += 1
        if self._sessions > _SESSIONS_PER_CONNECTION * len(self._connections):
            await self._connect()
        return await self._connections[-1].create_process(command)

    def ended(self) -> None:
        """One started command is over."""
        self._sessions -= 1

    async def run(self, command: str, timeout: float = 90.0) -> tuple[int, str, str]:
        """Run a short command on the board under a time limit that holds there too.

        Returns:
            Exit code, standard output, standard error.
        """
        await self.open()
        limited = f"timeout -k 2 {timeout:g} sh -c {shlex.quote(command)}"
        done = await self._connections[0].run(limited)
        code = done.exit_status if done.exit_status is not None else -1
        return code, done.stdout, done.stderr

    async def upload(self, path: Path, remote: str = "") -> str:
        """Send a file once and prove that it arrived; give its path there."""
        await self.open()
        if path not in self._uploaded:
            remote = remote or f"{self.folder}/{len(self._uploaded)}-{path.name}"
            await self._sftp.put(str(path), remote)
            code, out, _ = await self.run(f"sha256sum {shlex.quote(remote)}")
            if code == 0 and out.split()[:1] != [sha256(path)]:
                raise DeviceError(f"'{path.name}' arrived damaged on '{self.address.host}'")
            self._uploaded[path] = remote
        return self._uploaded[path]

    async def send(self, path: Path, remote: str) -> None:
        """Send a file to a path there."""
        await self._sftp.put(str(path), remote)

    async def fetch(self, remote: str, target: Path) -> None:
        """Get a file from there."""
        await self._sftp.get(remote, str(target))

    async def close(self) -> None:
        """Let the keeper clean up, then hang up."""
        if self._keeper is not None:
            self._keeper.stdin.write_eof()
            try:
                await asyncio.wait_for(self._keeper.wait_closed(), 5)
            except (TimeoutError, OSError):
                self._keeper.close()
        for connection in self._connections:
            connection.close()
        self._connections, self.folder, self._keeper = [], "", None
        self._uploaded.clear()
