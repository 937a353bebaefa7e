"""Moving saved arrays into the layers that were built: by name, by shape, by the old order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.errors import InputError
from edgepress.compress.models.legacy.assembly import tfmot
from edgepress.compress.models.legacy.assembly.building import Builder, Member
from edgepress.compress.models.legacy.formats.saved_model import LayerWeights, Saved, Tensor, Weight
from edgepress.compress.models.legacy.state import kernels
from edgepress.compress.models.legacy.wiring.rewired_graph import Rewired

if TYPE_CHECKING:
    import keras

Give = Callable[[Any, Tensor], None]


def _assign(variable: keras.Variable, array: Tensor) -> None:
    variable.assign(array.astype(variable.dtype))


def move(model: keras.Model, builder: Builder, saved: Saved, give: Give = _assign) -> None:
    """Give a built model the saved weights.

    Args:
        model: The model that `builder` made of `saved`.
        builder: Knows which layer became what.
        saved: The arrays.
        give: Takes each variable and its array.

    Raises:
        InputError: A layer's arrays are missing or don't fit it.
    """
    mover = _Mover(builder, saved, give)
    if "" in saved.weights:
        mover.tree(model, saved.weights[""])
    else:
        mover.named(model, saved.weights)
    mover.check(model)


class _Mover:
    def __init__(self, builder: Builder, saved: Saved, give: Give) -> None:
        self.builder = builder
        self.saved = saved
        self.give = give
        self.done: set[int] = set()
        self.given: set[int] = set()

    def check(self, model: keras.Model) -> None:
        """Refuse a model that would keep some of its random initial weights.

        Raises:
            InputError: A variable got no array.
        """
        left = [
            variable.path
            for layer in model.layers
            if type(layer).__name__ != "SavedParameter"
            for variable in _variables(layer)
            if id(variable) not in self.given
        ]
        if left:
            raise InputError(
                f"the file holds no weights for {', '.join(left[:3])}",
                "it was saved before the layers were built, or was cut short",
            )

    def assign(
        self, name: str, variables: Sequence[keras.Variable], arrays: Sequence[Weight]
    ) -> None:
        """Give variables their arrays: in order where all shapes agree, else by name."""
        shapes = [tuple(v.shape) for v in variables]
        names = [kernels.leaf_name(v.name) for v in variables]
        saved = [kernels.leaf_name(a.leaf) for a in arrays]
        if len(set(names)) == len(names) and sorted(names) == sorted(saved):
            arrays = [arrays[saved.index(leaf)] for leaf in names]
        if [a.value.shape for a in arrays] != shapes:
            arrays = _reordered(name, variables, arrays)
        for variable, array in zip(variables, arrays, strict=True):
            self.give(variable, np.asarray(array.value))
            self.given.add(id(variable))

    def members(self, model: keras.Model) -> list[Member]:
        """The layers of a built model, in the saved order; empty for a plain layer."""
        return self.builder.members.get(id(model), [])

    def named(self, model: keras.Model, weights: Mapping[str, LayerWeights]) -> None:
        """Move arrays that are grouped by layer name."""
        parts = self._flattened(self.members(model), weights)
        owners = [m for m in parts if _variables(m.layer)]
        missing = [m.name for m in owners if m.name not in weights]
        if missing and sum(m.name in weights for m in parts) < len(owners):
            whole = [m for m in self.members(model) if _variables(held_layer(m))]
            owners, weights = self._by_place((owners, whole), weights, missing)
        for member in owners:
            self.member(member, weights[member.name])

    def _flattened(
        self, members: Sequence[Member], weights: Mapping[str, LayerWeights]
    ) -> list[Member]:
        """Members, with the parts of those models whose layers the file lists one by one.

        Keras 1 does so with Sequential models inside a Sequential model.
        """
        found: list[Member] = []
        for member in members:
            inner = [] if member.layer is None else self.members(held_layer(member))
            listed = inner and member.name not in weights
            found += self._flattened(inner, weights) if listed else [member]
        return found

    def _by_place(
        self,
        choices: Sequence[list[Member]],
        weights: Mapping[str, LayerWeights],
        missing: list[str],
    ) -> tuple[list[Member], dict[str, LayerWeights]]:
        """Groups under other names: matched in order with the members whose number agrees."""
        groups = [group for group in weights.values() if any(True for _ in group.arrays())]
        for owners in choices:
            if len(groups) == len(owners):
                named = zip(owners, groups, strict=True)
                return owners, {member.name: group for member, group in named}
        raise InputError(
            f"the file holds no weights for {', '.join(missing[:3])}",
            "it was saved before the layers were built, or was cut short",
        )

    def member(self, member: Member, weights: LayerWeights) -> None:
        """Move one layer's arrays."""
        if not any(True for _ in weights.arrays()):
            raise InputError(
                f"the file holds no weights for {member.name}",
                "it was saved before the layers were built, or was cut short",
            )
        layer = held_layer(member)
        inner = self.members(layer)
        if inner and weights.flat is not None:
            self.flat_model(layer, list(weights.flat), member.name)
        elif inner:
            self.named(layer, weights.children)
        else:
            nested = _nested_model(layer, self.builder.members)
            if nested is not None and weights.flat is not None:
                self.flat_model(nested, list(weights.flat), member.name)
            else:
                self.leaf(member, layer, list(weights.arrays()))

    def flat_model(self, model: keras.Model, arrays: list[Weight], name: str) -> None:
        """Move the arrays of a nested model, which old files hold in one list."""
        grouped = self._grouped(model, arrays)
        if grouped is None:
            grouped = self._in_order(model, arrays, name)
        for member in self.members(model):
            if member.name in grouped:
                self.member(member, LayerWeights(flat=tuple(grouped[member.name])))

    def _grouped(self, model: keras.Model, arrays: list[Weight]) -> dict[str, list[Weight]] | None:
        """Arrays by the layer that their names contain; None where names don't tell."""
        owners = {m.name: m for m in self.members(model) if _variables(m.layer)}
        # The arrays of a wrapped layer stand under the wrapper's name, or under its own.
        called = {name: m.name for m in owners.values() for name in _names(m)}
        # What was left out of the graph has arrays all the same.
        called |= {m.name: "" for m in self.members(model) if m.layer is None}
        grouped: dict[str, list[Weight]] = {}
        for array in arrays:
            owner = next((called[p] for p in array.name.split("/")[:-1] if p in called), None)
            if owner is None:
                return None
            grouped.setdefault(owner, []).append(array)
        fits = all(
            len(grouped.get(name, ())) == len(_variables(member.layer))
            or member.class_name in tfmot.WRAPPERS
            for name, member in owners.items()
        )
        return grouped if fits else None

    def _in_order(
        self, model: keras.Model, arrays: list[Weight], name: str
    ) -> dict[str, list[Weight]]:
        """Arrays in the old order: what trains, layer by layer, then what doesn't."""
        owners = [m for m in self.members(model) if _variables(m.layer)]
        trained = [len(m.layer.trainable_weights) for m in owners]
        fixed = [len(m.layer.non_trainable_weights) for m in owners]
        if sum(trained) + sum(fixed) != len(arrays):
            raise InputError(
                f"'{name}' has {sum(trained) + sum(fixed)} weights, the file holds {len(arrays)}",
                "the file and its configuration don't belong together",
            )
        first, rest = arrays[: sum(trained)], arrays[sum(trained) :]
        grouped: dict[str, list[Weight]] = {}
        for member, a, b in zip(owners, trained, fixed, strict=True):
            grouped[member.name] = first[:a] + rest[:b]
            first, rest = first[a:], rest[b:]
        return grouped

    def tree(self, target: keras.Layer, weights: LayerWeights) -> None:
        """Move arrays that are grouped by attribute, as `.keras` archives do."""
        members = self.members(target)
        if members:
            self._tree_layers(members, weights.children.get("layers", weights))
            return
        self._tree_leaf(target, weights)

    def _tree_layers(self, members: Sequence[Member], group: LayerWeights) -> None:
        counts: dict[str, int] = {}
        for member in members:
            key = kernels.snake_case(member.class_name)
            place = counts.get(key, -1) + 1
            counts[key] = place
            child = group.children.get(f"{key}_{place}" if place else key)
            if child is None or member.layer is None or id(member.layer) in self.done:
                continue
            self.done.add(id(member.layer))
            if self.members(member.layer):
                self.tree(member.layer, child)
            else:
                self._tree_member(member, child)

    def _tree_member(self, member: Member, weights: LayerWeights) -> None:
        """One layer: inner parts by attribute where they have the same names, else in order."""
        if member.class_name in tfmot.WRAPPERS:
            if _variables(member.layer):
                self.leaf(member, member.layer, tfmot.from_archive(member.class_name, weights))
            return
        if member.class_name == "SpectralNormalization":
            # Its own arrays are the kernel once more and the vector of its training.
            weights = weights.children.get("layer", weights)
        if any(True for _ in weights.arrays()):
            if weights.own and not any(c for c in weights.children.values() if list(c.arrays())):
                self.leaf(member, held_layer(member), list(weights.own))
            else:
                self._tree_leaf(held_layer(member), weights)

    def _tree_leaf(self, target: keras.Layer, weights: LayerWeights) -> None:
        own = [*target._trainable_variables, *target._non_trainable_variables]
        if weights.own:
            own = [v for v in own if not is_seed(v)]
            self.assign(target.name, own, list(weights.own))
        for key, child in weights.children.items():
            inner = getattr(target, key, None)
            if isinstance(inner, list | tuple):
                for name, part in _container_names(inner):
                    if name in child.children:
                        self.tree(part, child.children[name])
            elif inner is not None and hasattr(inner, "_trainable_variables"):
                self.tree(inner, child)

    def leaf(self, member: Member, layer: keras.Layer, arrays: list[Weight]) -> None:
        """Move the arrays of a plain layer."""
        arrays = kernels.convert(member, layer, arrays, self.saved)
        self.assign(member.name, _variables(layer), arrays)
        finalize = getattr(layer, "finalize_state", None)
        if finalize is not None:
            finalize()


