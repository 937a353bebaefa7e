"""The state of optimizers in old files, carried into optimizers of Keras 3.

Four layouts exist. Keras 1 and 2 write every kind of slot one after the other, under names that
say nothing; tf.keras up to 2.10 names them `Adam/dense/kernel/m`, later `Adam/m/dense/kernel`;
archives have no names, only places.
A slot has the layout of its weight, so it is moved as its weight is: the elements of the saved
weights are numbered, the numbers are carried into Keras 3's layers like weights, and where each
number comes out is where the slot's element belongs. A conversion that doesn't just move elements
(a folded normalisation) shows in the numbers, and the state is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepress.compress.kernel.registry import Table
from edgepress.compress.models.legacy.assembly import attributes, layers
from edgepress.compress.models.legacy.assembly.building import Builder, Member
from edgepress.compress.models.legacy.formats.saved_model import LayerWeights, Saved, Tensor, Weight
from edgepress.compress.models.legacy.state.weights import held_layer, is_seed, move

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Slots:
    """The arrays that an optimizer keeps for each weight.

    Args:
        names: Keras 3's attribute → the names it was saved under; in Keras 1's and 2's order.
        outer_epsilon: Whether epsilon was added to the root before tf.keras 2.11; Keras 3 adds it
            under the root.
    """

    names: Mapping[str, tuple[str, ...]]
    outer_epsilon: bool = False


_ADAM = Slots({"_momentums": ("m",), "_velocities": ("v",), "_velocity_hats": ("vhat",)})
OPTIMIZERS: Table[Slots] = Table(
    "optimizer whose state is carried",
    {
        "SGD": Slots({"momentums": ("m", "momentum")}),
        "Adam": _ADAM,
        "AdamW": _ADAM,
        "Adamax": Slots({"_m": ("m",), "_u": ("u", "v")}),
        "RMSprop": Slots(
            {
                "_velocities": ("velocity", "rms"),
                "_momentums": ("momentum",),
                "_average_gradients": ("average_gradient", "mg"),
            },
            outer_epsilon=True,
        ),
        "Adagrad": Slots({"_accumulators": ("accumulator",)}, outer_epsilon=True),
        "Adadelta": Slots(
            {
                "_accumulated_grads": ("accumulated_grad", "accum_grad"),
                "_accumulated_delta_vars": ("accumulated_delta_var", "accum_var"),
            }
        ),
        "Lion": Slots({"_momentums": ("m",)}),
    },
)
_LEFT = "training starts over"
# Settings that are read one by one.
_APART = {"name", "learning_rate", "use_ema"}


class _LeftBehindError(Exception):
    """Why the state can't be carried."""


def carry_optimizer(
    model: keras.Model, builder: Builder, saved: Saved
) -> tuple[keras.Optimizer | None, list[str]]:
    """Build the optimizer that a file holds, with its state.

    Args:
        model: The model that `builder` made of `saved`, with its weights.
        builder: Knows which layer became what.
        saved: The file.

    Returns:
        A built Keras 3 optimizer, or None where no state can be carried; and notes that say so.
    """
    if not saved.training:
        return None, []
    spec = _spec(saved.training.get("optimizer_config"))
    name = attributes.own_name(str(spec.get("class_name", "")))
    optimizer = f"the optimizer {name}".rstrip()
    if not saved.optimizer:
        return None, [f"no state of {optimizer} is read from this file: {_LEFT}"]
    try:
        return _carried(model, builder, saved, name, dict(spec["config"]))
    except _LeftBehindError as error:
        reason = str(error)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"its settings don't fit Keras 3 ({type(error).__name__}: {error})"
    return None, [f"the state of {optimizer} is left behind, {_LEFT}: {reason}"]


