"""NNCF: int8 of an ONNX file, and zeros by magnitude in a module of PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgepress.benchmarks.studies.peers.sides.job import Job, serve, singles


def quantize(job: Job) -> dict[str, Any]:
    """int8 by `nncf.quantize` with its defaults."""
    import nncf
    import onnx

    source = onnx.load(next(Path(job.options["float"]).glob("*.onnx")))
    name = source.graph.input[0].name
    samples = nncf.Dataset(list(singles(job.data)), lambda x: {name: x})
    onnx.save(nncf.quantize(source, samples), job.out / "model.onnx")
    return {"file": "model.onnx"}


def zeros(job: Job) -> dict[str, Any]:
    """Weights after pruning by magnitude, global ranking, in the layout of Keras."""
    import nncf
    import torch

    from edgepress.benchmarks.studies.peers.sides.torch_graph import Graph

    model = Graph(job.network).eval()
    pruned = nncf.prune(
        model,
        mode=nncf.PruneMode.UNSTRUCTURED_MAGNITUDE_GLOBAL,
        ratio=float(job.options["sparsity"]),
        examples_inputs=torch.zeros(1, 3, 32, 32),
    )
    pruned = nncf.strip(pruned, strip_format=nncf.StripFormat.IN_PLACE)
    with np.load(job.network / "weights.npz") as file:
        weights = dict(file)
    weights |= pruned.kernels()
    np.savez(job.out / "weights.npz", **weights)
    return {"file": "weights.npz"}


if __name__ == "__main__":
    serve({"quantize": quantize, "zeros": zeros})
