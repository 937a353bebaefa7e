"""Neural Compressor, as far as the installed version has what is asked of it."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from typing import Any

from edgepress.benchmarks.studies.peers.sides.job import Job, serve

# Where versions up to 2 had it.
_MODULES = {
    "quantize": ("neural_compressor.adaptor.onnxrt", "quantisation of ONNX files"),
    "zeros": ("neural_compressor.compression.pruner", "pruning"),
}


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def missing(job: Job) -> dict[str, Any]:
    """Say that the version has no such thing; one that has it needs a way of its own here."""
    module, what = _MODULES[job.task]
    name = f"neural-compressor {version('neural-compressor')}"
    if _there(module):
        raise SystemExit(f"{name} has {what}, for which nothing is written here")
    raise SystemExit(f"{name} has no {what}")


if __name__ == "__main__":
    serve({"quantize": missing, "zeros": missing})
