"""Masks during training: Keras 3 callbacks over TensorFlow Model Optimization's mask engine.

TFMOT's own wrappers refuse Keras 3 layers, but its engine works on any TensorFlow variable. Nothing
is wrapped here: the model that trains is the model that is saved.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from edgepress.compress.weights.allocation.planning import MaskPlan
from edgepress.compress.weights.masks.masks import Mask
from edgepress.compress.weights.masks.prunable import PrunableWeight

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow_model_optimization.python.core.sparsity.keras.pruning_impl import Pruning


class MaskEngine:
    """Masks as TensorFlow variables, made and applied by TFMOT.

    Args:
        kernels: The kernels that are masked.
    """

    def __init__(self, kernels: tuple[PrunableWeight, ...]) -> None:
        import tensorflow as tf

        engine = pruning_engine()
        self._kernels = kernels
        self._density = {k.path: tf.Variable(1.0, trainable=False) for k in kernels}
        weights = {k.path: k.variable.value for k in kernels}
        self._masks = {p: tf.Variable(tf.ones_like(w), trainable=False) for p, w in weights.items()}
        threshold = {p: tf.Variable(tf.zeros([], w.dtype)) for p, w in weights.items()}
        parts = {p: [(w, self._masks[p], threshold[p])] for p, w in weights.items()}
        # One engine for each kernel, since each has a sparsity of its own, read from a variable;
        # one more over all of them, so that applying the masks is a single call a step.
        makers = [
            engine(_first_step, part, _Dial(self._density[p]), (1, 1), "AVG")
            for p, part in parts.items()
        ]
        joint = engine(_first_step, [v for p in parts.values() for v in p], None, (1, 1), "AVG")

        def make() -> None:
            for maker in makers:
                maker.conditional_mask_update()

        def apply() -> None:
            joint.weight_mask_op()

        self._make = tf.function(make, autograph=False)
        self._apply = tf.function(apply, autograph=False)

    def make(self, zeros: Mapping[str, int]) -> None:
        """Make masks by magnitude, with about the given number of zeros in each kernel."""
        for kernel in self._kernels:
            self._density[kernel.path].assign(zeros[kernel.path] / kernel.size)
        self._make()

    def set(self, masks: Mapping[str, Mask]) -> None:
        """Take masks that were made elsewhere."""
        for path, variable in self._masks.items():
            variable.assign(masks[path].array.astype(variable.dtype.as_numpy_dtype))

    def apply(self) -> None:
        """Set the masked weights to zero."""
        self._apply()

    def masks(self, pattern: str) -> dict[str, Mask]:
        """The masks as they are."""
        return {p: Mask(p, v.numpy() > 0, pattern) for p, v in self._masks.items()}


class HoldMasks(keras.callbacks.Callback):
    """Keeps zeros at zero: a gradient step can't wake a weight that was removed.

    Args:
        kernels: The kernels that are masked.
        masks: Masks by kernel path.
    """

    def __init__(self, kernels: tuple[PrunableWeight, ...], masks: Mapping[str, Mask]) -> None:
        super().__init__()
        self._engine = MaskEngine(kernels)
        self._engine.set(masks)

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Apply the masks before the first step."""
        self._engine.apply()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Apply the masks after each step."""
        self._engine.apply()


class GradualMasks(keras.callbacks.Callback):
    """Prunes while the model trains, along a schedule.

    Single weights are masked by TFMOT's engine; patterns that it refuses (blocks on convolutions,
    N:M on a schedule, whole kernels) by `MaskPlan`, and so is the last turn, which is exact.

    Args:
        plan: What is pruned.
        turns: Sparsity by the training step before which masks are rebuilt; the last is final.
    """

    def __init__(self, plan: MaskPlan, turns: Mapping[int, float]) -> None:
        super().__init__()
        self._plan = plan
        self._turns = dict(turns)
        self._engine = MaskEngine(plan.kernels)
        self._step = 0

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Make masks again where the schedule says so."""
        sparsity = self._turns.get(self._step)
        if sparsity is None:
            return
        last = self._step == max(self._turns)
        if self._plan.granularity == "weights" and not last:
            self._engine.make(self._plan.zeros(sparsity))
        else:
            self._engine.set(self._plan.masks(sparsity))
        self._engine.apply()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Apply the masks after each step."""
        self._engine.apply()
        self._step += 1

    @property
    def settled(self) -> bool:
        """Whether the final sparsity is reached; a model of before can't be the one to keep."""
        return self._step > max(self._turns)

    def masks(self) -> dict[str, Mask]:
        """The masks as they are."""
        return self._engine.masks(self._plan.label)

    def state(self) -> dict[str, Any]:
        """What a training that goes on needs: the step and the masks, as arrays."""
        masks = {f"mask:{p}": m.array for p, m in self.masks().items()}
        return {"step": np.asarray(self._step), **masks}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._step = int(state["step"])
        arrays = {p: np.asarray(state[f"mask:{p}"], bool) for p in self.masks()}
        self._engine.set({p: Mask(p, array, self._plan.label) for p, array in arrays.items()})


class _Dial:
    """A TFMOT schedule whose sparsity is read from a variable; it is asked only when a turn is."""

    def __init__(self, sparsity: tf.Variable) -> None:
        self._sparsity = sparsity

    def __call__(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Variable]:
        import tensorflow as tf

        del step
        return tf.constant(True), self._sparsity


def pruning_engine() -> type[Pruning]:
    """TFMOT's `Pruning` class; importing it must not turn child processes to legacy Keras."""
    before = os.environ.get("TF_USE_LEGACY_KERAS")
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    if before is None:
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
    return pruning_impl.Pruning


def _first_step() -> int:
    return 0
