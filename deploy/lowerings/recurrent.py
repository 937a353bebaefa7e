"""Recurrent layers on the way to TFLite and ONNX.

A loop converts when batch and step count are fixed. Quantising such a loop crashes the converter
(SIGSEGV inside `convert`), so for 8 and 16 bits the loop is unrolled into one copy of the cell for
each step, which every kernel set runs, that of microcontrollers too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgepress.compress.models.rebuilding.copying import clone

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    # One tensor, or one for each input of a model.
    Inputs: TypeAlias = (
        keras.KerasTensor | Mapping[str, keras.KerasTensor] | Sequence[keras.KerasTensor]
    )

MOST_STEPS = 256


def flat_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """All layers of a model, those of nested models and wrappers included."""
    yield from model._flatten_layers(include_self=False, recursive=True)


def recurrent_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers that loop over time steps."""
    import keras

    return [layer for layer in flat_layers(model) if isinstance(layer, keras.layers.RNN)]


def loops(model: keras.Model) -> list[keras.Layer]:
    """The recurrent layers that aren't unrolled yet."""
    return [layer for layer in recurrent_layers(model) if not layer.unroll]


def unroll(model: keras.Model) -> keras.Model:
    """A model of the same function whose recurrent layers are unrolled.

    Args:
        model: A functional or Sequential Keras model with fixed step counts.

    Returns:
        A new model with copied weights.

    Raises:
        ValueError: The model can't be rebuilt, or has more than `MOST_STEPS` steps.
    """
    import keras

    steps = max((steps_of(layer) for layer in loops(model)), default=0)
    if steps > MOST_STEPS:
        raise ValueError(
            f"unrolling {steps} time steps makes a graph too large (most: {MOST_STEPS})"
        )
    looping = (keras.layers.RNN, keras.layers.Bidirectional)

    def config(layer: keras.Layer) -> dict[str, Any]:
        own: dict[str, Any] = layer.get_config()
        return _unrolled(own) if isinstance(layer, looping) else own

    flat = rebuilt_model(model, config)
    for before, layer in zip(recurrent_layers(model), recurrent_layers(flat), strict=True):
        if not before.unroll and layer.go_backwards and layer.zero_output_for_mask:
            _zero_masked_steps(layer)
    return flat


