"""The LiteRT converter: TFLite files of a Keras model, its options as its own guide has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from edgepress.benchmarks.studies.peers.sides.job import Job, serve, singles


def quantize(job: Job) -> dict[str, Any]:
    """One file: "int8" with ranges, or "dynamic"."""
    folder = job.network if "model" not in job.options else Path(job.options["model"])
    model = keras.models.load_model(next(folder.glob("model.*")), compile=False)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if job.options["precision"] == "int8":
        converter.representative_dataset = lambda: ([x] for x in singles(job.data))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    (job.out / "model.tflite").write_bytes(converter.convert())
    return {"file": "model.tflite"}


if __name__ == "__main__":
    serve({"quantize": quantize})
