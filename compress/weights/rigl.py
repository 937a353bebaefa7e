"""Masks that move while the model trains: weak weights go, those of strong gradient come back.

The sparsity stays; only where the zeros lie changes, so that what one-shot pruning judged wrongly
can be put right.

Source: Evci et al., Rigging the Lottery, arXiv 1911.11134, algorithm 1, with its cosine decay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import cos, pi
from typing import Any

import keras
import numpy as np
from jaxtyping import Bool, Float

from edgepress.compress.data import Dataset
from edgepress.compress.weights.masked_training import MaskEngine
from edgepress.compress.weights.masks.masks import Mask
from edgepress.compress.weights.masks.prunable import PrunableWeight

# Share of the living weights that the first turn exchanges.
_EXCHANGED = 0.3
Gradients = Callable[[int], Mapping[str, Float[np.ndarray, "..."]]]


def exchange(
    keep: Bool[np.ndarray, "..."],
    weights: Float[np.ndarray, "..."],
    gradients: Float[np.ndarray, "..."],
    share: float,
) -> Bool[np.ndarray, "..."]:
    """Drop the weakest of the living weights, wake as many of the strongest gradient.

    Args:
        keep: True where a weight lives.
        weights: The weights.
        gradients: The loss's gradient by all of them, dead ones too.
        share: Share of the living weights that is exchanged, 0 to 1.

    Returns:
        A mask of as many living weights.
    """
    living = int(np.count_nonzero(keep))
    count = min(round(share * living), keep.size - living)
    strength = np.where(keep, np.abs(weights), np.inf).ravel()
    renewed = keep.ravel().copy()
    renewed[np.argsort(strength, kind="stable")[:count]] = False
    pull = np.where(renewed, -1.0, np.abs(gradients).ravel())
    renewed[np.argsort(-pull, kind="stable")[:count]] = True
    return renewed.reshape(keep.shape)


class RegrownMasks(keras.callbacks.Callback):
    """Holds masks of a fixed sparsity and moves them every `frequency` steps until `end`.

    Args:
        kernels: The kernels that are masked.
        masks: Where to begin, by kernel path.
        gradients: From the training step to the loss's gradient by each kernel.
        frequency: Steps between two turns.
        end: Step of the last possible turn; the woken weights need some training after it.
    """

    def __init__(
        self,
        kernels: tuple[PrunableWeight, ...],
        masks: Mapping[str, Mask],
        gradients: Gradients,
        frequency: int,
        end: int,
    ) -> None:
        super().__init__()
        self._kernels = kernels
        self._masks = dict(masks)
        self._gradients = gradients
        self._frequency = frequency
        self._end = end
        self._engine = MaskEngine(kernels)
        self._engine.set(self._masks)
        self._step = 0

    @property
    def settled(self) -> bool:
        """Whether the masks have come to rest; a model of before can't be the one to keep."""
        return self._step > self._end

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Move the masks where it is their turn."""
        if self._step and self._step <= self._end and self._step % self._frequency == 0:
            share = _EXCHANGED / 2 * (1 + cos(pi * self._step / self._end))
            self._move(self._gradients(self._step), share)

    def _move(self, gradients: Mapping[str, Float[np.ndarray, "..."]], share: float) -> None:
        for kernel in self._kernels:
            old = self._masks[kernel.path]
            keep = exchange(old.array, kernel.value(), gradients[kernel.path], share)
            self._masks[kernel.path] = Mask(kernel.path, keep, old.pattern)
        self._engine.set(self._masks)
        self._engine.apply()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Apply the masks after each step."""
        self._engine.apply()
        self._step += 1

    def masks(self) -> dict[str, Mask]:
        """The masks as they are."""
        return dict(self._masks)

    def state(self) -> dict[str, Any]:
        """What a training that goes on needs: the step and the masks, as arrays."""
        masks = {f"mask:{p}": m.array for p, m in self._masks.items()}
        return {"step": np.asarray(self._step), **masks}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._step = int(state["step"])
        for path, mask in self._masks.items():
            array = np.asarray(state[f"mask:{path}"], bool)
            self._masks[path] = Mask(path, array, mask.pattern)
        self._engine.set(self._masks)


def loss_gradients(
    model: keras.Model,
    dataset: Dataset,
    kernels: tuple[PrunableWeight, ...],
    samples: int,
    seed: int,
) -> Gradients:
    """The gradients of the task's loss on samples of the training split, drawn by the step.

    Args:
        model: The model that trains.
        dataset: Gives samples and loss.
        kernels: By whose weights.
        samples: How many samples a turn.
        seed: Draws them, with the step.
    """
    import tensorflow as tf

    from edgepress.compress.specs.recipe import TrainSpec
    from edgepress.compress.training.loop.steps import Objective

    objective = Objective(dataset.task, TrainSpec())
    variables = [k.variable.value for k in kernels]

    def gradients(step: int) -> Mapping[str, Float[np.ndarray, "..."]]:
        inputs, targets = dataset.training_split.sample(samples, seed * 100_003 + step)
        given = next(iter(inputs.values())) if len(inputs) == 1 else inputs
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = objective.task_loss(given, model(given, training=False), targets)
        found = tape.gradient(loss, variables, unconnected_gradients="zero")
        return {
            k.path: tf.convert_to_tensor(g).numpy() for k, g in zip(kernels, found, strict=True)
        }

    return gradients
