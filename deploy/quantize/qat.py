"""Quantisation-aware training: the network learns while it computes as int8 will.

The model is rebuilt with its batch normalisations folded, kernels on their int8 grid and
activations rounded where TFLite stores them, and trained. The exported graph keeps the rounding
of activations, from which the converter takes their ranges; kernels are baked onto the grid that
the converter finds again, so the file computes what the training computed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.tflite.per_tensor_scales import are_few
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.progress import Progress
from edgepress.compress.models.rebuilding.replacing import readers, rewrite
from edgepress.deploy.quantize.folding import folded
from edgepress.deploy.quantize.kept_floats import SAME_SCALE, copy_floats, float_end, kept_layers
from edgepress.deploy.quantize.merging import merge_branches

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data import Dataset

# Outputs lie between values of their input, on the same levels.
_POOLED = frozenset({"AveragePooling1D", "AveragePooling2D", "UpSampling2D"})
_ROUNDED_AFTER = frozenset({
    "Add", "BatchNormalization", "Concatenate", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "InputLayer", "LeakyReLU", "Multiply", "ReLU", "Rescaling",
    "Subtract",
})  # fmt: skip
_WITH_KERNELS = frozenset({"Conv1D", "Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D"})
_FUSED = ("linear", "relu", "relu6")
# What TFLite fuses no activation into.
_ALONE = frozenset({"Conv2DTranspose"})
# Ranges that the 8-bit specification gives to outputs of these functions.
_FIXED_RANGE = {
    "softmax": (0.0, 255 / 256),
    "sigmoid": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
# From this share of zeros on a kernel counts as pruned, and its zeros stay.
_PRUNED = 0.1


def quantisation_aware(
    model: keras.Model,
    samples: Mapping[str, NDArray[Any]],
    float_outputs: Collection[str] = (),
    in_floats: Collection[str] = (),
) -> keras.Model:
    """A model that computes in floats what its int8 file will compute.

    Args:
        model: A functional or Sequential Keras model of convolutions, dense layers, poolings,
            additions and what TFLite fuses into them.
        samples: Inputs by name, each (n, …): the first ranges of activations.
        float_outputs: Outputs, by the operations that make them, whose `float_end` isn't rounded.
        in_floats: Names of layers that stay in floats, of whatever kind.

    Returns:
        A new model, to be trained. Kernels with at least a tenth of zeros keep their zeros, and
        kernels of few values (clustered ones) keep entries equal that are equal: after folding,
        within each output channel.

    Raises:
        InputError: A layer has no such counterpart; names it.
    """
    from edgepress.deploy.quantize.ranges import ActivationRange, FloatsFrom

    for tensor in model.inputs:
        if not tensor.dtype.startswith("float"):
            raise InputError(
                f"input '{tensor.name}' holds {tensor.dtype} numbers: the model can't be trained"
                " for int8",
                "leave --qat-epochs out: int8 after training takes indices",
            )
    # Layers in floats are named.
    small = folded(model if in_floats else merge_branches(model))
    read_by = readers(small)
    kept = kept_layers(small, in_floats)
    end = float_end(small, float_outputs)
    floats = {*end, *kept}
    swaps: dict[str, list[Any]] = {
        layer.name: swap
        for layer in small.layers
        if layer.name not in floats and (swap := _counterpart(layer))
    }
    swaps |= {name: [called] for name, called in kept.items()}
    count = iter(range(10_000))

    def after(operation: keras.Operation, tensor: keras.KerasTensor) -> keras.KerasTensor:
        if operation.name in end:
            return tensor
        name, reading = f"range_{next(count)}", read_by.get(operation.name, [])
        only_floats = all(reader is None or reader.name in floats for reader in reading)
        if operation.name in kept:
            if only_floats or not tensor.dtype.startswith("float"):
                return tensor
            return ActivationRange(name=name)(FloatsFrom(name=f"{name}_floats")(tensor))
        found = _ranged(operation, tensor, reading, name)
        if end and reading and all(reader and reader.name in end for reader in reading):
            return FloatsFrom(name=f"{name}_floats")(found)
        return found

    aware = rewrite(small, swaps, after)
    copy_floats(small, aware, kept)
    _copy_weights(small, aware, kept)
    _wire(aware)
    observe(aware, samples)
    return aware


def _ranged(
    operation: keras.Operation,
    tensor: keras.KerasTensor,
    read_by: list[keras.Operation | None],
    name: str,
) -> keras.KerasTensor:
    """A tensor on the levels on which TFLite stores it."""
    from edgepress.deploy.quantize.fake_quant import Around
    from edgepress.deploy.quantize.ranges import ActivationRange, SharedRange

    if type(operation).__name__ in _POOLED:
        source = _range_of(tensor)
        return tensor if source is None else SharedRange(Around((source,), None), name=name)(tensor)
    if not _needs_range(operation, read_by):
        return tensor
    return ActivationRange(fixed=_FIXED_RANGE.get(_activation(operation)), name=name)(tensor)


def train_quantised(
    model: keras.Model,
    dataset: Dataset,
    epochs: int,
    *,
    lr: float = 1e-4,
    batch_size: int = 64,
    samples: int = 256,
    float_outputs: Collection[str] = (),
    in_floats: Collection[str] = (),
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
        float_outputs: As for `quantisation_aware`.
        in_floats: As for `quantisation_aware`.
        seed: Draws order and samples.
        state_dir: Folder of the training's state, or None.
        progress: Is told of every step.

    Returns:
        A new model on the int8 grid, which `export` turns into the int8 file.
    """
    from edgepress.compress.models.own_training import refuse_own_step, train_like
    from edgepress.compress.specs.recipe import TrainSpec
    from edgepress.compress.training.training_run import fit

    refuse_own_step(model)
    first = dataset.calibration(samples, seed)
    aware = quantisation_aware(model, first, float_outputs, in_floats)
    train_like(aware, model)
    spec = TrainSpec(epochs=epochs, lr=lr, batch_size=batch_size, schedule="cosine")
    fit(aware, dataset, spec, seed=seed, state_dir=state_dir, progress=progress, prompt=True)
    bake(aware)
    return aware


