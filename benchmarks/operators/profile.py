"""Where the time goes: by operator, with the work that it does and what bounds it.

Source of the bound: Williams, Waterman & Patterson, Roofline (2009): an operator is bound by memory
where its operations for each byte moved are fewer than the machine's peak allows.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edgepress.benchmarks.operator_costs import OperatorCost, Profile
from edgepress.benchmarks.operators.onnx_filters import Filters, read_filters
from edgepress.benchmarks.operators.onnx_work import kernel_work
from edgepress.benchmarks.runtimes import roofline_peak
from edgepress.benchmarks.runtimes.runtime import Runtime, runtime_for
from edgepress.benchmarks.session import runtime_with
from edgepress.benchmarks.target import RunOptions
from edgepress.benchmarks.tflite.graph import Operator, TFLiteGraph, read_graph
from edgepress.benchmarks.tflite.macs import operator_macs
from edgepress.benchmarks.tflite.split_operators import cut_operators
from edgepress.compress.errors import DeviceError
from edgepress.compress.processes.children import run
from edgepress.compress.processes.scratch import scratch_folder

Opener = Callable[[Path], Runtime]

_PASSES = 5
_SECONDS = 0.02


def profile_artifact(
    path: Path,
    options: RunOptions | None = None,
    runs: int = 50,
    *,
    open_runtime: Opener | None = None,
    best: dict[str, float] | None = None,
    device: str = "local",
) -> Profile:
    """Profile a file by operator.

    Args:
        path: A `.tflite` or `.onnx` file.
        options: How it is run.
        runs: Inferences of the whole file.
        open_runtime: Opens a file on the device; here by default.
        best: What the device can do at best; this machine's by default, empty where unknown.
        device: The device's name.

    Returns:
        Its operators.

    Raises:
        DeviceError: The runtime failed.
    """
    chosen = options or RunOptions()
    opened = open_runtime or partial(runtime_with, options=chosen)
    peak = machine_peak(chosen.threads) if best is None else best
    way = _profile_tflite if runtime_for(path) == "litert" else _profile_onnx
    return replace(way(path, opened, runs, peak), device=device)


def profile_of_table(
    path: Path, rows: Sequence[tuple[str, str, float]], whole_ms: float, method: str, device: str
) -> Profile:
    """A profile out of a table that the device made itself.

    Args:
        path: A `.tflite` file.
        rows: For each operator as it was run its kind, the names of its outputs and milliseconds.
        whole_ms: The whole file's time.
        method: How the table was got.
        device: The device's name.
    """
    graph = read_graph(path)
    by_output = {graph.tensors[o.outputs[0]].name: o for o in graph.operators if o.outputs}
    total = sum(ms for _, _, ms in rows) or 1.0
    costs = []
    for kind, name, ms in rows:
        operator = by_output.get(name)
        if operator is not None and operator.name == kind:
            costs.append(_cost(graph, operator, ms, total, {}))
        else:
            costs.append(OperatorCost(name, kind, ms, ms / total))
    notes = (f"the operators add up to {total / whole_ms:.0%} of the whole",) if whole_ms else ()
    return Profile(str(path), method, whole_ms, tuple(costs), {}, notes, device)


def machine_peak(threads: int) -> dict[str, float]:
    """The machine's measured best with so many threads, from a process of its own."""
    count = str(threads)
    limits = {"OPENBLAS_NUM_THREADS": count, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    done = run([sys.executable, "-P", roofline_peak.__file__], environment=limits)
    if done.returncode != 0:
        raise DeviceError("the machine's peak could not be measured")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _profile_tflite(path: Path, opened: Opener, runs: int, best: dict[str, float]) -> Profile:
    graph = read_graph(path)
    with scratch_folder() as folder:
        files = cut_operators(path, folder)
        times, refused = _time_alone({-1: path, **files}, opened, runs)
    whole = times.pop(-1)
    total = sum(times.values())
    costs = tuple(
        _cost(graph, graph.operators[i], ms, total, best) for i, ms in sorted(times.items())
    )
    notes = [
        f"isolated-operator estimate: the operators add up to {total / whole:.0%} of the whole"
    ]
    missing = len(graph.operators) - len(costs)
    if missing:
        notes.append(f"{missing} operators can't run alone and are not in it")
    notes += [f"operator {i}: {why}" for i, why in refused.items()]
    method = "each operator cut into a file of its own and timed"
    return Profile(str(path), method, whole, costs, best, tuple(notes))


def _time_alone(
    files: dict[int, Path], opened: Opener, runs: int
) -> tuple[dict[int, float], dict[int, str]]:
    """Milliseconds of each file, in passes over all of them, and what was refused."""
    samples: dict[int, list[float]] = {}
    refused: dict[int, str] = {}
    with opened(files[-1]) as runtime:
        for _ in range(_PASSES):
            for i, file in files.items():
                if i in refused:
                    continue
                try:
                    runtime.load(runtime.put(file))
                    raw = runtime.ask(
                        {"do": "time", "n": runs, "discard": 3, "max_seconds": _SECONDS}
                    )["ns"]
                except DeviceError as error:
                    if i == -1:
                        raise
                    refused[i] = error.message
                    continue
                samples.setdefault(i, []).append(statistics.median(raw) / 1e6)
    return {i: statistics.median(v) for i, v in samples.items() if i not in refused}, refused


def _cost(
    graph: TFLiteGraph, operator: Operator, ms: float, total: float, best: dict[str, float]
) -> OperatorCost:
    name = graph.tensors[operator.outputs[0]].name
    moved = sum(graph.tensors[i].bytes for i in (*operator.inputs, *operator.outputs) if i >= 0)
    plain = OperatorCost(name, operator.name, ms, ms / total if total else 0.0)
    return _on_roofline(plain, operator_macs(graph, operator), moved, best)


def _on_roofline(
    cost: OperatorCost, macs: int | None, moved: int, best: dict[str, float]
) -> OperatorCost:
    """An operator with its work, held against what the device can do at best."""
    if macs is None or cost.ms <= 0:
        return cost
    achieved = 2 * macs / cost.ms / 1e6
    cost = replace(cost, macs=macs, gflops=achieved)
    if not best:
        return cost
    ridge = best["gflops"] / best["gbytes_per_s"]
    bound = "memory" if 2 * macs / max(1, moved) < ridge else "compute"
    return replace(cost, of_peak=achieved / best["gflops"], bound=bound)


def _profile_onnx(path: Path, opened: Opener, runs: int, best: dict[str, float]) -> Profile:
    """ONNX Runtime's own profiler; the whole is timed without it."""
    with opened(path) as runtime:
        runtime.time(10)
        whole = statistics.median(runtime.time(runs)) / 1e6
        runtime.load(runtime.put(path), profile=runtime.place("profile"))
        runtime.time(runs)
        nodes = runtime.ask({"do": "profile"})["nodes"]
    total = sum(statistics.median(n["us"]) for n in nodes) / 1e3
    filters = read_filters(path)
    costs = tuple(_node_cost(node, total or 1.0, best, filters) for node in nodes)
    note = f"the nodes add up to {total / whole:.0%} of the whole; fusion renames nodes"
    return Profile(str(path), "ONNX Runtime's profiler", whole, costs, best, (note,))


def _node_cost(
    node: dict[str, Any], total: float, best: dict[str, float], filters: Filters
) -> OperatorCost:
    ms = statistics.median(node["us"]) / 1e3
    work = kernel_work(node["arguments"], filters.of(node["node"]))
    plain = OperatorCost(node["node"], str(node["arguments"].get("op_name", "")), ms, ms / total)
    return _on_roofline(plain, work.macs, work.moved, best)