def _container_names(parts: Sequence[Any]) -> list[tuple[str, Any]]:
    """The names under which an archive holds the parts of a list: by class, then counted."""
    counts: dict[str, int] = {}
    named = []
    for part in parts:
        key = kernels.snake_case(type(part).__name__)
        counts[key] = counts.get(key, -1) + 1
        named.append((f"{key}_{counts[key]}" if counts[key] else key, part))
    return named


def held_layer(member: Member) -> Any:
    """The Keras layer that a member became."""
    return member.layer.layer if isinstance(member.layer, Rewired) else member.layer


def _names(member: Member) -> list[str]:
    """The names under which the arrays of a member may stand."""
    inner = (member.config.get("layer") or {}).get("config") or {}
    return [member.name, *([str(inner["name"])] if "name" in inner else [])]


def _nested_model(layer: keras.Layer, known: Mapping[int, Any]) -> keras.Model | None:
    """The model inside a TimeDistributed, where there is one."""
    inner = getattr(layer, "layer", None)
    return inner if inner is not None and id(inner) in known else None


def is_seed(variable: keras.Variable) -> bool:
    """Whether a variable is the state of a random generator."""
    return "seed_generator" in variable.path


def _variables(layer: keras.Layer) -> list[keras.Variable]:
    """A layer's variables in Keras's order, without the state of random generators."""
    return [v for v in layer.weights if not is_seed(v)] if layer is not None else []


def _reordered(name: str, variables: Sequence[Any], arrays: Sequence[Weight]) -> list[Weight]:
    """Arrays by the last part of their name, for layers that hold them in another order."""
    left = list(arrays)
    found = []
    for variable in variables:
        fits = [a for a in left if a.value.shape == tuple(variable.shape)]
        same = [a for a in fits if kernels.leaf_name(a.leaf) == kernels.leaf_name(variable.name)]
        best = same or fits
        if len(best) != 1 and not same:
            best = []
        if not best:
            raise InputError(
                f"the weights of '{name}' don't fit: the file holds "
                f"{[a.value.shape for a in arrays]}, the layer needs "
                f"{[tuple(v.shape) for v in variables]}",
                "the file and its configuration don't belong together",
            )
        found.append(best[0])
        left = [a for a in left if a is not best[0]]
    return found
