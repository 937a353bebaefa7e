"""Which layers are trained: reading `--unfreeze` and setting the flags.

Reading is pure: `choose` maps specs and a list of layers to what is unfrozen. Setting is one
function, `unfreeze`, that works in place on a model its caller owns.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import near_names
from edgepress.compress.training.freezing.layer_ranges import middle_slice, named_slice

if TYPE_CHECKING:
    import keras

NORMALISATIONS = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "LayerNormalization",
        "RMSNormalization",
        "SyncBatchNormalization",
    }
)


@dataclass(frozen=True)
class LayerRef:
    """A layer as a spec sees it.

    Attributes:
        path: Name, or `outer/inner` inside nested models.
        kinds: Names of its class and of the classes it derives from.
        weights: Names of the variables that training may change; empty for layers without any.
        layer: The Keras layer; not looked at while specs are read.
    """

    path: str
    kinds: frozenset[str]
    weights: tuple[str, ...]
    layer: Any = field(default=None, compare=False)


@dataclass(frozen=True)
class Choice:
    """What is unfrozen.

    Attributes:
        whole: Paths of layers that are trained as a whole.
        biases: Paths of layers of which only the bias is trained.
    """

    whole: frozenset[str]
    biases: frozenset[str]

    def __contains__(self, path: object) -> bool:
        return path in self.whole or path in self.biases


def layer_refs(model: keras.Model) -> tuple[LayerRef, ...]:
    """All layers of a model from input to output, those of nested models in their place.

    A layer that holds others without being a model (attention, a wrapper) counts as one.
    """
    found: list[LayerRef] = []
    _collect(model, "", found, set())
    return tuple(found)


def _collect(model: keras.Model, prefix: str, found: list[LayerRef], seen: set[int]) -> None:
    import keras

    for layer in model.layers:
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        path = prefix + layer.name
        if isinstance(layer, keras.Model):
            _collect(layer, f"{path}/", found, seen)
        else:
            kinds = frozenset(k.__name__ for k in type(layer).__mro__) - {"object", "Layer"}
            found.append(LayerRef(path, kinds, tuple(_learnable(layer)), layer))


def _learnable(layer: keras.Layer) -> dict[str, Any]:
    """Variables that training may change, by name, whatever is frozen at the moment."""
    own = {v.path: v for v in layer._trainable_variables}
    for inner in layer._flatten_layers(include_self=False):
        own |= {v.path: v for v in inner._trainable_variables}
    return own


def choose(specs: Sequence[str], layers: Sequence[LayerRef]) -> Choice:
    """Read unfreeze specs.

    Args:
        specs: Names, globs, `top:N`, `bottom:N`, `middle`, `middle:A-B`, `from:NAME`, `to:NAME`,
            `all`, `none`, `type:CLASS`, `bias`, `norm`; their union is unfrozen.
        layers: All layers from input to output.

    Returns:
        What is unfrozen; layers without weights are left out.

    Raises:
        InputError: A spec matches nothing, or can't be read.
    """
    learning = [ref for ref in layers if ref.weights]
    whole: set[str] = set()
    biases: set[str] = set()
    for spec in specs:
        if spec == "bias":
            found = {r.path for r in learning if any(map(_is_bias, r.weights))}
            biases |= _some(found, spec, "no layer has a bias")
        else:
            whole |= _match(spec, learning, layers)
    return Choice(frozenset(whole), frozenset(biases - whole))


def _match(spec: str, learning: Sequence[LayerRef], layers: Sequence[LayerRef]) -> set[str]:
    """Paths of the layers with weights that one spec (other than `bias`) names."""
    paths = [ref.path for ref in learning]
    word, colon, argument = spec.partition(":")
    if not colon:
        if spec == "none":
            return set()
        if spec == "all":
            return set(paths)
        if spec == "middle":
            return set(middle_slice("", paths, spec))
        if spec == "norm":
            found = {ref.path for ref in learning if ref.kinds & NORMALISATIONS}
            return _some(found, spec, "the model has no normalisation layer with weights")
    if word in ("top", "bottom") and colon:
        n = _count(argument, spec, len(paths))
        return set(paths[-n:] if word == "top" else paths[:n])
    if word == "middle" and colon:
        return set(middle_slice(argument, paths, spec))
    if word in ("from", "to") and colon:
        within = named_slice(word, argument, [ref.path for ref in layers], spec)
        return _some(set(paths) & set(within), spec, "no layer there has weights")
    if word == "type" and colon:
        return _of_type(argument, learning, spec)
    return _named(spec, learning, layers)


def _count(text: str, spec: str, most: int) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InputError(
            f"unfreeze '{spec}': '{text}' is not a number of layers", "write top:2 or bottom:2"
        )
    if int(text) > most:
        raise InputError(
            f"unfreeze '{spec}': the model has only {most} layers with weights",
            "write all to train every layer",
        )
    return int(text)


def _of_type(pattern: str, learning: Sequence[LayerRef], spec: str) -> set[str]:
    found = {
        ref.path for ref in learning if any(fnmatch.fnmatchcase(k, pattern) for k in ref.kinds)
    }
    known = {kind for ref in learning for kind in ref.kinds}
    return _some(found, spec, near_names(pattern, known - {"KerasLayer", "Operation"}))


def _named(spec: str, learning: Sequence[LayerRef], layers: Sequence[LayerRef]) -> set[str]:
    """A name or glob matches a layer's path, or a nested model that the layer lies in."""
    found = {ref.path for ref in learning if _names(spec, ref.path)}
    if not found and any(_names(spec, ref.path) for ref in layers):
        raise InputError(f"unfreeze '{spec}': it has no weights, so there is nothing to train")
    known = {ref.path for ref in learning}
    known |= {path[:i] for path in known for i, c in enumerate(path) if c == "/"}
    return _some(found, spec, near_names(spec, known))


