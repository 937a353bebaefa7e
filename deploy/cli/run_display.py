"""Showing a run: its progress, its table before and after, its receipt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepress.benchmarks.records import Verdict, by_file, fit_line
from edgepress.benchmarks.report import output_rows
from edgepress.benchmarks.report.markdown import grids
from edgepress.benchmarks.report.view_model import left_out_notes
from edgepress.compress.errors import CheckFailed, DeviceError, Stopped
from edgepress.compress.kernel.progress import Progress
from edgepress.deploy.cli import display
from edgepress.deploy.cli.display import echo
from edgepress.deploy.cli.tables.layouts import BEFORE_AFTER, FILES, STAGE_OUTPUTS, STAGES
from edgepress.deploy.cli.tables.printing import say_styled, show_grid
from edgepress.deploy.pipeline.opening import NothingDone
from edgepress.deploy.pipeline.pipeline import RunResult, run
from edgepress.deploy.pipeline.run_folder import RunFolder, shared_stages
from edgepress.deploy.recipe import Recipe

_TABLES = {
    "What each stage changed": STAGES,
    "Files": FILES,
    output_rows.TITLE: STAGE_OUTPUTS,
    "Before and after": BEFORE_AFTER,
}
# Items of a verdict that one line of an error names.
_SHOWN = 4


@contextmanager
def resumable(made: Path, go_on: str) -> Iterator[Progress]:
    """The progress, on standard error, of work that can be stopped and resumed.

    Args:
        made: The file in the output folder without which nothing can be resumed.
        go_on: The command that does.

    Raises:
        Stopped: The user stopped it; says how to go on.
    """
    try:
        with display.ConsoleProgress() as progress:
            yield progress
    except NothingDone:
        raise
    except (KeyboardInterrupt, Stopped):
        if not made.is_file():
            raise NothingDone("stopped; nothing was written") from None
        raise Stopped(
            f"stopped; what is finished stays in '{made.parent}'", f"go on with: {go_on}"
        ) from None


def run_line(recipe: Recipe, output: Path, resume: bool, force: bool) -> RunResult:
    """Run the full pipeline with its progress on standard error.

    Raises:
        Stopped: The user stopped it; says how to go on.
    """
    go_on = f"edgepress compress --resume {output}"
    with resumable(RunFolder(Path(output)).recipe, go_on) as progress:
        shared = shared_stages()
        return run(recipe, output, resume=resume, force=force, progress=progress, shared=shared)


def finish(result: RunResult, as_json: bool) -> None:
    """Show a run that is done.

    Raises:
        CheckFailed: A check is unmet or a file was refused, whatever devices did.
        DeviceError: All is accepted, but a device could not measure something.
    """
    if as_json:
        display.print_json(result.to_json())
    else:
        show_run(result)
    verdict = result.verdict
    if verdict.exit_code == 1:
        raise CheckFailed(_in_one_line(verdict))
    if verdict.exit_code:
        raise DeviceError(_in_one_line(verdict), "all else is done")


def _in_one_line(verdict: Verdict) -> str:
    """The verdict's headline with its items, the first of each kind if there are many."""
    lines = verdict.lines
    if len(lines) > _SHOWN:
        firsts = (verdict.complaints[:_SHOWN], verdict.lines[len(verdict.complaints) :][:1])
        shown = [line for part in firsts for line in part]
        lines = (*shown, f"{len(lines) - len(shown)} more in run.json and the report")
    return f"{verdict.headline}: {'; '.join(lines)}"


def show_run(result: RunResult) -> None:
    """The tables of a run, its remarks and its verdict."""
    run = result.contents
    for of_file in by_file(result.verdict.budgets):
        fits = all(budget.held for budget in of_file)
        say_styled(fit_line(of_file), "green" if fits else "red")
    for title, grid in grids(run):
        if title in _TABLES:
            show_grid(_TABLES[title], title, grid)
    for warning in run.warnings:
        echo(f"note: {warning}")
    for note in (*run.benchmark.remarks, *left_out_notes(run)):
        echo(f"note: {note}")
    verdict = result.verdict
    say_styled(verdict.headline, "green" if verdict.accepted else "red")
    for line in verdict.lines:
        echo(f"- {line}")
    folder = result.folder
    echo(f"report: {folder / 'report.html'}   everything measured: {folder / 'run.json'}")
