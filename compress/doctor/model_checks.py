"""What can be seen in a model without data: weights, graph, what pruning can't reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from edgepress.compress.doctor.findings import Finding
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras

_LISTED = 5


def _layers(model: keras.Model) -> list[keras.Layer]:
    from edgepress.compress.data.preparation.inputs import flat_layers

    return flat_layers(model)


def _some(names: list[str]) -> str:
    """A few names, and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:_LISTED])
    more = len(names) - _LISTED
    return f"{shown} and {more} more" if more > 0 else shown


def not_finite(model: keras.Model) -> Iterator[Finding]:
    """Weights that are NaN or infinite."""
    import numpy as np

    broken = [v.path for v in model.weights if not np.isfinite(v.numpy()).all()]
    if broken:
        yield Finding(
            "problem",
            "weights",
            broken[0],
            f"{_some(broken)} hold NaN or infinite values",
            "the training diverged; go back to an earlier checkpoint",
        )


def idle_channels(model: keras.Model) -> Iterator[Finding]:
    """Channels whose kernel is all zero: they cost time and give a constant."""
    for layer in _layers(model):
        kernel = getattr(layer, "kernel", None)
        if kernel is None or type(layer).__name__ not in ("Dense", "Conv1D", "Conv2D", "Conv3D"):
            continue
        values = kernel.numpy()
        idle = int((~values.any(axis=tuple(range(values.ndim - 1)))).sum())
        if idle:
            total = values.shape[-1]
            yield Finding(
                "problem" if idle == total else "warning",
                "weights",
                layer.name,
                f"{idle} of {total} channels of '{layer.name}' have a kernel of zeros",
                "prune --structure channels removes them"
                if idle < total
                else "the layer outputs nothing",
            )


def norms(model: keras.Model) -> Iterator[Finding]:
    """Batch norms that repeat each other, and ones whose statistics were never learned."""
    import numpy as np

    layers = [la for la in _layers(model) if type(la).__name__ == "BatchNormalization"]
    for layer in layers:
        for before in _sources(layer):
            if type(before).__name__ == "BatchNormalization":
                yield Finding(
                    "warning",
                    "graph",
                    layer.name,
                    f"'{layer.name}' normalises what '{before.name}' has just normalised",
                    "one of the two can go",
                )
    fresh = [
        la.name
        for la in layers
        if not la.moving_mean.numpy().any() and np.all(la.moving_variance.numpy() == 1)
    ]
    if fresh:
        yield Finding(
            "warning",
            "weights",
            fresh[0],
            f"{_some(fresh)} still hold their initial statistics",
            "the model was never trained, or only with batch normalization frozen",
        )


def _sources(layer: keras.Layer) -> list[keras.Operation]:
    """The operations that a layer's calls receive their inputs from."""
    tensors = [t for node in layer._inbound_nodes for t in node.input_tensors]
    return [t._keras_history.operation for t in tensors if hasattr(t, "_keras_history")]


def open_sizes(model: keras.Model) -> Iterator[Finding]:
    """Inputs whose size isn't fixed."""
    for tensor in model.inputs:
        if None in tuple(tensor.shape)[1:]:
            yield Finding(
                "warning",
                "export",
                tensor.name,
                f"input '{tensor.name}' leaves sizes open: {tuple(tensor.shape)}",
                "int8 files and microcontrollers need fixed ones; name them when exporting",
            )


def user_code(model: keras.Model) -> Iterator[Finding]:
    """Lambda layers and layers that only this program knows."""
    lambdas = [la.name for la in _layers(model) if type(la).__name__ == "Lambda"]
    if lambdas:
        yield Finding(
            "warning",
            "graph",
            lambdas[0],
            f"{_some(lambdas)} run Python code that is stored in the file",
            "a saved copy loads only with --unsafe-lambda; a custom layer class is safer",
        )
    own = [
        la.name
        for la in _layers(model)
        if type(la).__module__.partition(".")[0] not in ("keras", "edgepress")
    ]
    if own:
        yield Finding(
            "note",
            "graph",
            own[0],
            f"{_some(own)} are custom classes",
            "pass their file with --custom-objects to every command",
        )


def training_only(model: keras.Model) -> Iterator[Finding]:
    """Layers that do something only while training."""
    random = [la.name for la in _layers(model) if type(la).__name__.startswith("Random")]
    if random:
        yield Finding(
            "note",
            "graph",
            random[0],
            f"{_some(random)} augment in training and are left out of exported files",
        )


def precision(model: keras.Model) -> Iterator[Finding]:
    """Weights or computations that aren't 32-bit floats."""
    odd = {
        la.name: str(la.compute_dtype)
        for la in _layers(model)
        if la.weights and str(la.compute_dtype) not in ("float32", "None")
    }
    if odd:
        name, kind = next(iter(odd.items()))
        yield Finding(
            "warning",
            "graph",
            name,
            f"{_some(list(odd))} {'computes' if len(odd) == 1 else 'compute'} in {kind}",
            "files are exported from a copy that computes in float32",
        )


def pinned(model: keras.Model) -> Iterator[Finding]:
    """Channels that structured pruning can't remove, by reason."""
    from edgepress.compress.structure.tracing.groups import find_channels

    try:
        groups = find_channels(model).groups
    except InputError as error:
        yield Finding("problem", "pruning", "", error.message, error.hint)
        return
    reasons: dict[str, list[str]] = {}
    for group in groups:
        if not group.prunable:
            reasons.setdefault(group.reason, []).append(group.name)
    for reason, names in reasons.items():
        yield Finding("note", "pruning", names[0], f"the channels of {_some(names)} stay: {reason}")
    if groups and not any(group.prunable for group in groups):
        yield Finding(
            "warning",
            "pruning",
            "",
            "no channel of the model can be removed",
            "prune --structure weights keeps every shape",
        )


def frozen(model: keras.Model) -> Iterator[Finding]:
    """A model of which nothing trains."""
    if model.weights and not model.trainable_weights:
        yield Finding(
            "warning",
            "weights",
            "",
            "every layer is frozen, so training changes nothing",
            "pass --unfreeze all (or some layers) to finetune",
        )


MODEL_CHECKS: tuple[Callable[[Any], Iterator[Finding]], ...] = (
    not_finite,
    idle_channels,
    norms,
    open_sizes,
    user_code,
    training_only,
    precision,
    pinned,
    frozen,
)
