"""int8 and below: accuracy, bytes and latency of the file, in LiteRT and in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator

from edgepress.benchmarks.studies.peers.cells import Answer, Cell
from edgepress.benchmarks.studies.peers.networks import NETWORKS
from edgepress.benchmarks.studies.peers.plan import Plan
from edgepress.benchmarks.studies.peers.tables import Contest, Row
from edgepress.benchmarks.studies.peers.tools import OWN, TOOLS
from edgepress.benchmarks.studies.peers.working import Workplace

# By format and precision, the tools that make such files.
PEERS = {
    ("tflite", "int8"): ("converter", "ai-edge-quantizer"),
    ("tflite", "dynamic"): ("converter", "ai-edge-quantizer"),
    ("tflite", "int4-weights"): ("ai-edge-quantizer",),
    ("onnx", "int8"): ("onnxruntime", "nncf", "neural-compressor"),
    ("onnx", "dynamic"): ("onnxruntime",),
}
RUNTIMES = {"tflite": "LiteRT", "onnx": "ONNX Runtime"}


def files(network: str, kind: str, precision: str) -> dict[str, Cell]:
    """For each tool the cell whose folder has its file; peers start from the same float file."""
    options = {"format": kind, "precision": precision}
    whole = Cell(OWN, "export", network, {"format": kind, "precision": "float32"})
    found = {TOOLS[OWN].title: Cell(OWN, "export", network, options)}
    for name in PEERS[kind, precision]:
        after = {} if name == "converter" else {"float": whole}
        found[TOOLS[name].title] = Cell(name, "quantize", network, {"precision": precision}, after)
    return found


def contests(place: Workplace, plan: Plan) -> Iterator[Contest]:
    """For each network, format and precision one of accuracy, of bytes and of latency."""
    for network in plan.networks:
        for kind, precision in PEERS:
            made = files(network, kind, precision)
            answers = {name: place.cells.answer(cell) for name, cell in made.items()}
            there = {name: made[name] for name, a in answers.items() if "failed" not in a}
            measured = place.measured(network, there, plan)
            title = f"{NETWORKS[network].title}, {precision} for {RUNTIMES[kind]}"
            yield from _three(title, answers, measured, plan)


def _three(
    title: str, answers: dict[str, Answer], measured: Answer, plan: Plan
) -> Iterator[Contest]:
    # Two standard errors of a difference between files that agree on most images.
    tie = 0.005 * max(1.0, (10_000 / plan.files) ** 0.5)
    columns = ("accuracy", "bytes", "gzip", "ms", "processor s to make it")
    for name, key, digits in (("accuracy", "accuracy", 4), ("bytes", "bytes", 0), ("ms", "ms", 4)):
        rows = []
        for tool, answer in answers.items():
            own = tool == TOOLS[OWN].title
            failed = answer.get("failed") or measured.get("failed", "")
            if failed:
                rows.append(Row(tool, (), own, failed=failed))
                continue
            seen = measured["files"][tool]
            cells = (
                f"{seen['accuracy']:.4f}", f"{seen['bytes']:,}", f"{seen['gzip']:,}",
                f"{seen['ms']:.4f}", f"{answer['processor']:.0f}",
            )  # fmt: skip
            rows.append(Row(tool, (seen[key],), own, cells))
        higher = key == "accuracy"
        yield Contest(
            f"{title}: {name}", name, columns, tuple(rows), higher,
            tie if higher else {"bytes": 0.01, "ms": 0.05}[key], not higher, digits,
        )  # fmt: skip
