"""One trial: the full pipeline in a process of its own, then judged on validation data."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgepress.benchmarks.records import ArtifactRecord, BenchmarkRow, RunRecord, read_run
from edgepress.compress.data import Dataset
from edgepress.compress.data.metrics import drop_of
from edgepress.compress.errors import EdgepressError
from edgepress.compress.processes.children import start as launch
from edgepress.deploy.pipeline.run_folder import IN_COMMON, SHARED_STAGES, RunFolder
from edgepress.deploy.recipe import AcceptSpec, Recipe, write_recipe
from edgepress.deploy.searching.curves import Point
from edgepress.deploy.searching.limits import asked_limits, limits_of
from edgepress.deploy.searching.objectives import OBJECTIVES
from edgepress.deploy.searching.space import SearchSpec

# A floor of 0 is no unit for a fall.
_SMALLEST_FLOOR = 1e-3
# What a refusal counts among the shares by which other constraints are broken.
_REFUSED = 0.1
# The line is done; 1 says that a check failed, 3 that a device did.
_DONE = (0, 1, 3)


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes:
        values: The objectives' values in their order; empty where it failed.
        accepted: Whether its files are verified and within the accepted drop.
        reason: Why it failed or isn't accepted; empty otherwise.
        artifact: The file that was judged, relative to the trial's folder.
        figures: For people: objectives, and the metric on the report split.
        sha256: Hash of that file.
        relative: Whether its latency is judged as a multiple of the source's.
        constraints: By how much it breaks what it has to keep, each as a share of what is allowed:
            the fall of the metric, the limits, and its run's verdict; 0 or less where it keeps it.
        stopped: After how many epochs it was stopped early; 0 for all others.
        curve: The epochs of its trainings.
    """

    values: tuple[float, ...] = ()
    accepted: bool = False
    reason: str = ""
    artifact: str = ""
    figures: dict[str, Any] | None = None
    sha256: str | None = None
    relative: bool = False
    constraints: Mapping[str, float] = field(default_factory=dict)
    stopped: int = 0
    curve: Sequence[Point] = ()