def _spec(given: Any) -> Mapping[str, Any]:
    """Class and settings; archives name an optimizer alone where it was compiled by its name.

    The settings that a name stands for are the same in Keras 2.12 and 3.
    """
    import keras

    if isinstance(given, str):
        named = [name for name in OPTIMIZERS if name.lower() == given.lower()]
        if not named:
            return {"class_name": given, "config": {}}
        return {
            "class_name": named[0],
            "config": getattr(keras.optimizers, named[0])().get_config(),
        }
    return given if isinstance(given, dict) else {}


def _carried(
    model: keras.Model, builder: Builder, saved: Saved, name: str, config: dict[str, Any]
) -> tuple[keras.Optimizer | None, list[str]]:
    if name not in OPTIMIZERS:
        raise _LeftBehindError("how it maps to Keras 3 isn't known")
    slots = OPTIMIZERS[name]
    optimizer = _built(name, config, saved, model)
    wanted = {k: names for k, names in slots.names.items() if getattr(optimizer, k, None)}
    steps, arrays = _steps(saved.optimizer)
    optimizer.iterations.assign(steps or 0)
    if wanted and not arrays:
        raise _LeftBehindError("only the number of steps was saved")
    if wanted and "" in saved.weights:
        _assign_by_place(optimizer, wanted, arrays, _in_saved_order(model, builder))
    elif wanted:
        weights = _TrainedWeights(model, builder, saved)
        found = _by_slot(wanted, _is_older(config), arrays, len(weights.saved))
        for key, own in found.items():
            weights.assign(getattr(optimizer, key), weights.in_order(own))
    rate = float(optimizer.learning_rate)
    after = "an unknown number of" if steps is None else str(steps)
    notes = [
        f"the state of the optimizer {name} is carried ({after} steps, learning rate {rate:.3g}): "
        "`load_noted(…).optimizer`; prune goes on from it, fine-tune starts with a new one"
    ]
    if slots.outer_epsilon and _is_older(config) and not config.get("momentum"):
        notes.append(f"{name}: Keras 3 adds epsilon under the root, Keras 2 did outside")
    return optimizer, notes


def _is_older(config: Mapping[str, Any]) -> bool:
    """Whether the settings are those of an optimizer from before tf.keras 2.11."""
    return "use_ema" not in config


def _built(
    name: str, config: Mapping[str, Any], saved: Saved, model: keras.Model
) -> keras.Optimizer:
    """A fresh optimizer of the saved settings, built on what the model trains."""
    import keras

    if config.get("use_ema"):
        raise _LeftBehindError("it keeps moving averages of the weights")
    if not model.trainable_variables:
        raise _LeftBehindError("every layer is frozen")
    cls = getattr(keras.optimizers, name)
    known = layers.accepted(cls)
    kept = {k: v for k, v in config.items() if k in known - _APART and v is not None}
    if "clipnorm" in kept and ("lr" in config or re.fullmatch(r"2\.3\.\d", saved.keras)):
        # Before Keras became a part of TensorFlow, it clipped the norm of all gradients together.
        kept["global_clipnorm"] = kept.pop("clipnorm")
    optimizer = cls(learning_rate=_rate(config), **kept)
    optimizer.build(model.trainable_variables)
    return optimizer


def _rate(config: Mapping[str, Any]) -> Any:
    """The learning rate, or its schedule; `decay` was the schedule of Keras 1 and 2."""
    import keras

    rate = config["learning_rate"] if "learning_rate" in config else config["lr"]
    if isinstance(rate, dict):
        cls = getattr(keras.optimizers.schedules, str(rate["class_name"]), None)
        if cls is None:
            raise _LeftBehindError(f"its schedule {rate['class_name']} isn't known")
        return cls(**{key: value for key, value in rate["config"].items() if value is not None})
    decay = float(config.get("decay") or 0.0)
    if decay:
        return keras.optimizers.schedules.InverseTimeDecay(float(rate), 1, decay)
    return float(rate)


def _steps(arrays: Sequence[Weight]) -> tuple[int | None, list[Weight]]:
    """The number of steps, which stands first where it is saved, and the other arrays."""
    if arrays[0].value.shape == ():
        return int(arrays[0].value), list(arrays[1:])
    return None, list(arrays)


