"""One case of a fuzzer, what became of it, and the server that runs it."""

from __future__ import annotations

import hashlib
import json
import os
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
GOOD = ("ok", "refused", "failed in one line")


@dataclass(frozen=True)
class Case:
    """A command line with its files.

    Attributes:
        kind: The generator, for the table.
        words: The command line.
        files: Contents by name; names may be bytes that aren't UTF-8.
        limits: `file_bytes` and `open_files` that the process may have.
        outputs: What else it may write: files and folders by the beginning of their names.
    """

    kind: str
    words: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


class Fuzzer:
    """Runs cases in forks of a server and keeps count.

    Args:
        folder: Failing cases stay here with their input; others are removed.
        base: Files that every case finds, beside its own.
    """

    def __init__(self, folder: Path, base: Path) -> None:
        self.table: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []
        self._folder, self._base, self._number = folder, base, 0
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("fork_server.py")
        quiet = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._server = subprocess.Popen(
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
        assert self._server is not None
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)

    def run(self, case: Case) -> str:
        """Run one case, count it, and give its outcome."""
        self._number += 1
        folder = self._folder / f"{self._number:05d}-{case.kind}"
        place = folder / "place"
        shutil.copytree(self._base, place)
        for part in ("home", "tmp"):
            (folder / part).mkdir()
        size = _write(place, case.files) + 4_000_000
        before = _snapshot(place)
        told = self._ask(folder, case, _MEMORY_BYTES + 4 * size)
        outcome = _outcome(told, _MEMORY_BYTES + 4 * size) or _losses(
            before, _snapshot(place), (OUTPUT, f".{OUTPUT}.keras.state", *case.outputs)
        )
        outcome = outcome or _by_code(told)
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

    def _ask(self, folder: Path, case: Case, memory_bytes: int) -> dict[str, Any]:
        assert self._server is not None
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request = {
            "folder": str(folder),
            "words": case.words,
            "seconds": SECONDS,
            "memory_bytes": memory_bytes,
            "limits": case.limits,
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        told: dict[str, Any] = json.loads(self._server.stdout.readline())
        return told

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


def _by_code(told: dict[str, Any]) -> str:
    lines = [x for x in told["err"].splitlines() if x.startswith("edgepress: error: ")]
    if told["code"] in (0, 1):
        return "ok"
    if told["code"] in (2, 3) and len(lines) == 1:
        return "refused" if told["code"] == 2 else "failed in one line"
    return f"odd end {told['code']}"
