"""int8 ONNX files with signed and with unsigned activations: time in ONNX Runtime, and accuracy.

    python benchmarks/studies/quantization/onnx_activation_types.py FLOAT.onnx cifar10.npz

FLOAT.onnx takes images as they are; the first 256 training images give the ranges. Both files have
signed weights of 7 bits per output channel. Prints medians of processor time of single images, all
files in turns on one thread, the least of each, and the accuracy on 2,000 test images.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import quantization

ROUNDS, RANGES, JUDGED = 400, 256, 2_000


class Images(quantization.CalibrationDataReader):
    """Single images for ranges."""

    def __init__(self, name: str, x: Any) -> None:
        self._left = ({name: image[None]} for image in x)

    def get_next(self) -> Any:
        """The next one, or None."""
        return next(self._left, None)


def files(source: str, x: Any, folder: Path) -> dict[str, str]:
    """The float file and those in both types."""
    ready = str(folder / "ready.onnx")
    quantization.quant_pre_process(source, ready)
    (given,) = onnxruntime.InferenceSession(ready).get_inputs()
    found = {"float32": source}
    for kind in (quantization.QuantType.QInt8, quantization.QuantType.QUInt8):
        found[f"{kind}"] = path = str(folder / f"{kind}.onnx")
        quantization.quantize_static(
            ready, path, Images(given.name, x), per_channel=True, reduce_range=True,
            activation_type=kind, weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    given = parser.parse_args()
    with np.load(given.data) as data:
        ranges = data["x_train"][:RANGES].astype(np.float32)
        x, y = data["x_test"][:JUDGED].astype(np.float32), data["y_test"][:JUDGED].ravel()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with TemporaryDirectory() as folder:
        paths = files(given.model, ranges, Path(folder))
        sessions = {
            name: onnxruntime.InferenceSession(path, options) for name, path in paths.items()
        }
    compare(sessions, x, y, ROUNDS)


def compare(sessions: dict[str, onnxruntime.InferenceSession], x: Any, y: Any, rounds: int) -> None:
    """Print the time of each session for single images, all in turns, and its accuracy."""
    (name,) = (i.name for i in next(iter(sessions.values())).get_inputs())
    spent: dict[str, list[int]] = {kind: [] for kind in sessions}
    for number in range(rounds):
        for kind, session in sessions.items():
            began = time.process_time_ns()
            session.run(None, {name: x[number : number + 1]})
            spent[kind].append(time.process_time_ns() - began)
    print(
        f"onnxruntime {version('onnxruntime')}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}, {rounds} rounds"
    )
    for kind, session in sessions.items():
        right = np.mean(session.run(None, {name: x})[0].argmax(-1) == y)
        times = f"{statistics.median(spent[kind]) / 1e6:.3f} ms, least {min(spent[kind]) / 1e6:.3f}"
        print(f"{kind:8} {times} ms, accuracy {right:.4f}")


if __name__ == "__main__":
    main()
