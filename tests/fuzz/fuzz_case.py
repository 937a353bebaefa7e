"""One case of a fuzzer, what became of it, and the server that runs it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
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
        self._folder, self._base, self._number = folder, base, 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("fork_server.py")
        quiet = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
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

    def place(self, name: str = "case") -> Path:
        """A new folder with `home`, `tmp`, and `place`, a copy of the base."""
        self._number += 1
        folder = self._folder / f"{self._number:05d}-{name}"
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
    ) -> dict[str, Any]:
        """Run a command line in such a folder, and give what became of it.

        Args:
            folder: As `place` gave it.
            words: The command line.
            stop: After how many seconds it is ended, and by which signal.
            memory_bytes: What it may hold.
            limits: As those of a case.
            modes: As those of a case.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "folder": str(folder),
            "words": words,
            "seconds": SECONDS,
            "memory_bytes": memory_bytes,
            "limits": limits or {},
            "modes": modes or {},
            "stop": stop,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


class Fuzzer(Server):
    """Runs cases and keeps count. Failing cases stay in its folder; others are removed."""

    def __init__(self, folder: Path, base: Path) -> None:
        super().__init__(folder, base)
        self.table: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    def run(self, case: Case) -> str:
        """Run one case, count it, and give its outcome."""
        folder = self.place(case.kind)
        place = folder / "place"
        size = _write(place, case.files) + 4_000_000
        before = _snapshot(place)
        told = self.ask(folder, case.words, None, _MEMORY_BYTES + 4 * size, case.limits, case.modes)
        for name in case.modes:
            (place / name).chmod(0o755)
        outcome = _outcome(told, _MEMORY_BYTES + 4 * size) or _losses(
            before, _snapshot(place), (OUTPUT, f".{OUTPUT}.keras.state", *case.outputs)
        )
        outcome = outcome or _by_code(told, case)
        self.table[case.kind, outcome] += 1
        if outcome in GOOD:
            shutil.rmtree(folder)
        else:
            (folder / "case.json").write_text(json.dumps({"words": case.words, **told}, indent=1))
            last = (told["err"].strip().splitlines() or ["nothing"])[-1]
            self.failures.append(
                f"{outcome}: {folder.name}: {' '.join(case.words)[:200]!a}: {last}"
            )
        return outcome

    def show(self) -> str:
        """The table: cases by kind and outcome."""
        kinds = sorted({kind for kind, _ in self.table})
        outcomes = [*GOOD, *sorted({o for _, o in self.table} - set(GOOD))]
        lines = [
            "| kind | cases | " + " | ".join(outcomes) + " |",
            "| --- " * (len(outcomes) + 2) + "|",
        ]
        for kind in [*kinds, "all"]:
            row = [
                sum(n for (k, o), n in self.table.items() if kind in (k, "all") and o == one)
                for one in outcomes
            ]
            lines.append(f"| {kind} | {sum(row)} | " + " | ".join(map(str, row)) + " |")
        return "\n".join(lines)


def _write(place: Path, files: dict[str, bytes]) -> int:
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return sum(map(len, files.values()))


def _snapshot(place: Path) -> dict[str, str]:
    """Hash of each file, by path."""
    found = {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = Path(folder, name)
            if path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(place))] = digest
    return found


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
