"""All together: the smallest and the fastest int8 file that is within a point of the network."""

from __future__ import annotations

from collections.abc import Iterator

from edgepress.benchmarks.studies.peers.cells import Answer, Cell
from edgepress.benchmarks.studies.peers.networks import NETWORKS
from edgepress.benchmarks.studies.peers.parts import channels, zeros
from edgepress.benchmarks.studies.peers.plan import Plan
from edgepress.benchmarks.studies.peers.tables import Contest, Row
from edgepress.benchmarks.studies.peers.tools import OWN
from edgepress.benchmarks.studies.peers.working import Workplace

POINT = 0.01
COLUMNS = ("accuracy", "gzip", "ms", "of")
_INT8 = {"format": "tflite", "precision": "int8"}


def files(network: str, plan: Plan) -> dict[str, dict[str, Cell]]:
    """For each pair of tools its int8 files, by what was done before; all had the same epochs."""
    epochs, seed = max(plan.epochs), plan.seeds[0]
    found: dict[str, dict[str, Cell]] = {
        name: {"nothing": _int8(name, network, None)} for name in ("edgepress", "converter alone")
    }
    for share in plan.shares:
        for way, name in (
            ("edgepress", "edgepress"),
            ("Torch-Pruning, L1", "Torch-Pruning and converter"),
        ):
            cut = channels.cut_by(way, network, share, seed, plan)
            made = channels.trained_from(cut, epochs, seed, plan)
            found.setdefault(name, {})[f"{share:g} of the MACs"] = _int8(name, network, made)
    for wanted in plan.sparsities:
        ways = zeros.cells(network, wanted, epochs, seed, plan)
        for way, name in (
            ("edgepress", "edgepress"),
            ("TFMOT, labels alone", "TFMOT and converter"),
        ):
            found.setdefault(name, {})[f"{wanted:.0%} zeros"] = _int8(name, network, ways[way])
    return found


def _int8(name: str, network: str, made: Cell | None) -> Cell:
    after = {} if made is None else {"model": made}
    if name == "edgepress":
        return Cell(OWN, "export", network, _INT8, after)
    return Cell("converter", "quantize", network, {"precision": "int8"}, after)


def contests(place: Workplace, plan: Plan) -> Iterator[Contest]:
    """For each network the smallest and the fastest."""
    for network in plan.networks:
        made = files(network, plan)
        flat = {f"{tool}: {how}": cell for tool, way in made.items() for how, cell in way.items()}
        there = {n: c for n, c in flat.items() if "failed" not in place.cells.answer(c)}
        whole = place.cells.answer(Cell(OWN, "graph", network, plan.limits))
        measured = place.measured(network, there, plan)
        for key, words in (("gzip", "smallest after gzip"), ("ms", "fastest")):
            rows = [_row(tool, key, whole, measured) for tool in made]
            title = f"{NETWORKS[network].title}, int8 for LiteRT within a point: {words}"
            yield Contest(
                title, key, COLUMNS, tuple(rows), False, 0.02, True, 4 if key == "ms" else 0
            )


def _row(tool: str, key: str, whole: Answer, measured: Answer) -> Row:
    own = tool == "edgepress"
    if failed := whole.get("failed") or measured.get("failed"):
        return Row(tool, (), own, failed=failed)
    least = whole["accuracy"] - POINT
    names = [n for n in measured["files"] if n.startswith(f"{tool}: ")]
    near = [n for n in names if measured["files"][n]["accuracy"] >= least]
    if not near:
        return Row(tool, (), own, failed="no file within a point" if names else "not run yet")
    best = min(near, key=lambda name: measured["files"][name][key])
    seen = measured["files"][best]
    cells = (f"{seen['accuracy']:.4f}", f"{seen['gzip']:,}", f"{seen['ms']:.4f}",
             best.partition(": ")[2])  # fmt: skip
    return Row(tool, (seen[key],), own, cells)