def observe(aware: keras.Model, samples: Mapping[str, NDArray[Any]]) -> None:
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


def bake(aware: keras.Model) -> None:
    """Put the kernels of a quantisation-aware model onto their int8 grid."""
    from edgepress.deploy.quantize.fake_quant import QUANTISED, baked

    for layer in aware.layers:
        if type(layer) in QUANTISED.values():
            layer.set_weights(baked(layer))


def is_quantisation_aware(model: keras.Model) -> bool:
    """Whether a model carries the ranges of its activations."""
    return bool(_ranges(model))


def strip_quantisation(aware: keras.Model) -> keras.Model:
    """The plain float model of a quantisation-aware one, its kernels on the int8 grid."""
    import keras

    from edgepress.deploy.quantize.fake_quant import QUANTISED, baked
    from edgepress.deploy.quantize.ranges import COUNTED

    plain = {kind: getattr(keras.layers, name) for name, kind in QUANTISED.items()}
    plain |= {kind: getattr(keras.layers, name) for name, kind in COUNTED.items()}
    dropped = (*_RANGES, "FloatsFrom")
    swaps: dict[str, list[Any]] = {
        layer.name: [] for layer in aware.layers if type(layer).__name__ in dropped
    }
    for layer in aware.layers:
        if type(layer) in plain:
            swaps[layer.name] = [plain[type(layer)].from_config(layer.get_config())]
    model = rewrite(aware, swaps)
    for layer in aware.layers:
        if type(layer) in QUANTISED.values():
            model.get_layer(layer.name).set_weights(baked(layer))
    return model


def _ranges(model: keras.Model) -> list[keras.Layer]:
    return [layer for layer in model.layers if type(layer).__name__ in _RANGES]


_RANGES = ("ActivationRange", "SharedRange")


def _has_kernel(layer: keras.Layer) -> bool:
    return type(layer).__name__ in _WITH_KERNELS


def _activation(operation: keras.Operation) -> str:
    """The name of an operation's activation."""
    kind = type(operation).__name__
    if kind in ("Softmax", "Sigmoid", "Tanh"):
        return kind.lower()
    return getattr(getattr(operation, "activation", None), "__name__", "linear")


def _counterpart(layer: keras.Layer) -> list[keras.Layer]:
    """The quantised layers; an activation that isn't fused becomes a layer of its own."""
    import keras

    from edgepress.deploy.quantize.fake_quant import QUANTISED
    from edgepress.deploy.quantize.ranges import COUNTED, ActivationRange, QuantisedSilu

    kind = type(layer).__name__
    if kind in COUNTED and (kind != "Activation" or _activation(layer) == "silu"):
        return [COUNTED[kind].from_config(layer.get_config())]
    if not _has_kernel(layer):
        return []
    config, activation = layer.get_config(), layer.activation.__name__
    quantised = QUANTISED[kind]
    if activation == "linear" or (activation in _FUSED and kind not in _ALONE):
        return [quantised.from_config(config)]
    behind = QuantisedSilu if activation == "silu" else keras.layers.Activation
    return [
        quantised.from_config({**config, "activation": "linear"}),
        ActivationRange(name=f"{layer.name}_range"),
        behind(layer.activation, name=f"{layer.name}_{activation}"),
    ]


