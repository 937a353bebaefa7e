"""A sample with its outputs, and a program that runs a model on it in TensorFlow Lite Micro."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.exporters.c.headers import End, Ends, c_number, constant_array, guarded

# Kernels round differently: so many steps of an integer, or this share of the largest float, may
# lie between LiteRT and another runtime.
_STEPS, _SHARE = 2, 1e-3

Arrays = Sequence[NDArray[Any]]


def sample_header(name: str, ends: Ends, sample: Arrays, drawn: bool) -> str:
    """One sample: what goes in, what LiteRT gave, and how far another runtime may be from that.

    Args:
        name: Of the model's array.
        ends: Inputs and outputs.
        sample: The values of each input, then LiteRT's of each output, in their own types.
        drawn: Whether the values are drawn at random, and not data.
    """
    origin = "drawn at random" if drawn else "of the data"
    lines = [f"// A sample {origin}, and what LiteRT gives for it.\n"]
    for (key, end), values in zip(ends.named, sample, strict=True):
        lines += constant_array(f"{name}_sample_{key}", end.kind, values.ravel().tolist())
    for number, values in enumerate(sample[len(ends.inputs) :]):
        limit = _limit(values)
        lines.append(f"#define {name.upper()}_SAMPLE_LIMIT_{number} {c_number(limit)}\n")
    return guarded(f"{name.upper()}_SAMPLE_H_", "".join(lines))


def _limit(values: NDArray[Any]) -> float:
    if values.dtype.kind != "f":
        return _STEPS
    return float(max(_SHARE * np.abs(values[np.isfinite(values)]).max(initial=0), 1e-6))


def example_main(name: str, ends: Ends, setup: str, sample: str) -> str:
    """A program that runs the model on its sample and compares the outputs.

    It ends with 0, or with the number of the step that failed: 1 operators, 2 memory, 3 sizes of
    inputs, 4 inference, 5 outputs.
    """
    fills = "".join(_fill(name, number, end) for number, end in enumerate(ends.inputs))
    checks = "".join(_check(name, number, end) for number, end in enumerate(ends.outputs))
    return f"""#include "{setup}"
#include "{sample}"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {{
alignas(16) unsigned char arena[{name}_arena_bytes];

template <class Number>
void fill(void* input, const Number* values, unsigned count) {{
  for (unsigned i = 0; i < count; ++i) static_cast<Number*>(input)[i] = values[i];
}}

template <class Number>
bool is_near(const void* found, const Number* wanted, unsigned count, double limit) {{
  const Number* numbers = static_cast<const Number*>(found);
  for (unsigned i = 0; i < count; ++i) {{
    const double apart = static_cast<double>(numbers[i]) - static_cast<double>(wanted[i]);
    if (!(apart <= limit && -apart <= limit)) return false;
  }}
  return true;
}}
}}  // namespace

int main() {{
  {name}_resolver resolver;
  if ({name}_add_operators(resolver) != kTfLiteOk) return 1;
  tflite::MicroInterpreter interpreter(tflite::GetModel({name}), resolver, arena,
                                       {name}_arena_bytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 2;
{fills}  if (interpreter.Invoke() != kTfLiteOk) return 4;
{checks}  return 0;
}}
"""


def _fill(name: str, number: int, end: End) -> str:
    sample = f"{name}_sample_input_{number}"
    return (
        f"  if (interpreter.input({number})->bytes != sizeof {sample}) return 3;\n"
        f"  fill(interpreter.input({number})->data.raw, {sample}, {end.size});\n"
    )


def _check(name: str, number: int, end: End) -> str:
    sample = f"{name}_sample_output_{number}"
    return (
        f"  if (!is_near(interpreter.output({number})->data.raw, {sample}, {end.size},\n"
        f"               {name.upper()}_SAMPLE_LIMIT_{number})) return 5;\n"
    )
