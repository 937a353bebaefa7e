"""Does the benchmark's median agree with a bare loop around the interpreter?

Usage: python benchmarks/studies/measuring/bare_loop.py MODEL.tflite [ROUNDS]

Alternates blocks of a bare LiteRT loop in a process of its own with blocks of edgepress's session,
several launches of each, and prints both medians and their ratio.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from edgepress.benchmarks.session import RuntimeSession
from edgepress.benchmarks.target import Job, RunOptions

_BARE = """
import json, sys, time
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
for detail in interpreter.get_input_details():
    interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
for line in sys.stdin:
    raw = []
    for _ in range(int(line)):
        begin = time.perf_counter_ns()
        interpreter.invoke()
        raw.append(time.perf_counter_ns() - begin)
    print(json.dumps(raw), flush=True)
"""


def one_launch(model: Path, rounds: int, block: int) -> tuple[list[int], list[float]]:
    """Alternating blocks of both: nanoseconds of the bare loop and of the session."""
    command = [sys.executable, "-c", _BARE, str(model)]
    bare: list[int] = []
    ours: list[float] = []
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as loop,
        RuntimeSession(model, RunOptions()) as session,
    ):
        assert loop.stdin is not None
        assert loop.stdout is not None
        for i in range(rounds + 3):
            loop.stdin.write(f"{block}\n")
            loop.stdin.flush()
            raw = json.loads(loop.stdout.readline())
            values = session.run(Job(block)).values
            if i >= 3:
                bare += raw
                ours += values
        loop.stdin.close()
    return bare, ours


def main(model: str, rounds: int = 40) -> None:
    ratios = []
    for launch in range(9):
        bare, ours = one_launch(Path(model), rounds, 20)
        ratio = statistics.median(ours) / statistics.median(bare)
        ratios.append(ratio)
        print(
            f"{launch + 1}: bare {statistics.median(bare) / 1e6:.5f} ms,"
            f" edgepress {statistics.median(ours) / 1e6:.5f} ms, ratio {ratio:.4f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.4f}, {min(ratios):.4f} to {max(ratios):.4f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
