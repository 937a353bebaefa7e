"""One case of a fuzzer, what became of it, and the server that runs it."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SECONDS = 60.0
_MEMORY_BYTES = 2 * 2**30
# Whatever a command writes is named so; all else that appears is a file in the wrong place.
OUTPUT = "out"
_EXCEPTION = re.compile(r"\b[A-Z]\w*(Error|Exception|Warning)\b")
GOOD = ("ok", "refused", "failed in one line")


@dataclass(frozen=True)
class Case:
    """A command line with its files.

    Attributes:
        kind: The generator, for the table.
        words: The command line.
        files: Contents by name; names may be bytes that aren't UTF-8.
        limits: `file_bytes` and `open_files` that the process may have; `clock_s` by how much its
            clock jumps while it works.
        outputs: What else it may write: files and folders by the beginning of their names.
        modes: Permissions of files and folders; the process is an ordinary user's then.
    """

    kind: str
    words: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    modes: dict[str, int] = field(default_factory=dict)


class Server:
    """Runs command lines in forks of a process that has loaded everything.

    Args:
        folder: Takes a folder for each case.
        base: Files that every case finds.
    """

    def __init__(self, folder: Path, base: Path) -> None:
        self._folder, self._base, self._numbers = folder, base, itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        # A socket's path has at most 108 bytes.
        self._socket = Path(tempfile.mkdtemp(prefix="fuzz-")) / "socket"
        self._lanes = threading.local()

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("fork_server.py")
        quiet = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with (self._folder / "server.txt").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(script), str(self._socket)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=quiet,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        shutil.rmtree(self._socket.parent)

    def _lane(self) -> Connection:
        """This thread's connection to the server, which takes a while to load everything."""
        while not hasattr(self._lanes, "connection"):
            assert self._process is not None
            assert self._process.poll() is None
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                self._lanes.connection = Client(str(self._socket), "AF_UNIX")
            time.sleep(0.1)
        lane: Connection = self._lanes.connection
        return lane

    def place(self, name: str = "case") -> Path:
        """A new folder with `home`, `tmp`, and `place`, a copy of the base."""
        folder = self._folder / f"{next(self._numbers):05d}-{name}"
        shutil.copytree(self._base, folder / "place")
        for part in ("home", "tmp"):
            (folder / part).mkdir()
        return folder

    def ask(
        self,
        folder: Path,
        words: tuple[str, ...],
        stop: tuple[float, int] | None = None,
        memory_bytes: int = _MEMORY_BYTES,
        limits: dict[str, int] | None = None,
        modes: dict[str, int] | None = None,
        alone: bool = True,
        seconds: float = SECONDS,
    ) -> dict[str, Any]:
        """Run a command line in such a folder, and give what became of it.

        Args:
            folder: As `place` gave it.
            words: The command line.
            stop: After how many seconds it is ended, and by which signal.
            memory_bytes: What it may hold.
            limits: As those of a case.
            modes: As those of a case.
            alone: Whether it has a process of its own, which costs more.
            seconds: Of the processor's time that it may take.
        """
        request = {
            "folder": str(folder),
            "words": words,
            "seconds": seconds,
            "memory_bytes": memory_bytes,
            "limits": limits or {},
            "modes": modes or {},
            "stop": stop,
            "alone": alone,
        }
        lane = self._lane()
        lane.send(request)
        told: dict[str, Any] = lane.recv()
        return told


