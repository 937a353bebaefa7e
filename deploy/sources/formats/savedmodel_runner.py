"""The runner for SavedModels: `benchmarks.runtimes.runner` with TensorFlow as its runtime.

It describes and predicts. It doesn't time: what a SavedModel becomes on a device is a TFLite file.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from edgepress.benchmarks.runtimes import runner

if TYPE_CHECKING:
    import tensorflow as tf


class TensorFlow:
    """A SavedModel's signature in TensorFlow."""

    def __init__(self, request: dict[str, Any]) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        begin = time.perf_counter_ns()
        import tensorflow as tf

        self.import_ns = time.perf_counter_ns() - begin
        self.version = tf.__version__
        tf.config.threading.set_intra_op_parallelism_threads(request.get("threads", 1))
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.baseline: dict[str, int] = {}
        begin = time.perf_counter_ns()
        self.loaded = tf.saved_model.load(request["path"])
        self.function = self.loaded.signatures[request["signature"]]
        self.load_ns = time.perf_counter_ns() - begin
        given = self.function.structured_input_signature[1]
        self.inputs = [self._spec(name, given[name]) for name in sorted(given)]
        got = self.function.structured_outputs
        self.outputs = [self._spec(name, got[name]) for name in sorted(got)]
        self.feed: dict[str, Any] = {}
        self.last: dict[str, Any] = {}

    @staticmethod
    def _spec(name: str, tensor: tf.TensorSpec) -> dict[str, Any]:
        return {
            "name": name,
            "tensor": name,
            "shape": list(tensor.shape),
            "dtype": tensor.dtype.name,
            "scale": None,
            "zero_point": None,
        }

    def providers(self) -> list[str]:
        """None: those are ONNX Runtime's."""
        return []

    def operators(self) -> list[str]:
        """Unknown here: `inspect` tells."""
        return []

    def prepare(self, arrays: list[Any]) -> None:
        """Give the inputs."""
        import tensorflow as tf

        pairs = zip(self.inputs, arrays, strict=True)
        self.feed = {spec["name"]: tf.constant(array) for spec, array in pairs}

    def forget(self) -> None:
        """Nothing to do: a signature keeps no state."""

    def invoke(self) -> None:
        """One inference."""
        self.last = self.function(**self.feed)

    def results(self) -> list[Any]:
        """The outputs of the last inference."""
        return [self.last[spec["name"]].numpy() for spec in self.outputs]


if __name__ == "__main__":
    runner.RUNTIMES["tensorflow"] = TensorFlow
    runner.main()