def _needs_range(operation: keras.Operation, read_by: list[keras.Operation | None]) -> bool:
    """Whether TFLite stores an operation's output with a scale of its own.

    Raises:
        InputError: The operation is none that is trained for int8.
    """
    kind, activation = type(operation).__name__, _activation(operation)
    if kind in SAME_SCALE:
        return False
    known = kind in _ROUNDED_AFTER or kind in ("Activation", "Softmax", "Sigmoid", "Tanh")
    if not (_has_kernel(operation) or known):
        raise InputError(
            f"layer '{operation.name}' ({kind}) can't be trained for int8",
            f"keep it in floats with --keep-float {operation.name}, or leave --qat-epochs out: int8"
            " after training knows more layers",
        )
    if activation in _FIXED_RANGE:
        # The end of the model stays as it is: a loss needs probabilities above zero.
        return bool(read_by) and None not in read_by
    fused_next = read_by and all(_is_relu(reader) for reader in read_by) and kind not in _ALONE
    return not (fused_next and activation == "linear" and kind not in ("InputLayer", "Activation"))


def _is_relu(operation: keras.Operation) -> bool:
    kind = type(operation).__name__
    if kind == "Activation":
        return operation.activation.__name__ in ("relu", "relu6")
    return kind == "ReLU" and not operation.negative_slope and not operation.threshold


def _range_of(tensor: keras.KerasTensor) -> keras.Layer | None:
    """The range on whose levels a tensor of a quantisation-aware graph lies, or None."""
    while True:
        operation, node, _ = tensor._keras_history
        kind = type(operation).__name__
        if kind == "ActivationRange":
            return operation
        if kind == "SharedRange":
            return operation.around.before[0]
        if kind not in SAME_SCALE and kind.removeprefix("Quantised") not in _POOLED:
            return None
        tensor = operation._inbound_nodes[node].input_tensors[0]


def _wire(aware: keras.Model) -> None:
    """Tell the layers that count in whole numbers which ranges lie around them."""
    from edgepress.compress.graph import nodes_of
    from edgepress.deploy.quantize.fake_quant import Around

    read_by = readers(aware)
    for node in nodes_of(aware):
        layer = node.operation
        if not hasattr(layer, "around") or type(layer).__name__ in _RANGES:
            continue
        before = tuple(_range_of(tensor) for tensor in node.input_tensors)
        after = _range_after(layer.name, read_by)
        alone = len(layer._inbound_nodes) == 1 and None not in before
        if type(layer).__name__.removeprefix("Quantised") in _POOLED:
            after = before[0]
        if alone and len(before) == (2 if _merges(layer) else 1):
            layer.around = Around(before, after)


def _merges(layer: keras.Layer) -> bool:
    return type(layer).__name__ in ("QuantisedAdd", "QuantisedMultiply")


def _range_after(
    name: str, read_by: Mapping[str, list[keras.Operation | None]]
) -> keras.Layer | None:
    """The range that a layer's output is rounded to, a ReLU between them looked through."""
    reading = read_by.get(name, [])
    while len(reading) == 1 and reading[0] is not None and _is_relu(reading[0]):
        reading = read_by.get(reading[0].name, [])
    found = reading[0] if len(reading) == 1 else None
    return found if type(found).__name__ == "ActivationRange" else None


def _copy_weights(small: keras.Model, aware: keras.Model, floats: Collection[str]) -> None:
    for layer in small.layers:
        if not _has_kernel(layer) or layer.name in floats:
            continue
        values = layer.get_weights()
        twin = aware.get_layer(layer.name)
        twin.set_weights(values)
        if float(np.mean(values[0] == 0)) >= _PRUNED:
            twin.mask = (values[0] != 0).astype(values[0].dtype)
        twin.clusters = clusters_of(values[0], twin.kept)


def clusters_of(kernel: NDArray[Any], kept: tuple[int, ...]) -> NDArray[np.int32] | None:
    """For each entry the number of its value, where a kernel has few; else None.

    Args:
        kernel: The kernel.
        kept: Axes that have a scale for each entry; values are told apart along them, since a
            folded normalisation scaled each entry of them by itself.
    """
    last = np.moveaxis(kernel, kept, range(kernel.ndim - len(kept), kernel.ndim))
    columns = last.reshape(-1, int(np.prod(last.shape[last.ndim - len(kept) :])))
    numbers = np.empty(columns.shape, np.int32)
    begin = 0
    for index, column in enumerate(columns.T):
        values, inverse = np.unique(column, return_inverse=True)
        if not are_few(len(values), len(column)):
            return None
        numbers[:, index] = begin + inverse
        begin += len(values)
    return np.ascontiguousarray(numbers.reshape(kernel.shape))
