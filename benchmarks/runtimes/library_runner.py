"""The runner for networks that were compiled for this machine, with the requests of `runner.py`.

A library holds one function, which takes a pointer for each input, then for each output. What they
are stands in a JSON file beside it, as `describe` of another runner gives it.
"""

from __future__ import annotations

import ctypes
import json
import time
from pathlib import Path
from typing import Any

from edgepress.benchmarks.runtimes import runner


class Library:
    """A network in a shared library."""

    def __init__(self, request: dict[str, Any]) -> None:
        import numpy as np

        self.import_ns, self.version = 0, "C99"
        self.baseline = runner.HOST.read_memory()
        described = json.loads(Path(request["path"]).read_text())
        begin = time.perf_counter_ns()
        self._function = getattr(ctypes.CDLL(described["library"]), described["function"])
        self.load_ns = time.perf_counter_ns() - begin
        self.inputs, self.outputs = described["inputs"], described["outputs"]
        self.home = [tuple(spec["shape"]) for spec in self.inputs]
        self._given: list[Any] = []
        self._made = [np.zeros(spec["shape"], spec["dtype"]) for spec in self.outputs]

    def providers(self) -> list[str]:
        """None: those are ONNX Runtime's."""
        return []

    def operators(self) -> list[str]:
        """None: they are one function."""
        return []

    def prepare(self, arrays: list[Any]) -> None:
        """Give the inputs."""
        import numpy as np

        for array, spec in zip(arrays, self.inputs, strict=True):
            if array.shape != tuple(spec["shape"]):
                raise ValueError(f"an input has the shape {array.shape}, not {spec['shape']}")
        self._given = [np.ascontiguousarray(array) for array in arrays]

    def forget(self) -> None:
        """Nothing to do: a network keeps no state."""

    def invoke(self) -> None:
        """One inference."""
        pointers = (array.ctypes.data for array in (*self._given, *self._made))
        code = self._function(*map(ctypes.c_void_p, pointers))
        if code:
            raise ValueError(f"the network ended with {code}")

    def results(self) -> list[Any]:
        """The outputs of the last inference, copied."""
        return [array.copy() for array in self._made]


if __name__ == "__main__":
    runner.RUNTIMES["c-standalone"] = Library
    runner.main()
