"""The array of a model and its headers: its inputs and outputs, and what TFLM needs."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ROW = 16
_NUMBERS = 12  # in a row, where they are no bytes
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
_TYPES = {
    "float32": "float", "int8": "signed char", "uint8": "unsigned char", "int16": "short",
    "uint16": "unsigned short", "int32": "int", "uint32": "unsigned int", "int64": "long long",
    "uint64": "unsigned long long", "bool": "unsigned char",
}  # fmt: skip


@dataclass(frozen=True)
class End:
    """An input or output of a file, for those who fill or read it by hand.

    Attributes:
        name: Its name.
        kind: Type of its numbers in C.
        shape: Its sizes; a free one counts as 1.
        scale: What a step of its integers stands for; None for other numbers.
        zero_point: The integer that stands for 0.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int

    @classmethod
    def read(cls, tensor: Mapping[str, Any]) -> End:
        """An input or output as a runtime describes it."""
        return cls(
            name=tensor["name"],
            kind=_TYPES[tensor["dtype"]],
            shape=tuple(size or 1 for size in tensor["shape"]),
            scale=tensor["scale"],
            zero_point=tensor["zero_point"] or 0,
        )

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Ends:
    """Inputs and outputs of a file, in the interpreter's order."""

    inputs: tuple[End, ...]
    outputs: tuple[End, ...]

    @property
    def named(self) -> Iterator[tuple[str, End]]:
        """Each with the name that it has in C: `input_0`, …, `output_0`, …."""
        for side, ends in (("input", self.inputs), ("output", self.outputs)):
            for number, end in enumerate(ends):
                yield f"{side}_{number}", end


def c_name(text: str) -> str:
    """A C identifier.

    >>> c_name("model_int8")
    'model_int8'
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    return name if name[0].isalpha() else f"m_{name}"


def c_number(value: float) -> str:
    """A literal of C; a float is read as the same float32.

    >>> c_number(-3), c_number(0.5), c_number(2.0)
    ('-3', '0.5f', '2.0f')
    """
    if isinstance(value, int):
        return str(value)
    text = f"{value:.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"


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


def array_header(name: str, data: bytes, ends: Ends, labels: Sequence[str] = ()) -> str:
    """The array's header, for C and C++: its size and checksum, and what goes in and out.

    Args:
        name: Of the array.
        data: What it holds.
        ends: Inputs and outputs.
        labels: Names of the classes of the one output; empty where there are none.
    """
    prefix = name.upper()
    return guarded(
        f"{prefix}_H_",
        f"// A TensorFlow Lite model: bytes, and their CRC-32 as zlib computes it.\n"
        f"#define {prefix}_BYTES {len(data)}\n"
        f"#define {prefix}_CRC32 0x{zlib.crc32(data):08x}u\n"
        f"\n{ends_macros(prefix, ends, labels)}"
        f"\nextern const unsigned char {name}[{len(data)}];\n"
        f"extern const unsigned int {name}_len;\n",
    )


def ends_macros(prefix: str, ends: Ends, labels: Sequence[str] = ()) -> str:
    """Sizes, scales and zero points of inputs and outputs, and the classes' names, as macros.

    Args:
        prefix: What the macros' names begin with.
        ends: Inputs and outputs.
        labels: Names of the classes of the one output; empty where there are none.
    """
    macros = "".join(_macros(f"{prefix}_{key.upper()}", key, end) for key, end in ends.named)
    if labels:
        words = ", ".join(json.dumps(label) for label in labels)
        macros += f"// The classes, as output_0 counts them.\n#define {prefix}_LABELS {{{words}}}\n"
    return f"// An integer with a scale stands for SCALE * (integer - ZERO_POINT).\n{macros}"


def constant_array(name: str, kind: str, values: Iterable[float]) -> Iterator[str]:
    """The source of an array of constants, in lines."""
    literals = [c_number(value) for value in values]
    yield f"static const {kind} {name}[{len(literals)}] = {{\n"
    for start in range(0, len(literals), _NUMBERS):
        yield f"    {', '.join(literals[start : start + _NUMBERS])},\n"
    yield "};\n"


def _macros(prefix: str, key: str, end: End) -> str:
    lines = [f"// {key}: {described(end)}", f"#define {prefix}_SIZE {end.size}"]
    if end.scale is not None:
        lines.append(f"#define {prefix}_SCALE {c_number(end.scale)}")
        lines.append(f"#define {prefix}_ZERO_POINT ({end.zero_point})")
    return "".join(f"{line}\n" for line in lines)


def described(end: End) -> str:
    """Name, type and sizes, in letters that every compiler reads."""
    name = json.dumps(end.name)[1:-1].replace("\\", "/")
    return f"{name}, {end.kind} {'x'.join(str(size) for size in end.shape)}"


def guarded(guard: str, content: str) -> str:
    """A header that may be included twice."""
    return f"#ifndef {guard}\n#define {guard}\n\n{content}\n#endif  // {guard}\n"


def tflm_header(name: str, operators: Sequence[str], arena: int, header: str) -> str:
    """The operators and the arena of a model, for TensorFlow Lite Micro."""
    calls = resolver_calls(operators)
    tests = "".join(
        f"  if (resolver.{call}() != kTfLiteOk) return kTfLiteError;\n" for call in calls
    )
    return guarded(
        f"{name.upper()}_TFLM_H_",
        f"""#include "{header}"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

constexpr int {name}_operators = {len(calls)};
constexpr int {name}_arena_bytes = {arena};

using {name}_resolver = tflite::MicroMutableOpResolver<{name}_operators>;

inline TfLiteStatus {name}_add_operators({name}_resolver& resolver) {{
{tests}  return kTfLiteOk;
}}
""",
    )
