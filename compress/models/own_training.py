"""What a model's class says of its own training: a step, a loss, metrics.

Copies, flattened and pruned models are plain Keras models. They carry a mark that says which model
they come from, so that its own training isn't lost without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    import keras

_METHODS = ("train_step", "compute_loss", "compute_metrics", "test_step")
# Hidden from Keras, which would save and count a model that is an attribute.
_MARK = "_edgepress_own_training"


@dataclass(frozen=True, eq=False)
class OwnTraining:
    """A class that overrides parts of Keras's training.

    Attributes:
        model: The user's model.
        methods: Names of the methods that its class overrides.
        flattened: Whether the model's own `call` is not that of its copies.
    """

    model: Any
    methods: tuple[str, ...]
    flattened: bool = False

    @property
    def name(self) -> str:
        """The class by name."""
        return type(self.model).__name__


def own_training(model: keras.Model) -> OwnTraining | None:
    """What a model, or the one that it was made from, overrides; None for Keras's own training."""
    marked = vars(model).get(_MARK)
    if marked is not None:
        assert isinstance(marked, OwnTraining)
        return marked
    methods = tuple(name for name in _METHODS if _is_own(model, name))
    return OwnTraining(model, methods) if methods else None


def _is_own(model: keras.Model, name: str) -> bool:
    if name in vars(model):
        return True
    home = next(c.__module__ for c in type(model).__mro__ if name in vars(c))
    return home.partition(".")[0] not in ("keras", "edgepress")


def train_like(copy: keras.Model, source: keras.Model, flattened: bool = False) -> None:
    """Remember on a model that it is to be trained as the one that it was made from."""
    own = own_training(source)
    if own is None or copy is own.model:
        return
    vars(copy)[_MARK] = OwnTraining(own.model, own.methods, flattened or own.flattened)


def refuse_own_step(model: keras.Model) -> None:
    """Refuse to train a model whose own way of training would be left out.

    Raises:
        InputError: Its class has a `train_step`, or a `compute_loss` that its copies can't have.
    """
    own = own_training(model)
    if own is None:
        return
    plain = "for the data's own loss give keras.Model(model.inputs, model.outputs)"
    if "train_step" in own.methods:
        raise InputError(
            f"model '{own.model.name}' has a train_step of its own (class {own.name}), which would"
            " not be run here",
            "put what it minimises into compute_loss, which is used; or train it with its own fit"
            f" and prune with recover_epochs 0; {plain}",
        )
    if own.flattened and "compute_loss" in own.methods:
        raise InputError(
            f"model '{own.model.name}' has a compute_loss of its own (class {own.name}), which is"
            " lost where its call is turned into a graph",
            "build it with the functional API: class(inputs, outputs) keeps it; or train it with"
            f" its own fit and prune with recover_epochs 0; {plain}",
        )
