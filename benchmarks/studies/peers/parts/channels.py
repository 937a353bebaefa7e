"""Channels: who keeps the most accuracy at a share of the MACs."""

from __future__ import annotations

from collections.abc import Iterator

from edgepress.benchmarks.studies.peers.cells import Answer, Cell
from edgepress.benchmarks.studies.peers.networks import NETWORKS
from edgepress.benchmarks.studies.peers.plan import Plan
from edgepress.benchmarks.studies.peers.tables import Contest, Row
from edgepress.benchmarks.studies.peers.tools import OWN
from edgepress.benchmarks.studies.peers.working import Workplace

COLUMNS = ("MACs left", "parameters", "processor s", "MiB")
# Titles of the ways, each with its tool, and the options of its choice.
WAYS = {
    "edgepress": (OWN, {}),
    "edgepress, L1": (OWN, {"criterion": "l1"}),
    "Torch-Pruning, L1": ("torch-pruning", {"method": "l1"}),
    "Torch-Pruning, Taylor": ("torch-pruning", {"method": "taylor"}),
    "Torch-Pruning, group norm": ("torch-pruning", {"method": "group-norm"}),
}


def cut_by(way: str, network: str, share: float, seed: int, plan: Plan) -> Cell:
    """The cell whose folder has the cut network."""
    tool, options = WAYS[way]
    wanted = {"share": share, "seed": seed}
    if tool == OWN:
        return Cell(OWN, "channels", network, {**options, **wanted, **plan.limits})
    chosen = Cell(tool, "channels", network, {**options, **wanted})
    return Cell(OWN, "channels", network, {"seed": seed, **plan.limits}, {"kept": chosen})


def trained_from(cut: Cell, epochs: int, seed: int, plan: Plan) -> Cell:
    """A cut network after some epochs: the same training, whoever cut it."""
    options = {"epochs": epochs, "seed": seed, **plan.limits}
    return Cell(OWN, "train", cut.network, options, {"model": cut}) if epochs else cut


def contests(place: Workplace, plan: Plan) -> Iterator[Contest]:
    """One for each network, share and number of epochs."""
    for network in plan.networks:
        for share in plan.shares:
            for epochs in plan.epochs:
                rows = [_row(place, plan, way, network, share, epochs) for way in WAYS]
                words = f"{epochs} epochs" if epochs else "untrained"
                title = f"{NETWORKS[network].title}, {share:g} of the MACs, {words}"
                yield Contest(title, "accuracy", COLUMNS, tuple(rows))


def _row(place: Workplace, plan: Plan, way: str, network: str, share: float, epochs: int) -> Row:
    whole = place.cells.answer(Cell(OWN, "graph", network, plan.limits))
    found: list[Answer] = []
    for seed in plan.seeds:
        cut = cut_by(way, network, share, seed, plan)
        found.append(place.cells.answer(trained_from(cut, epochs, seed, plan)))
    own = WAYS[way][0] == OWN
    if failed := next((a["failed"] for a in (*found, whole) if "failed" in a), ""):
        return Row(way, (), own, failed=failed)
    last = found[-1]
    cells = (
        f"{last['macs'] / whole['macs']:.3f}",
        f"{last['params']:,}",
        f"{sum(a['processor'] for a in found) / len(found):.0f}",
        f"{last['memory']:,.0f}",
    )
    return Row(way, tuple(a["accuracy"] for a in found), own, cells)