class Fuzzer(Server):
    """Runs cases, several at once, and keeps count.

    Failing cases stay in its folder; others are removed.

    Args:
        folder: As for `Server`.
        base: As for `Server`.
        lanes: How many cases run at once.
    """

    def __init__(self, folder: Path, base: Path, lanes: int) -> None:
        super().__init__(folder, base)
        self.table: Counter[tuple[str, str]] = Counter()
        self.used_s: Counter[str] = Counter()
        self.failures: list[str] = []
        self._pool = ThreadPoolExecutor(lanes)
        self._room = threading.Semaphore(2 * lanes)
        self._running: list[Future[None]] = []

    def start(self, case: Case) -> None:
        """Run one case as soon as there is room for it."""
        self._room.acquire()
        self._running.append(self._pool.submit(self._run, case))

    def finish(self) -> None:
        """Wait for all cases that were started; `table.md` has the counts so far."""
        for running in self._running:
            running.result()
        self._running.clear()
        (self._folder / "table.md").write_text(f"{self.show()}\n")

    def _run(self, case: Case) -> None:
        try:
            self.run(case)
        finally:
            self._room.release()

    def run(self, case: Case) -> str:
        """Run one case, count it, and give its outcome.

        What ends badly where others ran before is run again in a process of its own.
        """
        alone = bool(case.limits or case.modes)
        outcome, folder, told = self._tried(case, alone)
        if outcome not in GOOD and not alone:
            shutil.rmtree(folder)
            outcome, folder, told = self._tried(case, True)
        self.table[case.kind, outcome] += 1
        self.used_s[case.kind] += told["used_s"]
        if outcome in GOOD:
            shutil.rmtree(folder)
        else:
            (folder / "case.json").write_text(json.dumps({"words": case.words, **told}, indent=1))
            last = (told["err"].strip().splitlines() or ["nothing"])[-1]
            self.failures.append(
                f"{outcome}: {folder.name}: {' '.join(case.words)[:200]!a}: {last}"
            )
        return outcome

    def _tried(self, case: Case, alone: bool) -> tuple[str, Path, dict[str, Any]]:
        """Run a case in a new folder: its outcome, the folder, and what the server says."""
        folder = self.place(case.kind)
        place = folder / "place"
        most = _MEMORY_BYTES + 4 * (_write(place, case.files) + 4_000_000)
        before = _snapshot(place)
        told = self.ask(folder, case.words, None, most, case.limits, case.modes, alone)
        for name in case.modes:
            (place / name).chmod(0o755)
        outcome = (
            _outcome(told, most)
            or _losses(before, _snapshot(place), (OUTPUT, f".{OUTPUT}.keras.state", *case.outputs))
            or _left(folder / "tmp", told)
            or _by_code(told, case)
        )
        return outcome, folder, told

    def show(self) -> str:
        """The table: cases by kind and outcome."""
        kinds = sorted({kind for kind, _ in self.table})
        outcomes = [*GOOD, *sorted({o for _, o in self.table} - set(GOOD))]
        lines = [
            "| kind | cases | " + " | ".join(outcomes) + " | processor time, s |",
            "| --- " * (len(outcomes) + 3) + "|",
        ]
        for kind in [*kinds, "all"]:
            row = [
                sum(n for (k, o), n in self.table.items() if kind in (k, "all") and o == one)
                for one in outcomes
            ]
            used = sum(s for k, s in self.used_s.items() if kind in (k, "all"))
            row_text = " | ".join(map(str, row))
            lines.append(f"| {kind} | {sum(row)} | {row_text} | {used:.0f} |")
        return "\n".join(lines)


def _write(place: Path, files: dict[str, bytes]) -> int:
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return sum(map(len, files.values()))


def _snapshot(place: Path) -> dict[str, str]:
    """Hash of each file, and the word "folder" for each folder, by path."""
    found = {}
    for folder, folders, names in os.walk(place):
        for name in (*names, *folders):
            path = Path(folder, name)
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(place))] = digest
            elif path.is_dir():
                found[str(path.relative_to(place))] = "folder"
    return found


def _left(temporary: Path, told: dict[str, Any]) -> str:
    """What a command left in its folder for temporary files without a word, or left running."""
    if told["orphans"]:
        return "left a process running"
    text = told["out"] + told["err"]
    # TensorFlow removes these when the process ends, which ran other cases and goes on.
    ours = [p for p in temporary.iterdir() if not p.name.startswith("__autograph_generated")]
    silent = [path for path in ours if path.name not in text]
    return "left a temporary file" if silent else ""


def _outcome(told: dict[str, Any], memory_bytes: int) -> str:
    """How a case ended badly; empty where it didn't."""
    text = told["out"] + told["err"]
    bad = {
        "hang": told["hung"],
        "memory": told["peak_bytes"] > memory_bytes,
        "signal": told["signal"],
        "internal failure": "internal failure" in text,
        "traceback": "Traceback (most recent call last)" in text,
    }
    return next((outcome for outcome, found in bad.items() if found), "")


def _losses(before: dict[str, str], after: dict[str, str], outputs: tuple[str, ...]) -> str:
    """What became of files that a case has no business with; empty where they are as they were."""
    kept = {n: digest for n, digest in before.items() if not n.startswith(outputs)}
    if any(after.get(name) != digest for name, digest in kept.items()):
        return "foreign file lost"
    made = {n for n in after.keys() - before.keys() if not n.startswith((*outputs, "__pycache__"))}
    return "file outside the output" if made else ""


def _by_code(told: dict[str, Any], case: Case) -> str:
    lines = [x for x in told["err"].splitlines() if x.startswith("edgepress: error: ")]
    if told["code"] in (0, 1):
        return "ok"
    if told["code"] in (2, 3) and len(lines) == 1:
        # Of code that a person wrote, the error's name is what they look for.
        own = ".py:" in lines[0] or ".py:" in " ".join(case.words)
        if _EXCEPTION.search(lines[0]) and not own:
            return "names an exception"
        return "refused" if told["code"] == 2 else "failed in one line"
    return f"odd end {told['code']}"
