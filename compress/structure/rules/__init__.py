"""The table of layer rules: class → rule, subclasses through their base classes.

A layer without a rule keeps its channels, with the reason. To teach edgepress a layer of your own:

    from edgepress.compress.structure.rules import SAME, register_rule

    register_rule(MyActivation, SAME)            # channels pass, element by element

    @register_rule(MyScale)                      # or write the rule
    def trace_my_scale(layer, inputs, site):
        site.carries(layer.gain, 0, site.along(inputs[0], -1))
        return inputs[0]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from edgepress.compress.structure.rules import (
    attention,
    kernels,
    merging,
    movement,
    passing,
    recurrent,
)
from edgepress.compress.structure.rules.operation_table import OPERATIONS
from edgepress.compress.structure.rules.passing import SAME
from edgepress.compress.structure.rules.rule import Resize, Rule, TraceRule

__all__ = ["OPERATIONS", "RULES", "SAME", "Rule", "register_rule", "rule_for"]

RULES: dict[type, Rule] = {
    # make channels
    layers.Dense: kernels.DENSE,
    layers.EinsumDense: kernels.EINSUM_DENSE,
    layers.Conv1D: kernels.CONVOLUTION,
    layers.Conv2D: kernels.CONVOLUTION,
    layers.Conv3D: kernels.CONVOLUTION,
    layers.Conv1DTranspose: kernels.TRANSPOSED,
    layers.Conv2DTranspose: kernels.TRANSPOSED,
    layers.Conv3DTranspose: kernels.TRANSPOSED,
    layers.DepthwiseConv1D: kernels.DEPTHWISE,
    layers.DepthwiseConv2D: kernels.DEPTHWISE,
    layers.SeparableConv1D: kernels.SEPARABLE,
    layers.SeparableConv2D: kernels.SEPARABLE,
    layers.Embedding: kernels.EMBEDDING,
    layers.SimpleRNN: recurrent.SIMPLE_RNN,
    layers.GRU: recurrent.GRU,
    layers.LSTM: recurrent.LSTM,
    layers.ConvLSTM1D: recurrent.CONV_LSTM_1D,
    layers.ConvLSTM2D: recurrent.CONV_LSTM_2D,
    layers.ConvLSTM3D: recurrent.CONV_LSTM_3D,
    layers.Bidirectional: recurrent.BIDIRECTIONAL,
    layers.TimeDistributed: recurrent.TIME_DISTRIBUTED,
    layers.MultiHeadAttention: attention.MULTI_HEAD,
    layers.GroupQueryAttention: attention.GROUPED_QUERY,
    layers.Attention: attention.ATTENTION,
    layers.AdditiveAttention: attention.ATTENTION,
    # let channels pass
    layers.BatchNormalization: passing.BATCH_NORMALIZATION,
    layers.LayerNormalization: passing.LAYER_NORMALIZATION,
    layers.RMSNormalization: passing.LAYER_NORMALIZATION,
    layers.UnitNormalization: passing.LAYER_NORMALIZATION,
    layers.GroupNormalization: passing.GROUP_NORMALIZATION,
    layers.Normalization: passing.FIXED,
    layers.Rescaling: passing.RESCALING,
    layers.PReLU: passing.PRELU,
    LayerScale: passing.SCALE,
    layers.Activation: passing.ACTIVATION,
    layers.Softmax: passing.SOFTMAX,
    layers.ReLU: passing.SAME,
    layers.LeakyReLU: passing.SAME,
    layers.ELU: passing.SAME,
    layers.Identity: passing.SAME,
    layers.Dropout: passing.DROPOUT,
    layers.AlphaDropout: passing.SAME,
    layers.GaussianDropout: passing.SAME,
    layers.GaussianNoise: passing.SAME,
    layers.SpatialDropout1D: passing.SAME,
    layers.SpatialDropout2D: passing.SAME,
    layers.SpatialDropout3D: passing.SAME,
    layers.ActivityRegularization: passing.SAME,
    StochasticDepth: passing.SAME,
    layers.Masking: passing.MASKING,
    layers.MaxPooling1D: passing.POOLING,
    layers.MaxPooling2D: passing.POOLING,
    layers.MaxPooling3D: passing.POOLING,
    layers.AveragePooling1D: passing.POOLING,
    layers.AveragePooling2D: passing.POOLING,
    layers.AveragePooling3D: passing.POOLING,
    layers.AdaptiveMaxPooling1D: passing.POOLING,
    layers.AdaptiveMaxPooling2D: passing.POOLING,
    layers.AdaptiveMaxPooling3D: passing.POOLING,
    layers.AdaptiveAveragePooling1D: passing.POOLING,
    layers.AdaptiveAveragePooling2D: passing.POOLING,
    layers.AdaptiveAveragePooling3D: passing.POOLING,
    layers.UpSampling1D: passing.POOLING,
    layers.UpSampling2D: passing.POOLING,
    layers.UpSampling3D: passing.POOLING,
    layers.Resizing: passing.POOLING,
    layers.CenterCrop: passing.POOLING,
    layers.GlobalMaxPooling1D: passing.GLOBAL_POOLING,
    layers.GlobalMaxPooling2D: passing.GLOBAL_POOLING,
    layers.GlobalMaxPooling3D: passing.GLOBAL_POOLING,
    layers.GlobalAveragePooling1D: passing.GLOBAL_POOLING,
    layers.GlobalAveragePooling2D: passing.GLOBAL_POOLING,
    layers.GlobalAveragePooling3D: passing.GLOBAL_POOLING,
    # move data
    layers.Reshape: movement.RESHAPE,
    layers.Flatten: movement.FLATTEN,
    layers.Permute: movement.PERMUTE,
    layers.Concatenate: movement.CONCATENATE,
    layers.RepeatVector: movement.REPEAT_VECTOR,
    layers.ZeroPadding1D: movement.PADDING,
    layers.ZeroPadding2D: movement.PADDING,
    layers.ZeroPadding3D: movement.PADDING,
    layers.Cropping1D: movement.CROPPING,
    layers.Cropping2D: movement.CROPPING,
    layers.Cropping3D: movement.CROPPING,
    # join tensors
    layers.Add: merging.MEETING,
    layers.Subtract: merging.MEETING,
    layers.Multiply: merging.MEETING,
    layers.Average: merging.MEETING,
    layers.Maximum: merging.MEETING,
    layers.Minimum: merging.MEETING,
    CustomScaleLayer: merging.MEETING,
    layers.Dot: merging.DOT,
}

_registered: dict[type, Rule] = {}


def register_rule(
    kind: type, rule: Rule | TraceRule | None = None, resize: Resize | None = None
) -> Callable[[TraceRule], TraceRule]:
    """Teach a layer class of your own, as a call or as a decorator.

    Args:
        kind: The class; its subclasses follow the same rule.
        rule: A whole `Rule`, or the tracing function. Without it, the result is a decorator for
            the tracing function.
        resize: How the layer's configuration shrinks, where a size stands in it.

    Returns:
        A decorator that registers the function it decorates.
    """

    def register(trace: TraceRule) -> TraceRule:
        _registered[kind] = Rule(trace, resize)
        return trace

    if isinstance(rule, Rule):
        _registered[kind] = rule
    elif rule is not None:
        register(rule)
    return register


def rule_for(operation: Any) -> Rule:
    """The rule of a layer's class or its nearest base class, or of an operation's name.

    A class that overrides `call` without a rule of its own computes something else than its base
    class, so it counts as unknown.
    """
    if not isinstance(operation, keras.Layer):
        return OPERATIONS.get(type(operation).__name__, merging.UNKNOWN)
    kind: Any = type(operation)
    for base in kind.__mro__:
        found = _registered.get(base) or RULES.get(base)
        if found is not None:
            same = base in _registered or kind.call is base.call
            return found if same else merging.UNKNOWN
    return merging.UNKNOWN
