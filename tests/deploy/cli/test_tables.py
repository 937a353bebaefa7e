"""Tables at every width: what fits is shown, what doesn't is named, no figure is broken."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from run_records import a_run, benchmark_document

from edgepress.benchmarks.number_format import pair_texts
from edgepress.benchmarks.records import Verdict, run_record
from edgepress.compress.doctor import Diagnosis, Finding
from edgepress.deploy.cli.benchmark_display import show_benchmark
from edgepress.deploy.cli.commands.files.export import show_export
from edgepress.deploy.cli.commands.model import doctor, inspect
from edgepress.deploy.cli.main import COMMANDS, cli
from edgepress.deploy.cli.run_display import show_run
from edgepress.deploy.cli.tables.printing import Layout, output_width, show_table, table_options
from edgepress.deploy.pipeline.pipeline import RunResult

APPROVED = Path(__file__).parent / "approved_tables"
WIDTHS = {"40": "40", "60": "60", "80": "80", "120": "120", "pipe": ""}
LAYOUT = Layout(("file", "bytes", "note"), ("bytes",))


def a_verified_file() -> dict[str, Any]:
    outputs = [{"name": "digit", "error": 0.01, "tolerance": 0.03, "bounded": "noise",
                "agreement": 0.99, "definition": "samples of the same top class"}]  # fmt: skip
    verified = {"samples": 1000, "split": "test", "max_abs_error": 0.021, "agreement": 0.99,
                "metric": "accuracy", "value": 0.87, "source_value": 0.88,
                "outputs": outputs}  # fmt: skip
    file = {"path": "out/net_int8.tflite", "format": "tflite", "quantize": "int8", "bytes": 20480,
            "gzip_bytes": 15000, "zstd_bytes": 14000, "verified": verified}  # fmt: skip
    skip = {"format": "onnx", "quantize": "int16x8", "reason": "there is no such thing",
            "next_step": ""}  # fmt: skip
    return {"artifacts": [file], "notes": [], "skipped": [skip], "failed": []}


def a_model() -> dict[str, Any]:
    """What `inspect` finds."""
    layer = {"name": "block_1/depthwise_convolution", "type": "DepthwiseConv2D", "params": 4640,
             "macs": 4_700_000, "trainable": True, "sparsity": 0.5,
             "entropy_bytes": 9000}  # fmt: skip
    group = {"id": "g1", "channels": 32, "layers": ["block_1/pointwise", "block_2/pointwise"],
             "prunable": False, "reason": "the output's channels are the classes"}  # fmt: skip
    return {"params": 4640, "trainable_params": 4000, "macs": 4_700_000, "bytes": 18560,
            "sparsity": 0.5, "entropy_bytes": 9000, "layers": [layer], "groups": [group],
            "uncounted": []}  # fmt: skip


def findings() -> Diagnosis:
    dead = "'{}' has channels that are always 0"
    return Diagnosis(
        "net",
        (
            Finding("problem", "input", "", "the inputs reach 255", "pass --scale 1/255"),
            Finding("warning", "weights", "conv_1", "weights are not finite", "train again"),
            Finding("warning", "weights", "conv_2", "weights are not finite", "train again"),
            Finding("note", "graph", "conv_3", dead.format("conv_3")),
        ),
    )


@functools.cache
def a_result() -> RunResult:
    verdict = Verdict.of((), (), ())
    return RunResult(Path("run"), run_record({**a_run(), "verdict": verdict}))


SHOWN: dict[str, Callable[[], None]] = {
    "run": lambda: show_run(a_result()),
    "benchmark": lambda: show_benchmark(benchmark_document()),
    "export": lambda: show_export(a_verified_file()),
    "inspect": lambda: inspect.show_keras("net.keras", a_model()),
    "doctor": lambda: doctor.show("net.keras", findings()),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SHOWN)
def test_tables_are_those_that_were_approved(
    name: str, width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", WIDTHS[width])
    SHOWN[name]()
    text = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()) + "\n"
    approved = APPROVED / f"{name}_{width}.txt"
    if os.environ.get("EDGEPRESS_APPROVE"):  # who sets it reads the difference that git shows
        approved.write_text(text, "utf-8")
    assert text == approved.read_text("utf-8")


def table_lines(out: str) -> list[str]:
    """The lines of tables and blocks: not titles, remarks and lists, which keep their lines."""
    return [line for line in out.splitlines() if re.search(r"\S {2,}\S|──", line)]


@pytest.mark.parametrize("name", ["run", "benchmark", "export", "inspect"])
@pytest.mark.parametrize("width", [33, 57, 101])
def test_no_line_of_a_table_is_wider_than_the_screen(
    name: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    SHOWN[name]()
    out = capsys.readouterr().out
    wide = [line for line in table_lines(out) if cell_len(line.rstrip()) > width]
    assert [line for line in wide if "report:" not in line and "  File and" not in line] == []


@settings(max_examples=15)
@given(
    width=st.integers(12, 120),
    rows=st.lists(
        st.tuples(
            st.text("abc de_/.", min_size=1, max_size=40),
            st.integers(0, 10**12),
            st.text("xyz ", max_size=90),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_a_number_is_never_broken(width: int, rows: list[tuple[str, int, str]]) -> None:
    @click.command()
    def command() -> None:
        show_table(LAYOUT, "t", [(name, f"{size} kB", note) for name, size, note in rows])

    out = CliRunner().invoke(command, env={"COLUMNS": str(width)}).output
    assert [size for _, size, _ in rows if f"{size} kB" not in out] == []


VERDICTS = Layout(("file", "verdict", "error", "why", "runtime"), ("verdict", "error", "why"))


@settings(max_examples=60)
@given(
    width=st.integers(40, 100),
    rows=st.lists(
        st.tuples(
            st.text("abcde_", min_size=1, max_size=22),
            st.sampled_from(["✓ verified", "✗ failed", "✗ not run"]),
            st.floats(0, 1).map(lambda x: f"{x:.3f}"),
            st.lists(st.text("xyz", min_size=1, max_size=12), max_size=6).map(" ".join),
            st.sampled_from(["2.3.0", "litert-reference", ""]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_nothing_of_a_column_that_is_shown_is_cut_off(width: int, rows: list[Any]) -> None:
    @click.command()
    def command() -> None:
        show_table(VERDICTS, "t", rows)

    out = CliRunner().invoke(command, env={"COLUMNS": str(width)}).output
    left_out = next((line for line in out.splitlines() if line.startswith("not shown")), "")
    shown = [i for i, name in enumerate(VERDICTS.columns) if f" {name}" not in left_out]
    for row in rows:
        # A mark stays beside its word.
        words = [w for i in shown for w in re.split(r"(?<![✓✗]) ", row[i])]
        assert [word for word in words if word not in out] == []


def run_command(*words: str, width: int = 60) -> tuple[int, str]:
    @click.command()
    @table_options(LAYOUT)
    def command() -> None:
        show_table(LAYOUT, "t", [("net.tflite", "1 kB", "a note of some length " * 3)])

    done = CliRunner().invoke(command, words, env={"COLUMNS": str(width)})
    return done.exit_code, done.output


def test_columns_are_chosen_and_widened() -> None:
    assert "note" not in run_command("--columns", "bytes")[1]
    assert run_command("--columns", "note,bytes")[1].index("note") < 20
    code, wide = run_command("--wide", width=30)
    assert code == 0
    assert any("a note of some length a note of some length a note" in x for x in wide.splitlines())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--columns", "byte"], "no column 'byte'; did you mean 'bytes'?"),
        (["--columns", ","], "no column ','"),
        (["--columns", "bytes", "--wide"], "drop one"),
    ],
)
def test_columns_that_cannot_be_shown_are_refused(words: list[str], says: str) -> None:
    code, out = run_command(*words)
    assert code == 2
    assert says in out


@pytest.mark.parametrize("words", [["--wide"], ["--columns", "MACs"]])
def test_options_of_tables_are_refused_where_there_is_none(words: list[str]) -> None:
    done = CliRunner().invoke(cli, ["inspect", "absent.keras", "--json", *words])
    assert done.exit_code == 2
    assert f"{words[0]} is for tables" in done.output


def test_every_command_that_prints_tables_takes_the_options() -> None:
    without = {
        "lr-find", "strip", "devices", "report", "schema", "doctor", "explain", "search-worker"
    }  # fmt: skip
    for name in COMMANDS:
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        options = {o for p in command.params for o in p.opts}
        assert ({"--wide", "--columns"} <= options) == (name not in without), name


def test_titles_and_cells_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    title = "models/[red]one[/red].tflite against a source with a long name, 64 samples"
    show_table(Layout(("file", "value")), title, [["[bold]x[/bold]", 1.5]])
    out = capsys.readouterr().out
    assert out.splitlines()[0] == title
    assert "[bold]x[/bold]" in out


@pytest.mark.parametrize(("told", "width"), [("132", 132), ("0", 80), ("wide", 80), ("", 80)])
def test_the_width_is_what_the_environment_says(
    told: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", told)
    assert output_width() == width


@pytest.mark.parametrize("variable", ["NO_COLOR", ""])
def test_severities_have_colours_unless_nobody_wants_them(
    variable: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    doctor.show("net.keras", findings())
    assert ("\x1b[31mproblem" in capsys.readouterr().out) == (not variable)


def test_a_diagnosis_counts_first_and_says_equal_things_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    doctor.show("net.keras", findings())
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "net.keras: 1 problem, 2 warnings, 1 note"
    assert sum("not finite (conv_1, conv_2)" in line for line in rest) == 1
    assert sum("→ train again" in line for line in rest) == 1
    assert any("'conv_3' has channels" in line and "(conv_3)" not in line for line in rest)


@settings(max_examples=40)
@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9), st.sampled_from(["size", "latency", "mae"]))
def test_two_figures_that_differ_by_a_thousandth_are_told_apart(
    one: float, other: float, quantity: str
) -> None:
    before, after = pair_texts(quantity, one, other)
    below_a_byte = quantity == "size" and abs(one - other) < 1
    if abs(one - other) > 1e-3 * max(one, other) and not below_a_byte:
        assert before != after