def start(recipe: Recipe, folder: Path, threads: int | None) -> subprocess.Popen[bytes]:
    """Run the line in a process of its own; one that was stopped goes on.

    Stages that trials have in common lie beside the folder of trials.

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
    environment = {SHARED_STAGES: str(folder.parents[1] / IN_COMMON)}
    if threads is not None:
        environment["TF_NUM_INTRAOP_THREADS"] = str(threads)
    with folder.with_name(f"{folder.name}.log").open("wb") as log:
        return launch(
            command,
            kind="own",
            environment=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Let a line end as Ctrl-C would end it; it keeps what is finished."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def judge(
    code: int,
    folder: Path,
    search: SearchSpec,
    recipe: Recipe,
    data: Dataset,
    relative: bool | None = None,
    scored: Callable[[Path], float] | None = None,
    given: float | None = None,
) -> Outcome:
    """Read what a trial left, and score its file on validation data.

    Args:
        code: Exit code of its process.
        folder: Its run folder.
        search: What is judged.
        recipe: What the trial ran.
        data: The data set.
        relative: Whether latencies are multiples of the source's, which is timed beside each
            trial's files; None where that isn't decided yet: then they are if it was timed.
        scored: Gives a file's metric on validation data; by default it runs beside the model that
            it was exported from.
        given: The given model's metric on that data, where falls are bounded.
    """
    if code not in _DONE or not RunFolder(folder).record.is_file():
        return Outcome(reason=_last_line(folder))
    run = read_run(RunFolder(folder).record)
    format = search.format or recipe.export.formats[0]
    quantize = search.quantize or recipe.export.quantize[-1]
    chosen = [a for a in run.artifacts if (a.format, a.quantize) == (format, quantize)]
    if not chosen:
        return Outcome(reason=_missing(run, format, quantize))
    artifact = chosen[0]
    try:
        file = artifact.path.under(folder)
        validation = scored(file) if scored else _validation(run, folder, artifact, recipe, data)
    except EdgepressError as error:
        return Outcome(reason=error.message)
    row, ratio = _timed(run, artifact)
    relative = ratio is not None if relative is None else relative
    facts = {
        "model": str(RunFolder(folder).stage(run.stages[-1].name) / "model.keras"),
        "row": row.to_json() if row else {},
        "artifact": artifact.to_json(),
        "after": run.after.to_json(),
        "validation": validation,
        "ratio": ratio,
        "latency": ratio if relative else row.median_ms if row else None,
    }
    read = {name: OBJECTIVES[name].read(facts) for name in search.objectives}
    absent = [name for name, value in read.items() if value is None]
    if absent:
        return Outcome(reason=_unmeasured(run, absent[0], row))
    accepted, verdict = bool(run.accepted), run.judged
    fall = None if given is None else drop_of(data.task.metric, given, validation)
    return Outcome(
        tuple(float(read[name] or 0.0) for name in search.objectives),
        accepted,
        "; ".join(verdict.complaints or (verdict.headline,)) if not accepted and verdict else "",
        artifact.path,
        _figures(read, row, ratio, artifact),
        artifact.sha256,
        relative,
        _constraints(accepted, fall, recipe.accept, _over(run, recipe.accept, facts)),
    )


def _figures(
    read: Mapping[str, float | None],
    row: BenchmarkRow | None,
    ratio: float | None,
    artifact: ArtifactRecord,
) -> dict[str, Any]:
    """What people read of a trial."""
    figures: dict[str, Any] = {**read}
    if row is not None:
        figures |= {"latency_ratio": ratio, "timing_valid": row.timing_valid}
        figures |= {"latency": row.median_ms} if "latency" in read else {}
    verified = artifact.verified
    if verified is not None:
        figures |= {"split": verified.split, "value": verified.value}
    return figures


def _over(run: RunRecord, accept: AcceptSpec, facts: Mapping[str, Any]) -> dict[str, float]:
    """By how much a file exceeds each limit of its recipe, as far as that was measured."""
    asked = asked_limits(accept)
    row = facts["row"]
    figures = {name: OBJECTIVES[name].read(facts) for name in asked}
    figures |= {"latency": row.get("median_ms"), "latency_ratio": facts["ratio"]}
    try:
        limits = limits_of(asked, run.benchmark.row_of(run.stages[0].file))
    except EdgepressError:
        return {}  # a share of what wasn't measured: the run's verdict says so
    known = [limit for limit in limits if figures[limit.name] is not None]
    return {limit.flag.removeprefix("--"): limit.over(figures) for limit in known}


def _constraints(
    accepted: bool, fall: float | None, accept: AcceptSpec, over: Mapping[str, float]
) -> dict[str, float]:
    """By how much a trial breaks what it has to keep: samplers go where that is less."""
    found = {"verdict": 0.0 if accepted else _REFUSED, **over}
    floor = accept.max_drop
    if fall is not None and floor is not None and math.isfinite(fall):
        found["max-drop"] = (fall - floor) / max(floor, _SMALLEST_FLOOR)
    return found


def _timed(run: RunRecord, artifact: ArtifactRecord) -> tuple[BenchmarkRow | None, float | None]:
    """A file's row, and its time as a multiple of the source's, both timed in turns."""
    source = run.stages[0].file if run.stages else None
    pair = run.benchmark.same_way(source, artifact.file)
    if pair is None:
        return run.benchmark.row_of(artifact.file), None
    reference, row = pair
    compared = run.benchmark.compared(reference, row)
    if compared is not None:
        return row, compared.ratio
    if not reference.median_ms or row.median_ms is None:
        return row, None
    return row, row.median_ms / reference.median_ms


def _unmeasured(run: RunRecord, objective: str, row: BenchmarkRow | None) -> str:
    """Why an objective has no figure."""
    if objective == "latency" and row is not None:
        return "the source, which latencies are held against, was not timed beside its file"
    failures = run.benchmark.failures
    why = f": {failures[0].device}: {failures[0].reason}" if failures else ""
    return f"its {objective} was not measured{why}"


def _validation(
    run: RunRecord, folder: Path, artifact: ArtifactRecord, recipe: Recipe, data: Dataset
) -> float:
    """The file's metric on validation data, which choices are made by."""
    from edgepress.compress.models import load
    from edgepress.deploy.verification.verifying import verify

    if data.test is None or data.val is None:
        known = artifact.verified.value if artifact.verified else None
        return float("nan") if known is None else known
    plain = RunFolder(folder).stage(run.stages[-1].name) / "model.keras"
    model = load(plain, recipe.custom_objects, recipe.unsafe_lambda)
    found = verify(
        model,
        artifact.path.under(folder),
        replace(data, test=None),
        precision=artifact.quantize,
    )
    return float(found.value if found.value is not None else float("nan"))


def _missing(run: RunRecord, format: str, quantize: str) -> str:
    for problem in (*run.rejected, *run.skipped):
        if (problem.format, problem.quantize) == (format, quantize):
            return f"no {format} {quantize} file: {problem.reason}"
    return f"the recipe exports no {format} {quantize} file"


def _last_line(folder: Path) -> str:
    """What the command said at its end."""
    log = folder.with_name(f"{folder.name}.log")
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
    errors = [line for line in lines if line.startswith("edgepress: ")]
    last = (errors or lines or ["it ended without a message"])[-1]
    return last.removeprefix("edgepress: error: ")


def as_attributes(outcome: Outcome) -> dict[str, Any]:
    """What is kept of an outcome beside its values, as JSON can hold it."""
    names = ("accepted", "reason", "artifact", "figures", "sha256", "stopped", "curve")
    kept = {name: getattr(outcome, name) for name in names}
    text: dict[str, Any] = json.loads(json.dumps(kept))
    return text
