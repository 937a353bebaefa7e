"""Operators with weights, and pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepress.deploy.exporters.c_standalone.arithmetic import (
    exact_multiplier,
    limits,
    multiplier_of,
)
from edgepress.deploy.exporters.c_standalone.network import Step, Value
from edgepress.deploy.exporters.c_standalone.options import activation_of, padding_of
from edgepress.deploy.exporters.c_standalone.program import Program
from edgepress.deploy.exporters.exporter import Unsupported

_LARGEST = (1 << 15) - 1  # of sizes that a kernel keeps in 16 bits

Fields = dict[str, str | int]


def conv_2d(program: Program, step: Step) -> None:
    """A convolution, in groups or whole."""
    given, made = step.given(0), step.outputs[0]
    channels, _, _, group = step.given(1).shape
    fields = _convolved(program, step) | {
        "in_channels": given.shape[3],
        "group_channels": group,
        "channels": channels,
        "group_filters": channels // (given.shape[3] // group),
    }
    program.each(given.shape[0], "conv_2d", program.record("conv_2d", fields), given, made)


def depthwise_conv_2d(program: Program, step: Step) -> None:
    """A convolution of each channel by itself."""
    given, made = step.given(0), step.outputs[0]
    fields = _convolved(program, step) | {
        "in_channels": given.shape[3],
        "channels": made.shape[3],
        "repeats": made.shape[3] // given.shape[3],
    }
    record = program.record("depthwise_conv_2d", fields)
    program.each(given.shape[0], "depthwise_conv_2d", record, given, made)


def fully_connected(program: Program, step: Step) -> None:
    """A dense layer."""
    given, made = step.given(0), step.outputs[0]
    units, length = step.given(1).shape
    factors = [exact_multiplier(factor) for factor in _factors(step)]
    fields = _weighted(program, step) | {
        "multipliers": program.array(np.array([factor for factor, _ in factors], np.int64)),
        "shifts": program.array(np.array([shift for _, shift in factors], np.int8)),
        "by_unit": int(len(factors) > 1),
        "rows": given.size // length,
        "length": length,
        "units": units,
    }
    record = program.record("fully_connected", fields)
    program.call("fully_connected", record, program.pointer(given), program.pointer(made))


def _convolved(program: Program, step: Step) -> Fields:
    """What all convolutions are told."""
    window = _window(step, step.given(1).shape[1:3])
    return window | _weighted(program, step) | _rescaling(program, step)


def pool_2d(program: Program, step: Step) -> None:
    """The mean or the largest value in a window."""
    given, made, options = step.given(0), step.outputs[0], step.options
    fields = _window(step, (options.filterHeight, options.filterWidth))
    for unused in ("dilation_y", "dilation_x"):
        del fields[unused]
    fields |= {"channels": given.shape[3]} | _limits(step, made)
    record = program.record("pool_2d", fields)
    program.each(given.shape[0], step.kind.lower(), record, given, made)


def _factors(step: Step) -> list[float]:
    """What sums are multiplied by, for each channel of the output or for all."""
    scales = step.given(1).scales.astype(np.float64)
    found = float(step.given(0).scale) * scales / float(step.outputs[0].scale)
    return [float(factor) for factor in found]


def _rescaling(program: Program, step: Step) -> Fields:
    """How the sums of a convolution become integers of the output."""
    factors = [multiplier_of(factor) for factor in _factors(step)]
    return {
        "multipliers": program.array(np.array([factor for factor, _ in factors], np.int32)),
        "shifts": program.array(np.array([shift for _, shift in factors], np.int8)),
        "by_channel": int(len(factors) > 1),
    }


def _weighted(program: Program, step: Step) -> Fields:
    """Weights, biases and limits of an operator."""
    weights, made = step.given(1), step.outputs[0]
    if weights.type != "INT8" or weights.zero_point:
        raise Unsupported(
            f"c-standalone has no {step.kind} with weights other than symmetric int8;"
            " --format c has"
        )
    bias = step.inputs[2] if len(step.inputs) > 2 else None
    return {
        "weights": program.array(step.constant(1)),
        "biases": "0" if bias is None else program.array(step.constant(2)),
        "in_offset": -step.given(0).zero_point,
        "out_offset": made.zero_point,
        **_limits(step, made),
    }


def _limits(step: Step, made: Value) -> Fields:
    low, high = limits(activation_of(step), made.scale, made.zero_point)
    return {"low": low, "high": high}


def _window(step: Step, kernel: Sequence[int]) -> Fields:
    """How a window is moved over the input."""
    (_, in_height, in_width, _), (_, height, width, _) = step.given(0).shape, step.outputs[0].shape
    options = step.options
    dilation_y = getattr(options, "dilationHFactor", 1)
    dilation_x = getattr(options, "dilationWFactor", 1)
    top = left = 0
    if padding_of(step) == "SAME":
        top = _before(in_height, height, kernel[0], options.strideH, dilation_y)
        left = _before(in_width, width, kernel[1], options.strideW, dilation_x)
    return _sizes(
        in_height=in_height, in_width=in_width, height=height, width=width,
        kernel_height=kernel[0], kernel_width=kernel[1],
        stride_y=options.strideH, stride_x=options.strideW,
        dilation_y=dilation_y, dilation_x=dilation_x, top=top, left=left,
    )  # fmt: skip


def _before(size: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """How far the first window reaches beyond the input."""
    covered = (out - 1) * stride + (kernel - 1) * dilation + 1
    return max(covered - size, 0) // 2


def _sizes(**sizes: int) -> Fields:
    if max(sizes.values()) > _LARGEST:
        raise Unsupported("c-standalone has no sizes above 32,767; --format c has")
    return {name: int(size) for name, size in sizes.items()}
