"""Look-up tables and text vectorization, taken off a model: files take the numbers they give."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.data import Dataset, Split
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import write_json

if TYPE_CHECKING:
    import keras

# Layers of Keras that keep a table, or hash texts.
LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing")
_NUMBERED = ("StringLookup", "IntegerLookup", "TextVectorization")
# What of a layer's settings says how its numbers come about.
_SETTINGS = (
    "standardize", "split", "ngrams", "output_mode", "output_sequence_length", "mask_token",
    "oov_token", "num_oov_indices", "num_bins", "salt", "mask_value", "encoding",
    "vocabulary_dtype",
)  # fmt: skip


@dataclass(frozen=True)
class TokenFront:
    """The part of a model before its numbers.

    Attributes:
        front: The Keras model from the original inputs to the numbers.
        inputs: Names of the original inputs that it takes.
        numbers: Names of the inputs of the rest that it gives, in its order.
        dtypes: Their element types.
        layers: The look-ups.
    """

    front: Any
    inputs: tuple[str, ...]
    numbers: tuple[str, ...]
    dtypes: tuple[str, ...]
    layers: tuple[Any, ...]

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of the rest of the model, by name, of the original ones."""
        import keras
        import tensorflow as tf

        given = keras.tree.flatten(self.front([inputs[name] for name in self.inputs]))
        made = {
            name: tf.cast(value, dtype)
            for name, dtype, value in zip(self.numbers, self.dtypes, given, strict=True)
        }
        return made | {n: v for n, v in inputs.items() if n not in self.inputs}

    def applied(self, dataset: Dataset) -> Dataset:
        """A data set for the rest of the model, of one for the whole of it."""

        def changed(split: Split) -> Split:
            if split.preparation.front is not None:
                return split
            preparation = dataclasses.replace(split.preparation, front=self)
            return dataclasses.replace(split, preparation=preparation)

        return dataset.with_splits(changed)

    def remark(self) -> str:
        """What people should know of the files."""
        kinds = ", ".join(f"'{layer.name}' ({type(layer).__name__})" for layer in self.layers)
        plural = "s" * (len(self.layers) > 1)
        return (
            f"layer{plural} {kinds} can't be in a file: the files take what "
            f"{'they give' if plural else 'it gives'} ({', '.join(self.numbers)}); compute it"
            " before them as tokens.json beside them says"
        )

    def write(self, folder: Path) -> list[Path]:
        """Write what is needed to compute the numbers; gives the files."""
        files = []
        tables: list[dict[str, Any]] = []
        for layer in self.layers:
            config = layer.get_config()
            entry: dict[str, Any] = {"layer": layer.name, "type": type(layer).__name__}
            entry |= {n: _plain(config[n]) for n in _SETTINGS if config.get(n) is not None}
            if type(layer).__name__ in _NUMBERED:
                words = [str(word) for word in layer.get_vocabulary()]
                name = f"vocabulary_{_file_name(layer.name)}"
                path = folder / f"{name}.txt"
                if any("\n" in word or "\r" in word for word in words):
                    path = folder / f"{name}.json"
                    write_json(path, words)
                else:
                    path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
                entry["vocabulary"] = path.name
                files.append(path)
            tables.append(entry)
        path = folder / "tokens.json"
        numbers = dict(zip(self.numbers, self.dtypes, strict=True))
        shapes = {
            n: list(t.shape[1:]) for n, t in zip(self.numbers, self.front.outputs, strict=True)
        }
        write_json(
            path,
            {"inputs": list(self.inputs), "gives": numbers, "shapes": shapes, "layers": tables},
        )
        return [*files, path]


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str | list | tuple) else str(value)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def split_off(model: keras.Model) -> tuple[TokenFront, keras.Model] | None:
    """A model's look-ups and the rest of it.

    Args:
        model: A Keras model.

    Returns:
        What stands before the numbers, and a model from them to the outputs with copies of the
        weights; None where there is no look-up.

    Raises:
        InputError: A look-up gives an output of the model, or computes with what is learned.
    """
    from edgepress.compress.graph import nodes_of, require_graph
    from edgepress.compress.models.rebuilding.inline_submodels import unnested

    if not any(type(x).__name__ in LOOKUPS for x in model._flatten_layers(include_self=False)):
        return None
    flat = unnested(model)
    graph = require_graph(flat)
    nodes = [node for node in nodes_of(graph) if not node.is_input]
    early = _early(nodes)
    layers = tuple(n.operation for n in nodes if type(n.operation).__name__ in LOOKUPS)
    _check(early, layers, graph)
    made = {id(t) for node in early for t in node.output_tensors}
    late = [node for node in nodes if id(node) not in {id(n) for n in early}]
    read = {id(t): t for node in late for t in node.input_tensors}
    cut = [t for node in early for t in node.output_tensors if id(t) in read]
    needed = {id(t) for node in early for t in node.input_tensors} - made
    inputs = [t for t in graph.inputs if id(t) in needed]
    kept = [t for t in graph.inputs if id(t) in read]
    both = [t.name for t in inputs if id(t) in read]
    if both:
        raise InputError(
            f"input '{both[0]}' is looked up and computed with at once",
            "give the model an input of its own for each",
        )
    names = _names(cut, inputs)
    rest = _rest(flat, graph, late, cut, kept, names)
    import keras

    front = keras.Model(inputs, cut)
    dtypes = tuple(_file_type(t) for t in cut)
    return TokenFront(front, tuple(t.name for t in inputs), names, dtypes, layers), rest


