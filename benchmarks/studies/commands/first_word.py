"""How long commands stay silent, and whether they load TensorFlow.

    python benchmarks/studies/commands/first_word.py MODEL.keras [FILE.tflite FILE.onnx]

Each command is started in a terminal of its own. Prints the medians of the clock and of the
processor time that it had taken when its first word came (on an idle machine both are the same),
the word, and whether TensorFlow's library was in its memory before it ended.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Said:
    """What a command did until its first word, and which that was.

    Attributes:
        clock: Seconds by the clock.
        processor: Seconds of the processors.
        word: The first line of what it showed.
        tensorflow: Whether the whole command had TensorFlow's library in memory.
    """

    clock: float
    processor: float
    word: str
    tensorflow: bool


def listen(command: list[str]) -> Said:
    """Run a command to its end in a terminal.

    Raises:
        RuntimeError: It failed; has what it said.
    """
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        os.execv(command[0], command)
    began, heard, first, loaded = time.perf_counter(), b"", None, False
    while part := _read(terminal):
        heard += part
        seen = _CONTROL.sub(b"", heard).strip()
        if seen and first is None:
            first = time.perf_counter() - began, _processor(child), seen
        loaded = loaded or _has_tensorflow(child)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    if status or first is None:
        raise RuntimeError(f"{' '.join(command)}: {heard.decode('utf-8', 'replace')}")
    clock, processor, seen = first
    return Said(clock, processor, seen.splitlines()[0].decode("utf-8", "replace"), loaded)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says so where the other end was closed.
        return b""


def _processor(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _has_tensorflow(process: int) -> bool:
    return "libtensorflow" in Path(f"/proc/{process}/maps").read_text()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    program = str(Path(sys.executable).with_name("edgepress"))
    with TemporaryDirectory() as folder:
        out = ["-o", f"{folder}/out", "--force", "--format", "tflite", "--quantize", "float32"]
        calls = {
            "doctor": ["doctor", given.model],
            "inspect": ["inspect", given.model],
            "export": ["export", given.model, *out],
            **{f"inspect {Path(f).suffix}": ["inspect", f] for f in given.files},
        }
        heard: dict[str, list[Said]] = {name: [] for name in calls}
        for _ in range(given.rounds):
            for name, call in calls.items():
                heard[name].append(listen([program, *call]))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {given.rounds} rounds")
    for name, said in heard.items():
        clock = statistics.median(s.clock for s in said)
        processor = statistics.median(s.processor for s in said)
        loaded = "TensorFlow" if any(s.tensorflow for s in said) else "without TensorFlow"
        print(
            f"{name:16} {processor:.2f} processor s {clock:6.2f} s  {loaded:18} {said[0].word:.50}"
        )


if __name__ == "__main__":
    main()
