"""Which tensor of an artifact is which tensor of its Keras source."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.deploy.exporters.tracing import graph_names, input_names, output_names

if TYPE_CHECKING:
    import keras

Arrays = Mapping[str, NDArray[Any]]
Shape = Sequence[int | None]
_MISFIT = (0, 0)


@dataclass(frozen=True)
class Pairing:
    """An artifact's inputs in the order of the source's.

    Attributes:
        names: The source's names.
        specs: The artifact's tensor for each.
        moves: For each input from where to where its channels move: an ONNX file may take them
            first where the source has them last, or the other way round. None where they stay.
    """

    names: tuple[str, ...]
    specs: tuple[TensorSpec, ...]
    moves: tuple[tuple[int, int] | None, ...]

    def apply(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """The source's inputs as the artifact takes them."""
        return {
            spec.name: np.moveaxis(arrays[name], *move) if move else arrays[name]
            for name, spec, move in zip(self.names, self.specs, self.moves, strict=True)
        }


def pair_inputs(model: keras.Model, specs: Sequence[TensorSpec]) -> Pairing:
    """Find each input of a model among an artifact's.

    By name, else by shape where only one fits, else by position.

    Raises:
        InputError: The artifact's inputs aren't those of the model.
    """
    shapes = [tuple(t.shape) for t in model.inputs]
    names = [[t.name, g] for t, g in zip(model.inputs, input_names(model), strict=True)]
    found = _pair("input", names, shapes, specs, lambda a, b: _move(a, b) is not _MISFIT)
    return Pairing(
        tuple(t.name for t in model.inputs),
        tuple(found),
        tuple(_move(s, f.shape) for s, f in zip(shapes, found, strict=True)),
    )


def pair_outputs(
    model: keras.Model, want: Sequence[NDArray[Any]], specs: Sequence[TensorSpec], got: Arrays
) -> list[NDArray[Any]]:
    """An artifact's outputs in the order and shapes of the source's.

    By name, else by shape; where several orders fit, the one whose values come nearest: of a file
    whose names say nothing, the order of its outputs says nothing either.

    Raises:
        InputError: The artifact's outputs aren't those of the model.
    """
    found = output_order(model, want, specs, got)
    return [got[name].reshape(w.shape) for name, w in zip(found, want, strict=True)]


def crossed(
    model: keras.Model, order: Sequence[str], specs: Sequence[TensorSpec]
) -> tuple[tuple[str, str], ...]:
    """Outputs that were found by their values alone, as `output_order` does where names don't fit.

    Args:
        model: The source.
        order: Names of an artifact's outputs in the source's order.
        specs: The artifact's outputs in its own.

    Returns:
        The source's name and the artifact's of each; none where names or places agree.
    """
    names = output_names(model)
    pairs = tuple(zip(names, order, strict=True))
    named = all(_bare(name) == _bare(found) for name, found in pairs)
    return () if named or list(order) == [spec.name for spec in specs] else pairs


def output_order(
    model: keras.Model, want: Sequence[NDArray[Any]], specs: Sequence[TensorSpec], got: Arrays
) -> list[str]:
    """Names of an artifact's outputs in the source's order; see `pair_outputs`.

    Raises:
        InputError: The artifact's outputs aren't those of the model.
    """
    names = [[n] for n in output_names(model)]
    shapes = [w.shape for w in want]
    real = [TensorSpec(s.name, got[s.name].shape, s.dtype) for s in specs]

    def distance(order: Sequence[TensorSpec]) -> float:
        pairs = zip(want, (got[spec.name] for spec in order), strict=True)
        return sum(float(np.mean(np.abs(g.reshape(w.shape) - w.astype(float)))) for w, g in pairs)

    return [spec.name for spec in _pair("output", names, shapes, real, _same_size, distance)]


def _pair(
    side: str,
    names: Sequence[Sequence[str]],
    shapes: Sequence[Shape],
    specs: Sequence[TensorSpec],
    fits: Callable[[Shape, Shape], bool],
    distance: Callable[[Sequence[TensorSpec]], float] | None = None,
) -> list[TensorSpec]:
    if len(names) != len(specs):
        raise InputError(
            f"the file has {len(specs)} {side}s, the model {len(names)}",
            "it was made from another model",
        )
    by_name = {_bare(spec.name): spec for spec in specs}
    named = [next((by_name[_bare(n)] for n in ns if _bare(n) in by_name), None) for ns in names]
    if all(s is not None and fits(h, s.shape) for s, h in zip(named, shapes, strict=True)):
        return [spec for spec in named if spec is not None]
    orders = itertools.islice(itertools.permutations(specs), 5040)
    fitting = (
        list(order)
        for order in orders
        if all(fits(h, s.shape) for h, s in zip(shapes, order, strict=True))
    )
    found = next(fitting, None)
    if found is not None and distance is not None:
        # At most so many: each is compared over all samples.
        found = min([found, *itertools.islice(fitting, 119)], key=distance)
    if found is None:
        have = ", ".join(f"{s.name} {_shown(s.shape)}" for s in specs)
        need = ", ".join(f"{n[0]} {_shown(h)}" for n, h in zip(names, shapes, strict=True))
        raise InputError(
            f"the file's {side}s ({have}) don't fit the model's ({need})",
            "it was made from another model",
        )
    return found


def _bare(name: str) -> str:
    """A tensor's name without what converters put around it."""
    return graph_names([name.removeprefix("serving_default_").rsplit(":", 1)[0]])[0]


def _fits(a: Shape, b: Shape) -> bool:
    """Whether two shapes can be the same tensor's; free sizes and the batch fit anything."""
    if len(a) != len(b):
        return False
    pairs = list(zip(a, b, strict=True))[1:]
    return all(x is None or y is None or x == y for x, y in pairs)


def _same_size(a: Shape, b: Shape) -> bool:
    """Whether two arrays hold the same samples, sizes of 1 apart."""
    return [s for s in a if s != 1] == [s for s in b if s != 1]


def _move(own: Shape, theirs: Shape) -> tuple[int, int] | None:
    """How channels of an image move from one shape to another; `_MISFIT` where nothing helps."""
    if _fits(own, theirs):
        return None
    if len(own) == 4:
        if _fits((own[0], own[-1], *own[1:-1]), theirs):
            return -1, 1
        if _fits((own[0], *own[2:], own[1]), theirs):
            return 1, -1
    return _MISFIT


def _shown(shape: Shape) -> str:
    return "(" + ", ".join("?" if s is None else str(s) for s in shape) + ")"
