"""Networks trained for int8 against their int8 TFLite files: how far apart their outputs are.

    python benchmarks/studies/quantization/qat_agreement.py SHARED_DATA [--only ic|kws|ad|vww]

SHARED_DATA holds `mlperf_tiny` and `cifar10`. Each of MLPerf Tiny's four networks is trained for
int8 for one epoch, exported, and compared with its file on 1,000 samples, in levels of what the
file stores. Where the network ends in a softmax, what that reads is compared beside the
probabilities. For visual wake words enlarged CIFAR-10 images stand in for photographs; the one
recording of the anomaly detector gives 196 windows, and the others are those with noise on them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgepress import compress, deploy
from edgepress.benchmarks.studies.quantization.mlperf_tiny_int8 import (
    enlarged,
    images,
    predicted,
    spectra,
)
from edgepress.compress.data import open_data
from edgepress.deploy.quantize.qat import train_quantised

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]
SAMPLES, TRAINED_ON = 1000, 512
NETWORKS = {
    "ic": "ic/resnet8.h5",
    "kws": "kws/kws_keras3.keras",
    "ad": "ad/ad01.h5",
    "vww": "vww/vww_96_keras3.keras",
}


def samples(folder: Path, name: str) -> tuple[Array, Array]:
    """Samples to train on, and 1,000 to compare on."""
    if name == "kws":
        with np.load(folder / "mlperf_tiny/kws/kws01_samples.npz") as file:
            x = (file["x"].astype(np.float32) - file["zero_point"]) * file["scale"]
        return x[:TRAINED_ON], x
    if name == "ad":
        windows = spectra(folder)
        rng = np.random.default_rng(0)
        picked = windows[rng.integers(0, len(windows), SAMPLES - len(windows))]
        noisy = picked + rng.normal(0, 1, picked.shape).astype(np.float32)
        return windows, np.concatenate([windows, noisy])
    train, test = (images(folder, part)[0][:SAMPLES] for part in ("train_0", "test"))
    if name == "vww":
        train, test = enlarged(train) / 255, enlarged(test) / 255
    return train[:TRAINED_ON], test


def on_levels(x: Array, scale: float, zero: int) -> Array:
    """Inputs on the levels of the file's input: between two, a rounding decides that is no
    kernel's."""
    levels = np.clip(np.rint(x.astype(np.float64) / scale), -128 - zero, 127 - zero)
    return (levels * scale).astype(np.float32)


def without_softmax(model: keras.Model) -> keras.Model:
    """The network up to what its softmax reads; None where it ends in none."""
    import keras

    last = model.layers[-1]
    if getattr(getattr(last, "activation", None), "__name__", "") != "softmax":
        return None
    config = {**last.get_config(), "activation": "linear", "name": "logits"}
    linear = type(last).from_config(config)
    bare = keras.Model(model.inputs, linear(last.input))
    linear.set_weights(last.get_weights())
    return bare


def compared(what: str, model: keras.Model, train: Array, x: Array) -> None:
    """Train, export and print how far apart the two are."""
    targets = np.asarray(model.predict(train, verbose=0))
    data = {"train": (train, targets), "val": (x[:64], np.asarray(model(x[:64])))}
    trained = train_quantised(model, open_data(data, model), 1)
    with tempfile.TemporaryDirectory() as folder:
        result = deploy.export(
            trained, Path(folder) / "out", ["tflite"], ["int8"], data, "int8", verify_samples=64
        )
        if not result.artifacts:
            print(f"{what:24} withheld: {(result.failed or result.skipped)[0].reason}", flush=True)
            return
        taken, given = result[0].inputs[0], result[0].outputs[0]
        scale, x = given.scale, on_levels(x, taken.scale, taken.zero_point)
        got = predicted(Path(result[0].path), x)
    want = np.asarray(trained.predict(x, batch_size=100, verbose=0))
    off = np.abs(got - want) / scale
    same = float(np.mean(got.argmax(-1) == want.argmax(-1)))
    print(
        f"{what:24} {len(x)} samples: at most {off.max():.2f} levels apart,"
        f" {np.mean(off < 0.01):.2%} of the values the same, {np.mean(off < 1.01):.3%} within one"
        f" level, same largest output {same:.2%}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=NETWORKS)
    options = parser.parse_args()
    for name, file in NETWORKS.items():
        if options.only not in (None, name):
            continue
        model = compress.load(options.data / "mlperf_tiny" / file)
        train, x = samples(options.data, name)
        bare = without_softmax(model)
        if bare is not None:
            compared(f"{name}, before softmax", bare, train, x)
        compared(f"{name}, outputs", model, train, x)


if __name__ == "__main__":
    main()