def _by_slot(
    names: Mapping[str, tuple[str, ...]], older: bool, arrays: Sequence[Weight], count: int
) -> dict[str, list[Weight]]:
    """The arrays of each slot: by their names, or by their place where names don't tell.

    Args:
        names: The slots that are looked for, with the names they were saved under.
        older: Whether the slot's name stands last.
        arrays: The optimizer's, without the number of steps.
        count: Number of weights that are trained.
    """
    known = {alias for aliases in names.values() for alias in aliases}
    split = [_split(array.name, known, older) for array in arrays]
    if not any(slot for slot, _ in split):
        rest = arrays[count * len(names) :]
        if any(array.value.shape != (1,) for array in rest):  # Keras 2's for a slot without use
            raise _LeftBehindError("it belongs to other weights than those that are trained")
        starts = range(0, count * len(names), count)
        return {key: list(arrays[at : at + count]) for key, at in zip(names, starts, strict=True)}
    return {
        key: [
            Weight(name, array.value)
            for (slot, name), array in zip(split, arrays, strict=True)
            if slot in aliases
        ]
        for key, aliases in names.items()
    }


def _split(name: str, known: set[str], older: bool) -> tuple[str, str]:
    """The slot and the weight that an array's name tells, both empty where it doesn't."""
    path = name.partition(":")[0].split("/")
    place = len(path) - 1 if older else 1
    slot = re.sub(r"_\d+$", "", path[place]) if place < len(path) else ""
    if slot not in known:
        return "", ""
    return slot, "/".join(path[:place] if older else path[place + 1 :])


class _TrainedWeights:
    """The weights that the old model trained, and where their elements are in the new one.

    Args:
        model: The new model.
        builder: Knows which layer became what.
        saved: The file.

    Raises:
        _LeftBehindError: An element has no place of its own in the new model.
    """

    def __init__(self, model: keras.Model, builder: Builder, saved: Saved) -> None:
        self.saved: list[Weight] = []
        self.may_be_sorted = saved.keras.startswith(("1.", "2.0."))
        self.builder = builder
        self.count = 0
        numbered = self._numbered(model, saved.weights)
        self.places = _places(model, builder, replace(saved, weights=numbered), self.count)

    def _numbered(
        self, model: keras.Model, weights: Mapping[str, LayerWeights]
    ) -> dict[str, LayerWeights]:
        """Numbers in the place of elements: of those that were trained, -1 for all others."""
        members = {member.name: member for member in self.builder.members[id(model)]}
        numbered: dict[str, LayerWeights] = {}
        for name, group in weights.items():
            arrays = list(group.flat or ())
            if (arrays or group.children) and name not in members:
                raise _LeftBehindError("the weights are saved under names of other layers")
            if group.children:
                inner = self._numbered(members[name].layer, group.children)
                numbered[name] = LayerWeights(children=inner)
                continue
            count = _trained_count(members[name], len(arrays)) if arrays else 0
            made = [self._count_up(array) for array in arrays[:count]]
            made += [Weight(a.name, np.full(a.value.shape, -1.0)) for a in arrays[count:]]
            numbered[name] = LayerWeights(flat=tuple(made))
        return numbered

    def _count_up(self, array: Weight) -> Weight:
        start, self.count = self.count, self.count + array.value.size
        self.saved.append(array)
        numbers = np.arange(start, self.count, dtype=np.float64)
        return Weight(array.name, numbers.reshape(array.value.shape))

    def in_order(self, arrays: Sequence[Weight]) -> Tensor:
        """One slot's elements: by the weights' names where all tell, else in the old order."""
        chosen = [self._named(arrays, weight.name) for weight in self.saved]
        found = [array for array in chosen if array is not None]
        if len(found) != len(self.saved) or len({id(a) for a in found}) != len(found):
            found = self._unnamed(arrays)
        if [a.value.shape for a in found] != [w.value.shape for w in self.saved]:
            raise _LeftBehindError("its arrays don't fit the weights that are trained")
        return np.concatenate([array.value.ravel() for array in found])

    def _unnamed(self, arrays: Sequence[Weight]) -> list[Weight]:
        """Arrays layer by layer, or, from Keras 1 to 2.0, by the weights' names in the alphabet."""
        if len(arrays) != len(self.saved) or not self.may_be_sorted:
            return list(arrays)
        order = sorted(range(len(arrays)), key=lambda at: self.saved[at].name)
        found = [array for _, array in sorted(zip(order, arrays, strict=True), key=_first)]
        fits = [
            choice
            for choice in (list(arrays), found)
            if [a.value.shape for a in choice] == [w.value.shape for w in self.saved]
        ]
        if len(fits) == 2 and order != sorted(order):
            raise _LeftBehindError("which array belongs to which weight is unknown")
        return fits[0] if fits else found

    def _named(self, arrays: Sequence[Weight], name: str) -> Weight | None:
        """The only array whose name ends with a weight's."""
        end = "/" + name.partition(":")[0]
        fits = [array for array in arrays if f"/{array.name}".endswith(end)]
        return fits[0] if len(fits) == 1 else None

    def assign(self, variables: Sequence[Any], values: Tensor) -> None:
        """Give an optimizer's variables, which are in the model's order, a slot's elements."""
        for variable, places in zip(variables, self.places, strict=True):
            variable.assign(values[places])


