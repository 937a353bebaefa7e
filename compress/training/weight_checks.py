"""Weights of classes and labels that a training would refuse, before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.data import Dataset
from edgepress.compress.errors import InputError
from edgepress.compress.models.own_training import own_training
from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.loop.class_weights import (
    given_class_weights,
    given_positive_weights,
)

if TYPE_CHECKING:
    import keras


def check_weights(model: keras.Model, dataset: Dataset, spec: TrainSpec, taught: bool) -> None:
    """Refuse weights of classes or labels that don't fit the task or that no loss would use.

    Args:
        model: The Keras model, or one with the same outputs.
        dataset: Opened for it.
        spec: The training.
        taught: Whether a teacher's outputs are learned beside the labels.

    Raises:
        InputError: Names the option.
    """
    given = [n for n in ("class_weights", "positive_weights") if getattr(spec, n) != "none"]
    if not given:
        return
    if dataset.unlabelled or (taught and spec.distill_weight == 1):
        raise InputError(
            f"{given[0]} is given, but the training learns from its teacher alone",
            "leave it out, or take a distill_weight below 1",
        )
    own = own_training(model)
    by_label = "positive_weights" in given or dataset.task.kind == "multi-label"
    if by_label and own is not None and "compute_loss" in own.methods:
        raise InputError(
            f"{given[-1]} is given, but compute_loss of {own.name} is the loss: it takes a weight"
            " for each sample, not for each label",
            "weigh labels there",
        )
    given_class_weights(spec.class_weights, model, dataset)
    given_positive_weights(spec.positive_weights, model, dataset)
