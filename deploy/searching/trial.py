"""One trial: the whole line in a process of its own, then judged on validation data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepress.compress.data import Dataset
from edgepress.compress.errors import EdgepressError
from edgepress.compress.files import read_json
from edgepress.deploy.recipe import Recipe, write_recipe
from edgepress.deploy.run_folder import RunFolder
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.searching.space import SearchSpec

# The line is done; 1 says that a check failed.
_DONE = (0, 1)


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes:
        values: The objectives' values in their order; empty where it failed.
        accepted: Whether its files are verified and within the accepted drop.
        reason: Why it failed or isn't accepted; empty otherwise.
        artifact: The file that was judged, relative to the trial's folder.
        figures: For people: objectives, and the metric on the report split.
    """

    values: tuple[float, ...] = ()
    accepted: bool = False
    reason: str = ""
    artifact: str = ""
    figures: dict[str, Any] | None = None


def start(recipe: Recipe, folder: Path, threads: int | None) -> subprocess.Popen[bytes]:
    """Run the line in a process of its own; one that was stopped goes on.

    Args:
        recipe: What the trial runs.
        folder: Its run folder.
        threads: Processor threads of its training; all by default.
    """
    command = [sys.executable, "-m", "edgepress.deploy.cli", "compress"]
    if RunFolder(folder).recipe.is_file():
        command += ["--resume", str(folder)]
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        written = folder.with_name(f"{folder.name}.yaml")
        write_recipe(recipe, written)
        command += [str(written), "-o", str(folder), "--force"]
    environment = dict(os.environ)
    if threads is not None:
        environment["TF_NUM_INTRAOP_THREADS"] = str(threads)
    with folder.with_name(f"{folder.name}.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


def judge(code: int, folder: Path, search: SearchSpec, recipe: Recipe, data: Dataset) -> Outcome:
    """Read what a trial left, and score its file on validation data.

    Args:
        code: Exit code of its process.
        folder: Its run folder.
        search: What is judged.
        recipe: What the trial ran.
        data: The data set.
    """
    if code not in _DONE or not RunFolder(folder).record.is_file():
        return Outcome(reason=_last_line(folder))
    record = read_json(RunFolder(folder).record)
    format = search.format or recipe.export.formats[0]
    quantize = search.quantize or recipe.export.quantize[-1]
    chosen = [a for a in record["artifacts"] if (a["format"], a["quantize"]) == (format, quantize)]
    if not chosen:
        return Outcome(reason=_missing(record, format, quantize))
    artifact = chosen[0]
    try:
        validation = _validation(record, folder, artifact, recipe, data)
    except EdgepressError as error:
        return Outcome(reason=error.message)
    rows = [r for r in record["benchmark"]["rows"] if r["artifact"] == artifact["path"]]
    facts = {"row": rows[0] if rows else {}, "artifact": artifact, "after": record["after"]}
    read = {n: OBJECTIVES[n].read({**facts, "validation": validation}) for n in search.objectives}
    absent = [name for name, value in read.items() if value is None]
    if absent:
        return Outcome(reason=f"its {absent[0]} was not measured")
    verified = artifact["verified"]
    figures = {**read, "split": verified["split"], "value": verified["value"]}
    return Outcome(
        tuple(float(v) for v in read.values() if v is not None),
        bool(record["accepted"]),
        "" if record["accepted"] else _refused(record),
        artifact["path"],
        figures,
    )


def _validation(
    record: dict[str, Any], folder: Path, artifact: dict[str, Any], recipe: Recipe, data: Dataset
) -> float:
    """The file's metric on validation data, which choices are made by."""
    from edgepress.compress.models import load
    from edgepress.deploy.verification.verifying import verify

    if data.test is None or data.val is None:
        return float(artifact["verified"]["value"])
    plain = RunFolder(folder).stage(record["stages"][-1]["name"]) / "model.keras"
    model = load(plain, recipe.custom_objects, recipe.unsafe_lambda)
    found = verify(
        model, folder / artifact["path"], replace(data, test=None), precision=artifact["quantize"]
    )
    return float(found.value if found.value is not None else float("nan"))


def _missing(record: dict[str, Any], format: str, quantize: str) -> str:
    for problem in (*record["rejected"], *record["skipped"]):
        if (problem["format"], problem["quantize"]) == (format, quantize):
            return f"no {format} {quantize} file: {problem['reason']}"
    return f"the recipe exports no {format} {quantize} file"


def _refused(record: dict[str, Any]) -> str:
    if record["rejected"]:
        return str(record["rejected"][0]["reason"])
    return str(record["unmet"][0])


def _last_line(folder: Path) -> str:
    """What the command said at its end."""
    log = folder.with_name(f"{folder.name}.log")
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
    errors = [line for line in lines if line.startswith("edgepress: ")]
    last = (errors or lines or ["it ended without a word"])[-1]
    return last.removeprefix("edgepress: error: ")


def as_attributes(outcome: Outcome) -> dict[str, Any]:
    """What is kept of an outcome beside its values, as JSON can hold it."""
    kept = {k: getattr(outcome, k) for k in ("accepted", "reason", "artifact", "figures")}
    text: dict[str, Any] = json.loads(json.dumps(kept))
    return text
