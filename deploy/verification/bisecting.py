"""The first operator of a file whose outputs depart in one runtime from those in another.

The file is cut behind an operator in the middle, both halves of the question are asked there, and
so on: a graph of n operators takes about log2(n) runs. A cut graph is computed as the runtime
computes the whole: showing all tensors at once would keep it from joining operators, and a fault
of a joined kernel would vanish.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.tflite.graph import packed, read_graph
from edgepress.compress.errors import InputError
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.deploy.differences.difference import noise

if TYPE_CHECKING:
    import onnx

# Kernels that add in another order differ by less in floats; with few levels a value that lies
# between two of them may be rounded either way, again and again.
FLOAT_NOISE, INTEGER_NOISE = 1e-3, 0.1

Arrays = Mapping[str, NDArray[Any]]
Load = Callable[[Path], Runtime]


@dataclass(frozen=True)
class Departure:
    """The first operator that differs.

    Attributes:
        position: Its place among the operators, from 0.
        operators: How many there are.
        operator: Its kind.
        tensor: Its output, by the file's name.
        layer: The Keras layer that it belongs to, as far as names tell; else empty.
        noise: Root mean square of the differences over the spread of what it should give.
        runs: How many times both sides were run.
    """

    position: int
    operators: int
    operator: str
    tensor: str
    layer: str
    noise: float
    runs: int

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)


class _Graph(Protocol):
    """A file's graph, which can be cut."""

    count: int

    def kind(self, position: int) -> str:
        """The kind of an operator."""

    def names(self, position: int) -> list[str]:
        """The names of an operator's first output, of itself, and of its constants."""

    def cut(self, count: int, out: Path, shown: Sequence[str] | None = None) -> None:
        """Write the first operators as a file.

        Args:
            count: How many.
            out: The file.
            shown: Its outputs; by default all that the other operators or the caller read of them.
        """

    def read_by(self, position: int) -> list[str]:
        """What an operator reads of others and of the inputs."""


def bisect(
    reference: Load,
    suspect: Load,
    file: Path,
    samples: Arrays,
    least: float,
    *,
    suspect_file: Path | None = None,
    layers: Sequence[str] = (),
    keep: Path | None = None,
) -> Departure | None:
    """The first operator whose outputs depart.

    Args:
        reference: Loads a file where it is right.
        suspect: Loads a file where it may be wrong.
        file: A `.tflite` or `.onnx` file.
        samples: Inputs by name, (n, …) each.
        least: The noise from which outputs count as departed.
        suspect_file: Another file of the same operators, for the other side; the same by default.
        layers: Names of Keras layers, of which one is found in the tensor's name.
        keep: A folder, made here, for what shows the departure again: the operator's inputs
            (`inputs.npz`), its outputs on both sides (`reference.npz`, `suspect.npz`) and the file
            up to it.

    Returns:
        The operator, or None where the file's outputs don't depart.

    Raises:
        InputError: It is another kind of file, or the two don't have the same operators.
        DeviceError: A runtime refuses a part of the file.
    """
    graph, other = _read(file), _read(suspect_file or file)
    if [graph.kind(i) for i in range(graph.count)] != [other.kind(i) for i in range(other.count)]:
        raise InputError(f"'{file}' and '{suspect_file}' don't have the same operators")
    with scratch_folder() as folder:
        asked = _Question(graph, other, reference, suspect, samples, least, folder)
        if asked.noise_behind(graph.count) <= least:
            return None
        right, wrong = 0, graph.count
        while wrong - right > 1:
            middle = (right + wrong) // 2
            if asked.noise_behind(middle) > least:
                wrong = middle
            else:
                right = middle
        found = Departure(
            position=wrong - 1,
            operators=graph.count,
            operator=graph.kind(wrong - 1),
            tensor=graph.names(wrong - 1)[0],
            layer=layer_in(graph.names(wrong - 1), layers),
            noise=asked.noises[wrong],
            runs=len(asked.noises),
        )
        if keep is not None:
            asked.keep(wrong, keep)
    return found


def layer_in(names: Sequence[str], layers: Sequence[str]) -> str:
    """The Keras layer in the names around an operator, which hold the scopes that made them."""
    known = set(layers)
    for name in names:
        for part in reversed(re.split(r"[/;:]", name)):
            # Keras numbers scopes of one name in the order of their calls.
            for scope in (part, re.sub(r"_\d+$", "", part)):
                if scope in known:
                    return scope
    return ""


class _Question:
    """Both sides, run behind any operator."""

    def __init__(
        self,
        graph: _Graph,
        other: _Graph,
        reference: Load,
        suspect: Load,
        samples: Arrays,
        least: float,
        folder: Path,
    ) -> None:
        self.sides = ((graph, reference), (other, suspect))
        self.samples, self.least, self.folder = samples, least, folder
        self.noises: dict[int, float] = {}

    def noise_behind(self, count: int) -> float:
        """The largest noise of what the first operators give."""
        if count not in self.noises:
            want, got = (self._outputs(side, count) for side in self.sides)
            self.noises[count] = max((_noise(want[name], got[name]) for name in want), default=0.0)
        return self.noises[count]

    def keep(self, count: int, folder: Path) -> None:
        """Write the file up to the last of them, its inputs and outputs."""
        graph, load = self.sides[0]
        folder.mkdir(parents=True)
        graph.cut(count, folder / f"until{self._suffix}")
        read = graph.read_by(count - 1)
        made = [name for name in read if name not in self.samples]
        given = {name: self.samples[name] for name in read if name in self.samples}
        if made:
            graph.cut(count - 1, self._path, made)
            with load(self._path) as runtime:
                given |= runtime.predict(dict(self.samples))
        _save(folder / "inputs.npz", given)
        for name, side in zip(("reference", "suspect"), self.sides, strict=True):
            _save(folder / f"{name}.npz", self._outputs(side, count))

    @property
    def _suffix(self) -> str:
        return ".onnx" if isinstance(self.sides[0][0], _Onnx) else ".tflite"

    @property
    def _path(self) -> Path:
        return self.folder / f"part{self._suffix}"

    def _outputs(self, side: tuple[_Graph, Load], count: int) -> Arrays:
        graph, load = side
        graph.cut(count, self._path)
        with load(self._path) as runtime:
            return runtime.predict(dict(self.samples))


