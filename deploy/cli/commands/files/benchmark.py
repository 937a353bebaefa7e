"""`edgepress benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepress.benchmarks.gate.tolerances import Tolerances
from edgepress.compress.errors import CheckFailed, DeviceError, FileRefused, InputError
from edgepress.compress.kernel.files import (
    atomic_output,
    check_distinct,
    check_rewritten,
    write_json,
)
from edgepress.deploy.cli import display
from edgepress.deploy.cli.help_sections import SectionedCommand
from edgepress.deploy.cli.options import (
    Values,
    benchmark_options,
    checked_output,
    common_options,
    data_options,
    data_spec,
    given,
    keyword_values,
    output_options,
    read_by,
    spec_from,
    spec_options,
)
from edgepress.deploy.cli.tables.layouts import BENCHMARK
from edgepress.deploy.cli.tables.printing import table_options
from edgepress.deploy.specs.benchmark import BenchmarkSpec

if TYPE_CHECKING:
    from edgepress.benchmarks.gate.comparison import GateResult
    from edgepress.compress.data import Dataset
    from edgepress.deploy.sources.source import Source

# Options that name a file for another program, what it is, and how such a file begins.
_FOR_SERVERS = (
    ("junit", "JUnit XML of a benchmark", rb"<\?xml [^>]*>\s*<testsuite name=.edgepress"),
    ("github", "list for the GitHub benchmark action", rb"\[\s*(\]|{\s*.name.:)"),
)


@click.command(cls=SectionedCommand)
@click.argument(
    "artifacts", nargs=-1, required=True, metavar="ARTIFACT…", type=click.Path(path_type=Path)
)
@benchmark_options
@click.option(
    "--model",
    metavar="MODEL",
    help="Model that the files were made from; it says how --data is read.",
)
@click.option(
    "--name",
    multiple=True,
    metavar="NAME",
    help="Name of a file, by which --against recognises it wherever it is: once for each file in"
    " order, or FILE=NAME.",
)
@click.option(
    "--against",
    metavar="EARLIER",
    type=click.Path(path_type=Path),
    help="An earlier result (RUN folder, .json, history or history@LABEL): exit code 1 on a"
    " regression of metric, latency, size, arena, memory or energy. If it is the file of"
    " --history and holds no such result yet, this one becomes the first.",
)
@spec_options(Tolerances)
@click.option(
    "--history", type=click.Path(path_type=Path), help="SQLite file to add this result to."
)
@click.option("--label", default="", help="Name of this result in the history, such as a commit.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also write JUnit XML here.")
@click.option(
    "--github",
    type=click.Path(path_type=Path),
    help="Also write JSON for the GitHub benchmark action.",
)
@data_options(required=False, skip=("augment",))
@output_options(required=False, help="Also write the JSON document to this file.")
@table_options(*BENCHMARK)
@common_options
@keyword_values
def command(values: Values) -> None:
    """Measure size, latency, memory and accuracy of ARTIFACTs (.tflite, .onnx), interleaved.

    A SavedModel folder is measured as the float32 TFLite file that `export` makes of it.

    With --data the accuracy is measured from the outputs of the device; the data is read as --model
    needs it, the model that the files were made from, or else as the first file does.
    """
    _check_pairs(values)
    spec = spec_from(BenchmarkSpec, given(values, BenchmarkSpec))
    for path in values["artifacts"]:
        if not path.exists():
            raise InputError(f"artifact '{path}' does not exist")
    _check_outputs(values)
    display.say("loading the runtimes")
    from edgepress.benchmarks.gate.comparison import GateResult
    from edgepress.deploy.benchmarking.benchmark import benchmark
    from edgepress.deploy.cli.benchmark_display import show_benchmark
    from edgepress.deploy.cli.gate import names_of, open_gate
    from edgepress.deploy.versions import made_by

    names = names_of(values)
    gate = open_gate(values, names)
    dataset, source = _dataset(values)
    with display.ConsoleProgress() as progress:
        result = benchmark(
            list(values["artifacts"]),
            spec=spec,
            data=dataset,
            model=source,
            names=names,
            seed=values["seed"],
            progress=progress,
        )
    document = {**result.to_json(), "directory": str(Path.cwd()), **made_by()}
    try:
        found = gate.hold(document) if gate else GateResult(())
    finally:
        if values["output"]:  # what was measured isn't lost to a comparison that can't be made
            write_json(values["output"], document, values["force"], checked=True)
    _keep(values, document)
    if values["as_json"]:
        display.print_json(document)
    else:
        show_benchmark(document)
    _end(document, found)


def _end(document: dict[str, Any], found: GateResult) -> None:
    """End with what went wrong: all of it, in one line."""
    from edgepress.deploy.cli.gate import regression_message

    worse = regression_message(found)
    if document["failures"]:
        first = document["failures"][0]
        failure = f"{first['device']}: {first['artifact']} failed: {first['reason']}"
        refused = all(failed.get("refused") for failed in document["failures"])
        kind = FileRefused if refused else DeviceError
        raise kind(f"{failure.rstrip('.')}; {worse}" if worse else failure)
    if worse:
        raise CheckFailed(worse)


def _check_pairs(values: Values) -> None:
    """Refuse options that say how to do what isn't asked for."""
    pairs = [("model", "data"), ("label", "history"), ("force", "output")]
    pairs += [(field, "against") for field in Tolerances.model_fields]
    for option, needed in pairs:
        if values[option] not in (None, "", False) and not values[needed]:
            raise click.UsageError(f"--{option.replace('_', '-')} needs --{needed}")


def _check_outputs(values: Values) -> None:
    """Refuse, before anything is measured, what can't be written."""
    if values["output"]:
        path = checked_output(values)
        # Its name doesn't say what it is: a slip of the hand would replace a model.
        check_rewritten(path, "JSON document", rb"\s*\{", read_by(values))
    for option, what, begins in _FOR_SERVERS:
        if values[option]:
            check_rewritten(values[option], what, begins, read_by(values))
    check_distinct(*(values[name] for name in ("output", "junit", "github", "history")))
    if values["history"]:
        from edgepress.benchmarks.history import check_history

        check_history(values["history"])


def _keep(values: Values, document: dict[str, Any]) -> None:
    """Add the result to the history, and tell CI servers."""
    from edgepress.benchmarks.report.ci import render_github, render_junit

    if values["history"]:
        from edgepress.benchmarks.history import keep

        keep(values["history"], document, values["label"])
    for option, render in (("junit", render_junit), ("github", render_github)):
        if values[option]:
            with atomic_output(values[option], force=True) as temporary:
                temporary.write_text(render(document), "utf-8", "backslashreplace")


def _dataset(values: Values) -> tuple[Dataset | None, Source | None]:
    """The data and what it is understood through: the model or, without one, the artifact."""
    data = data_spec(values)
    if data is None:
        return None, None
    from edgepress.deploy.cli.quiet import load_frameworks

    load_frameworks(values["verbose"])
    from edgepress.compress import open_data
    from edgepress.deploy.sources.opening import open_source
    from edgepress.deploy.sources.source import files_data

    source = open_source(values["model"] or values["artifacts"][0])
    return files_data(source, open_data(data, source.model, values["seed"])), source
