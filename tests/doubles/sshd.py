"""A real sshd on loopback, with keys of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

_CONFIG = """
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/pid
AuthorizedKeysFile {folder}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 300
LoginGraceTime 120
Subsystem sftp internal-sftp
SetEnv TMPDIR={folder}/tmp{path}
{ports}
"""


@dataclass(frozen=True)
class Server:
    """A running sshd.

    Attributes:
        ports: Where it listens.
        folder: Keys, log, and the temporary folder that its sessions use.
        pid: Its process.
    """

    ports: tuple[int, ...]
    folder: Path
    pid: int

    @property
    def temporary(self) -> Path:
        """Where sessions put their files."""
        return self.folder / "tmp"

    def url(self, port: int | None = None, **options: str) -> str:
        """Address of a board behind one of the ports."""
        chosen = {
            "key": str(self.folder / "user_key"),
            "known_hosts": str(self.folder / "known_hosts"),
            **options,
        }
        query = "&".join(f"{k}={v}" for k, v in chosen.items())
        return f"ssh://{getpass.getuser()}@127.0.0.1:{port or self.ports[0]}?{query}"


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nobody uses at the moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return tuple(s.getsockname()[1] for s in sockets)


def make_key(path: Path) -> str:
    """A new key pair; gives the public key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().rsplit(" ", 1)[0]


@contextmanager
def sshd(folder: Path, ports: int = 1, path: str = "") -> Iterator[Server]:
    """Run sshd on free ports, sessions having the PATH given; it ends with the block."""
    assert SSHD
    host_key = make_key(folder / "host_key")
    make_key(folder / "user_key")
    (folder / "tmp").mkdir()
    chosen = free_ports(ports)
    lines = "\n".join(f"Port {port}" for port in chosen)
    (folder / "config").write_text(
        _CONFIG.format(folder=folder, ports=lines, path=f" PATH={path}" if path else "")
    )
    known = "".join(f"[127.0.0.1]:{port} {host_key}\n" for port in chosen)
    (folder / "known_hosts").write_text(known)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = [SSHD, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")]
    process = subprocess.Popen(command)
    try:
        _until_listening(chosen, process, folder / "log")
        yield Server(chosen, folder, process.pid)
    finally:
        process.terminate()
        process.wait()


def _until_listening(ports: tuple[int, ...], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 20
    for port in ports:
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"sshd did not start: {log.read_text()}")
            time.sleep(0.05)


def settles(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether a condition holds before some seconds are over."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
