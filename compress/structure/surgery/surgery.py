"""Removing units for real: a new, smaller model; the given one stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.graph import graph_of, require_graph, resolve
from edgepress.compress.models.rebuilding.copying import plain_configuration, trusting
from edgepress.compress.models.rebuilding.vocabularies import copy_vocabulary
from edgepress.compress.processes.garbage import unsearched
from edgepress.compress.structure.channels.ids import Ids, Shape
from edgepress.compress.structure.channels.site import Visit
from edgepress.compress.structure.rules import rule_for
from edgepress.compress.structure.surgery.initial_values import InitialValues
from edgepress.compress.structure.surgery.slicing import sliced, sliced_tensor
from edgepress.compress.structure.surgery.twins import PLAIN, record, twin_of
from edgepress.compress.structure.tracing.groups import Alive, Channels
from edgepress.compress.structure.tracing.rewired_graph import Remains
from edgepress.compress.variables import held, seen, shape_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.keras_types import Node, Tensor
    from edgepress.compress.structure.tracing.groups import Units


@dataclass(frozen=True, eq=False)
class CallSizes:
    """What is left at one call; see `rules.rule.Sizes`."""

    channels: Channels
    alive: Alive
    visit: Visit

    def weight(self, weight: keras.Variable) -> tuple[int, ...]:
        """Shape that is left of a weight."""
        return tuple(len(kept) for kept in self.channels.kept(weight, self.alive))

    def input(self, index: int = 0) -> tuple[int | None, ...]:
        """Shape that is left of an input."""
        return self.channels.shape(self.visit.inputs[index], self.alive)

    def output(self, index: int = 0) -> tuple[int | None, ...]:
        """Shape that is left of an output."""
        return self.channels.shape(self.visit.outputs[index], self.alive)

    def kept(self, axis: int) -> Alive:
        """Which positions of an axis of the first input stay."""
        ids = self.visit.inputs[0]
        return self.channels.kept_along(ids, ids.axis(axis), self.alive)


@dataclass(eq=False)
class _Rebuild:
    """One rebuilding of a model, its nested models and layers, each object once."""

    remains: Remains
    made: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    undrawn: list[tuple[Any, str, Any]] = field(default_factory=list)
    twins: set[int] = field(default_factory=set)
    shapes: dict[int, Shape] = field(default_factory=dict)
    initial: InitialValues = field(init=False)

    def __post_init__(self) -> None:
        self.initial = InitialValues(self.left)

    def left(self, weight: keras.Variable) -> NDArray[Any]:
        """The values that are left of a weight of the original."""
        return sliced(seen(weight), self.channels.kept(weight, self.alive))

    def left_tensor(self, weight: keras.Variable) -> tf.Tensor:
        """The same for a new weight; one left whole shares its memory until either changes."""
        kept = self.channels.kept(weight, self.alive)
        if tuple(map(len, kept)) == shape_of(weight):
            return held(weight.value)
        return sliced_tensor(seen(weight), kept)

    def shape(self, ids: Ids) -> Shape:
        """The shape that is left of a tensor; what layers let pass has the same `Ids`."""
        if id(ids) not in self.shapes:
            self.shapes[id(ids)] = self.channels.shape(ids, self.alive)
        return self.shapes[id(ids)]

    @property
    def channels(self) -> Channels:
        """The original's units."""
        return self.remains.channels

    @property
    def alive(self) -> Alive:
        """Which of them stay."""
        return self.remains.alive

    def model(self, model: keras.Model) -> keras.Model:
        """A new model, or the one made before for the same object."""
        import keras

        if id(model) in self.made:
            return self.made[id(model)][1]
        graph = require_graph(model)
        entries = self.channels.trace.entries[id(graph)]
        inputs = {
            id(tensor): self._entry(tensor, ids)
            for tensor, ids in zip(graph.inputs, entries, strict=True)
        }
        if isinstance(model, keras.Sequential):
            (first,) = inputs.values()
            with keras.name_scope(model.name):
                stack = self._stack(model, graph)
            new = keras.Sequential([first, *stack], name=model.name)
        else:
            new = self._functional(model, graph, inputs)
        self.made[id(model)] = (model, new)
        return new

    def _entry(self, tensor: keras.KerasTensor, ids: Ids) -> keras.KerasTensor:
        import keras

        source = tensor._keras_history.operation
        config = source.get_config()
        config["batch_shape"] = (tensor.shape[0], *self.channels.shape(ids, self.alive)[1:])
        return keras.layers.InputLayer.from_config(config).output

    def _stack(self, model: keras.Model, graph: keras.Model) -> list[keras.Layer]:
        """The layers of a Sequential; operations that make masks come back by themselves."""
        nodes = {id(n.operation): n for n in self.remains.needed(graph) if not n.is_input}
        return [self._operation(nodes[id(x)]) for x in model.layers if id(x) in nodes]

    def _functional(
        self, model: keras.Model, graph: keras.Model, tensors: dict[int, keras.KerasTensor]
    ) -> keras.Model:
        import keras

        inputs = dict(tensors)
        for node in self.remains.needed(graph):
            if node.is_input:
                continue
            for tensor in self.remains.reads(node):
                tensors[id(tensor)] = tensors[id(resolve(tensor, self.remains.replaced))]
            outputs = keras.tree.flatten(self._symbolic(node, tensors))
            tensors.update((id(o), n) for o, n in zip(node.output_tensors, outputs, strict=True))
        outputs = keras.tree.map_structure(
            lambda t: tensors[id(resolve(t, self.remains.replaced))], graph._outputs_struct
        )
        given = keras.tree.map_structure(lambda t: inputs[id(t)], graph._inputs_struct)
        return keras.Model(given, outputs, name=model.name)

    def _joined(self, node: Node, left: list[Tensor]) -> Tensor:
        """A concatenation of fewer tensors; of one alone nothing remains to be done."""
        if len(left) == 1:
            return left[0]
        import keras

        operation = self._operation(node)
        if not isinstance(operation, keras.Layer):
            operation = _twin(operation)
        return operation(left, *node.arguments.args[1:], **node.arguments.kwargs)

    def _symbolic(self, node: Node, tensors: Mapping[int, Tensor]) -> Tensor | list[Tensor]:
        """Make the new version of a call in a graph."""
        if len(self.remains.reads(node)) == len(node.input_tensors):
            operation = self._operation(node)
            if id(node.operation) in self.twins:
                (ids,) = self.channels.visit_of(node).outputs
                args, kwargs = node.arguments.fill_in(tensors)
                made = record(operation, args, kwargs, node, self.shape(ids))
                if made is not None:
                    return made
        return self.call(node, tensors)

    def call(self, node: Node, tensors: Mapping[int, Tensor]) -> Tensor | list[Tensor]:
        """Make the new version of a call, symbolic tensors or real ones."""
        import keras

        left = self.remains.reads(node)
        if len(left) < len(node.input_tensors):
            return self._joined(node, [tensors[id(t)] for t in left])
        operation = self._operation(node)
        args, kwargs = node.arguments.fill_in(tensors)
        if not isinstance(operation, keras.Layer):
            visit = self.channels.visit_of(node)
            operation = _twin(operation)
            revise = rule_for(node.operation).revise
            if revise is not None:
                args = list(args)
                revise(operation, args, CallSizes(self.channels, self.alive, visit))
        return operation(*args, **kwargs)

    def _operation(self, node: Node) -> keras.Operation:
        """The new layer or nested model for a node; an operation as it is."""
        import keras

        old = node.operation
        if graph_of(old) is not None:
            return self.model(old)
        if not isinstance(old, keras.Layer):
            return old
        if id(old) not in self.made:
            self.made[id(old)] = (old, self._layer(old, self.channels.visit_of(node)))
        return self.made[id(old)][1]

    def _layer(self, old: keras.Layer, visit: Visit) -> keras.Layer:
        return self._twin(old, visit) or self._constructed(old, visit)

    def _twin(self, old: keras.Layer, visit: Visit) -> keras.Layer | None:
        """The new version of a plain layer of Keras; None of another."""
        if type(old) not in PLAIN or visit.call.path.rpartition("/")[2] != old.name:
            return None
        changes: dict[str, Any] = {}
        resize = rule_for(old).resize
        if resize is not None:
            resize(old, changes, CallSizes(self.channels, self.alive, visit))
        now = [self.shape(ids) for ids in visit.inputs]
        new = twin_of(old, changes, (visit.call.inputs, now), self.left_tensor)
        if new is not None:
            self.twins.add(id(old))
        return new

    def _constructed(self, old: keras.Layer, visit: Visit) -> keras.Layer:
        try:
            config = plain_configuration(old)
        except NotImplementedError as error:
            raise InputError(
                f"layer '{visit.call.path}' can't be rebuilt: {type(old).__name__} has no"
                " get_config",
                "give the class a get_config that names everything its constructor takes",
            ) from error
        resize = rule_for(old).resize
        if resize is not None:
            resize(old, config, CallSizes(self.channels, self.alive, visit))
        try:
            with trusting([old]):
                new = type(old).from_config(config)
        except InputError:  # says more already
            raise
        except (TypeError, ValueError) as error:
            raise InputError(
                f"layer '{visit.call.path}' can't be rebuilt from its configuration: {error}",
                f"let {type(old).__name__}.from_config take what its get_config gives",
            ) from error
        copy_vocabulary(old, new)
        self.undrawn.extend(_start_at_zero(new))
        self.initial.give(old, new)
        return new


