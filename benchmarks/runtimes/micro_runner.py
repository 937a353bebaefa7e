"""The runner for TensorFlow Lite Micro, with the same requests as `runner.py`.

TFLM aborts the process where it finds something that it can't do, so it never runs in ours. Its
times on this machine say nothing about a microcontroller; its arena and its outputs do.

Source: the Python package of tensorflow/tflite-micro; its RecordingMicroAllocator.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from edgepress.benchmarks.runtimes import runner
from edgepress.benchmarks.tflite.arena import plan_arena
from edgepress.benchmarks.tflite.graph import read_graph

# What TFLM needs beside the planned activations: its structures, scratch memory of kernels.
_SPARE_BYTES = 4 << 20


@contextmanager
def caught_chatter() -> Iterator[list[str]]:
    """Lines that C code writes on standard error within the block."""
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text = file.read().decode(errors="replace")
            os.write(2, text.encode())
            lines += [line for line in text.splitlines() if line.strip()]


def _meaning(said: Sequence[str]) -> str:
    """The first thing that TFLM said, and the operator at which it did.

    >>> _meaning(["micro/kernels/exp.cc:41 type != float", "Node EXP (number 4) failed"])
    'EXP: type != float'
    """
    node = re.search(r"Node (\w+) \(number \d+\) failed", " ".join(said))
    first = re.sub(r"^\S+\.(?:cc|h):\d+ ", "", said[0]) if said else ""
    return f"{node[1]}: {first}" if node else first


class Micro:
    """A `.tflite` file in TFLM's interpreter."""

    def __init__(self, request: dict[str, Any]) -> None:
        from tflite_micro import runtime

        self.import_ns = 0
        self.version = version("tflite-micro")
        self.baseline = runner.HOST.read_memory()
        path = request["path"]
        graph, plan = read_graph(path), plan_arena(path)
        begin = time.perf_counter_ns()
        with open(path, "rb") as file:  # noqa: PTH123
            data = file.read()
        self.interpreter = self._open(runtime, data, plan.arena_bytes + len(data) + _SPARE_BYTES)
        self.load_ns = time.perf_counter_ns() - begin
        names = [graph.tensors[i].name for i in (*graph.inputs, *graph.outputs)]
        count = len(graph.inputs)
        get_input, get_output = (
            self.interpreter.get_input_details,
            self.interpreter.get_output_details,
        )
        self.inputs = [self._spec(n, get_input(i)) for i, n in enumerate(names[:count])]
        self.outputs = [self._spec(n, get_output(i)) for i, n in enumerate(names[count:])]
        self.home = [tuple(spec["shape"]) for spec in self.inputs]
        self._operators = [operator.name for operator in graph.operators]

    @staticmethod
    def _open(runtime: Any, data: bytes, arena: int) -> Any:
        with caught_chatter() as said:
            try:
                return runtime.Interpreter.from_bytes(data, arena_size=arena)
            except RuntimeError as error:
                why = error
        raise ValueError(f"TFLM refuses the file: {_meaning(said) or why}")

    @staticmethod
    def _spec(name: str, detail: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        scales = detail["quantization_parameters"]["scales"]
        zeros = detail["quantization_parameters"]["zero_points"]
        quantised = len(scales) > 0 and float(scales[0]) != 0.0
        return {
            "name": name,
            "tensor": name,
            "shape": [int(s) for s in detail["shape"]],
            "dtype": np.dtype(detail["dtype"]).name,
            "scale": float(scales[0]) if quantised else None,
            "zero_point": int(zeros[0]) if quantised else None,
        }

    def providers(self) -> list[str]:
        """None: those are ONNX Runtime's."""
        return []

    def operators(self) -> list[str]:
        """Operators as in the file."""
        return self._operators

    def prepare(self, arrays: list[Any]) -> None:
        """Give the inputs."""
        for i, array in enumerate(arrays):
            self.interpreter.set_input(array, i)

    def forget(self) -> None:
        """Clear the state of recurrent operators."""
        self.interpreter.reset()

    def invoke(self) -> None:
        """One inference."""
        with caught_chatter() as said:
            try:
                self.interpreter.invoke()
                return
            except RuntimeError as error:
                why = error
        raise ValueError(f"TFLM failed: {_meaning(said) or why}")

    def results(self) -> list[Any]:
        """The outputs of the last inference."""
        return [self.interpreter.get_output(i) for i in range(len(self.outputs))]

    def allocations(self) -> dict[str, int]:
        """Bytes of the arena: in all, its head (activations) and its tail (structures)."""
        with caught_chatter() as said:
            self.interpreter.print_allocations()
        text = "\n".join(said)

        def found(name: str) -> int:
            match = re.search(rf"Arena allocation {name} (\d+) bytes", text)
            return int(match.group(1)) if match else 0

        return {"total": found("total"), "head": found("head"), "tail": found("tail")}


if __name__ == "__main__":
    runner.RUNTIMES["tflm"] = Micro
    runner.ACTIONS["allocations"] = lambda micro, _: micro.allocations()
    runner.main()
