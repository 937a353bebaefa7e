"""ai-edge-quantizer: a float TFLite file in fewer bits, by its own recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

from edgepress.benchmarks.studies.peers.sides.job import Job, serve, singles

_RECIPES = {
    "int8": recipe.static_wi8_ai8,
    "dynamic": recipe.dynamic_wi8_afp32,
    "int4-weights": recipe.weight_only_wi4_afp32,
}


def quantize(job: Job) -> dict[str, Any]:
    """One file in the precision that the options name."""
    source = str(next(Path(job.options["float"]).glob("*.tflite")))
    work = quantizer.Quantizer(source)
    work.load_quantization_recipe(_RECIPES[job.options["precision"]]())
    ranges = None
    if work.need_calibration:
        runner = Interpreter(source)
        ((key, signature),) = runner.get_signature_list().items()
        (name,) = signature["inputs"]
        ranges = work.calibrate({key: [{name: x} for x in singles(job.data)]})
    work.quantize(ranges).export_model(str(job.out / "model.tflite"), overwrite=True)
    return {"file": "model.tflite"}


if __name__ == "__main__":
    serve({"quantize": quantize})
