"""C++ sources for microcontrollers: the TFLite file as an array, and what TFLM needs beside it.

Five files for each model: the array (`.cc`) and its header, a header with the operator resolver and
the arena, a sample with its outputs, and an example `main` that runs it in TensorFlow Lite Micro.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.micro_runtime import has_micro
from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.benchmarks.runtimes.tensor_io import chosen, to_tensor
from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.benchmarks.tflite.lean import make_lean
from edgepress.benchmarks.tflite.planning.memory_plan import plan_memory
from edgepress.benchmarks.tflite.tflm_memory import plan_micro
from edgepress.deploy.exporters.c.example import example_main, sample_header
from edgepress.deploy.exporters.c.headers import (
    End,
    Ends,
    array_header,
    array_source,
    c_name,
    tflm_header,
)
from edgepress.deploy.exporters.c.tflm import samples_of, try_in_micro
from edgepress.deploy.exporters.exporter import Job, Unsupported, Written
from edgepress.deploy.exporters.tflite.writing import write_tflite

# Operators that TensorFlow Lite Micro has kernels for.
# Source: tensorflow/tflite-micro, micro_mutable_op_resolver.h.
_KNOWN = frozenset({
    "ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "ASSIGN_VARIABLE", "AVERAGE_POOL_2D",
    "BATCH_MATMUL", "BATCH_TO_SPACE_ND", "BROADCAST_ARGS", "BROADCAST_TO", "CALL_ONCE", "CAST",
    "CEIL", "CONCATENATION", "CONV_2D", "COS", "CUMSUM", "DEPTH_TO_SPACE", "DEPTHWISE_CONV_2D",
    "DEQUANTIZE", "DIV", "ELU", "EMBEDDING_LOOKUP", "EQUAL", "EXP", "EXPAND_DIMS", "FILL",
    "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "FULLY_CONNECTED", "GATHER", "GATHER_ND", "GREATER",
    "GREATER_EQUAL", "HARD_SWISH", "IF", "L2_NORMALIZATION", "L2_POOL_2D", "LEAKY_RELU", "LESS",
    "LESS_EQUAL", "LOG", "LOG_SOFTMAX", "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC",
    "MAX_POOL_2D", "MAXIMUM", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "NOT_EQUAL", "PACK",
    "PAD", "PADV2", "PRELU", "QUANTIZE", "READ_VARIABLE", "REDUCE_MAX", "REDUCE_MIN", "RELU",
    "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "ROUND",
    "RSQRT", "SELECT_V2", "SHAPE", "SIN", "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SQUEEZE",
    "STRIDED_SLICE", "SUB", "SUM", "SVDF", "TANH", "TRANSPOSE", "TRANSPOSE_CONV",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNPACK", "VAR_HANDLE", "WHILE", "ZEROS_LIKE",
})  # fmt: skip

# Precisions of single layers that no kernel of it was tried with.
_NOT_IN_MICRO = ("float16", "int4")


def write_c(job: Job, precision: str, out: Path) -> Written:
    """Write a model as C++ sources.

    Args:
        job: The model and the choices.
        precision: By name.
        out: The `.cc` file of the array.

    Returns:
        The TFLite file inside, and the other sources.

    Raises:
        Unsupported: TensorFlow Lite Micro lacks an operator of the model.
        DeviceError: The converter refused or crashed.
    """
    for pattern, kind in job.settings.precision.items():
        if kind in _NOT_IN_MICRO:
            raise Unsupported(
                f"--precision {pattern}={kind}: it isn't tried in TensorFlow Lite Micro, which"
                " layers in int8, int16x8 and float32 are",
                "leave it out for C sources",
            )
    model = job.scratch / f"{out.stem}_c.tflite"
    # TFLM's WHILE gives zeros, or never ends; and all its sizes are known.
    written = write_tflite(replace(job, settles=True), precision, model, unrolled=True)
    sources = write_sources(job, precision, model, out)
    return replace(sources, layers=written.layers, notes=(*written.notes, *sources.notes))


def write_sources(job: Job, precision: str, model: Path, out: Path) -> Written:
    """Write a TFLite file as C++ sources.

    Args:
        job: Has the samples that TFLM is tried on.
        precision: By name.
        model: The TFLite file; it becomes what the array holds, without names and metadata.
        out: The `.cc` file of the array.

    Returns:
        The TFLite file inside, and the other sources.

    Raises:
        Unsupported: TensorFlow Lite Micro lacks an operator of the file or can't run it.
        DeviceError: LiteRT can't run it.
    """
    graph = read_graph(model)
    missing = absent_in_micro(graph.operator_names)
    if missing:
        raise Unsupported(f"TensorFlow Lite Micro has no operator {', '.join(missing)}")
    make_lean(model, fixed_shapes=True)
    plan = None if job.settings.plan_memory is False else plan_memory(model)
    arena, notes = _arena(job, precision, model)
    name, data = c_name(out.stem), model.read_bytes()
    header, setup, sample, main = (
        out.with_name(f"{out.stem}{end}") for end in (".h", "_tflm.h", "_sample.h", "_main.cc")
    )
    ends, values = _sample(job, model)
    with out.open("w") as file:
        file.writelines(array_source(name, header.name, data))
    header.write_text(array_header(name, data, ends, labels_of(job.class_names, ends)))
    setup.write_text(tflm_header(name, graph.operator_names, arena, header.name))
    sample.write_text(sample_header(name, ends, values, job.calibration is None))
    main.write_text(example_main(name, ends, setup.name, sample.name))
    planned = (plan.line(),) if plan and plan.pays else ()
    beside, notes = (header, setup, sample, main), [*planned, *notes]
    return Written(model, beside, tuple(notes), arena_bytes=arena)


def _sample(job: Job, model: Path) -> tuple[Ends, list[NDArray[Any]]]:
    """Inputs and outputs of a file, and the values of one sample in their order and types."""
    with Runtime(model) as runtime:
        tensors = runtime.describe()
        samples = samples_of(job, tensors["inputs"][0]["shape"][0] or 1)
        outputs = runtime.predict(samples, real=False)
    ends = Ends(*(tuple(map(End.read, tensors[side])) for side in ("inputs", "outputs")))
    given = chosen(model.name, tensors["inputs"], samples)
    inputs = [to_tensor(array, spec) for array, spec in zip(given, tensors["inputs"], strict=True)]
    return ends, [*inputs, *(outputs[end.name] for end in ends.outputs)]


def labels_of(class_names: Sequence[str], ends: Ends) -> tuple[str, ...]:
    """Names of the classes, where the one output counts them."""
    counted = len(ends.outputs) == 1 and ends.outputs[0].shape[-1:] == (len(class_names),)
    return tuple(class_names) if counted else ()


def absent_in_micro(operators: Iterable[str]) -> list[str]:
    """Those operators that TensorFlow Lite Micro has no kernel for."""
    return [name for name in operators if name not in _KNOWN]


def _arena(job: Job, precision: str, model: Path) -> tuple[int, list[str]]:
    """Bytes of the arena: as TFLM's own interpreter measures, else planned with room to spare."""
    plan = plan_micro(model)
    notes = [*plan.warnings]
    planned = f"{plan.total} (activations {plan.activations}, TFLM's structures {plan.structures})"
    if plan.guessed:
        notes.append(f"TFLM's memory for {', '.join(plan.guessed)} is guessed in the plan")
    if not has_micro():
        why = "the package tflite-micro is not installed, so the file wasn't run in TFLM"
        notes.append(f"arena planned, {planned}, not measured: {why}")
        return _round_up(plan.total + plan.total // 10), notes
    trial = try_in_micro(job, precision, model)
    notes.append(
        f"run in TFLM {trial.version} on {trial.samples} samples; arena measured on 64 bits:"
        f" {trial.arena} (activations {trial.activations}, its structures {trial.structures},"
        f" which are smaller on 32 bits); planned: {planned}"
    )
    return _round_up(trial.arena), notes


def _round_up(size: int) -> int:
    return -(-size // 1024) * 1024
