"""How often does an artifact differ from itself?

Usage: python benchmarks/studies/measuring/a_against_a.py MODEL.tflite [PAIRS]

Measures a file against a copy of itself, in half of the pairs with the other core loaded, and
prints each ratio with its 95 % interval. The interval should hold 1 in 95 of 100 pairs; beside it
stands the interval that rounds alone would give, without fresh launches being drawn.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepress.benchmarks.measurement import Series
from edgepress.benchmarks.session import RuntimeSession
from edgepress.benchmarks.statistics.intervals import Interval, compare
from edgepress.benchmarks.statistics.sampling import Entrant, Plan, sample
from edgepress.benchmarks.target import RunOptions


@contextmanager
def loaded_core(core: int) -> Iterator[None]:
    """Keep a core busy."""
    busy = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"]
    )
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def measure_pair(files: list[Path], seed: int) -> tuple[Series, Series]:
    """Both files, interleaved, as `edgepress benchmark` does it."""

    def entrant(file: Path) -> Entrant:
        return Entrant(file.name, lambda: RuntimeSession(file, RunOptions()))

    entrants = [entrant(file) for file in files]
    a, b = (record.series() for record in sample(entrants, Plan(seed=seed)))
    if a is None or b is None:
        raise SystemExit("the runtime failed")
    return a, b


def rounds_alone(a: Series, b: Series) -> Interval:
    """The interval if all rounds had come from one launch."""

    def flat(series: Series) -> Series:
        return Series((tuple(s for rounds in series.launches for s in rounds),))

    return compare(("a", "b"), flat(a), flat(b)).interval


def main(model: str, pairs: int = 40) -> None:
    holds = {"quiet": [0, 0, 0], "loaded": [0, 0, 0]}
    last_core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.tflite" for name in ("a", "b")]
        for file in files:
            shutil.copy(model, file)
        for pair in range(pairs):
            state = "loaded" if pair % 2 else "quiet"
            if pair % 2:
                with loaded_core(last_core):
                    a, b = measure_pair(files, pair)
            else:
                a, b = measure_pair(files, pair)
            found, alone = compare(("a", "b"), a, b, seed=pair), rounds_alone(a, b)
            counts = holds[state]
            counts[0] += 1
            counts[1] += 1.0 in found.interval
            counts[2] += 1.0 in alone
            print(
                f"{pair + 1:3} {state:6} ratio {found.ratio:.4f}"
                f"  {found.interval.low:.4f} to {found.interval.high:.4f}"
                f"  {'holds 1' if 1.0 in found.interval else 'MISSES 1'}",
                flush=True,
            )
    for state, (n, good, alone_good) in holds.items():
        print(f"{state}: {good} of {n} hold 1 (rounds alone: {alone_good} of {n})")
    print(f"together: {sum(c[1] for c in holds.values())} of {pairs} hold 1")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
