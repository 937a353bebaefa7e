"""C++ sources for microcontrollers: the TFLite file as an array, and what TFLM needs beside it.

Four files for each model: the array (`.cc`) and its header, a header with the operator resolver
and the arena, and an example `main` for TensorFlow Lite Micro.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgepress.benchmarks.runtimes.micro_runtime import has_micro
from edgepress.benchmarks.tflite.graph import TFLiteGraph, read_graph
from edgepress.benchmarks.tflite.lean import make_lean
from edgepress.benchmarks.tflite.tflm_memory import plan_micro
from edgepress.deploy.exporters.c.tflm import try_in_micro
from edgepress.deploy.exporters.exporter import Job, Unsupported, Written
from edgepress.deploy.exporters.tflite.writing import write_tflite

_ROW = 16

# TensorFlow Lite Micro's kernels: builtin operator → the resolver's method.
# Source: tensorflow/tflite-micro, micro_mutable_op_resolver.h.
_IRREGULAR = {
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "MAX_POOL_2D": "AddMaxPool2D",
    "L2_POOL_2D": "AddL2Pool2D",
    "L2_NORMALIZATION": "AddL2Normalization",
    "BATCH_MATMUL": "AddBatchMatMul",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "FILL": "AddFill",
    "RELU6": "AddRelu6",
    "PADV2": "AddPadV2",
    "REVERSE_V2": "AddReverseV2",
}
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
    model = job.scratch / f"{out.stem}_c.tflite"
    # TFLM's WHILE gives zeros, or never ends.
    write_tflite(job, precision, model, unrolled=True)
    return write_sources(job, precision, model, out)


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
    arena, notes = _arena(job, precision, model)
    name = c_name(out.stem)
    header, setup, main = (
        out.with_name(f"{out.stem}{end}") for end in (".h", "_tflm.h", "_main.cc")
    )
    with out.open("w") as file:
        file.writelines(array_source(name, out.with_suffix(".h").name, model.read_bytes()))
    header.write_text(array_header(name, model.stat().st_size))
    setup.write_text(tflm_header(name, graph, arena, header.name))
    main.write_text(example_main(name, graph, setup.name))
    return Written(model, (header, setup, main), tuple(notes))


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


def c_name(text: str) -> str:
    """A C identifier.

    >>> c_name("model_int8")
    'model_int8'
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    return name if name[0].isalpha() else f"m_{name}"


def resolver_calls(operators: Sequence[str]) -> list[str]:
    """The resolver's methods for operators.

    >>> resolver_calls(["CONV_2D", "FULLY_CONNECTED"])
    ['AddConv2D', 'AddFullyConnected']
    """
    return [
        _IRREGULAR.get(name, "Add" + "".join(p.capitalize() for p in name.split("_")))
        for name in operators
    ]


def array_source(name: str, header: str, data: bytes) -> Iterator[str]:
    """The array's source in lines: `data` byte for byte, aligned as flatbuffers need it."""
    yield f'#include "{header}"\n\nalignas(16) const unsigned char {name}[{len(data)}] = {{\n'
    for start in range(0, len(data), _ROW):
        digits = data[start : start + _ROW].hex(" ").replace(" ", ", 0x")
        yield f"    0x{digits},\n"
    yield f"}};\nconst unsigned int {name}_len = {len(data)};\n"


def array_header(name: str, size: int) -> str:
    """The array's header."""
    guard = f"{name.upper()}_H_"
    return (
        f"#ifndef {guard}\n#define {guard}\n\n"
        f"// A TensorFlow Lite model of {size} bytes.\n"
        f"extern const unsigned char {name}[{size}];\n"
        f"extern const unsigned int {name}_len;\n\n"
        f"#endif  // {guard}\n"
    )


def tflm_header(name: str, graph: TFLiteGraph, arena: int, header: str) -> str:
    """The operators and the arena of a model, for TensorFlow Lite Micro."""
    calls = resolver_calls(graph.operator_names)
    guard = f"{name.upper()}_TFLM_H_"
    tests = "".join(
        f"  if (resolver.{call}() != kTfLiteOk) return kTfLiteError;\n" for call in calls
    )
    return f"""#ifndef {guard}
#define {guard}

#include "{header}"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

constexpr int {name}_operators = {len(calls)};
constexpr int {name}_arena_bytes = {arena};

using {name}_resolver = tflite::MicroMutableOpResolver<{name}_operators>;

inline TfLiteStatus {name}_add_operators({name}_resolver& resolver) {{
{tests}  return kTfLiteOk;
}}

#endif  // {guard}
"""


def example_main(name: str, graph: TFLiteGraph, setup: str) -> str:
    """A program that runs the model once on zeros."""
    inputs = "\n".join(
        f"  // input {i}: {_described(graph, index)}" for i, index in enumerate(graph.inputs)
    )
    outputs = "\n".join(
        f"  // output {i}: {_described(graph, index)}" for i, index in enumerate(graph.outputs)
    )
    return f"""#include "{setup}"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {{
alignas(16) unsigned char arena[{name}_arena_bytes];
}}  // namespace

int main() {{
  {name}_resolver resolver;
  if ({name}_add_operators(resolver) != kTfLiteOk) return 1;
  tflite::MicroInterpreter interpreter(tflite::GetModel({name}), resolver, arena,
                                       {name}_arena_bytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 2;
{inputs}
  for (unsigned i = 0; i < interpreter.inputs_size(); ++i) {{
    TfLiteTensor* input = interpreter.input(i);
    for (unsigned long b = 0; b < input->bytes; ++b) input->data.raw[b] = 0;
  }}
  if (interpreter.Invoke() != kTfLiteOk) return 3;
{outputs}
  return interpreter.output(0)->bytes > 0 ? 0 : 4;
}}
"""


def _described(graph: TFLiteGraph, index: int) -> str:
    tensor = graph.tensors[index]
    sizes = "x".join(str(size) for size in tensor.shape)
    return f"{tensor.name}, {tensor.type.lower()} {sizes}"
