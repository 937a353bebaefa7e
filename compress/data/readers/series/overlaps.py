"""Sequences in arrays that share steps: windows that were cut closer than they are long.

Each step of several numbers is found again bit for bit in the windows that share it, at one lag.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pairs = NDArray[np.int64]

# Beyond this the search would take longer than the rest of opening data.
MOST_SAMPLES, MOST_BYTES = 20_000, 256_000_000
# Steps that two windows have to share, and the share of a window that those are.
_FEWEST, _SHARE = 8, 0.25
# A single number tells too little: so many steps in a row stand for one then.
_IN_A_ROW = 4
# A step that is in more windows than that is a pause, or means a class.
_COMMON = 64


def overlapping(values: Array) -> Pairs:
    """Places of sequences that share steps at one lag.

    Args:
        values: (n, steps, numbers) sequences; arrays of another shape have none.

    Returns:
        (pairs, 2) places.
    """
    none = np.empty((0, 2), np.int64)
    if values.ndim != 3 or values.dtype.kind not in "fiu" or values.shape[1] < _FEWEST:
        return none
    if len(values) > MOST_SAMPLES or values.nbytes > MOST_BYTES:
        return none
    if values.shape[2] == 1:
        values = np.lib.stride_tricks.sliding_window_view(values[..., 0], _IN_A_ROW, 1)
    count, steps = values.shape[:2]
    keys = _keys(values)
    # In the order of their keys, then of the samples: a step twice in a sample tells no lag.
    sample, step = np.divmod(np.argsort(keys, kind="stable"), steps)
    ordered = keys[sample * steps + step]
    new = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    begins = np.flatnonzero(new)
    sizes = np.diff(np.append(begins, len(ordered)))
    found = [none]
    for size in np.unique(sizes[(sizes > 1) & (sizes <= _COMMON)]):
        rows = begins[sizes == size][:, None] + np.arange(size)
        samples, places = sample[rows], step[rows]
        once = (np.diff(samples, axis=1) > 0).all(1)
        samples, places = samples[once], places[once]
        for left in range(size - 1):
            for right in range(left + 1, size):
                lags = places[:, left] - places[:, right]
                found.append(np.stack([samples[:, left] * count + samples[:, right], lags], 1))
    met = [f for f in found[1:] if len(f)]
    if not met:
        return none
    shared, often = np.unique(np.concatenate(met), axis=0, return_counts=True)
    told = shared[often >= max(_FEWEST, _SHARE * steps), 0]
    return np.stack(np.divmod(np.unique(told), count), 1).astype(np.int64)


def _keys(values: Array) -> NDArray[np.uint64]:
    """(n * steps,) a number for each step, the same for steps of the same bits."""
    rows = np.ascontiguousarray(values).reshape(-1, values.shape[2])
    bits = rows.view(f"<u{rows.dtype.itemsize}").astype(np.uint64)
    odd = np.random.default_rng(0).integers(0, 1 << 63, bits.shape[1], np.uint64) * 2 + 1
    mixed: NDArray[np.uint64] = ((bits ^ (bits >> np.uint64(17))) * odd).sum(1, dtype=np.uint64)
    return mixed
