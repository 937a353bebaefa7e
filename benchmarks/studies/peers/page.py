"""docs/peers.md: the results with what they were measured on, losses first."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepress.benchmarks.studies.peers.cells import NOT_RUN
from edgepress.benchmarks.studies.peers.plan import Plan
from edgepress.benchmarks.studies.peers.tables import Contest, in_order, summary, table
from edgepress.benchmarks.studies.peers.tools import TOOLS

_HEAD = """# edgepress beside its peers

Written by `scripts/peers`, which installs each tool, gives all the same weights, images, epochs
and seeds, and measures. It can be ended and called again: what is done isn't done twice. `--quick`
is the small plan; without it all networks, amounts and seeds are compared. Images and published
networks come from a folder (`--data`: a `.npz` with `x_train`, `y_train`, `x_test`, `y_test`, or a
folder with `cifar10/` and, for ResNet-8, `mlperf_tiny/ic/resnet8.h5`); without one CIFAR-10 is
downloaded by Keras and every network trained. At most 16,000 training images are used.

How it is kept fair:

- Torch-Pruning and NNCF get the weights as a PyTorch module; a network that Torch-Pruning cut
  comes back to Keras and must give the same outputs within 2e-5. Then one trainer trains what
  either tool cut, with the uncut network as teacher: what differs is which channels went.
- TFMOT trains in legacy Keras and has no teacher, so edgepress is also shown with labels alone.
- Every tool calibrates on the same 256 training images; files of one table are timed in turns.
- "Level" is within 0.005 of accuracy (one standard error is 0.0035 at 10,000 images), 1 % of
  bytes, 5 % of time. Seconds are processor time of the last step alone; MiB are the peak of its
  process.
"""


def write_page(
    parts: Mapping[str, Sequence[Contest]],
    plan: Plan,
    quick: bool,
    facts: Mapping[str, Any],
    out: Path,
) -> None:
    """Write the page, its plots and its raw results.

    Args:
        parts: Contests by the heading of their part.
        plan: What was compared.
        quick: Whether it is the small plan.
        facts: Machine and versions.
        out: The Markdown file; plots and JSON lie in a folder of its name.
    """
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    done = {heading: [c for c in part if _is_whole(c)] for heading, part in parts.items()}
    found = [contest for part in done.values() for contest in part]
    missing = sum(len(part) for part in parts.values()) - len(found)
    raw = {
        "plan": dataclasses.asdict(plan),
        **facts,
        "contests": [dataclasses.asdict(c) | {"outcome": c.outcome, "lead": c.lead} for c in found],
    }
    (folder / "results.json").write_text(json.dumps(raw, indent=1) + "\n", "utf-8")
    text = [_HEAD, _setting(plan, quick, facts, missing), "## In short\n", summary(found)]
    text.append("\nA plot of all leads: ![leads](peers/leads.svg)\n")
    for heading, contests in done.items():
        if not contests:
            continue
        text.append(f"## {heading}\n")
        text += [table(contest) + "\n" for contest in in_order(contests)]
    out.write_text("\n".join(text), "utf-8")
    draw_leads(found, folder / "leads.svg")


def _is_whole(contest: Contest) -> bool:
    """Whether all rows were tried: a peer that nobody ran hasn't lost."""
    return not any(row.failed == NOT_RUN for row in contest.rows)


def _setting(plan: Plan, quick: bool, facts: Mapping[str, Any], missing: int) -> str:
    pins = "; ".join(f"{t.title}: {', '.join(t.requires)}" for t in TOOLS.values() if t.requires)
    lines = [
        f"This page is of {'`--quick`' if quick else 'the whole plan'}: {plan.images:,} images,"
        f" seeds {', '.join(map(str, plan.seeds))}, epochs {', '.join(map(str, plan.epochs))}.",
        f"Machine: {facts['machine']}. Pinned: {pins}.",
    ]
    if missing:
        lines.append(f"{missing} tables aren't here yet: not all of their rows have been run.")
    if facts["absent"]:
        lines.append("Not installed here: " + "; ".join(facts["absent"]) + ".")
    return "\n".join(lines) + "\n"


def draw_leads(contests: Sequence[Contest], path: Path) -> None:
    """A bar for each contest of accuracy that has two sides: how far edgepress leads."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "peers"
    shown = [c for c in in_order(contests) if c.lead is not None and not c.relative]
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.3 * max(len(shown), 1)), layout="tight")
    colours = {"behind": "tab:red", "level": "tab:gray", "ahead": "tab:green"}
    leads = [contest.lead or 0.0 for contest in shown]
    axes.barh([c.title for c in shown], leads, color=[colours[c.outcome] for c in shown])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("accuracy of edgepress less that of the best peer")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
