"""First-order effect of each unit on the loss, from the gradients of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.structure.tracing.groups import Channels

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from edgepress.compress.data import Task
    from edgepress.compress.keras_types import Nested

_BATCH = 32


def unit_effects(
    channels: Channels, samples: Mapping[str, Any], targets: Nested, task: Task
) -> NDArray[np.float64]:
    """Squared sum of gradient x weight over the weights that make each unit, mean over batches.

    Args:
        channels: The model's units.
        samples: (n, …) array for each input.
        targets: The samples' targets: an array, or a mapping or list of them.
        task: Gives the loss.

    Returns:
        (units,) effects.

    Source: Molchanov et al., "Importance estimation for neural network pruning" (2019), equation 8.
    """
    import tensorflow as tf

    from edgepress.compress.structure.tracing.replay import feed

    model = channels.model
    made = [(b, u) for b, u in channels.bound if b.role in ("makes", "carries") and u.size]
    watched = {id(b.weight): b.weight for b, _ in made if _is_float(b.weight)}
    made = [(b, u) for b, u in made if id(b.weight) in watched]
    weights = [w.value for w in watched.values()]
    inputs = feed(model, samples)
    effects, batches = np.zeros(channels.count), 0
    for start in range(0, len(inputs[0]), _BATCH):
        here = slice(start, start + _BATCH)
        wanted = tf.nest.map_structure(lambda y, s=here: tf.convert_to_tensor(y[s]), targets)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for weight in weights:
                tape.watch(weight)
            outputs = _outputs(model, [x[here] for x in inputs])
            loss = task_loss(task, wanted, outputs)
        gradients = dict(zip(watched, tape.gradient(loss, weights), strict=True))
        effects += _summed(channels, made, gradients) ** 2
        batches += 1
    return effects / max(batches, 1)


def _is_float(weight: keras.Variable) -> bool:
    return "float" in str(weight.dtype)


def _outputs(model: keras.Model, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
    import tensorflow as tf

    from edgepress.compress.graph import require_graph

    structure = tf.nest.pack_sequence_as(require_graph(model)._inputs_struct, inputs)
    return list(tf.nest.flatten(model(structure, training=False)))


def task_loss(task: Task, targets: Nested, outputs: list[tf.Tensor]) -> tf.Tensor:
    """The task's loss of some outputs, summed over them."""
    return task.total_loss(outputs, targets)


def _summed(
    channels: Channels, made: list[Any], gradients: Mapping[int, Any]
) -> NDArray[np.float64]:
    import tensorflow as tf

    total = np.zeros(channels.count)
    for binding, units in made:
        gradient = gradients[id(binding.weight)]
        if gradient is None:
            continue
        # An embedding's gradient holds only the rows that were looked up.
        dense = np.asarray(tf.convert_to_tensor(gradient), np.float64)
        product = dense * binding.weight.numpy()
        rows = np.moveaxis(product, binding.axis, 0).reshape(len(units), -1).sum(1)
        total += np.bincount(units, weights=rows, minlength=channels.count)
    return total
