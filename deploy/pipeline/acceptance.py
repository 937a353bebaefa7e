"""What a run had to keep, whether it did, and what to try where it didn't."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edgepress.benchmarks.records import (
    ArtifactRecord,
    DeviceFailure,
    RefusedFile,
    StageRecord,
    UnmetCheck,
    Verdict,
)
from edgepress.benchmarks.records.rows import BenchmarkRecord
from edgepress.benchmarks.records.stages import ExportRecord, Skipped, Verified
from edgepress.compress.data.metrics import drop_of, fallen
from edgepress.compress.data.tasks import Task
from edgepress.compress.errors import CheckFailed
from edgepress.compress.kernel.figures import OutputMetric, compared
from edgepress.compress.specs.recipe import PruneSpec
from edgepress.deploy.pipeline.budgets import budgets_of, unmet_budgets
from edgepress.deploy.recipe import Recipe

_ROUNDING = 1e-9
# Precisions whose rounding is learned by training for int8.
_TRAINABLE = {("tflite", "int8"), ("c", "int8"), ("c-standalone", "int8")}
_EPOCHS = 5
# Names under which an export may itself say what to try for a file.
_OWN_ADVICE = ("next", "hint", "advice")


def refuse_at_chance(stages: Sequence[StageRecord]) -> None:
    """Stop before a pruning of a model that has learned nothing which holds on validation data.

    Args:
        stages: Records of the stages so far.

    Raises:
        CheckFailed: Says what was seen and where.
    """
    for stage in stages:
        for found in stage.diagnosis:
            if found.finding == "validation at chance":
                what, _, hint = found.advice.partition("; ")
                raise CheckFailed(f"stopped after {stage.name}, before pruning: {what}", hint)


def judge_run(
    recipe: Recipe,
    task: Task,
    stages: Sequence[StageRecord],
    exported: ExportRecord,
    measured: BenchmarkRecord,
    given: Sequence[OutputMetric] = (),
) -> Verdict:
    """The verdict on a run: every unmet check, every refused file, every device that failed.

    Args:
        recipe: Its pruning steps and `accept` bound the fall; `accept` limits what files take.
        task: Says what a fall is.
        stages: What the stages left, in order.
        exported: The published files and those that were withheld.
        measured: What devices could and couldn't measure.
        given: The given model's metrics on the samples that files were verified on, where those
            are a part of the split; by default its metrics on all of it.
    """
    failures = tuple(
        DeviceFailure(device=f.device, artifact=f.artifact, reason=f.reason)
        for f in measured.failures
    )
    refused = tuple(
        RefusedFile(
            format=f.format,
            quantize=f.quantize,
            reason=f.reason,
            next=_own_advice(f) or _next_for_refused(recipe, f),
        )
        for f in exported.failed
    )
    checks = _unmet_steps(recipe, task, stages)
    checks += [_unverified(a) for a in exported.artifacts if a.verified is None]
    checks += _unmet_files(recipe, task, stages, exported.artifacts, given)
    if not exported.artifacts and not refused:
        checks.append(_nothing(exported))
    budgets = budgets_of(recipe, stages[0], exported.artifacts, measured) if stages else ()
    checks += unmet_budgets(recipe, budgets)
    return Verdict.of(tuple(checks), refused, failures, budgets=budgets)


def _unmet_steps(recipe: Recipe, task: Task, stages: Sequence[StageRecord]) -> list[UnmetCheck]:
    """Pruning steps after which an output fell by more than their own bound."""
    found = []
    pruned = [stage for stage in stages if stage.kind == "prune"]
    for spec, stage in zip(recipe.prune, pruned, strict=True):
        if spec.max_drop is None:
            continue
        rows = _rows(stage, task)
        found += [
            UnmetCheck(
                what=row.metric,
                where=stage.name,
                text=f"in {stage.name} {_named(row, rows)} fell from"
                f" {_shown(row.source_value)} to {_shown(row.value)}, more than its max_drop"
                f" {spec.max_drop:g} allows",
                before=row.source_value,
                after=row.value,
                allowed=spec.max_drop,
                next=_next_for_step(spec),
            )
            for row in fallen(rows, spec.max_drop + _ROUNDING)
        ]
    return found


def _unverified(artifact: ArtifactRecord) -> UnmetCheck:
    """A file that nothing here can run, so that no check of it was made."""
    return UnmetCheck(
        what="verified",
        where=f"{artifact.format} {artifact.quantize}",
        text=f"{artifact.format} {artifact.quantize} can't be run here, so it isn't verified",
        next="leave out --select-ops, or compare its outputs where it runs",
    )


def _unmet_files(
    recipe: Recipe,
    task: Task,
    stages: Sequence[StageRecord],
    artifacts: Sequence[ArtifactRecord],
    given: Sequence[OutputMetric],
) -> list[UnmetCheck]:
    """Files of which an output fell from the given model by more than the recipe allows."""
    allowed = recipe.accept.max_drop
    if allowed is None:
        return []
    found = []
    some = f" on {recipe.export.verify_samples} samples" if given else ""
    for artifact in (a for a in artifacts if a.verified is not None):
        rows = compared(_rows(artifact.verified, task), given or _rows(stages[0], task))
        if all(row.source_value is None for row in rows):
            # Records of before have no rows by output: what both tell is the headline.
            value = artifact.verified.value if artifact.verified else None
            rows = (OutputMetric("", task.metric, value, stages[0].value),)
        found += [
            UnmetCheck(
                what=row.metric,
                where=f"{artifact.format} {artifact.quantize}",
                text=f"{artifact.format} {artifact.quantize}: {_named(row, rows)} is"
                f" {_shown(row.value)}{some}, the given model has {_shown(row.source_value)}: more"
                f" than --max-drop {allowed:g} allows",
                before=row.source_value,
                after=row.value,
                allowed=allowed,
                next=_next_for_file(recipe, task, stages, artifact, row, allowed),
            )
            for row in rows
            if row in fallen(rows, allowed + _ROUNDING) or row.value is None
        ]
    return found


def _rows(record: StageRecord | Verified | None, task: Task) -> tuple[OutputMetric, ...]:
    """The metric of each output; older records have one value alone."""
    if record is None or record.metrics or record.value is None:
        return record.metrics if record else ()
    before = getattr(record, "before", None) or {}
    return (OutputMetric("", task.metric, record.value, before.get("value")),)


def _named(row: OutputMetric, rows: Sequence[OutputMetric]) -> str:
    """The metric, and of which output it is where there are several."""
    return f"{row.metric} of output '{row.output}'" if len(rows) > 1 else row.metric


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


def _nothing(exported: ExportRecord) -> UnmetCheck:
    reason = exported.skipped[0].reason if exported.skipped else "none was asked for"
    return UnmetCheck(
        what="files",
        where="export",
        text=f"no file was published: {reason}",
        next="another of --format tflite,onnx,c or --quantize float32,float16,dynamic,int8",
    )


def _next_for_file(
    recipe: Recipe,
    task: Task,
    stages: Sequence[StageRecord],
    artifact: ArtifactRecord,
    row: OutputMetric,
    allowed: float,
) -> str:
    """What may bring a file back within the bound: it depends on where the metric was lost."""
    known = [(stage, found) for stage in stages if (found := _of(stage, row, task)) is not None]
    if row.value is None or row.source_value is None or len(known) < 2:
        return "give data with labels, so that the file can be scored"
    if drop_of(row.metric, known[0][1], known[-1][1]) <= allowed + _ROUNDING:
        return _next_for_precision(recipe, artifact.format, artifact.quantize, allowed)
    worst = max(pairwise(known), key=lambda pair: drop_of(row.metric, pair[0][1], pair[1][1]))[1][0]
    if worst.kind != "prune":
        return f"most is lost in {worst.name}: a lower --lr, or other layers in --unfreeze"
    step = [stage.name for stage in stages if stage.kind == "prune"].index(worst.name)
    return f"most is lost in {worst.name}: {_next_for_step(recipe.prune[step])}"


def _of(stage: StageRecord, row: OutputMetric, task: Task) -> float | None:
    """What the metric of an output was after a stage; of no output by name, the headline."""
    if not row.output:
        return stage.value
    return next((m.value for m in _rows(stage, task) if m.output == row.output), None)


def _next_for_step(spec: PruneSpec) -> str:
    more = max(2 * spec.recover.epochs, _EPOCHS)
    return f"--recover-epochs {more}, or remove less"


def _next_for_precision(recipe: Recipe, format: str, quantize: str, allowed: float) -> str:
    """What helps a precision that loses too much."""
    if (format, quantize) in _TRAINABLE:
        epochs = max(2 * recipe.export.qat_epochs, _EPOCHS)
        floor = f", or --int8-max-drop {allowed:g}" if format == "tflite" else ""
        return f"--qat-epochs {epochs}{floor}"
    if quantize == "int8":
        return "--calibration-method auto, or --quantize dynamic"
    if quantize in ("int4-weights", "int8-weights", "dynamic", "int16x8"):
        return "--quantize int8 with --qat-epochs, or --quantize float16"
    return "--quantize float32"


def _next_for_refused(recipe: Recipe, file: Skipped) -> str:
    """What to try for a file that differs from its source."""
    if file.quantize in ("float32", "float16"):
        return "edgepress doctor MODEL names what doesn't convert; --quantize float32 to compare"
    helps = _next_for_precision(recipe, file.format, file.quantize, 0.01)
    return f"{helps}; edgepress verify --layers names the first layer that differs"


def _own_advice(file: Skipped) -> str:
    said = file.model_extra or {}
    return next((str(said[name]) for name in _OWN_ADVICE if said.get(name)), "")