def _names(spec: str, path: str) -> bool:
    parts = path.split("/")
    heads = ("/".join(parts[:i]) for i in range(1, len(parts) + 1))
    return any(head == spec or fnmatch.fnmatchcase(head, spec) for head in heads)


def _some(found: set[str], spec: str, hint: str) -> set[str]:
    if not found:
        raise InputError(f"unfreeze '{spec}' matches no layer with weights", hint)
    return found


def _is_bias(variable: str) -> bool:
    return variable.rpartition("/")[2] == "bias"


def unfreeze(
    model: keras.Model, specs: Sequence[str], train_batchnorm: bool = False
) -> tuple[str, ...]:
    """Set what a model trains, in place.

    Batch normalisation in frozen parts stays in inference mode: it normalises by its moving
    statistics and leaves them as they are.

    Args:
        model: A built Keras model that the caller owns.
        specs: See `choose`.
        train_batchnorm: Whether batch normalisation in frozen parts normalises by the batch and
            follows its statistics; its gamma and beta stay frozen.

    Returns:
        Paths of the layers that are trained, from input to output.

    Raises:
        InputError: A spec matches nothing, or can't be read.
    """
    layers = layer_refs(model)
    choice = choose(specs, layers)
    # Setting a model's flag sets those of all that it holds, so the leaves come last.
    _set_trainable(model, True)
    for ref in layers:
        _set_trainable(ref.layer, ref.path in choice.whole)
        if ref.path in choice.biases:
            _train_only_bias(ref.layer)
        elif train_batchnorm and ref.path not in choice:
            _follow_statistics(ref.layer)
    return tuple(ref.path for ref in layers if ref.path in choice)


def _set_trainable(layer: keras.Layer, value: bool) -> None:
    # TensorFlow drops the assignment of the value that an attribute has already, and with it the
    # flags of single variables would stay as an earlier choice left them.
    layer.trainable = not value
    layer.trainable = value


def _train_only_bias(layer: keras.Layer) -> None:
    _set_trainable(layer, True)
    for path, variable in _learnable(layer).items():
        variable.trainable = _is_bias(path)


def _follow_statistics(layer: keras.Layer) -> None:
    import keras

    if isinstance(layer, keras.layers.BatchNormalization):
        _set_trainable(layer, True)
        for variable in layer._trainable_variables:
            variable.trainable = False
