"""Pruning during training: a penalty that grows on the channels that will go, until they are idle.

Every weight that the removal will delete (the rows that make a doomed channel, its scales, and the
rows of all its readers, found by tracing) loses a share of itself after each training step. The
share grows, so the network moves what it needs to the channels that stay before the others are cut.

The decay is applied beside the gradient, not through it: an adaptive optimizer would divide a
gradient of the penalty by its own size.

Sources:
    Wang et al., "Neural pruning via growing regularization" (ICLR 2021), for the growth; Fang et
    al., "DepGraph: towards any structural pruning" (CVPR 2023), section 3.3, for the penalty on all
    coupled weights of a channel; Loshchilov and Hutter, "Decoupled weight decay regularization"
    (ICLR 2019), for the decay beside the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.specs.pruning import ChannelsSpec
from edgepress.compress.structure.tracing.groups import Alive, Channels

if TYPE_CHECKING:
    import tensorflow as tf

Doomed = NDArray[np.bool_]


@dataclass(frozen=True)
class Growth:
    """How the penalty grows.

    Attributes:
        final: Share of a weight that one step takes away in the end, above 0 up to 1.
        begin: First training step with a penalty.
        end: Step from which it is `final`.
        power: Exponent of the growth; 0 is the final share from the beginning.
    """

    final: float
    begin: int
    end: int
    power: float

    def share(self, step: int) -> float:
        """Share that a step takes away."""
        if step < self.begin:
            return 0.0
        reached = min(1.0, (step - self.begin + 1) / max(1, self.end - self.begin))
        return float(self.final * reached**self.power)


def growth_for(spec: ChannelsSpec, steps: int) -> Growth:
    """The growth that a spec asks for in a training of so many steps.

    Args:
        spec: A step with schedule constant or polynomial.
        steps: Steps of the training before the removal.

    Raises:
        InputError: The penalty would begin after its end, or after the training.
    """
    end = spec.end_step if spec.end_step is not None else max(1, steps * 3 // 4)
    if not spec.begin_step < end <= steps:
        raise InputError(
            f"the penalty grows from step {spec.begin_step} to step {end}, and the training before"
            f" the removal has {steps} steps",
            "give more penalty_epochs, or other begin_step and end_step",
        )
    return Growth(spec.penalty, spec.begin_step, end, spec.power * (spec.schedule == "polynomial"))


def doomed_weights(channels: Channels, alive: Alive) -> list[tuple[keras.Variable, Doomed]]:
    """What a removal will delete of each weight that training can change.

    Args:
        channels: The model's units.
        alive: (units,) whether each stays.

    Returns:
        Weights, each with a mask of its shape; those that stay whole are left out.
    """
    learnt = {id(v) for x in channels.model._flatten_layers() for v in x._trainable_variables}
    masks: dict[int, tuple[Any, Doomed]] = {}
    for binding, units in channels.bound:
        weight, gone = binding.weight, ~alive[units]
        if id(weight) not in learnt or not gone.any():
            continue
        _, mask = masks.setdefault(id(weight), (weight, np.zeros(tuple(weight.shape), bool)))
        mask[(slice(None),) * binding.axis + (gone,)] = True
    return list(masks.values())


class ShrinkChannels(keras.callbacks.Callback):
    """Shrinks what will be removed a little after each training step, more and more.

    Args:
        doomed: Weights with masks of what will be removed of them.
        growth: How much each step takes.
    """

    def __init__(self, doomed: list[tuple[keras.Variable, Doomed]], growth: Growth) -> None:
        super().__init__()
        self._doomed = doomed
        self._growth = growth
        self._step = 0
        self._before = self._norm()
        self._apply = self._compiled()

    def _compiled(self) -> Callable[[tf.Tensor], None]:
        import tensorflow as tf

        parts = [(w.value, tf.constant(mask, w.dtype)) for w, mask in self._doomed]

        def apply(share: tf.Tensor) -> None:
            for variable, mask in parts:
                variable.assign(variable * (1 - tf.cast(share, mask.dtype) * mask))

        signature = [tf.TensorSpec([], tf.float32)]
        return tf.function(apply, input_signature=signature, autograph=False)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Take this step's share."""
        import tensorflow as tf

        del batch, logs
        share = self._growth.share(self._step)
        if share:
            self._apply(tf.constant(share, tf.float32))
        self._step += 1

    @property
    def left(self) -> float:
        """Size (norm) of what will be removed, as a share of what it was at the start."""
        return self._norm() / max(self._before, 1e-30)

    def _norm(self) -> float:
        squares = [np.square(w.numpy()[m].astype(np.float64)).sum() for w, m in self._doomed]
        return float(np.sqrt(sum(squares)))

    def state(self) -> dict[str, Any]:
        """What a training that goes on needs: the step."""
        return {"step": np.asarray(self._step)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._step = int(state["step"])
