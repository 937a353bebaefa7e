"""Layers told apart in a graph, in whatever a converter makes of it, and a precision for each.

Converters name what they write after the nodes that they read, and TensorFlow numbers those again:
`conv_1` may be the layer `conv` or the layer `conv_1`. So a graph in which layers matter is traced
with a mark around each of them, which the names hold on to and lose again before a file is
published.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from unittest import mock

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.deploy.specs.export import ExportSpec

# TensorFlow counts scopes of one name within another: those of a layer that is called twice.
_MARK = re.compile(r"edgepress_layer\.(\d+)\.(?:_\d+)?/")
_NEAR = 3

# A layer behind those that it is in, by their places in `LayerMarks.names`.
Chain = tuple[int, ...]


@dataclass(frozen=True)
class LayerMarks:
    """The layers of a traced graph.

    Attributes:
        names: The layers, each at the place that its mark gives.
        readers: Layers that read what a layer gives, by place.
        ends: The layer that gives an output, by the output's name; behind those that it is in.
        weighted: Layers with weights of their own.
    """

    names: tuple[str, ...] = ()
    readers: Mapping[int, tuple[int, ...]] | None = None
    ends: Mapping[str, Chain] | None = None
    weighted: tuple[int, ...] = ()


@contextmanager
def marking(layers: Sequence[keras.Layer]) -> Iterator[None]:
    """Put marks around layers in a graph that is being traced.

    Args:
        layers: The layers; each one's mark is its place. Without any nothing is changed.
    """
    if not layers:
        yield
        return
    import keras
    import tensorflow as tf

    places = {id(layer): place for place, layer in enumerate(layers)}
    own = keras.Layer.__call__

    def call(layer: keras.Layer, *arguments: Any, **options: Any) -> Any:
        if id(layer) not in places:
            return own(layer, *arguments, **options)
        with tf.name_scope(f"edgepress_layer.{places[id(layer)]}."):
            return own(layer, *arguments, **options)

    with mock.patch.object(keras.Layer, "__call__", call):
        yield


def marks_of(layers: Sequence[keras.Layer], graph: tf.Graph, outputs: Iterable[str]) -> LayerMarks:
    """What the marks of a graph tell.

    Args:
        layers: The layers that were marked.
        graph: The traced graph.
        outputs: Names of its outputs, each that of an identity.
    """
    readers: dict[int, set[int]] = {}
    for operation in graph.get_operations():
        reader = _chain(operation.name)
        for tensor in operation.inputs:
            source = _chain(tensor.op.name)
            if source and reader and source[-1] != reader[-1]:
                readers.setdefault(source[-1], set()).add(reader[-1])
    ends = {name: _chain(graph.get_operation_by_name(name).inputs[0].op.name) for name in outputs}
    return LayerMarks(
        tuple(layer.name for layer in layers),
        {place: tuple(sorted(found)) for place, found in readers.items()},
        ends,
        tuple(place for place, layer in enumerate(layers) if layer._trainable_variables),
    )


def unmarked(name: str) -> str:
    """A name without its marks."""
    return _MARK.sub("", name)


def unmarked_names(names: Iterable[str]) -> dict[str, str]:
    """New names without marks, by the old ones; those that would be equal are numbered."""
    known = list(dict.fromkeys(names))
    taken = {name for name in known if not _MARK.search(name)}
    new: dict[str, str] = {}
    for name in known:
        plain = base = unmarked(name)
        count = 0
        while plain in taken and name != plain:
            count += 1
            plain = f"{base}_{count}"
        taken.add(plain)
        new[name] = plain
    return new


def has_rules(settings: ExportSpec) -> bool:
    """Whether an export gives layers a precision of their own."""
    return bool(settings.keep_float or settings.precision)


def rules_of(settings: ExportSpec) -> list[tuple[str, str]]:
    """Patterns of layers' names with a precision, later ones before earlier ones.

    Layers that are kept in floats come last: they are what people ask for by name.
    """
    return [
        *settings.precision.items(),
        *((pattern, "float32") for pattern in settings.keep_float),
    ]


def check_patterns(model: keras.Model, settings: ExportSpec) -> None:
    """Refuse patterns that no layer of a model has a name for.

    Raises:
        InputError: Names the pattern, and the layers whose names are near.
    """
    names = [layer.name for layer in markable(model)]
    for pattern, precision in rules_of(settings):
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        flag = f"--precision {pattern}={precision}"
        if pattern in settings.keep_float:
            flag = f"--keep-float {pattern}"
        near = get_close_matches(pattern.strip("*?"), names, _NEAR, 0.4) or names[:_NEAR]
        raise InputError(f"{flag}: no layer's name matches", f"there is {', '.join(near)}")


# Layers that compute nothing, or that a model was given for the training for int8.
_UNNAMED = frozenset({"ActivationRange", "FloatsFrom", "InputLayer", "SharedRange"})


def markable(model: keras.Model) -> list[keras.Layer]:
    """The layers that people know by name, those in others included."""
    found = model._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in found if type(layer).__name__ not in _UNNAMED]


def names_in_floats(model: keras.Model, settings: ExportSpec) -> set[str]:
    """Names of the layers that integer files keep in floats, with all that is in them.

    Args:
        model: The model.
        settings: What is asked for.
    """
    found: set[str] = set()
    for layer in markable(model):
        rules = [kind for pattern, kind in rules_of(settings) if fnmatchcase(layer.name, pattern)]
        if rules and rules[-1] in ("float32", "float16"):
            inner = layer._flatten_layers(include_self=True, recursive=True)
            found |= {part.name for part in inner}
    return found


def layer_request(marks: LayerMarks, settings: ExportSpec, base: str) -> dict[str, Any]:
    """What a child process needs to know of layers, as JSON-able values.

    Args:
        marks: Of the graph.
        settings: What is asked for.
        base: Precision of all other layers.
    """
    wanted: dict[str, tuple[int, str]] = {}
    for order, (pattern, precision) in enumerate(rules_of(settings)):
        for place, name in enumerate(marks.names):
            if fnmatchcase(name, pattern):
                wanted[str(place)] = order, precision
    return {**asdict(marks), "wanted": wanted, "base": base}


def line_on_layers(layers: Mapping[str, str]) -> tuple[str, ...]:
    """The line on layers that were asked for by name, and the precision that they got."""
    by_kind: dict[str, list[str]] = {}
    for name, kind in layers.items():
        by_kind.setdefault(kind, []).append(name)
    parts = (f"{kind}: {', '.join(names)}" for kind, names in by_kind.items())
    return (f"layers by name: {'; '.join(parts)}",) if layers else ()


class Layers:
    """The layers of a graph, in a child process, and the precision that each is to have."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.names: list[str] = list(request["names"])
        self.base: str = request["base"]
        self.weighted = {int(place) for place in request["weighted"]}
        self._wanted = {int(k): (order, kind) for k, (order, kind) in request["wanted"].items()}
        self._ends = {name: tuple(chain) for name, chain in (request["ends"] or {}).items()}
        self._near: dict[int, set[int]] = {}
        self._readers = {int(k): tuple(v) for k, v in (request["readers"] or {}).items()}
        for place, readers in self._readers.items():
            for reader in readers:
                self._near.setdefault(place, set()).add(reader)
                self._near.setdefault(reader, set()).add(place)

    @property
    def precisions(self) -> set[str]:
        """The precisions that are asked for, that of all other layers included."""
        return {self.base, *(kind for _, kind in self._wanted.values())}

    def end(self, output: str) -> list[Chain]:
        """The layer that gives an output."""
        chain = self._ends.get(output, ())
        return [chain] if chain else []

    def named(self, name: str) -> list[Chain]:
        """The layers of a converter's name, of which several parts are joined by semicolons.

        Of a name's parts some may be those of layers elsewhere in the graph, whose equal constants
        were made one: what isn't joined to the first by layers between is left out.
        """
        chains = [chain for part in name.split(";") if (chain := _chain(part))]
        if not chains:
            return []
        kept, waiting = {chains[0][-1]}, [chains[0][-1]]
        inside = {chain[-1] for chain in chains}
        while waiting:
            for near in self._near.get(waiting.pop(), set()) & (inside - kept):
                kept.add(near)
                waiting.append(near)
        return list(dict.fromkeys(chain for chain in chains if chain[-1] in kept))

    def beside(self, place: int) -> set[int]:
        """Layers that read what a layer gives, or give what it reads."""
        return self._near.get(place, set())

    def readers(self, place: int) -> tuple[int, ...]:
        """The layers that read what a layer gives."""
        return self._readers.get(place, ())

    def precision(self, chains: Iterable[Chain]) -> str:
        """The precision of what computes these layers: the last rule that any of them matches."""
        found = [self._wanted[p] for chain in chains for p in chain if p in self._wanted]
        return max(found)[1] if found else self.base

    def by_name(self, got: Mapping[str, Collection[str]]) -> dict[str, str]:
        """What people are told of the layers that rules match, in the model's order.

        Args:
            got: The precisions that a file has for a layer, by name.

        Returns:
            By name; "none of its own" for a layer that the file has no operator for.

        Raises:
            ValueError: A rule matches nothing but such layers.
        """
        rules: dict[int, set[str]] = {}
        precisions = {}
        for place, (order, _) in sorted(self._wanted.items()):
            name = self.names[place]
            rules.setdefault(order, set()).add(name)
            precisions[name] = ", ".join(sorted(got.get(name, ()))) or "none of its own"
        for names in rules.values():
            if not any(got.get(name) for name in names):
                raise ValueError(
                    f"the file has no operator of its own for {', '.join(sorted(names))}: name the"
                    " layer that it became a part of"
                )
        return precisions

    @property
    def asked(self) -> set[str]:
        """The layers that rules match, by name."""
        return {self.names[place] for place in self._wanted}


def alike(precision: str) -> Layers:
    """Layers of a graph without marks, which all have one precision."""
    return Layers({**asdict(LayerMarks()), "wanted": {}, "base": precision})


def _chain(name: str) -> Chain:
    """The marks of a node's name, the innermost layer last."""
    return tuple(int(place) for place in _MARK.findall(name))
