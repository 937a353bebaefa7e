"""Quantisation-aware training: the network learns while it computes as int8 will.

The model is rebuilt with its batch normalisations folded, kernels on their int8 grid and
activations rounded where TFLite stores them, and trained. The exported graph keeps the rounding
of activations, from which the converter takes their ranges; kernels are baked onto the grid that
the converter finds again, so the file computes what the training computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.progress import Progress
from edgepress.deploy.quantize.folding import fold_batch_norms
from edgepress.deploy.quantize.rewriting import readers, rewrite

# Outputs hold values of their input: one scale for both.
_SAME_SCALE = frozenset({
    "Cropping1D", "Cropping2D", "Dropout", "Flatten", "GetItem", "MaxPooling1D", "MaxPooling2D",
    "Permute", "RepeatVector", "Reshape", "SpatialDropout2D", "ZeroPadding1D", "ZeroPadding2D",
})  # fmt: skip
_ROUNDED_AFTER = frozenset({
    "Add", "AveragePooling1D", "AveragePooling2D", "BatchNormalization", "Concatenate",
    "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D",
    "GlobalMaxPooling2D", "InputLayer", "LeakyReLU", "Multiply", "ReLU", "Rescaling", "Subtract",
    "UpSampling2D",
})  # fmt: skip
_FUSED = ("linear", "relu", "relu6")
_FIXED_RANGE = ("softmax", "sigmoid", "tanh")
# From this share of zeros on a kernel counts as pruned, and its zeros stay.
_PRUNED = 0.1


def quantisation_aware(model: Any, samples: Mapping[str, NDArray[Any]]) -> Any:
    """A model that computes in floats what its int8 file will compute.

    Args:
        model: A functional or Sequential Keras model of convolutions, dense layers, poolings,
            additions and what TFLite fuses into them.
        samples: Inputs by name, each (n, …): the first ranges of activations.

    Returns:
        A new model, to be trained. Kernels with at least a tenth of zeros keep their zeros.

    Raises:
        InputError: A layer has no such counterpart; names it.
    """
    from edgepress.deploy.quantize.fake_quant import ActivationRange

    folded = fold_batch_norms(model)
    read_by = readers(folded)
    swaps = {layer.name: _counterpart(layer) for layer in folded.layers if _has_kernel(layer)}
    count = iter(range(10_000))

    def after(operation: Any, tensor: Any) -> Any:
        if not _needs_range(operation, read_by.get(operation.name, [])):
            return tensor
        return ActivationRange(name=f"range_{next(count)}")(tensor)

    aware = rewrite(folded, {k: v for k, v in swaps.items() if v}, after)
    _copy_weights(folded, aware)
    observe(aware, samples)
    return aware


def train_quantised(
    model: Any,
    dataset: Any,
    epochs: int,
    *,
    lr: float = 1e-4,
    batch_size: int = 64,
    samples: int = 256,
    seed: int = 0,
    state_dir: Path | None = None,
    progress: Progress | None = None,
) -> Any:
    """Train a model for int8.

    Args:
        model: The Keras model; stays as it is.
        dataset: Opened for it.
        epochs: Passes over the training split.
        lr: Learning rate (Adam, cosine to zero).
        batch_size: Samples a step.
        samples: Samples of the first ranges.
        seed: Draws order and samples.
        state_dir: Folder of the training's state, or None.
        progress: Is told of every step.

    Returns:
        A new model on the int8 grid, which `export` turns into the int8 file.
    """
    from edgepress.compress.finetune.train import fit
    from edgepress.compress.recipe import TrainSpec

    aware = quantisation_aware(model, dataset.calibration(samples, seed))
    spec = TrainSpec(epochs=epochs, lr=lr, batch_size=batch_size, schedule="cosine")
    fit(aware, dataset, spec, seed=seed, state_dir=state_dir, progress=progress)
    bake(aware)
    return aware


def observe(aware: Any, samples: Mapping[str, NDArray[Any]]) -> None:
    """Set the ranges of activations to what samples reach."""
    ranges = _ranges(aware)
    for layer in ranges:
        layer.observing = True
    ordered = [samples[tensor.name] for tensor in aware.inputs]
    for begin in range(0, len(ordered[0]), 64):
        chunk = [a[begin : begin + 64] for a in ordered]
        aware(chunk[0] if len(chunk) == 1 else chunk, training=False)
    for layer in ranges:
        layer.observing = False


def bake(aware: Any) -> None:
    """Put the kernels of a quantisation-aware model onto their int8 grid."""
    from edgepress.deploy.quantize.fake_quant import QUANTISED, baked

    for layer in aware.layers:
        if type(layer) in QUANTISED.values():
            layer.set_weights(baked(layer))


def is_quantisation_aware(model: Any) -> bool:
    """Whether a model carries the ranges of its activations."""
    return bool(_ranges(model))


def strip_quantisation(aware: Any) -> Any:
    """The plain float model of a quantisation-aware one, its kernels on the int8 grid."""
    import keras

    from edgepress.deploy.quantize.fake_quant import QUANTISED, baked

    plain = {kind: getattr(keras.layers, name) for name, kind in QUANTISED.items()}
    swaps: dict[str, list[Any]] = {layer.name: [] for layer in _ranges(aware)}
    for layer in aware.layers:
        if type(layer) in plain:
            swaps[layer.name] = [plain[type(layer)].from_config(layer.get_config())]
    model = rewrite(aware, swaps)
    for layer in aware.layers:
        if type(layer) in plain:
            model.get_layer(layer.name).set_weights(baked(layer))
    return model


def _ranges(model: Any) -> list[Any]:
    return [layer for layer in model.layers if type(layer).__name__ == "ActivationRange"]


def _has_kernel(layer: Any) -> bool:
    return type(layer).__name__ in ("Conv1D", "Conv2D", "Dense", "DepthwiseConv2D")


def _counterpart(layer: Any) -> list[Any]:
    """The quantised layer; an activation that isn't fused becomes a layer of its own."""
    import keras

    from edgepress.deploy.quantize.fake_quant import QUANTISED, ActivationRange

    config, activation = layer.get_config(), layer.activation.__name__
    kind = QUANTISED[type(layer).__name__]
    if activation in _FUSED:
        return [kind.from_config(config)]
    return [
        kind.from_config({**config, "activation": "linear"}),
        ActivationRange(name=f"{layer.name}_range"),
        keras.layers.Activation(layer.activation, name=f"{layer.name}_{activation}"),
    ]


