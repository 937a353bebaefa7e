"""From gradients to weights: the optimizer, slower rates for earlier blocks, what stays of pruned
and clustered kernels, a running average.

Keras's `use_ema` has its full decay from the second step on, so that the average of a short
training is mostly the weights it began with, and leaves out the statistics of normalisations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgepress.compress.specs.recipe import TrainSpec
from edgepress.compress.training.freezing.depths import blocks
from edgepress.compress.training.freezing.select import layer_refs
from edgepress.compress.training.loop.checkpoints import Array, assign, values
from edgepress.compress.training.loop.preserved_sparsity import Holder, held_weights

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# What a weight's rate is multiplied by, by the weight's identity; 1 where it is missing.
Factors = Mapping[int, float]

# The average follows closely at first: the decay of step t is at most (1 + t) / (10 + t).
_LATE = 10.0


def block_factors(model: keras.Model, decay: float) -> Factors:
    """Rates that fall from the last block of layers that learns towards the input.

    Args:
        model: A Keras model whose trainable flags are set.
        decay: Factor from one block to the one before it, above 0, at most 1.

    Returns:
        The factor of each trainable weight.

    Source: the discriminative fine-tuning of Howard and Ruder, "Universal language model
        fine-tuning" (ACL 2018).
    """
    if decay == 1:
        return {}
    layers = {ref.path: ref.layer for ref in layer_refs(model)}
    found: dict[int, float] = {}
    factor = 1.0
    for block in reversed(blocks(model)):
        learning = [v for path in block for v in layers[path].trainable_variables]
        if not learning:
            continue
        for variable in learning:
            found.setdefault(id(variable), factor)
        factor *= decay
    return found


class Updates:
    """Changes a model's weights by gradients.

    Args:
        model: The model; what is trainable of it changes.
        optimizer: A built Keras optimizer.
        spec: Gives `ema` and `accumulate`, and what may change of a pruned or clustered model.
        factors: What the rate of single weights is multiplied by.
    """

    def __init__(
        self, model: keras.Model, optimizer: keras.Optimizer, spec: TrainSpec, factors: Factors
    ) -> None:
        import tensorflow as tf

        self._optimizer = optimizer
        self._decay = spec.ema
        self._accumulate = spec.accumulate
        trainable = model.trainable_variables
        slowed = [(v.value, factors.get(id(v), 1.0)) for v in trainable]
        self._slowed = [(v, factor) for v, factor in slowed if factor != 1]
        self._holder = Holder(held_weights(trainable, spec).values())
        self._weights = _changing(model) if spec.ema else []
        self._averages = [tf.Variable(w.numpy()) for w in self._weights]

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]) -> None:
        """One step; called while a function is traced."""
        import tensorflow as tf

        before = [tf.identity(variable) for variable, _ in self._slowed]
        self._optimizer.apply(gradients, variables)
        # Every optimizer's change is proportional to its rate, so this is a smaller rate.
        for (variable, factor), old in zip(self._slowed, before, strict=True):
            variable.assign(old + factor * (variable - old))
        self._holder.apply()
        self._follow()

    def _follow(self) -> None:
        import tensorflow as tf

        if self._decay is None:
            return
        # The public count leaves out steps that only add to the gradient.
        done = self._optimizer._iterations.value
        updates = tf.cast(done // self._accumulate, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + updates) / (_LATE + updates))
        changed = tf.equal(done % self._accumulate, 0)
        share = tf.where(changed, 1.0 - decay, 0.0)
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.assign_add(tf.cast(share, average.dtype) * (weight.value - average))

    def state(self) -> list[Array]:
        """The averages' values; empty where none are kept."""
        return values(self._averages)

    def restore(self, arrays: Sequence[Array]) -> None:
        """Take over what `state` gave."""
        assign(self._averages, list(arrays))

    def keep_averages(self) -> None:
        """Give the model the averages for good, where there are any."""
        assign(self._weights, self.state())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the averages inside the block."""
        own = values(self._weights)
        self.keep_averages()
        try:
            yield
        finally:
            assign(self._weights, own)


def _changing(model: keras.Model) -> list[keras.Variable]:
    """Weights that a training changes: trainable ones and the statistics of trained norms."""
    import keras

    learning = {id(v) for v in model.trainable_variables}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            learning |= {id(v) for v in layer.weights}
    return [w for w in model.weights if id(w) in learning]
