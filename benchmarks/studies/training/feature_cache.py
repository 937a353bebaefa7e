"""An epoch of fine-tuning the top two layers with and without the cache of frozen features.

Usage: python benchmarks/studies/training/feature_cache.py resnet8.h5 [EPOCHS]

Prints the median seconds of an epoch both ways, their ratio, and the largest difference between the
weights that come out.
"""

from __future__ import annotations

import statistics
import sys

import numpy as np

from edgepress import compress


def main(path: str, epochs: int) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (64 * 40, 32, 32, 3), dtype=np.uint8)
    data = {"x": x, "y": random.integers(0, 10, len(x))}
    model = compress.load(path)
    seconds, weights = {}, {}
    for cached in (False, True):
        result = compress.finetune(
            model, data, unfreeze="top:2", epochs=epochs, batch_size=64, feature_cache=cached
        )
        # The first epoch compiles.
        seconds[cached] = statistics.median(result.history.epochs["seconds"][1:])
        weights[cached] = result.model.get_weights()
    pairs = zip(weights[False], weights[True], strict=True)
    apart = max(float(np.abs(a - b).max()) for a, b in pairs)
    print(f"whole network {seconds[False]:.3f} s, cached features {seconds[True]:.3f} s an epoch")
    print(f"{seconds[False] / seconds[True]:.1f} times faster, weights apart by {apart:.1e}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 6)