def _twin(operation: keras.Operation) -> keras.Operation:
    """A copy of an operation that is used nowhere; Keras' own way would save and load it."""
    twin = object.__new__(type(operation))
    vars(twin).update(vars(operation))
    twin._inbound_nodes, twin._outbound_nodes = [], []
    return twin


@dataclass(frozen=True, eq=False)
class Surgery:
    """A model and what is left of it.

    Attributes:
        channels: The original's units.
        alive: (units,) whether each stayed.
        model: The pruned model.
    """

    channels: Channels
    alive: Alive
    model: Any
    _rebuild: _Rebuild

    @property
    def remains(self) -> Remains:
        """What is left, and what replaces the removed part."""
        return self._rebuild.remains

    @property
    def is_whole(self) -> bool:
        """Whether nothing was removed."""
        return bool(self.alive.all()) and not self.remains.replaced

    def layer(self, old: keras.Layer) -> keras.Layer | None:
        """The pruned twin of a layer; None where it has none, as a join of nothing but one."""
        return self._rebuild.made.get(id(old), (old, None))[1]

    def pairs(self) -> Iterator[tuple[keras.Variable, keras.Variable]]:
        """Each variable of the original that is left, with its pruned twin."""
        for old, new in self._rebuild.made.values():
            if graph_of(old) is None:
                yield from zip(old.variables, new.variables, strict=True)

    def kept(self, weight: keras.Variable) -> list[Units]:
        """For each axis of an original weight, the positions that stayed."""
        return self.channels.kept(weight, self.alive)

    def call(self, node: Node, tensors: Mapping[int, Tensor]) -> Tensor | list[Tensor]:
        """Make the pruned twin of a call of the original graph on given tensors."""
        return self._rebuild.call(node, tensors)


