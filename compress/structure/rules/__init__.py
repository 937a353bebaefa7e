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

from keras import layers
from keras.src.applications.convnext import LayerScale, StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from edgepress.compress.structure.rules import (
    attention,
    kernels,
    merging,
    movement,
    operation_table,
    passing,
    recurrent,
)
from edgepress.compress.structure.rules.elementwise import SAME
from edgepress.compress.structure.rules.lookup import OPERATIONS, RULES, register_rule, rule_for
from edgepress.compress.structure.rules.rule import Rule

__all__ = ["OPERATIONS", "RULES", "SAME", "Rule", "register_rule", "rule_for"]

_BUILT_IN: dict[type, Rule] = {
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
    layers.ReversibleEmbedding: kernels.REVERSIBLE_EMBEDDING,
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
    layers.ReLU: SAME,
    layers.LeakyReLU: SAME,
    layers.ELU: SAME,
    layers.Identity: SAME,
    layers.Dropout: passing.DROPOUT,
    layers.AlphaDropout: SAME,
    layers.GaussianDropout: SAME,
    layers.GaussianNoise: SAME,
    layers.SpatialDropout1D: SAME,
    layers.SpatialDropout2D: SAME,
    layers.SpatialDropout3D: SAME,
    layers.ActivityRegularization: SAME,
    StochasticDepth: SAME,
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
    layers.Dot: attention.DOT,
}

RULES.update(_BUILT_IN)
OPERATIONS.update(operation_table.OPERATIONS)
