"""`edgepress export` of MobileNetV2 at 224 x 224, beside the bare converters.

    python benchmarks/studies/commands/exporting.py [--rounds N] [--images N] [--older WORKTREE]

The network has random weights, statistics of its own and an output layer fitted to ten colours.
Both sides load it, and write TFLite and ONNX in float32 and int8, with ranges from the same images;
edgepress also runs each file on as many others, beside the network. A side is a process with its
children, the loading of the frameworks included: the bare converters need it once. They take turns;
processor seconds of all threads count.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgepress.benchmarks.studies.commands.processes import (
    Spent,
    alternate,
    compared,
    spent_by,
    surroundings,
)

_SIZE, _CLASSES = 224, 10


def write_network(folder: Path, images: int) -> None:
    """The network, and images that it is calibrated with and verified on."""
    import keras

    keras.utils.set_random_seed(0)
    draw, labels = np.random.default_rng(0), np.arange(2 * images) % _CLASSES
    side = _SIZE // 8
    kinds = draw.uniform(-1, 1, (_CLASSES, 1, 1, 3))
    drawn = 0.7 * kinds[labels] + draw.uniform(-0.3, 0.3, (2 * images, side, side, 3))
    pixels = drawn.repeat(8, 1).repeat(8, 2).astype(np.float32)
    model = keras.applications.MobileNetV2(weights=None, classes=_CLASSES)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            # Most signals in the middle of ReLU6, so that they get through fifty random layers.
            if not layer.name.endswith("project_BN"):
                layer.beta.assign(np.full(layer.beta.shape, 3, np.float32))
    model(pixels[:16], training=True)
    head = model.layers[-1]
    seen = keras.Model(model.inputs, head.input).predict(pixels[:images], 10, verbose=0)
    told = 8 * np.eye(_CLASSES, dtype=np.float32)[labels[:images]]
    kernel, *_ = np.linalg.lstsq(seen, told, rcond=1e-2)
    head.set_weights([kernel, np.zeros(_CLASSES, np.float32)])
    model.save(folder / "network.keras")
    np.savez(
        folder / "images.npz",
        x_train=pixels[:images], y_train=labels[:images],
        x_test=pixels[images:], y_test=labels[images:],
    )  # fmt: skip


def convert(folder: Path, out: Path) -> None:
    """The bare converters' four files."""
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx
    from onnxruntime import quantization

    pixels = np.load(folder / "images.npz")["x_train"]
    model = keras.models.load_model(folder / "network.keras", compile=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (out / "float32.tflite").write_bytes(converter.convert())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in pixels)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (out / "int8.tflite").write_bytes(converter.convert())
    signature = [tf.TensorSpec((None, _SIZE, _SIZE, 3), tf.float32, name="image")]
    plain = out / "float32.onnx"
    tf2onnx.convert.from_function(
        tf.function(model), input_signature=signature, opset=17, output_path=str(plain)
    )

    class Images(quantization.CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self._left = ({name: x[None]} for x in pixels)

        def get_next(self) -> Any:
            return next(self._left, None)

    ready = out / "ready.onnx"
    quantization.quant_pre_process(str(plain), str(ready))
    name = onnx.load(ready).graph.input[0].name
    quantization.quantize_static(
        str(ready), str(out / "int8.onnx"), Images(name), per_channel=True,
        activation_type=quantization.QuantType.QInt8, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip


def bare(folder: Path) -> Spent:
    """One run of the bare converters."""
    with TemporaryDirectory() as out:
        return spent_by([sys.executable, __file__, "--convert", folder, out])


def edgepress(python: Path, folder: Path, images: int) -> Spent:
    """One run of the command."""
    with TemporaryDirectory() as out:
        return spent_by([
            python.with_name("edgepress"), "export", folder / "network.keras",
            "--data", folder / "images.npz", "--format", "tflite,onnx",
            "--quantize", "float32,int8", "--calibration-samples", str(images),
            "--verify-samples", str(images), "-o", Path(out) / "files",
        ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--older", type=Path)
    parser.add_argument("--convert", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.convert:
        convert(*given.convert)
        return
    with TemporaryDirectory() as made:
        folder = Path(made)
        write_network(folder, given.images)
        pythons = {"now": Path(sys.executable)}
        if given.older:
            pythons["before"] = given.older / ".venv/bin/python"
        ways = {"bare converters": partial(bare, folder)}
        for name, python in pythons.items():
            ways[name] = partial(edgepress, python, folder, given.images)
        found = alternate(ways, given.rounds)
    print(surroundings(given.rounds))
    print(compared(found, "bare converters"))


if __name__ == "__main__":
    main()