def remove(channels: Channels, alive: Alive) -> Surgery:
    """A model without the units that aren't alive.

    Args:
        channels: The model's units.
        alive: (units,) whether each stays.

    Returns:
        The new model, not compiled, with the weights that are left; and what became of what.

    Raises:
        InputError: A layer can't be built again from its configuration.
    """
    return rebuild(Remains(channels, alive, {}))


def rebuild(remains: Remains) -> Surgery:
    """A model without the layers that nothing needs any more, and without the channels that go.

    Args:
        remains: What is left; it holds.

    Returns:
        As `remove`.
    """
    work = _Rebuild(remains)
    with unsearched():
        new = work.model(remains.channels.model)
        work.initial.end()
        for layer, name, initializer in work.undrawn:
            setattr(layer, name, initializer)
        for old_part, new_part in work.made.values():
            _copy_flags(old_part, new_part)
            if graph_of(old_part) is None and id(old_part) not in work.twins:
                _copy_weights(work, old_part, new_part)
    return Surgery(remains.channels, remains.alive, new, work)


def _start_at_zero(layer: keras.Layer) -> list[tuple[keras.Layer, str, keras.Initializer]]:
    """Let a layer's weights start at zero: they are copied anyway, and drawing them takes long.

    Returns:
        What to set again once the layer is built: (layer, attribute, initializer).
    """
    import keras
    from keras.src.initializers.random_initializers import RandomInitializer

    found = [
        (part, name, value)
        for part in layer._flatten_layers()
        for name, value in vars(part).items()
        if isinstance(value, RandomInitializer) and not name.startswith("_")
    ]
    for part, name, _ in found:
        setattr(part, name, keras.initializers.Zeros())
    return found


def _copy_weights(work: _Rebuild, old: keras.Layer, new: keras.Layer) -> None:
    for before, after in work.initial.missing(old, new):
        after.assign(work.left(before))
    adjust = rule_for(old).adjust
    if adjust is not None:
        adjust(old, new)


def _copy_flags(old: keras.Layer, new: keras.Layer) -> None:
    """Which layers and weights training changes."""
    new._trainable = old._trainable
    if graph_of(old) is not None:
        return
    pairs = zip(
        old._flatten_layers(include_self=False),
        new._flatten_layers(include_self=False),
        strict=True,
    )
    for before, after in pairs:
        after._trainable = before._trainable
    for before, after in zip(old.weights, new.weights, strict=True):
        after.trainable = before.trainable
