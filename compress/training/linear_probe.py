"""How much a model's features are worth for a task, by a linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data import Dataset, Split
from edgepress.compress.models.rebuilding.copying import clone

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import Nested, Values

Array = NDArray[Any]

_ROWS = 4000
_FEATURES = 1024


@dataclass(frozen=True)
class Probe:
    """Scores of linear probes on validation data, 1 being perfect.

    Attributes:
        trained: On the model's features: share of right classes, or of variance explained.
        random: On the features of the same network with random weights.
    """

    trained: float
    random: float

    @property
    def gain(self) -> float:
        """Share of what random features leave open that the model's features close."""
        return (self.trained - self.random) / max(1 - self.random, 1e-6)


def probe(model: keras.Model, dataset: Dataset, seed: int = 0) -> Probe:
    """Compare linear probes on a model's last features with probes on random ones.

    Args:
        model: A Keras model with a graph; its last layer with weights is the head.
        dataset: Has a training split, and a validation or test split.
        seed: Draws samples and random weights.

    Returns:
        Both scores.

    Source: Alain and Bengio, "Understanding intermediate layers using linear classifier probes"
        (2016); random features as the baseline after Saxe et al. (ICML 2011).
    """
    import keras

    keras.utils.set_random_seed(seed)
    fresh = clone(model)
    held_out = dataset.val or dataset.report_split
    return Probe(
        _score(model, dataset, dataset.training_split, held_out, seed),
        _score(fresh, dataset, dataset.training_split, held_out, seed),
    )


def _score(model: keras.Model, dataset: Dataset, train: Split, held_out: Split, seed: int) -> float:
    x, y = _rows(model, dataset, train, seed)
    x_held, y_held = _rows(model, dataset, held_out, seed + 1)
    mean, spread = x.mean(0), x.std(0) + 1e-6
    x, x_held = (x - mean) / spread, (x_held - mean) / spread
    if y.ndim == 1:
        return _class_score(x, y, x_held, y_held)
    predicted = _ridge(x, y - y.mean(0), x_held) + y.mean(0)
    error = np.square(predicted - y_held).mean()
    return float(max(0.0, 1 - error / max(y_held.var(0).mean(), 1e-12)))


def _class_score(x: Array, y: Array, x_held: Array, y_held: Array) -> float:
    """Least squares to one-hot targets: the quickest linear classifier."""
    classes, index = np.unique(y, return_inverse=True)
    targets = np.eye(len(classes))[index]
    scores = _ridge(x, targets - targets.mean(0), x_held) + targets.mean(0)
    return float((classes[scores.argmax(-1)] == y_held).mean())


def _ridge(x: Array, y: Array, x_held: Array) -> Array:
    """Ridge regression with a penalty of a hundredth of the rows."""
    gram = x.T @ x + 0.01 * len(x) * np.eye(x.shape[1])
    return np.asarray(x_held @ np.linalg.solve(gram, x.T @ y))


def _rows(model: keras.Model, dataset: Dataset, split: Split, seed: int) -> tuple[Array, Array]:
    """(rows, features) before the head and (rows,) classes or (rows, values), standardisable."""
    inputs, targets = split.sample(_ROWS // 2, seed)
    given = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    features = _features(_feature_model(model), given)
    y = np.asarray(_first(targets, dataset))
    random = np.random.default_rng(seed)
    if features.ndim > 2 and y.ndim >= features.ndim - 1 and y.shape[1:-1] == features.shape[1:-1]:
        features, y = _pixels(features, y, random)
    features = features.reshape(len(features), -1).astype(np.float64)
    if features.shape[1] > _FEATURES:
        chosen = np.random.default_rng(0).permutation(features.shape[1])[:_FEATURES]
        features = features[:, chosen]
    counting = dataset.task.outputs[0].counting(y)
    found = _classes_or_values(y, dataset)
    if counting is None:
        return features, found
    kept = counting.reshape(found.shape)
    return (
        (features[kept], found[kept]) if found.ndim == 1 else (features, np.where(kept, found, 0))
    )


def _features(model: keras.Model, inputs: Nested) -> Array:
    """A model's output for arrays, batch by batch."""
    import keras

    n = len(keras.tree.flatten(inputs)[0])
    parts = []
    for i in range(0, n, 256):
        batch = keras.tree.map_structure(lambda a, i=i: a[i : i + 256], inputs)
        parts.append(np.asarray(keras.ops.convert_to_numpy(model(batch, training=False))))
    return np.concatenate(parts)


def _pixels(features: Array, y: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Rows of single pixels, for models whose output is an image."""
    rows = features.reshape(-1, features.shape[-1])
    values = y.reshape(len(rows), -1)
    chosen = random.permutation(len(rows))[:_ROWS]
    return rows[chosen], values[chosen]


def _first(targets: Nested, dataset: Dataset) -> Values:
    return next(found for found in dataset.task.target_list(targets) if found is not None)


def _classes_or_values(y: Array, dataset: Dataset) -> Array:
    loss = dataset.task.losses[0]
    flat = y.reshape(len(y), -1)
    if loss.startswith("categorical"):
        return np.asarray(flat.argmax(-1))
    if flat.shape[1] == 1 and "crossentropy" in loss:
        return np.asarray(flat[:, 0].astype(np.int64))
    return flat.astype(np.float64)


def _feature_model(model: keras.Model) -> keras.Model:
    """The model up to the input of its last layer with weights."""
    import keras

    head = [layer for layer in model.layers if layer.weights][-1]
    if isinstance(head, keras.Model):
        return model
    return keras.Model(model.inputs, head._inbound_nodes[0].input_tensors[0])
