"""Zeros: who keeps the most accuracy with a share of the weights at zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgepress.benchmarks.studies.peers.cells import Answer, Cell
from edgepress.benchmarks.studies.peers.networks import NETWORKS
from edgepress.benchmarks.studies.peers.plan import Plan
from edgepress.benchmarks.studies.peers.tables import Contest, Row
from edgepress.benchmarks.studies.peers.tools import OWN
from edgepress.benchmarks.studies.peers.working import Workplace

COLUMNS = ("zeros", "processor s", "MiB")


def _own(distil: bool, network: str, wanted: Any, epochs: int, seed: int, plan: Plan) -> Cell:
    options = {"sparsity": wanted, "epochs": epochs, "seed": seed, "distil": distil}
    return Cell(OWN, "zeros", network, {**options, **plan.limits})


def _peer(tool: str, network: str, wanted: Any, epochs: int, seed: int, plan: Plan) -> Cell:
    options = {"sparsity": wanted, "epochs": epochs, "seed": seed, "images": plan.images}
    whole = Cell(OWN, "export", network, {"format": "onnx", "precision": "float32"})
    made = Cell(tool, "zeros", network, options, {"float": whole} if tool == "onnxsim" else {})
    return Cell(OWN, "judge", network, {"seed": 0, **plan.limits}, {"made": made})


def cells(network: str, wanted: Any, epochs: int, seed: int, plan: Plan) -> dict[str, Cell]:
    """For each way its cell; tools that don't train stand among those without epochs."""
    job = network, wanted, epochs, seed, plan
    if epochs:
        return {
            "edgepress": _own(True, *job),
            "edgepress, labels alone": _own(False, *job),
            "TFMOT, labels alone": _peer("tfmot", *job),
        }
    found = {
        "edgepress": _own(False, *job),
        "onnxsim": _peer("onnxsim", *job),
        "Neural Compressor": _peer("neural-compressor", *job),
    }
    # What NNCF prunes has no pattern of N out of M.
    return found if wanted == "2:4" else found | {"NNCF": _peer("nncf", *job)}


def contests(place: Workplace, plan: Plan) -> Iterator[Contest]:
    """One for each network, amount of zeros and number of epochs."""
    for network in plan.networks:
        for wanted in (*plan.sparsities, "2:4"):
            for epochs in plan.epochs:
                yield _contest(place, plan, network, wanted, epochs)


def _contest(place: Workplace, plan: Plan, network: str, wanted: Any, epochs: int) -> Contest:
    rows = []
    for way in cells(network, wanted, epochs, 0, plan):
        seeds = plan.seeds if epochs else (0,)
        found = [
            place.cells.answer(cells(network, wanted, epochs, seed, plan)[way]) for seed in seeds
        ]
        rows.append(_row(way, found))
    amount = f"{wanted} zeros" if wanted == "2:4" else f"{wanted:.0%} zeros"
    words = f"{epochs} epochs" if epochs else "untrained"
    title = f"{NETWORKS[network].title}, {amount}, {words}"
    return Contest(title, "accuracy", COLUMNS, tuple(rows))


def _row(way: str, found: list[Answer]) -> Row:
    own = way.startswith("edgepress")
    if failed := next((a["failed"] for a in found if "failed" in a), ""):
        return Row(way, (), own, failed=failed)
    cells = (
        f"{found[-1]['zeros']:.3f}",
        f"{sum(a['processor'] for a in found) / len(found):.0f}",
        f"{found[-1]['memory']:,.0f}",
    )
    return Row(way, tuple(a["accuracy"] for a in found), own, cells)
