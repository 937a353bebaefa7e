"""Run the comparison and write its page; see `scripts/peers --help`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edgepress.benchmarks.studies.peers.environments import NotInstalled, python_of
from edgepress.benchmarks.studies.peers.page import write_page
from edgepress.benchmarks.studies.peers.parts import channels, combined, precisions, zeros
from edgepress.benchmarks.studies.peers.plan import QUICK, WHOLE, Plan
from edgepress.benchmarks.studies.peers.tables import Contest
from edgepress.benchmarks.studies.peers.tools import TOOLS
from edgepress.benchmarks.studies.peers.working import ROOT, Workplace

PARTS: dict[str, tuple[str, Callable[[Workplace, Plan], Iterator[Contest]]]] = {
    "precisions": ("int8 and below", precisions.contests),
    "channels": ("Channels", channels.contests),
    "zeros": ("Zeros", zeros.contests),
    "combined": ("All together", combined.contests),
}


def _absent(place: Workplace, goes_on: Callable[[], bool]) -> list[str]:
    """Tools that can't be installed, with the reason."""
    found = []
    for tool in TOOLS.values():
        try:
            if goes_on():
                python_of(tool, place.folder / "environments")
        except NotInstalled as error:
            found.append(f"{tool.title} ({error})")
    return found


def main() -> None:
    from edgepress.deploy.versions import machine

    parser = argparse.ArgumentParser(prog="scripts/peers", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the small plan: one network, one seed"
    )
    parser.add_argument("--data", type=Path, help="images and published networks; else downloaded")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/peers", help="keeps all cells")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/peers.md")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--minutes", type=float, default=float("inf"),
        help="begin nothing after these; the page has what there is",
    )  # fmt: skip
    given = parser.parse_args()
    plan, began = QUICK if given.quick else WHOLE, time.monotonic()

    def goes_on() -> bool:
        return time.monotonic() - began < 60 * given.minutes

    place = Workplace(given.folder, given.data, goes_on)
    parts: dict[str, list[Contest]] = {}
    for name in given.only:
        heading, contests = PARTS[name]
        parts[heading] = []
        for contest in contests(place, plan):
            print(f"{contest.outcome:8} {contest.title}", flush=True)
            parts[heading].append(contest)
    facts = {"machine": machine(), "absent": _absent(place, goes_on)}
    write_page(parts, plan, given.quick, facts, given.out)
    print(f"{given.out}: {(time.monotonic() - began) / 60:.0f} min")


if __name__ == "__main__":
    main()
