"""C99 of an int8 network that needs no interpreter: one source file and its header.

The kernels compute with the same integers as the reference kernels of TensorFlow Lite, so the
outputs are theirs bit for bit. All memory is one static array, laid out beforehand; nothing is
allocated, and only the operators that the network has are in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepress.benchmarks.tflite.graph import read_graph
from edgepress.benchmarks.tflite.lean import make_lean
from edgepress.deploy.exporters.c.headers import End, Ends, c_name, ends_macros, guarded
from edgepress.deploy.exporters.c.source import labels_of
from edgepress.deploy.exporters.c_standalone.library import compiler, library_of
from edgepress.deploy.exporters.c_standalone.operators import OPERATORS, program_of
from edgepress.deploy.exporters.c_standalone.program import Program
from edgepress.deploy.exporters.exporter import Job, Unsupported, Written
from edgepress.deploy.exporters.tflite.writing import write_tflite


def write_standalone(job: Job, precision: str, out: Path) -> Written:
    """Write a model as C99.

    Args:
        job: The model and the choices.
        precision: By name.
        out: The `.c` file.

    Returns:
        The library that the source was compiled to, and the header.

    Raises:
        Unsupported: There are no kernels for an operator, or there is no C compiler.
        DeviceError: The converter refused or crashed.
    """
    compiler()
    model = job.scratch / f"{out.stem}.tflite"
    written = write_tflite(replace(job, settles=True), precision, model, unrolled=True)
    sources = write_sources(job, model, out)
    return replace(sources, layers=written.layers, notes=(*written.notes, *sources.notes))


def write_sources(job: Job, model: Path, out: Path) -> Written:
    """Write a TFLite file as C99.

    Args:
        job: Has the names of the classes.
        model: The TFLite file, without names and metadata afterwards.
        out: The `.c` file.

    Raises:
        Unsupported: There are no kernels for an operator, or there is no C compiler.
    """
    compiler()
    make_lean(model, fixed_shapes=True)
    name = c_name(out.stem)
    source = sources_of(model, name, job.class_names, job.worker.timeout)
    header = out.with_name(f"{name}.h")
    out.write_text(source.code, encoding="utf-8")
    header.write_text(source.header, encoding="utf-8")
    stored = model.with_suffix(".constants")
    stored.write_bytes(source.constants)
    described = library_of(out, job.scratch, source.described, job.worker.timeout)
    notes = (
        f"C99 without an interpreter: {len(source.constants)} bytes of constants, the code of its"
        f" kernels on top, and an arena of {source.arena_bytes} bytes",
    )
    return Written(described, (header,), notes, arena_bytes=source.arena_bytes, stored=stored)


@dataclass(frozen=True)
class Sources:
    """A network as C.

    Attributes:
        code: The source, which includes `NAME.h`.
        header: The header.
        constants: The content of its arrays.
        arena_bytes: Size of the arena.
        described: Its function, its inputs and its outputs, for `library_of`.
    """

    code: str
    header: str
    constants: bytes
    arena_bytes: int
    described: dict[str, Any]


def sources_of(
    model: Path, name: str, class_names: Sequence[str] = (), timeout: float = 300.0
) -> Sources:
    """The C of a TFLite file.

    Args:
        model: An int8 file.
        name: What its names in C begin with.
        class_names: Names of the classes, where an output counts them.
        timeout: Seconds that LiteRT may take for one request.

    Raises:
        Unsupported: There are no kernels for an operator.
    """
    missing = [kind for kind in read_graph(model).operator_names if kind not in OPERATORS]
    if missing:
        raise Unsupported(f"c-standalone has no {', '.join(missing)}; --format c has")
    program = program_of(model, timeout)
    network = program.network
    tensors = {
        "inputs": [value.described() for value in network.inputs],
        "outputs": [value.described() for value in network.outputs],
    }
    ends = Ends(*(tuple(map(End.read, side)) for side in tensors.values()))
    return Sources(
        "".join(_source(name, program, ends)),
        _header(name, program, ends, labels_of(class_names, ends)),
        program.constant_bytes,
        network.arena_bytes,
        {"function": f"{name}_invoke", **tensors},
    )


def _source(name: str, program: Program, ends: Ends) -> Iterator[str]:
    """The source in pieces."""
    yield f'#include "{name}.h"\n\n'
    yield "#include <stdint.h>\n\n"
    yield from program.kernels()
    yield from program.constants
    arena = max(program.network.arena_bytes, 1)
    yield f"\nstatic int8_t arena[{arena}];\n"
    for key, end, place in _kept(program, ends):
        yield f"\n{_accessor(name, key, end)} {{ return {place}; }}\n"
    pointers = " && ".join(key for key, _ in ends.named)
    yield f"\n{_prototype(name, ends)} {{\n  if (!({pointers})) return 1;\n"
    for call in program.calls:
        yield f"  {call}\n"
    yield "  return 0;\n}\n"


def _kept(program: Program, ends: Ends) -> Iterator[tuple[str, End, str]]:
    """Those inputs and outputs that lie in the arena, and where."""
    values = (*program.network.inputs, *program.network.outputs)
    for (key, end), value in zip(ends.named, values, strict=True):
        if value.source in program.network.offsets:
            yield key, end, program.pointer(value)


def _accessor(name: str, key: str, end: End) -> str:
    return f"{end.kind} *{name}_{key}(void)"


def _prototype(name: str, ends: Ends) -> str:
    given = [f"const {end.kind} *input_{i}" for i, end in enumerate(ends.inputs)]
    made = [f"{end.kind} *output_{i}" for i, end in enumerate(ends.outputs)]
    return f"int {name}_invoke({', '.join([*given, *made])})"


def _header(name: str, program: Program, ends: Ends, labels: Sequence[str]) -> str:
    """The header, for C and C++."""
    prefix = name.upper()
    accessors = "".join(f"{_accessor(name, k, end)};\n" for k, end, _ in _kept(program, ends))
    return guarded(
        f"{prefix}_H_",
        f"// Bytes of the one static array in which the network computes.\n"
        f"#define {prefix}_ARENA_BYTES {program.network.arena_bytes}\n"
        f"// Bytes of its constants.\n"
        f"#define {prefix}_CONSTANT_BYTES {len(program.constant_bytes)}\n"
        f"\n{ends_macros(prefix, ends, labels)}"
        '\n#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        "// Run the network. Gives 0, or 1 where a pointer is null. For one thread at a time.\n"
        f"{_prototype(name, ends)};\n\n"
        "// Where inputs and outputs lie in the arena. Who fills and reads them there, and gives\n"
        "// these pointers to the function above, needs no memory for them. A call overwrites\n"
        "// all of the arena.\n"
        f"{accessors}"
        "\n#ifdef __cplusplus\n}\n#endif\n",
    )
