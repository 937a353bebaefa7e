"""Time of a training step: plain, with our masks, and with TFMOT's wrapper.

    python benchmarks/studies/training/masked_step.py [--model resnet8.h5] [--rounds 60] [--steps 5]

All variants take turns in random order, `--steps` steps each, for `--rounds` rounds, so that
whatever else the machine does meets all of them alike. The legacy variants (tf_keras plain,
tf_keras with `prune_low_magnitude`) run in a child process of their own, which waits while the
others work. The model is ResNet-8 of MLPerf Tiny: `--model`, or `mlperf_tiny/ic/resnet8.h5` below
`$EDGEPRESS_SHARED_DATA`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

BATCH = 64
SPARSITY = 0.75
RAMP = 100_000
FREQUENCY = 100
Step = Callable[[], Any]
Taken = dict[str, list[tuple[float, float]]]


def batch() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH, 32, 32, 3)).astype(np.float32)
    return images, np.eye(10, dtype=np.float32)[random.integers(0, 10, BATCH)]


def compiled_step(
    model: keras.Model, optimizer: keras.Optimizer, apply: Callable[[Any, Any], None], loss: Any
) -> Step:
    import tensorflow as tf

    images, labels = (tf.constant(a) for a in batch())
    variables = model.trainable_variables

    @tf.function(autograph=False)
    def step() -> Any:
        with tf.GradientTape() as tape:
            value = loss(labels, model(images, training=True))
        apply(optimizer, zip(tape.gradient(value, variables), variables, strict=True))
        return value

    return lambda: float(step())


@contextmanager
def our_variants(path: Path) -> Iterator[dict[str, Step]]:
    """Keras 3: the step of `finetune`, alone and with the callbacks of `weights`."""
    from contextlib import ExitStack

    from edgepress.compress import load
    from edgepress.compress.models.rebuilding.copying import copy_model
    from edgepress.compress.specs.pruning import WeightsSpec
    from edgepress.compress.training.numerics.fused_norm import fused_batch_norm
    from edgepress.compress.weights.allocation.planning import plan_masks
    from edgepress.compress.weights.masked_training import GradualMasks, HoldMasks
    from edgepress.compress.weights.schedules import Ramp, turns

    source = load(path)
    models = {name: copy_model(source) for name in ("plain", "held masks", "rising masks")}
    spec = WeightsSpec(sparsity=SPARSITY)
    plan = plan_masks(models["held masks"], spec)
    held = HoldMasks(plan.kernels, plan.masks(SPARSITY))
    ramp = turns("polynomial", Ramp(SPARSITY, end=RAMP, frequency=FREQUENCY), RAMP)
    rising = GradualMasks(plan_masks(models["rising masks"], spec), ramp)
    with ExitStack() as stack:
        for model in models.values():
            stack.enter_context(fused_batch_norm(model))
        yield {
            "keras 3, plain": _our_step(models["plain"]),
            "keras 3, held masks": _with(held, _our_step(models["held masks"])),
            "keras 3, rising masks": _with(rising, _our_step(models["rising masks"])),
        }


def _our_step(model: keras.Model) -> Step:
    import keras

    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.CategoricalCrossentropy()
    return compiled_step(model, optimizer, lambda o, pairs: o.apply_gradients(pairs), loss)


def _with(callback: keras.callbacks.Callback, step: Step) -> Step:
    def run() -> None:
        callback.on_train_batch_begin(0)
        step()
        callback.on_train_batch_end(0)

    return run


def legacy_variants(path: Path) -> dict[str, Step]:
    """tf_keras: the same step, plain and on a model wrapped by TFMOT."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    def step(model: keras.Model) -> Step:
        optimizer = tf_keras.optimizers.Adam(1e-4)
        loss = tf_keras.losses.CategoricalCrossentropy()
        return compiled_step(model, optimizer, lambda o, pairs: o.apply_gradients(pairs), loss)

    prune = tfmot.sparsity.keras
    schedule = prune.PolynomialDecay(0.0, SPARSITY, 0, RAMP, frequency=FREQUENCY)
    wrapped = prune.prune_low_magnitude(tf_keras.models.load_model(path, compile=False), schedule)
    updates = prune.UpdatePruningStep()
    updates.set_model(wrapped)
    updates.on_train_begin()
    plain = tf_keras.models.load_model(path, compile=False)
    return {"tf_keras, plain": step(plain), "tf_keras, TFMOT wrapper": step(wrapped)}


