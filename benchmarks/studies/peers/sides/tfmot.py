"""TFMOT on legacy Keras: zeros by magnitude while a network trains, as its own guide has it."""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import json
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from edgepress.benchmarks.studies.peers.sides.job import Job, serve

_BATCH = 64


def _legacy(job: Job) -> Any:
    """The network in legacy Keras, from its graph and weights."""
    nodes = json.loads((job.network / "graph.json").read_text())
    with np.load(job.network / "weights.npz") as file:
        weights = dict(file)
    values: dict[str, Any] = {}
    for node in nodes:
        options = {k: v for k, v in node.items() if k not in ("kind", "inputs", "shape")}
        inputs = [values[name] for name in node["inputs"]]
        if node["kind"] == "InputLayer":
            values[node["name"]] = tf_keras.Input(node["shape"], name=node["name"])
            continue
        if node["kind"] == "DepthwiseConv2D":
            options["kernel_size"] = weights[f"{node['name']}/kernel"].shape[:2]
        elif node["kind"] == "Conv2D":
            kernel = weights[f"{node['name']}/kernel"]
            options |= {"filters": kernel.shape[-1], "kernel_size": kernel.shape[:2]}
        elif node["kind"] == "Dense":
            options["units"] = weights[f"{node['name']}/kernel"].shape[-1]
        layer = getattr(tf_keras.layers, node["kind"])(**options)
        values[node["name"]] = layer(inputs if len(inputs) > 1 else inputs[0])
        # Both name a layer's weights in the same order.
        layer.set_weights([v for k, v in weights.items() if k.rpartition("/")[0] == node["name"]])
    return tf_keras.Model(values[nodes[0]["name"]], values[nodes[-1]["name"]])


def _batches(job: Job, epochs: int) -> Any:
    with np.load(job.data) as file:
        count = job.options.get("images") or len(file["y_train"])
        x, y = file["x_train"][:count], file["y_train"][:count]
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), int(job.options["seed"]))

    def changed(image: Any, label: Any) -> tuple[Any, Any]:
        image = tf.pad(tf.image.random_flip_left_right(image), [[4, 4], [4, 4], [0, 0]])
        return tf.cast(tf.image.random_crop(image, (32, 32, 3)), tf.float32), label

    return data.map(changed).batch(_BATCH), -(-len(x) // _BATCH) * epochs


def zeros(job: Job) -> dict[str, Any]:
    """Weights after pruning during all epochs but the last third, learning from labels."""
    epochs, sparsity = int(job.options["epochs"]), job.options["sparsity"]
    tf_keras.utils.set_random_seed(int(job.options["seed"]))
    data, steps = _batches(job, epochs)
    if sparsity == "2:4":
        settings: dict[str, Any] = {"sparsity_m_by_n": (2, 4)}
        schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, 0, frequency=100)
    else:
        settings = {}
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            0.0, float(sparsity), 0, max(1, steps * 2 // 3), frequency=max(1, min(100, steps // 20))
        )
    model = tfmot.sparsity.keras.prune_low_magnitude(_legacy(job), schedule, **settings)
    rate = tf_keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(tf_keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(data, epochs=epochs, verbose=0, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])
    left = tfmot.sparsity.keras.strip_pruning(model)
    names = {"gamma:0", "beta:0", "moving_mean:0", "moving_variance:0", "kernel:0", "bias:0"}
    found = {}
    for layer in left.layers:
        for weight in layer.weights:
            part = weight.name.rpartition("/")[2].replace("depthwise_", "")
            assert part in names, weight.name
            found[f"{layer.name}/{part[:-2]}"] = weight.numpy()
    np.savez(job.out / "weights.npz", **found)
    return {"file": "weights.npz"}


if __name__ == "__main__":
    serve({"zeros": zeros})
