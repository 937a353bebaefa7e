"""What this machine can do at best: a stand-alone script that prints two numbers as JSON.

Usage: python roofline_peak.py. Threads are those that OPENBLAS_NUM_THREADS and OMP_NUM_THREADS
allow. Multiplies float32 matrices that fit the cache, and copies arrays that don't.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest of some runs."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def measure_peak() -> dict[str, float]:
    """GFLOP/s of a matrix product and GB/s of a copy (read and write counted)."""
    size = 384
    a = np.ones((size, size), np.float32)
    source = np.ones(8 << 20, np.float32)
    target = np.empty_like(source)
    product = best_seconds(lambda: a @ a, 30)
    copy = best_seconds(lambda: np.copyto(target, source), 8)
    return {"gflops": 2 * size**3 / product / 1e9, "gbytes_per_s": 2 * source.nbytes / copy / 1e9}


if __name__ == "__main__":
    print(json.dumps(measure_peak()))