def _early(nodes: Sequence[Any]) -> list[Any]:
    """Calls of look-ups, and all that those need, in order."""
    wanted: set[int] = set()
    found = []
    for node in reversed(nodes):
        looked_up = type(node.operation).__name__ in LOOKUPS
        if looked_up or any(id(t) in wanted for t in node.output_tensors):
            wanted |= {id(t) for t in node.input_tensors}
            found.append(node)
    return found[::-1]


def _check(early: Sequence[Any], layers: Sequence[Any], graph: keras.Model) -> None:
    made = {id(t) for node in early for t in node.output_tensors}
    for layer in layers:
        if getattr(layer, "invert", False) or any(id(t) in made for t in graph.outputs):
            raise InputError(
                f"layer '{layer.name}' ({type(layer).__name__}) gives an output of the model, and"
                " no file holds its table",
                "end the model before it, and look up its numbers behind the file",
            )
    for node in early:
        if getattr(node.operation, "trainable_weights", None):
            raise InputError(
                f"layer '{layers[0].name}' ({type(layers[0]).__name__}) keeps a table that no file"
                f" format has a place for, and reads what layer '{node.operation.name}' learned",
                "look up the indices before the model",
            )


def _names(cut: Sequence[Any], inputs: Sequence[Any]) -> tuple[str, ...]:
    """Names of the numbers: that of the one input that they are of, else those of the look-ups."""
    if len(cut) == len(inputs) == 1:
        return (inputs[0].name,)
    found: list[str] = []
    for tensor in cut:
        name = tensor._keras_history.operation.name
        found.append(name if name not in found else f"{name}_{len(found)}")
    return tuple(found)


def _file_type(tensor: keras.KerasTensor) -> str:
    dtype = str(tensor.dtype)
    return "int32" if dtype == "int64" else dtype


def _rest(
    flat: keras.Model,
    graph: keras.Model,
    late: Sequence[Any],
    cut: Sequence[Any],
    kept: Sequence[Any],
    names: Sequence[str],
) -> keras.Model:
    """The model behind the numbers, layers copied with their weights."""
    import keras

    from edgepress.compress.models.rebuilding.replacing import copy_of

    fresh = [
        keras.Input(batch_shape=t.shape, dtype=_file_type(t), name=name)
        for t, name in zip(cut, names, strict=True)
    ]
    fresh += [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in kept]
    tensors = {id(old): new for old, new in zip([*cut, *kept], fresh, strict=True)}
    made: dict[int, tuple[Any, Any]] = {}
    for node in late:
        operation = node.operation
        layer = made.setdefault(id(operation), (operation, copy_of(operation)))[1]
        arguments, options = node.arguments.fill_in(tensors)
        results = keras.tree.flatten(layer(*arguments, **options))
        tensors |= {id(old): new for old, new in zip(node.output_tensors, results, strict=True)}
    outputs = [tensors[id(tensor)] for tensor in graph.outputs]
    rest = keras.Model(
        fresh[0] if len(fresh) == 1 else fresh,
        keras.tree.pack_sequence_as(graph._outputs_struct, outputs),
        name=flat.name,
    )
    for old, new in made.values():
        if getattr(old, "weights", None):
            new.set_weights(old.get_weights())
    return rest
