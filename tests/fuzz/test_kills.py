"""Whatever ends a command at whatever moment, the next call gives what an undisturbed one does.

scripts/test tests/fuzz/test_kills.py -m slow -s --kills 20 --fuzz-seed 3

Each command runs in a fork of a process that has loaded everything, is ended there by a signal at a
drawn moment, and called again as its message or the docs say. Results are compared byte by byte;
of a `.keras` file that is its configuration and its weights, for it holds the date as well.
"""

from __future__ import annotations

import random
import signal
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pytest
from fuzz_case import Server

pytestmark = [pytest.mark.slow]

# SIGKILL is what a machine without memory sends; the others ask.
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_TIMES = frozenset({".json", ".html", ".journal", ".log", ".csv", ".sqlite", ".lock", ".md"})
_SECONDS = 600.0  # a search loads everything in each of its trials
_TIMED = frozenset({"search.png"})  # the seconds of each depth


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        words: The call.
        resume: The call after it was ended, where `kept` is there.
        kept: What an ended call leaves to go on from; none where it starts over.
    """

    words: tuple[str, ...]
    resume: tuple[str, ...] = ()
    kept: str = ""

    def again(self, place: Path) -> tuple[str, ...]:
        """What a user calls next."""
        return self.resume if self.kept and (place / self.kept).exists() else self.words


def _in_place(*words: str) -> Command:
    """A command whose checkpoints lie beside its output."""
    return Command(words, (*words, "--resume"), ".out.keras.state")


_UNFREEZE = ("unfreeze-search", "m.keras", "--data", "good.npz", "--epochs", "2")
COMMANDS = {
    "finetune": _in_place(
        *("finetune", "m.keras", "--data", "good.npz", "--epochs", "6"),
        *("-o", "out.keras"),
    ),
    "prune": _in_place(
        *("prune", "m.keras", "--data", "good.npz", "--structure", "channels"),
        *("--target-macs", "0.6", "--recover-epochs", "4", "-o", "out.keras"),
    ),
    "export": Command(
        ("export", "m.keras", "-o", "out", "--format", "tflite", "--format", "onnx",
         "--quantize", "float32", "--quantize", "int8", "--data", "good.npz"),
    ),
    "compress": Command(
        ("compress", "r.yaml", "-o", "out"), ("compress", "--resume", "out"), "out/recipe.yaml"
    ),
    "search": Command(
        ("search", "s.yaml", "--trials", "2", "-o", "out"),
        ("search", "--resume", "out", "--trials", "2"),
        "out/study.journal",
    ),
    # The given model's trial alone: the time is up before a second one on every machine.
    "fit": Command(
        ("fit", "m.keras", "--data", "good.npz", "--minimise", "bytes", "--quantize", "float32",
         "--quantize", "int8", "--runs", "5", "--launches", "1", "--time", "1s", "-o", "out"),
        ("fit", "--resume", "out", "--time", "1s"),
        "out/recipe.yaml",
    ),
    "strip": Command(("strip", "m.keras", "-o", "out.keras")),
    "unfreeze-search": Command(
        (*_UNFREEZE, "-o", "out"), (*_UNFREEZE, "-o", "out", "--resume"), ".out.state"
    ),
    "benchmark": Command(("benchmark", "m.tflite", "--runs", "20", "-o", "out.json")),
    "lr-find": Command(("lr-find", "m.keras", "--data", "good.npz", "-o", "out.png")),
    "sensitivity": Command(("sensitivity", "m.keras", "--data", "good.npz", "-o", "out.png")),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Runs command lines in forks, each in a copy of the base."""
    with Server(tmp_path_factory.mktemp("kills"), base) as running:
        yield running


@pytest.mark.parametrize("name", COMMANDS)
def test_an_ended_command_goes_on_to_the_same_bytes(
    name: str, server: Server, request: Any
) -> None:
    command, draw = COMMANDS[name], random.Random(request.config.getoption("--fuzz-seed"))
    folder, other = server.place(), server.place()
    # The first call loads what the second one finds, so its time says nothing of those to come.
    for place in (folder, other):
        plain = server.ask(place, command.words, seconds=_SECONDS)
        assert plain["code"] == 0, plain["err"]
    expected, counts, wrong = _contents(folder / "place"), Counter[str](), []
    assert _difference(expected, _contents(other / "place")) == ""
    for turn in range(request.config.getoption("--kills")):
        number = draw.choice(SIGNALS)
        stop = (draw.uniform(0, 1) * plain["seconds"], number)
        folder = server.place()
        ended = server.ask(folder, command.words, stop, seconds=_SECONDS)
        fault = _end_fault(ended, number)
        if ended["code"] != 0:
            counts[number.name] += 1
            told = server.ask(folder, command.again(folder / "place"), seconds=_SECONDS)
            # Ended behind its last step, a call has left all that there is to make.
            done = told["code"] == 2 and "exists already" in told["err"] and not command.kept
            if told["code"] != 0 and not done:
                fault = fault or f"the next call ends with {told['code']}: {told['err'][-400:]}"
        else:
            counts["too late"] += 1
        fault = fault or _difference(expected, _contents(folder / "place"))
        if fault:
            wrong.append(f"{turn}: {number.name} after {stop[0]:.2f} s, in '{folder}': {fault}")
    print(f"\n{name}: {sum(counts.values())} ends {dict(counts)}, {len(wrong)} wrong")
    assert wrong == []


def _end_fault(ended: dict[str, Any], number: signal.Signals) -> str:
    """What is wrong with how a call ended; a line tells of a signal that asks."""
    if ended["code"] == 0 or ended["signal"] == number == signal.SIGKILL:
        return ""
    last = (ended["err"].strip().splitlines() or [""])[-1]
    if ended["code"] == 128 + number and "stopped" in last and "Traceback" not in ended["err"]:
        return ""
    return f"ends with {ended['code']}, signal {ended['signal']}: {ended['err'][-400:]}"


def _contents(place: Path) -> dict[str, bytes]:
    """What was written, by path: bytes of results, nothing of files with times in them."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if path.is_file() and name.startswith(("out", ".")) and "__pycache__" not in name:
            timed = path.suffix in _TIMES or path.name in _TIMED
            found[name] = b"" if timed else _bytes(path)
    return found


def _bytes(path: Path) -> bytes:
    if path.suffix != ".keras":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = [archive.read("config.json")]
        with archive.open("model.weights.h5") as file, h5py.File(file) as weights:
            weights.visititems(lambda key, at: parts.append(key.encode() + _numbers(at)))
    return b"".join(parts)


def _numbers(node: Any) -> bytes:
    return bytes(node[()].tobytes()) if isinstance(node, h5py.Dataset) else b""


def _difference(expected: dict[str, bytes], found: dict[str, bytes]) -> str:
    lacking, left = expected.keys() - found.keys(), found.keys() - expected.keys()
    other = [n for n in expected.keys() & found.keys() if expected[n] != found[n]]
    parts = {"missing": sorted(lacking), "left behind": sorted(left), "other bytes": sorted(other)}
    return "; ".join(f"{what}: {names}" for what, names in parts.items() if names)
