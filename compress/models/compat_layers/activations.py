"""Activations of the Keras world that Keras 3 doesn't have, with their exact formulas.

They are registered under "edgepress", as the layers of `custom` are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

if TYPE_CHECKING:
    from edgepress.compress.keras_types import Tensor

_register = keras.saving.register_keras_serializable


@_register("edgepress")
def keras2_hard_sigmoid(x: Tensor) -> Tensor:
    """The hard sigmoid of Keras 1 and 2: `clip(0.2·x + 0.5, 0, 1)`; Keras 3's slope is 1/6.

    Args:
        x: Tensor.

    Returns:
        Tensor of the same shape, 0 to 1.

    Source: Keras 2.3, keras/activations.py.
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@_register("edgepress")
def tfa_gelu(x: Tensor) -> Tensor:
    """TensorFlow Addons' GELU, which is the tanh approximation unless told otherwise.

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.
    """
    return ops.gelu(x, approximate=True)


@_register("edgepress")
def lisht(x: Tensor) -> Tensor:
    """Linearly scaled hyperbolic tangent, `x·tanh(x)`.

    Source: Roy et al., "LiSHT", 2019.
    """
    return x * ops.tanh(x)


@_register("edgepress")
def snake(x: Tensor) -> Tensor:
    """`x + sin²(x)`, the snake function of frequency 1.

    Source: Ziyin et al., "Neural Networks Fail to Learn Periodic Functions", 2020.
    """
    return x + ops.square(ops.sin(x))


@_register("edgepress")
def crelu(x: Tensor) -> Tensor:
    """`relu(x)` and `relu(-x)`, one behind the other along the last axis.

    Source: Shang et al., "Understanding and Improving CNN via CReLU", 2016.
    """
    return ops.concatenate([ops.relu(x), ops.relu(-x)], axis=-1)


@_register("edgepress")
def absolute(x: Tensor) -> Tensor:
    """`|x|`."""
    return ops.abs(x)


@_register("edgepress")
def squared(x: Tensor) -> Tensor:
    """`x²`."""
    return ops.square(x)


@_register("edgepress")
def sine(x: Tensor) -> Tensor:
    """`sin(x)`."""
    return ops.sin(x)


# Saved names whose formula differs from Keras 3's function of that name, or that it lacks.
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "hard_sigmoid": keras2_hard_sigmoid,
    "lisht": lisht,
    "snake": snake,
    "crelu": crelu,
    "abs": absolute,
    "square": squared,
    "sin": sine,
}
