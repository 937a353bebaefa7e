"""Do zeros make a TFLite file faster here? Kinds of layers x patterns x sparsity, one table.

    python benchmarks/studies/pruning/sparse_speed.py [--kinds NAME,…] [--rounds 40] [--threads 1]

Each network is converted dense, and with zeros both dense and in TFLite's sparse encoding
(`Optimize.EXPERIMENTAL_SPARSITY`), and run by LiteRT with XNNPACK. All files of a network take
turns in random order, so that whatever else the machine does meets all of them alike. Prints the
median ratio to the dense network, with its quartiles, and the ratio of the fastest calls, which a
busy machine disturbs least, in Markdown. Zeros as dense arrays are measured at each pattern's
highest sparsity only.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np

layers = keras.layers
PATTERNS: dict[str, dict[str, Any]] = {
    "weights": {"structure": "weights"},
    "blocks 4x1": {"structure": "blocks", "block": "4x1"},
    "blocks 1x4": {"structure": "blocks", "block": "1x4"},
    "nm": {"structure": "nm"},
}
SPARSITIES = (0.5, 0.75, 0.9)
# Blocks of four inputs are what LiteRT's own kernel for dense layers reads: where does it begin to
# pay?
FINER = {"blocks 4x1": (0.5, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)}
CALLS = 10


def dense(width: int) -> keras.Model:
    return keras.Sequential(
        [keras.Input((width,), batch_size=1)]
        + [layers.Dense(width, activation="relu") for _ in range(3)]
    )


def convolutions() -> keras.Model:
    return keras.Sequential(
        [keras.Input((16, 16, 64), batch_size=1)]
        + [layers.Conv2D(64, 3, padding="same", activation="relu") for _ in range(4)]
    )


def pointwise() -> keras.Model:
    return keras.Sequential(
        [keras.Input((16, 16, 128), batch_size=1)]
        + [layers.Conv2D(128, 1, activation="relu") for _ in range(6)]
    )


def from_image_to_pooling() -> keras.Model:
    """What XNNPACK's sparse kernels ask for.

    A 3x3 convolution of stride 2 on 3 channels, 1x1 and depthwise layers, global pooling; padding
    is a layer of its own where the stride is 2, for "same" isn't symmetric there.
    """
    stack: list[Any] = [
        keras.Input((96, 96, 3), batch_size=1),
        layers.ZeroPadding2D(1),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
    ]
    for width, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)):
        stack += [layers.ZeroPadding2D(1)] if stride == 2 else []
        padding = "valid" if stride == 2 else "same"
        stack.append(layers.DepthwiseConv2D(3, stride, padding=padding, activation="relu"))
        stack.append(layers.Conv2D(width, 1, activation="relu"))
    return keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(10)])


def recurrent() -> keras.Model:
    return keras.Sequential([keras.Input((16, 128), batch_size=1), layers.LSTM(128)])


KINDS: dict[str, Callable[[], keras.Model]] = {
    "dense 256": lambda: dense(256),
    "dense 1024": lambda: dense(1024),
    "3x3 convolutions, 64 channels": convolutions,
    "1x1 convolutions, 128 channels": pointwise,
    "depthwise and 1x1, from an image to global pooling": from_image_to_pooling,
    "LSTM 128": recurrent,
}


def converted(model: keras.Model, sparse: bool) -> bytes:
    """A float TFLite file, its zeros left out if `sparse`."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if sparse:
        converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    with redirect_stdout(StringIO()):
        return bytes(converter.convert())


def runner(content: bytes, threads: int) -> Callable[[], None]:
    """Loads a file; gives what runs it once."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    for given in interpreter.get_input_details():
        random = np.random.default_rng(0).random(given["shape"], np.float32)
        interpreter.set_tensor(given["index"], random)
    interpreter.invoke()
    return interpreter.invoke


def files_of(build: Callable[[], keras.Model]) -> dict[str, bytes]:
    """The files of one network by name."""
    from edgepress.compress import prune

    keras.utils.set_random_seed(0)
    model = build()
    files = {"dense": converted(model, False), "dense, again": converted(model, False)}
    for pattern, options in PATTERNS.items():
        asked: tuple[float, ...] = SPARSITIES[:2] if pattern == "nm" else SPARSITIES
        if isinstance(model.layers[0], layers.Dense):
            asked = FINER.get(pattern, asked)
        for sparsity in asked:
            pruned = prune(model, sparsity=sparsity, allocation="uniform", **options).model
            name = f"{pattern}, {100 * sparsity:g} %"
            if sparsity == asked[-1]:
                files[name] = converted(pruned, False)
            files[f"{name}, encoded"] = converted(pruned, True)
    return files


def measure(files: dict[str, bytes], rounds: int, threads: int) -> dict[str, list[float] | str]:
    """Seconds of a call by file, one for each round; what the runtime says where it refuses."""
    runs: dict[str, Callable[[], None]] = {}
    result: dict[str, list[float] | str] = {}
    for name, content in files.items():
        try:
            runs[name] = runner(content, threads)
        except (RuntimeError, ValueError) as error:
            result[name] = str(error).splitlines()[-1][:60]
    taken: dict[str, list[float]] = {name: [] for name in runs}
    random = np.random.default_rng(0)
    for _ in range(rounds):
        for name in random.permutation(list(runs)):
            begin = time.perf_counter()
            for _ in range(CALLS):
                runs[name]()
            taken[name].append((time.perf_counter() - begin) / CALLS)
    return {**taken, **result}


def row(kind: str, name: str, found: dict[str, list[float] | str], size: int) -> str:
    """One line of the table."""
    times, base = found[name], found["dense"]
    if isinstance(times, str) or isinstance(base, str):
        return f"| {kind} | {name} | {size:,} | refused: {times} | | | |"
    low, middle, high = statistics.quantiles([t / b for t, b in zip(times, base, strict=True)], n=4)
    verdict = "faster" if high < 0.95 else "slower" if low > 1.05 else "same"
    ms = 1e3 * statistics.median(times)
    return (
        f"| {kind} | {name} | {size:,} | {ms:.3f} | {middle:.2f} ({low:.2f} to {high:.2f})"
        f" | {min(times) / min(base):.2f} | {verdict} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", help="parts of names, with commas between")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print(
        f"LiteRT {version('ai-edge-litert')}, {options.threads} thread(s), {platform.machine()},"
        f" {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}\n"
    )
    print("| layers | file | bytes | ms | ratio to dense (quartiles) | of the fastest | |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    wanted = options.kinds.split(",") if options.kinds else [""]
    for kind, build in KINDS.items():
        if not any(part in kind for part in wanted):
            continue
        files = files_of(build)
        found = measure(files, options.rounds, options.threads)
        for name in files:
            print(row(kind, name, found, len(files[name])), flush=True)


if __name__ == "__main__":
    main()