def _needs_range(operation: Any, read_by: list[Any]) -> bool:
    """Whether TFLite stores an operation's output with a scale of its own.

    Raises:
        InputError: The operation is none that is trained for int8.
    """
    kind = type(operation).__name__
    activation = getattr(getattr(operation, "activation", None), "__name__", "linear")
    if kind in _SAME_SCALE:
        return False
    if not (_has_kernel(operation) or kind in _ROUNDED_AFTER or kind == "Activation"):
        raise InputError(
            f"layer '{operation.name}' ({kind}) can't be trained for int8",
            "leave --qat-epochs out: int8 after training knows more layers",
        )
    if activation in _FIXED_RANGE:
        return False
    fused_next = read_by and all(_is_relu(reader) for reader in read_by)
    return not (fused_next and activation == "linear" and kind not in ("InputLayer", "Activation"))


def _is_relu(operation: Any) -> bool:
    kind = type(operation).__name__
    if kind == "Activation":
        return operation.activation.__name__ in ("relu", "relu6")
    return kind == "ReLU" and not operation.negative_slope and not operation.threshold


def _copy_weights(folded: Any, aware: Any) -> None:
    for layer in folded.layers:
        if not _has_kernel(layer):
            continue
        values = layer.get_weights()
        twin = aware.get_layer(layer.name)
        twin.set_weights(values)
        if float(np.mean(values[0] == 0)) >= _PRUNED:
            twin.mask = (values[0] != 0).astype(values[0].dtype)