def _noise(want: NDArray[Any], got: NDArray[Any]) -> float:
    if want.shape != got.shape:
        return math.inf
    difference = np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64))
    return noise(difference, np.asarray(want, np.float64), 1e-6)


def _save(path: Path, arrays: Arrays) -> None:
    np.savez(path, allow_pickle=False, **dict(arrays))


def _read(file: Path) -> _Graph:
    kinds: dict[str, Callable[[Path], _Graph]] = {".tflite": _TFLite, ".onnx": _Onnx}
    kind = kinds.get(file.suffix.lower())
    if kind is None:
        raise InputError(f"'{file}' can't be cut", "give a .tflite or .onnx file")
    return kind(file)


class _TFLite:
    def __init__(self, path: Path) -> None:
        self._graph, self._content = read_graph(path), path.read_bytes()
        if self._graph.subgraphs > 1 or any(t.variable for t in self._graph.tensors):
            raise InputError(
                f"'{path}' keeps state or has control flow, and can't be cut",
                "unroll its recurrent layers",
            )
        self.count = len(self._graph.operators)
        self._ports = _signature_names(self._content)

    def kind(self, position: int) -> str:
        return self._graph.operators[position].name

    def names(self, position: int) -> list[str]:
        operator, tensors = self._graph.operators[position], self._graph.tensors
        constants = [i for i in operator.inputs if i >= 0 and tensors[i].constant]
        return [tensors[i].name for i in (operator.outputs[0], *constants)]

    def read_by(self, position: int) -> list[str]:
        read = self._graph.operators[position].inputs
        return [self._name(i) for i in read if i >= 0 and not self._graph.tensors[i].constant]

    def cut(self, count: int, out: Path, shown: Sequence[str] | None = None) -> None:
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(self._content, 0)
        graph = model.subgraphs[0]
        made = [t for op in self._graph.operators[:count] for t in op.outputs]
        later = {t for op in self._graph.operators[count:] for t in op.inputs}
        asked = [t for t in made if t in later or t in self._graph.outputs]
        if shown is not None:
            asked = [t for t in made if self._name(t) in shown]
        graph.operators, graph.outputs = graph.operators[:count], list(dict.fromkeys(asked))
        # Without the signature, which lists all outputs, tensors are known by their own names.
        model.signatureDefs = None
        for index in (*self._graph.inputs, *made):
            graph.tensors[index].name = self._name(index)
        out.write_bytes(packed(model, len(self._content)))

    def _name(self, index: int) -> str:
        return self._ports.get(index, f"tensor_{index}")


def _signature_names(content: bytes) -> dict[int, str]:
    """The names by which data is given to a file, by tensor."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    names = {int(i): graph.tensors[i].name for i in graph.inputs}
    for definition in (model.signatureDefs or ())[:1]:
        names |= {int(t.tensorIndex): t.name for t in definition.inputs or ()}
    return {i: n.decode() if isinstance(n, bytes) else n for i, n in names.items() if n}


class _Onnx:
    def __init__(self, path: Path) -> None:
        import onnx

        self._model = onnx.load(path)
        inferred = onnx.shape_inference.infer_shapes(self._model).graph
        self._known = {v.name: v for v in (*inferred.value_info, *inferred.output)}
        self._constants = {tensor.name for tensor in self._model.graph.initializer}
        self.count = len(self._model.graph.node)

    def kind(self, position: int) -> str:
        return str(self._model.graph.node[position].op_type)

    def names(self, position: int) -> list[str]:
        node = self._model.graph.node[position]
        return [node.output[0], node.name, *(n for n in node.input if n in self._constants)]

    def read_by(self, position: int) -> list[str]:
        read = self._model.graph.node[position].input
        return [name for name in read if name and name not in self._constants]

    def cut(self, count: int, out: Path, shown: Sequence[str] | None = None) -> None:
        import onnx

        cut = onnx.ModelProto()
        cut.CopyFrom(self._model)
        graph, nodes = cut.graph, list(self._model.graph.node)
        made = [name for node in nodes[:count] for name in node.output if name]
        later = {name for node in nodes[count:] for name in node.input}
        later |= {value.name for value in self._model.graph.output}
        asked = [name for name in made if name in (later if shown is None else shown)]
        for field, values in (("node", nodes[:count]), ("output", map(self._value, asked))):
            graph.ClearField(field)
            getattr(graph, field).extend(values)
        onnx.save(cut, out)

    def _value(self, name: str) -> onnx.ValueInfoProto:
        import onnx

        return self._known.get(name) or onnx.ValueInfoProto(name=name)
