"""onnxsim: zeros by magnitude in the kernels of an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnxsim.pruning import apply_magnitude_pruning

from edgepress.benchmarks.studies.peers.sides.job import Job, serve


def zeros(job: Job) -> dict[str, Any]:
    """An ONNX file with a share of its weights at zero, all ranked together, or N of every M."""
    source = onnx.load(next(Path(job.options["float"]).glob("*.onnx")))
    wanted = job.options["sparsity"]
    if wanted == "2:4":
        pruned = apply_magnitude_pruning(source, n=2, m=4)
    else:
        pruned = apply_magnitude_pruning(source, float(wanted), global_sparsity=True)
    onnx.save(pruned, job.out / "model.onnx")
    return {"file": "model.onnx"}


if __name__ == "__main__":
    serve({"zeros": zeros})
