"""Which operators there are, and what writes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.tflite.split_operators import cut_operators
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.deploy.exporters.c_standalone import elementwise, layers, moves
from edgepress.deploy.exporters.c_standalone.network import (
    SAME_VALUES,
    Network,
    Step,
    read_network,
)
from edgepress.deploy.exporters.c_standalone.program import Program
from edgepress.deploy.exporters.exporter import Unsupported

_WRITERS: Mapping[str, Callable[[Program, Step], None]] = {
    "ADD": elementwise.pair,
    "AVERAGE_POOL_2D": layers.pool_2d,
    "CONCATENATION": moves.concatenation,
    "CONV_2D": layers.conv_2d,
    "DEPTHWISE_CONV_2D": layers.depthwise_conv_2d,
    "DEQUANTIZE": elementwise.end,
    "FULLY_CONNECTED": layers.fully_connected,
    "MAXIMUM": elementwise.pair,
    "MAX_POOL_2D": layers.pool_2d,
    "MEAN": elementwise.mean,
    "MINIMUM": elementwise.pair,
    "MUL": elementwise.pair,
    "PACK": moves.pack,
    "PAD": moves.pad,
    "PADV2": moves.pad,
    "QUANTIZE": elementwise.end,
    "RESIZE_NEAREST_NEIGHBOR": moves.resize_nearest,
    "SLICE": moves.slice_,
    "SOFTMAX": elementwise.softmax,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split,
    "STRIDED_SLICE": moves.strided_slice,
    "SUB": elementwise.pair,
    "TRANSPOSE": moves.transpose,
    "UNPACK": moves.unpack,
}
# Functions of single numbers: 256 numbers say all of one.
_TABLES = frozenset({
    "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1",
    "TANH",
})  # fmt: skip
OPERATORS = frozenset(_WRITERS) | _TABLES | SAME_VALUES


def program_of(path: Path, timeout: float) -> Program:
    """The C program of a TFLite file.

    Args:
        path: The file.
        timeout: Seconds that LiteRT may take for one request.

    Raises:
        Unsupported: C99 of it can't be written.
    """
    network = read_network(path)
    tables = _tables(network, path, timeout)
    program = Program(network)
    _check_ends(network)
    for number, value in enumerate(network.inputs):
        if value.type == "INT8":
            program.hand_over(program.pointer(value), f"input_{number}", value.size)
    for step in network.steps:
        if step.position in tables:
            elementwise.look_up(program, step, tables[step.position])
        else:
            _check(step)
            _WRITERS[step.kind](program, step)
    for number, value in enumerate(network.outputs):
        if value.type == "INT8":
            program.hand_over(f"output_{number}", program.pointer(value), value.size)
    return program


def _check_ends(network: Network) -> None:
    """Refuse a float that is an input or output twice: each lies with the caller alone.

    Raises:
        Unsupported: There is one.
    """
    ends = [value for value in (*network.inputs, *network.outputs) if value.type != "INT8"]
    if len({value.source for value in ends}) < len(ends):
        raise Unsupported("c-standalone can't give a float input or output twice; --format c can")


def _is_table(step: Step) -> bool:
    kinds = {value.type for value in (*step.inputs, *step.outputs) if value is not None}
    return step.kind in _TABLES and kinds == {"INT8"}


def _check(step: Step) -> None:
    """Refuse what isn't int8, but for the ends of a network.

    Raises:
        Unsupported: Names the operator.
    """
    ends = step.kind in ("QUANTIZE", "DEQUANTIZE")
    computed = (v for v in (*step.inputs, *step.outputs) if v is not None and v.numbers is None)
    for value in () if ends else computed:
        if value.type != "INT8":
            raise Unsupported(
                f"c-standalone has no {step.kind} of {value.type.lower()}; --format c has"
            )


def _tables(network: Network, path: Path, timeout: float) -> dict[int, NDArray[np.int8]]:
    """What LiteRT's reference kernels give for every integer, by the operator's position."""
    wanted = [step.position for step in network.steps if _is_table(step)]
    if not wanted:
        return {}
    every = np.arange(-128, 128, dtype=np.int8)[None]
    with scratch_folder() as folder:
        files = cut_operators(path, folder)
        found = {}
        reference = partial(Runtime, timeout=timeout, options={"reference": True})
        with reference(files[wanted[0]]) as runtime:
            for position in wanted:
                runtime.load(runtime.put(files[position]))
                given = {runtime.describe()["inputs"][0]["name"]: every}
                (made,) = runtime.predict(given, real=False).values()
                found[position] = made.ravel()
    return found