def _zero_masked_steps(layer: keras.Layer) -> None:
    """Let an unrolled backwards layer give zeros for the steps that a mask leaves out.

    Keras does so in the order of the inputs where the outputs are in the opposite one.
    """
    import tensorflow as tf

    own = layer.inner_loop
    layer.zero_output_for_mask = False

    def inner_loop(
        sequences: tf.Tensor, initial_state: Any, mask: tf.Tensor | None, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        last, outputs, states = own(sequences, initial_state, mask, training)
        if mask is None:
            return last, outputs, states
        taken = tf.reverse(mask, [1])
        last = tf.where(_beside(taken[:, -1], last), last, tf.zeros_like(last))
        if layer.return_sequences:
            outputs = tf.where(_beside(taken, outputs), outputs, tf.zeros_like(outputs))
        return last, outputs, states

    layer.inner_loop = inner_loop


def _beside(mask: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """A mask with as many axes as what it masks."""
    import tensorflow as tf

    for _ in range(len(values.shape) - len(mask.shape)):
        mask = tf.expand_dims(mask, -1)
    return mask


def without_dropout_masks(_own: Callable[..., Any], *_arguments: object) -> None:
    """Nothing: Keras draws the masks of a recurrent layer's dropout for inference, too.

    They aren't used there, but drawing them changes a variable, which no file format has.
    """


def rebuilt_model(
    model: keras.Model,
    config: Callable[[keras.Layer], dict[str, Any]],
    inputs: Inputs | None = None,
) -> keras.Model:
    """A model of the same graph and weights, its layers rebuilt; see `cloned_model`."""
    copy = cloned_model(model, config, inputs)
    copy.set_weights(model.get_weights())
    return copy


def cloned_model(
    model: keras.Model,
    config: Callable[[keras.Layer], dict[str, Any]],
    inputs: Inputs | None = None,
) -> keras.Model:
    """A model of the same graph with new layers and their initial weights.

    Args:
        model: A functional or Sequential Keras model.
        config: Gives the configuration of a layer's successor.
        inputs: Its inputs, in the model's structure; of the same types by default.
    """
    import keras

    def rebuilt(layer: keras.Operation) -> keras.Operation:
        if not isinstance(layer, keras.Layer):
            return layer
        return layer.__class__.from_config(config(layer))

    nested = {} if isinstance(model, keras.Sequential) else {"recursive": True}
    return clone(model, inputs, clone_function=rebuilt, **nested)


def steps_of(layer: keras.Layer) -> int:
    """Time steps of a layer; inside a wrapper they aren't known to the layer itself."""
    try:
        return int(layer.input.shape[1] or 0)
    except (AttributeError, ValueError, IndexError):
        return 0


def _unrolled(config: dict[str, Any]) -> dict[str, Any]:
    if "layer" in config:  # Bidirectional
        parts = [name for name in ("layer", "backward_layer") if config.get(name)]
        inner = {
            name: {**config[name], "config": _unrolled(config[name]["config"])} for name in parts
        }
        return {**config, **inner}
    return {**config, "unroll": True}


def as_one_operator(
    own: Callable[..., Any],
    layer: keras.Layer,
    sequences: tf.Tensor,
    initial_state: tf.Tensor | list[tf.Tensor] | tuple[tf.Tensor, ...],
    mask: tf.Tensor | None,
    training: bool = False,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """A GRU or SimpleRNN as the one operator that ONNX has for it, not as a loop.

    TensorFlow has such an operator for graphics processors alone: it stands in the graph for
    ONNX's, with the weights in ONNX's order (`exporters/onnx/handlers.py` reads them), and isn't
    run. Layers with masks or other activations stay loops.

    Args:
        own: Keras's `inner_loop`.
        layer: The recurrent layer.
        sequences: Tensor of (samples, steps, features).
        initial_state: State before the first step, (samples, units), alone or in a list.
        mask: Of the steps, (samples, steps); None if there is none.
        training: Whether dropout is used.

    Returns:
        The last output, all outputs (the last alone where the layer doesn't return sequences), and
        the states.
    """
    import tensorflow as tf

    kind = _kind(layer)
    if kind is None or mask is not None or training or sequences.dtype != tf.float32:
        return own(layer, sequences, initial_state, mask, training)
    state = initial_state[0] if isinstance(initial_state, (list, tuple)) else initial_state
    steps = tf.transpose(sequences, [1, 0, 2])
    if layer.go_backwards:
        steps = tf.reverse(steps, [0])
    with tf.init_scope():
        weights = _in_onnx_order(layer.cell)
    outputs, last, _, _ = tf.raw_ops.CudnnRNN(
        input=steps,
        input_h=state[None],
        input_c=tf.zeros([0]),
        params=tf.constant(weights),
        rnn_mode=kind,
        seed=int(getattr(layer.cell, "reset_after", False)),
        is_training=False,
    )
    last = last[0]
    last.set_shape((sequences.shape[0], layer.cell.units))
    outputs.set_shape((sequences.shape[1], sequences.shape[0], layer.cell.units))
    every = tf.transpose(outputs, [1, 0, 2]) if layer.return_sequences else last[:, None]
    return last, every, [last]


def _kind(layer: keras.Layer) -> str | None:
    """TensorFlow's name of a recurrent layer's computation; None for another one."""
    import keras

    cell = layer.cell
    if layer.unroll or layer.stateful:
        return None
    if type(cell) is keras.layers.SimpleRNNCell:
        kinds = {keras.activations.tanh: "rnn_tanh", keras.activations.relu: "rnn_relu"}
        return kinds.get(cell.activation)
    usual = keras.activations.tanh, keras.activations.sigmoid
    if type(cell) is keras.layers.GRUCell:
        return "gru" if (cell.activation, cell.recurrent_activation) == usual else None
    return None


def _in_onnx_order(cell: keras.Layer) -> NDArray[np.float32]:
    """A cell's kernels, transposed, and its two biases, flat and behind one another."""
    from keras.ops import convert_to_numpy

    kernel, recurrent = convert_to_numpy(cell.kernel), convert_to_numpy(cell.recurrent_kernel)
    biases = np.zeros((2, kernel.shape[1]), np.float32)
    if cell.use_bias:
        own = convert_to_numpy(cell.bias)
        biases[: len(own) if own.ndim > 1 else 1] = own
    return np.concatenate([kernel.T.ravel(), recurrent.T.ravel(), biases.ravel()])