def _in_saved_order(model: keras.Model, builder: Builder) -> list[Any]:
    """The trained variables in the order in which the old model had them: layer by layer."""
    found: dict[int, Any] = {}
    for member in builder.members[id(model)]:
        layer = None if member.layer is None else held_layer(member)
        if layer is not None and id(layer) in builder.members:
            own = _in_saved_order(layer, builder)
        else:
            own = [] if layer is None else getattr(layer, "trainable_weights", [])
        found.update({id(variable): variable for variable in own})
    return list(found.values())


def _assign_by_place(
    optimizer: keras.Optimizer,
    wanted: Mapping[str, Any],
    arrays: Sequence[Weight],
    variables: Sequence[Any],
) -> None:
    """Give an optimizer the slots of an archive, which has no names.

    Two slots of one variable lie side by side, a third kind lies behind; one kind lies behind the
    other in RMSprop.
    """
    count = len(variables)
    values = [array.value for array in arrays]
    paired = type(optimizer).__name__ in ("Adam", "AdamW", "Adamax", "Adadelta")
    for kind, key in enumerate(wanted):
        start, step = (kind, 2) if paired and kind < 2 else (kind * count, 1)
        own = values[start : start + step * count : step]
        if [v.shape for v in own] != [tuple(v.shape) for v in variables]:
            raise _LeftBehindError("its arrays don't fit the weights that are trained")
        pairs = zip(optimizer._trainable_variables, getattr(optimizer, key), strict=True)
        slots = {id(variable): slot for variable, slot in pairs}
        for variable, value in zip(variables, own, strict=True):
            slots[id(variable)].assign(value)


def _first(pair: tuple[int, Weight]) -> int:
    return pair[0]


def _trained_count(member: Member, count: int) -> int:
    """How many of a layer's saved arrays were trained; those stood first."""
    layer = held_layer(member)
    fixed = [v for v in layer.non_trainable_weights if not is_seed(v)]
    return count - len(fixed) if layer.trainable_weights else 0


def _places(model: keras.Model, builder: Builder, numbered: Saved, count: int) -> list[Tensor]:
    """For each variable that is trained, the numbers of its elements."""
    found: dict[int, Tensor] = {}
    move(model, builder, numbered, lambda variable, array: found.update({id(variable): array}))
    places = [found[id(variable)] for variable in model.trainable_variables]
    every = np.concatenate([place.ravel() for place in places])
    if not np.array_equal(np.sort(every), np.arange(count)):
        raise _LeftBehindError("some weights changed shape, or were frozen since")
    return [place.astype(np.int64) for place in places]
