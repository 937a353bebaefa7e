"""An export with its checks beside the bare converters: processor time and memory.

    python benchmarks/studies/commands/exporting.py [--size 224] [--rounds N]

MobileNetV2 for ten classes, with drawn weights and statistics of random images, float32 and int8,
TFLite and ONNX, ranges from such images too. The bare side is what the converters' own guides say:
`TFLiteConverter.from_keras_model` twice, tf2onnx, and ONNX Runtime's preparation and static
quantiser; nothing is compared with the model. Each side is a process, they take turns; a third one
only loads the model and TensorFlow, which both others do as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.benchmarks.studies.commands.processes import (
    Spent,
    alternate,
    compared,
    spent_by,
    surroundings,
)

if TYPE_CHECKING:
    import keras

IMAGES = 64


def bare(model_path: str, data: str, out: Path) -> None:
    """The child: all four files by the converters alone."""
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx
    from onnxruntime import quantization

    model = keras.models.load_model(model_path, compile=False)
    with np.load(data) as file:
        images = [x[None] for x in file["x_train"]]
    lite = tf.lite.TFLiteConverter.from_keras_model(model)
    (out / "float32.tflite").write_bytes(lite.convert())
    lite = tf.lite.TFLiteConverter.from_keras_model(model)
    lite.optimizations = [tf.lite.Optimize.DEFAULT]
    lite.representative_dataset = lambda: ([x] for x in images)
    lite.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (out / "int8.tflite").write_bytes(lite.convert())
    size = tuple(model.inputs[0].shape[1:])
    function = tf.function(model, input_signature=[tf.TensorSpec((None, *size), tf.float32, "x")])
    found, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=18)
    onnx.save(found, out / "float32.onnx")

    class Images(quantization.CalibrationDataReader):
        left = iter(images)

        def get_next(self) -> Any:
            x = next(self.left, None)
            return None if x is None else {"x": x}

    quantization.quant_pre_process(str(out / "float32.onnx"), str(out / "ready.onnx"))
    quantization.quantize_static(
        str(out / "ready.onnx"), str(out / "int8.onnx"), Images(), per_channel=True
    )


def load(model_path: str) -> None:
    """The child that has nothing to do but what every other does first."""
    import keras

    keras.models.load_model(model_path, compile=False)


def network(x: Any) -> keras.Model:
    """One whose signals neither fade nor grow and whose outputs differ; int8 holds no other."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(x.shape[1:], weights=None, classes=10)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)
    last = model.layers[-1]
    last.kernel.assign(last.kernel * 4)
    return model


def compare(size: int, rounds: int) -> None:
    """Alternate all sides and print the comparison."""
    x = np.random.default_rng(0).uniform(-1, 1, (IMAGES + 16, size, size, 3)).astype(np.float32)
    model = network(x[:16])
    with TemporaryDirectory() as name:
        folder = Path(name)
        model.save(folder / "model.keras")
        split = {"train": slice(IMAGES), "val": slice(IMAGES, None)}
        labels = np.arange(len(x)) % 10
        arrays: dict[str, Any] = {f"x_{name}": x[part] for name, part in split.items()}
        arrays |= {f"y_{name}": labels[part] for name, part in split.items()}
        np.savez(folder / "data.npz", **arrays)
        path, data = str(folder / "model.keras"), str(folder / "data.npz")
        bare_folder = str(folder / "bare")
        Path(bare_folder).mkdir()
        itself = [sys.executable, str(Path(__file__).resolve())]
        program = str(Path(sys.executable).with_name("edgepress"))
        own = [program, "export", path, "--data", data, "--force", "-o", str(folder / "own")]
        ways: dict[str, Callable[[], Spent]] = {
            "bare converters": lambda: spent_by([*itself, "--bare", path, data, bare_folder]),
            "edgepress export": lambda: spent_by(own),
            "loading alone": lambda: spent_by([*itself, "--load", path]),
        }
        found = alternate(ways, rounds)
    print(f"{surroundings(rounds)}, {size} x {size}")
    print(compared(found, "bare converters"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bare", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        bare(given.bare[0], given.bare[1], Path(given.bare[2]))
    elif given.load:
        load(given.load)
    else:
        compare(given.size, given.rounds)


if __name__ == "__main__":
    main()
