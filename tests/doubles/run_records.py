"""Records of a run and a benchmark with every part, made without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def _row(path: str, size: int, median: float, value: float) -> dict[str, Any]:
    samples = list(median * np.random.default_rng(size).lognormal(0, 0.1, 40))
    return {
        "artifact": path, "path": path, "label": Path(path).name, "format": "tflite",
        "device": "local", "bytes": size, "gzip_bytes": size // 2, "runs": 40, "threads": 1,
        "median_ms": median, "ci95_ms": [0.98 * median, 1.02 * median], "p90_ms": 1.2 * median,
        "p99_ms": 1.5 * median, "first_ms": 2 * median, "load_ms": 1.0, "peak_memory_bytes": 10**7,
        "arena_bytes": 4096, "metric": "accuracy", "split": "test", "value": value,
        "timing_valid": True, "samples_ms": samples,
    }  # fmt: skip


def a_run() -> dict[str, Any]:
    """A run with every part."""
    figures = {"metric": "accuracy", "split": "test"}
    stages = [
        {"name": "00-source", "kind": "source", "params": 1000, "macs": 10**6, "raw_bytes": 9000,
         "gzip_bytes": 8000, "median_ms": 0.5, "value": 0.9, "seconds": 1.0, "note": ""},
        {"name": "01-prune", "kind": "prune", "params": 500, "macs": 4 * 10**5, "raw_bytes": 5000,
         "gzip_bytes": 4500, "median_ms": 0.3, "value": 0.88, "seconds": 100.0, "note": "half gone",
         "history": {"loss": [1.0, 0.5], "val_loss": [1.1, 0.6], "lr": [0.1, 0.01]}},
    ]  # fmt: skip
    verified = {"passed": True, "max_abs_error": 1e-6, "agreement": 1.0, "metric": "accuracy",
                "split": "test", "value": 0.87, "source_value": 0.88}  # fmt: skip
    return {
        "edgepress": "0.1.0",
        "model": "/some/where/net.keras",
        "seed": 0,
        "versions": {"python": "3.11"},
        "machine": {"cpu": "a processor", "cores": 2},
        "data": {"hash": "abc", "samples": {"test": 10}, "task": "classification"},
        "warnings": ["the inputs look unscaled"],
        "recipe": {"model": "net.keras"},
        "before": {**figures, "params": 1000, "macs": 10**6, "value": 0.9},
        "after": {**figures, "params": 500, "macs": 4 * 10**5, "value": 0.88},
        "stages": stages,
        "artifacts": [{"path": "/r/artifacts/net_int8.tflite", "format": "tflite", "bytes": 2000,
                       "quantize": "int8", "gzip_bytes": 1500, "verified": verified}],
        "skipped": [{"format": "onnx", "quantize": "int16x8", "reason": "there is no such thing"}],
        "rejected": [],
        "benchmark": {
            "device": {"name": "local", "processor": "a processor", "cores": 2, "system": "Linux",
                       "smallest_difference": 0.01, "warnings": ["the machine was busy"]},
            "rows": [_row("/r/artifacts/net_int8.tflite", 2000, 0.2, 0.87),
                     _row("/r/stages/00-source/model.tflite", 9000, 0.5, 0.9)],
            "comparisons": [{"a": "/r/artifacts/net_int8.tflite",
                             "b": "/r/artifacts/net_int8.tflite", "ratio": 1.0,
                             "ci95": [0.9, 1.1], "verdict": "no difference shown"}],
            "profiles": [{"artifact": "net_int8.tflite", "notes": ["an estimate"], "operators": [
                {"name": "y", "operator": "CONV_2D", "ms": 0.1, "share": 0.9, "macs": 10**5,
                 "gflops": 2.0, "bound": "compute"}]}],
            "failures": [{"device": "local", "artifact": "x.onnx", "reason": "it crashed"}],
        },
        "accepted": True,
    }  # fmt: skip


def a_bench() -> dict[str, Any]:
    """A benchmark with every part: two devices, one of them estimated."""
    told = a_run()["benchmark"]
    told["rows"][1].update(device="npu", timing_valid=False, energy_mj=0.5,
                           method="Vela's performance model of it", notes=["half on the CPU"],
                           outcomes=[{"output": "box", "metric": "mae", "value": 0.25}],
                           )  # fmt: skip
    devices = [told["device"], {"name": "npu", "timing_valid": False, "warnings": []}]
    change = {"artifact": "net_int8.tflite", "device": "local", "tolerance": 0.01}
    changes = [
        {**change, "quantity": "accuracy", "before": 0.94, "after": 0.445,
         "verdict": "regression", "reason": "198 of 400 were lost"},
        {**change, "quantity": "latency", "before": 1.0, "after": 1.01, "verdict": "same",
         "reason": "within the noise of 3 %"},
        {**change, "quantity": "energy", "before": 1.0, "after": None, "verdict": "not compared",
         "reason": "not measured"},
    ]  # fmt: skip
    against = {"run": "run 7 (main)", "notes": ["old.tflite isn't measured today"]}
    return {**told, "devices": devices, "changes": changes, "against": against}


def benchmark_document() -> dict[str, Any]:
    """A benchmark as `benchmark` itself has it, with fields that older ones lack."""
    told = a_bench()
    for row in told["rows"]:
        row.update(
            throughput_per_s=1000 / row["median_ms"], zstd_bytes=row["gzip_bytes"] - 10,
            runtime="litert", xnnpack=True, delegates=None, providers=None, launches=1,
            steady=True, outliers=0, method=row.get("method", ""), notes=row.get("notes", []),
        )  # fmt: skip
    for entry in (*told["profiles"], *told["comparisons"]):
        entry.setdefault("device", "local")
    told["profiles"][0]["peak"] = {"gflops": 30.0, "gbytes_per_s": 9.0}
    return told
