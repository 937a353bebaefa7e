"""A device for the real adb client: the daemon's side of the protocol, written for the tests.

Debian has no adbd. This one speaks CNXN, OPEN, OKAY, WRTE and CLSE over TCP without
authentication, `shell,v2` and `sync:`, and runs what is pushed. It proves protocol, quoting, exit
codes, parsing and cleaning up; not Android's linker, SELinux, heat or speed.

Source: the protocol's description in the Android platform sources (adb/protocol.txt, SYNC.TXT,
shell_protocol.h).
"""

from __future__ import annotations

import os
import shlex
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DEVICE_HOME = "/data/local/tmp"
_PROPERTIES = {
    "ro.product.model": "Double",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.build.version.release": "14",
    "ro.soc.model": "Test1",
}


class Adbd:
    """One pretended device.

    Args:
        root: Folder that stands for /data/local/tmp; `sys` beside it stands for /sys.
        features: What the banner offers.

    Attributes:
        properties: What its `getprop` tells.
    """

    def __init__(self, root: Path, features: str = "shell_v2") -> None:
        self.root = root
        self.properties = dict(_PROPERTIES)
        self.features = features
        self.commands: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def unplug(self) -> None:
        """Pull the cable: no new connections, and those there are cut."""
        self._listener.close()
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                connection = _Connection(self, client)
                threading.Thread(target=connection.serve, daemon=True).start()

    def local(self, text: str) -> str:
        """A path or command of the device as one of this machine."""
        sysfs = str(self.root.parent / "sys") + "/"
        return text.replace(_DEVICE_HOME, str(self.root)).replace("=/sys/", f"={sysfs}")

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Run a shell command as the device would."""
        self.commands.append(command)
        tools = self.root.parent / "tools"
        tools.mkdir(exist_ok=True)
        cases = "".join(f"{k}) echo {shlex.quote(v)};;\n" for k, v in self.properties.items())
        fresh = tools / f"getprop.{threading.get_ident()}"
        fresh.write_text(f"#!/bin/sh\ncase $1 in\n{cases}esac\n")
        fresh.chmod(0o755)
        fresh.replace(tools / "getprop")  # another command may be running the one before
        return subprocess.Popen(
            ["sh", "-c", self.local(command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        )


class _Connection:
    """One adb server that is connected."""

    def __init__(self, device: Adbd, client: socket.socket) -> None:
        self._device, self._client = device, client
        self._writing = threading.Lock()
        self._streams: dict[int, _Stream] = {}

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        number = int.from_bytes(command, "little")
        head = struct.pack(
            "<6I", number, first, second, len(data), sum(data) & 0xFFFFFFFF, number ^ 0xFFFFFFFF
        )
        with self._writing, suppress(OSError):
            self._client.sendall(head + data)

    def serve(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                number, first, second, size, _, _ = struct.unpack("<6I", self._read(24))
                self._handle(number.to_bytes(4, "little"), first, second, self._read(size))

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._client.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _handle(self, command: bytes, first: int, second: int, data: bytes) -> None:
        if command == b"CNXN":
            # No NUL at the end: with one, adb falls back to a shell that loses exit codes.
            banner = f"device::ro.product.name=double;features={self._device.features}".encode()
            self.send(b"CNXN", 0x01000000, 65536, banner)
        elif command == b"OPEN":
            stream = _Stream(self, self._device, len(self._streams) + 1, first)
            self._streams[stream.own] = stream
            stream.begin(data.rstrip(b"\0").decode())
        elif command == b"WRTE":
            self.send(b"OKAY", second, first)
            self._streams[second].received(data)
        elif command == b"OKAY" and second in self._streams:
            self._streams[second].ready.release()
        elif command == b"CLSE" and second in self._streams:
            self._streams[second].closed()


class _Stream:
    """One service: a shell command or a file transfer."""

    def __init__(self, connection: _Connection, device: Adbd, own: int, peer: int) -> None:
        self.own, self.peer = own, peer
        self.ready = threading.Semaphore(1)
        self._connection, self._device = connection, device
        self._data = b""
        self._sync = False
        self._target: tuple[Path, int] | None = None
        self._content = b""

    def begin(self, service: str) -> None:
        kind, _, rest = service.partition(":")
        self._sync = kind == "sync"
        if not self._sync and not kind.startswith("shell,v2"):
            self._connection.send(b"CLSE", 0, self.peer)
            return
        self._connection.send(b"OKAY", self.own, self.peer)
        if not self._sync:
            threading.Thread(target=self._shell, args=(rest,), daemon=True).start()

    def _shell(self, command: str) -> None:
        out, err = (process := self._device.start(command)).communicate()
        for kind, data in ((1, out), (2, err), (3, bytes([process.returncode & 0xFF]))):
            for begin in range(0, len(data), 32000):
                part = data[begin : begin + 32000]
                self.write(struct.pack("<BI", kind, len(part)) + part)
        self.ready.acquire(timeout=5)
        self._connection.send(b"CLSE", self.own, self.peer)

    def write(self, data: bytes) -> None:
        """Write when the peer has taken the last packet."""
        self.ready.acquire(timeout=10)
        self._connection.send(b"WRTE", self.own, self.peer, data)

    def closed(self) -> None:
        self._connection.send(b"CLSE", self.own, self.peer)

    def received(self, data: bytes) -> None:
        if not self._sync:
            return
        self._data += data
        while len(self._data) >= 8:
            command, size = self._data[:4], int.from_bytes(self._data[4:8], "little")
            body = 0 if command == b"DONE" else size
            if len(self._data) < 8 + body:
                return
            argument, self._data = self._data[8 : 8 + body], self._data[8 + body :]
            self._transfer(command, argument)

    def _transfer(self, command: bytes, argument: bytes) -> None:
        if command == b"STAT":
            path = Path(self._device.local(argument.decode()))
            mode, size = (path.stat().st_mode, path.stat().st_size) if path.exists() else (0, 0)
            self.write(b"STAT" + struct.pack("<3I", mode, size, 0))
        elif command == b"RECV":
            path = Path(self._device.local(argument.decode()))
            # In a thread: the next packet waits for the peer's word on the last.
            threading.Thread(target=self._give, args=(path,), daemon=True).start()
        elif command == b"SEND":
            name, _, mode = argument.decode().rpartition(",")
            self._target, self._content = (Path(self._device.local(name)), int(mode)), b""
        elif command == b"DATA":
            self._content += argument
        elif command == b"DONE" and self._target:
            self.write(self._store(*self._target) + struct.pack("<I", 0))
        elif command == b"QUIT":
            self._connection.send(b"CLSE", self.own, self.peer)

    def _give(self, path: Path) -> None:
        content = path.read_bytes()
        for begin in range(0, len(content), 32000):
            part = content[begin : begin + 32000]
            self.write(b"DATA" + struct.pack("<I", len(part)) + part)
        self.write(b"DONE" + struct.pack("<I", 0))

    def _store(self, path: Path, mode: int) -> bytes:
        path.write_bytes(self._content)
        path.chmod(mode & 0o777)
        return b"OKAY"


@contextmanager
def adb_server(folder: Path, port: int) -> Iterator[None]:
    """An adb server of our own: the one on port 5037 belongs to the user."""
    before = dict(os.environ)
    os.environ.update({"ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(folder)})
    try:
        yield
    finally:
        subprocess.run(["adb", "kill-server"], capture_output=True, check=False)
        os.environ.clear()
        os.environ.update(before)
