"""A runtime whose runner takes files of raw values: the one in C, for devices without Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.runtime import Arrays, Runtime
from edgepress.benchmarks.runtimes.tensor_io import chosen, to_real, to_tensor
from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.processes.scratch import scratch_folder

Array = NDArray[Any]


class RawRuntime(Runtime):
    """An artifact loaded by the runner in C, which is not built to read NumPy's files."""

    def predict(self, inputs: Arrays, real: bool = True) -> dict[str, Array]:
        """Run all samples, one batch of the file's own size after the other."""
        tensors = self.describe()
        try:
            arrays = chosen("the data", tensors["inputs"], dict(inputs))
        except ValueError as error:
            raise InputError(str(error)) from None
        given = [
            to_tensor(np.asarray(a), s) for a, s in zip(arrays, tensors["inputs"], strict=True)
        ]
        total, batch = len(given[0]), tensors["inputs"][0]["shape"][0] or 1
        padding = -total % batch
        given = [np.concatenate([a, np.repeat(a[-1:], padding, axis=0)]) for a in given]
        results = self._run(given, tensors["outputs"], (total + padding) // batch)
        found = {}
        for spec, result in zip(tensors["outputs"], results, strict=True):
            if len(result) != total + padding:
                raise DeviceError("the outputs have another batch size than the inputs")
            found[spec["name"]] = to_real(result[:total], spec) if real else result[:total]
        return found

    def _run(self, given: list[Array], specs: list[dict[str, Any]], runs: int) -> list[Array]:
        """Raw values out of so many inferences, joined along the batch."""
        names = [f"output{i}.raw" for i in range(len(specs))]
        with scratch_folder() as folder:
            remote = []
            for i, array in enumerate(given):
                path = folder / f"input{i}.raw"
                array.tofile(path)
                remote.append(self._channel.put(path))
            places = [self._channel.place(name) for name in names]
            request = {"do": "predict", "inputs": remote, "outputs": places, "runs": runs}
            shapes = self.ask(request)["shapes"]
            results = []
            for name, spec, shape in zip(names, specs, shapes, strict=True):
                self._channel.fetch(name, folder / name)
                values = np.fromfile(folder / name, spec["dtype"])
                results.append(values.reshape(runs * (shape[0] if shape else 1), *shape[1:]))
        return results