def seconds(step: Step, steps: int) -> tuple[float, float]:
    """Seconds of one step on the wall and on the processors, mean over some."""
    begin, busy = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps, (time.process_time() - busy) / steps


def serve(path: Path) -> None:
    """The child: runs a variant's steps when its name is asked for on standard input."""
    variants = legacy_variants(path)
    print("\n".join(variants), flush=True)
    print("ready", flush=True)
    for line in sys.stdin:
        name, steps = line.rsplit(maxsplit=1)
        print(*seconds(variants[name], int(steps)), flush=True)


class Child:
    """The legacy process, asked by name."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, __file__, "--model", str(path), "--serve"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.names = list(iter(self._line, "ready"))

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the legacy process ended")
        return line.strip()

    def seconds(self, name: str, steps: int) -> tuple[float, float]:
        """Let the child run a variant; the same figures as `seconds`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {steps}\n")
        self._process.stdin.flush()
        wall, busy = map(float, self._line().split())
        return wall, busy

    def close(self) -> None:
        """End the child."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(path: Path, rounds: int, steps: int) -> Taken:
    """Seconds a step by variant, one pair for each round."""
    child = Child(path)
    with our_variants(path) as ours:

        def once(name: str, count: int) -> tuple[float, float]:
            if name in ours:
                return seconds(ours[name], count)
            return child.seconds(name, count)

        names = [*ours, *child.names]
        for name in names:
            once(name, 5)
        taken: Taken = {name: [] for name in names}
        random = np.random.default_rng(0)
        for _ in range(rounds):
            for name in random.permutation(names):
                taken[name].append(once(name, steps))
    child.close()
    return taken


def ratio(taken: Taken, name: str, base: str, clock: int) -> str:
    """Ratio of the medians, with the quartiles of the ratios within a round."""
    a, b = ([pair[clock] for pair in taken[n]] for n in (name, base))
    low, _, high = statistics.quantiles([x / y for x, y in zip(a, b, strict=True)], n=4)
    return f"{statistics.median(a) / statistics.median(b):.3f} ({low:.2f} to {high:.2f})"


def report(taken: Taken, rounds: int, steps: int) -> None:
    packages = ("tensorflow", "keras", "tf_keras", "tensorflow-model-optimization", "numpy")
    print(f"ResNet-8, batch {BATCH}, Adam; {rounds} rounds of {steps} steps, interleaved")
    print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    print(
        f"python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in packages)
    )
    print(f"\n{'milliseconds a step':<28}{'wall':>9}{'fastest':>9}{'processor':>11}")
    for name, pairs in taken.items():
        wall, busy = zip(*pairs, strict=True)
        figures = statistics.median(wall), min(wall), statistics.median(busy)
        print(f"{name:<28}{1e3 * figures[0]:9.2f}{1e3 * figures[1]:9.2f}{1e3 * figures[2]:11.2f}")
    print("\nratio of medians (quartiles within a round)")
    for name, base in (
        ("keras 3, held masks", "keras 3, plain"),
        ("keras 3, rising masks", "keras 3, plain"),
        ("tf_keras, TFMOT wrapper", "tf_keras, plain"),
        ("keras 3, rising masks", "tf_keras, TFMOT wrapper"),
    ):
        passed, used = (ratio(taken, name, base, clock) for clock in (0, 1))
        print(f"{name} / {base}: wall {passed}, processor {used}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = options.model
    if path is None:
        if "EDGEPRESS_SHARED_DATA" not in os.environ:
            parser.error("give --model, or set EDGEPRESS_SHARED_DATA")
        path = Path(os.environ["EDGEPRESS_SHARED_DATA"]) / "mlperf_tiny/ic/resnet8.h5"
    if not path.exists():
        parser.error(f"'{path}' does not exist")
    if options.serve:
        serve(path)
    else:
        report(measure(path, options.rounds, options.steps), options.rounds, options.steps)


if __name__ == "__main__":
    main()
