"""Help in sections, names that hold everywhere, and completion by the shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command_forks import Forks

from edgepress.compress.structure.importance import CRITERIA
from edgepress.compress.training.optimization.optimizers import OPTIMIZERS
from edgepress.compress.training.optimization.schedules import SCHEDULES
from edgepress.deploy.cli.main import COMMANDS, cli
from edgepress.deploy.cli.valid_names import UNFREEZE
from edgepress.deploy.exporters import EXPORTERS
from edgepress.deploy.quantize.precision import PRECISIONS


def shown(*words: str) -> str:
    done = CliRunner().invoke(cli, words, terminal_width=4000, max_content_width=4000)
    assert done.exit_code == 0, done.output
    return done.stdout


def command(name: str) -> click.Command:
    found = cli.get_command(None, name)  # type: ignore[arg-type]
    assert found is not None
    return found


def lines_of_options(text: str) -> int:
    return len([line for line in text.splitlines() if line.startswith("  -")])


def complete(forks: Forks, folder: Path, shell: str, *words: str) -> list[str]:
    """What a shell is offered for the last word, and that nothing heavy was loaded for it."""
    environment = {
        "_EDGEPRESS_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["edgepress", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
        "EDGEPRESS_DEVICES": str(folder / "devices.yaml"),
    }
    done = forks.run([], folder, environment)
    assert (done.stderr, done.loaded) == ("", ())
    return done.stdout.strip("\n").splitlines()


@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "devices"])
def test_the_help_is_a_part_of_the_whole_and_leaves_no_option_out(name: str) -> None:
    short, full = shown(name, "--help"), shown(name, "--help-all")
    options = [p for p in command(name).params if isinstance(p, click.Option)]
    for option in options:
        primary = next(o for o in option.opts if o.startswith("--"))
        assert f"{primary} " in full or f"{primary}\n" in full
        assert option.help is not None
        if re.search(rf"^  (-\w, )?{primary}\b(?!-)", short, re.M):
            assert option.help.partition(" [default")[0].rstrip(".") in short
        if option.required:
            assert primary in short.split()
    left_out = lines_of_options(full) - lines_of_options(short)
    assert (f"{left_out} more options: cli {name} --help-all" in short) == (left_out > 0)


def test_the_help_of_the_full_pipeline_can_be_read() -> None:
    titles = [line for line in shown("compress", "--help").splitlines() if line.endswith(":")]
    assert titles == [
        "Options:", "Data:", "Fine-tuning:", "Pruning:", "Acceptance:", "Export:", "Benchmark:",
        "Every command:", "Examples:",
    ]  # fmt: skip
    narrow = CliRunner().invoke(cli, ["compress", "--help"], terminal_width=80).stdout
    assert len(narrow.splitlines()) < 180


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("finetune", OPTIMIZERS),
        ("finetune", SCHEDULES),
        ("finetune", UNFREEZE),
        ("prune", CRITERIA),
        ("sensitivity", CRITERIA),
        ("export", EXPORTERS),
        ("export", PRECISIONS),
        ("compress", [*OPTIMIZERS, *SCHEDULES, *UNFREEZE, *CRITERIA, *EXPORTERS, *PRECISIONS]),
    ],
)
def test_valid_names_are_listed(words: str, names: object) -> None:
    text = shown(words, "--help")
    assert [name for name in names if name not in text] == []  # type: ignore[attr-defined]
    assert "compress.training" not in text


def test_no_help_names_a_module() -> None:
    for name in COMMANDS:
        if name != "devices":
            text = shown(name, "--help-all")
            assert not any(word in text for word in ("compress.", "deploy.", "select`"))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("export", "--batch", "graph_batch"),
        ("prune", "--steps", "steps"),
        ("prune", "--prune-schedule", "schedule"),
        ("prune", "--prune-device", "device"),
        ("prune", "--prune-threads", "threads"),
        ("compress", "--steps", "prune_steps"),
    ],
)
def test_older_names_work_and_are_not_shown(name: str, old: str, new: str) -> None:
    option = next(p for p in command(name).params if p.name == new)
    assert old in option.opts[1:]
    value = option.type.choices[0] if isinstance(option.type, click.Choice) else "3"
    arguments = [old, value] if name == "compress" else ["m.keras", "-o", "o", old, value]
    context = command(name).make_context(name, arguments, resilient_parsing=True)
    assert context.params[new] == value
    assert f"{old} " not in shown(name, "--help-all")


@pytest.mark.parametrize("word", ["--batch", "--graph-batch"])
def test_an_error_names_the_option_as_it_was_typed(word: str) -> None:
    done = CliRunner().invoke(cli, ["export", "m.keras", "-o", "o", f"{word}=0"])
    assert f"{word} 0: " in done.output


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("",), {f"plain,{name}" for name in COMMANDS}),
        (("unf",), {"plain,unfreeze-search"}),
        (("finetune", "--optimi"), {"plain,--optimizer"}),
        (("finetune", "--optimizer", "ada"), {"plain,adam", "plain,adamw", "plain,adagrad"}),
        (("finetune", "--unfreeze", "to"), {"plain,top:", "plain,to:"}),
        (("export", "m", "--quantize", "int8,flo"), {"plain,int8,float32", "plain,int8,float16"}),
        (("prune", "--packing", ""), {"plain,gzip", "plain,zstd"}),
        (("prune", "mod"), {"file,mod"}),
        (("prune", "--criterion", "ta"), {"plain,taylor"}),
        (("prune", "--criterion", "second"), {"plain,second-order"}),
        (("export", "m", "--format", "tflite,o"), {"plain,tflite,onnx"}),
        (("benchmark", "f", "--device", "mcu"), {"plain,mcu:"}),
        (("benchmark", "f", "--device", "attic"), {"plain,attic-pi"}),
        (("devices", "check", "attic"), {"plain,attic-pi"}),
        (("inspect", "m", "--runtime", "on"), {"plain,onnxruntime"}),
        (("inspect", "m", "--columns", "MACs,par"), {"plain,MACs,parameters"}),
        (("unfreeze-search", "--strategies", "top,mi"), {"plain,top,middle"}),
        (("compress", "rec"), {"file,rec"}),
        (("explain", "are"), {"plain,arena"}),
        (("finetune", "--data", "d"), {"file,d"}),
        (("export", "m.keras", "--bat"), set()),
    ],
)  # fmt: skip
def test_bash_is_offered_what_fits(
    words: tuple[str, ...],
    offered: set[str],
    tmp_path: Path,
    forks: Forks,
) -> None:
    (tmp_path / "devices.yaml").write_text("attic-pi: ssh://pi@10.0.0.3\n")
    assert set(complete(forks, tmp_path, "bash", *words)) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_commands(shell: str, tmp_path: Path, forks: Forks) -> None:
    offered = complete(forks, tmp_path, shell, "unf")
    assert any("unfreeze-search" in line for line in offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_switches_completion_on(shell: str, tmp_path: Path, forks: Forks) -> None:
    done = forks.run([], tmp_path, {"_EDGEPRESS_COMPLETE": f"{shell}_source"})
    assert done.returncode == 0, done.stderr
    assert f"_EDGEPRESS_COMPLETE={shell}_complete" in done.stdout
    # Fish is told to split once what it is offered, which may hold commas.
    assert ('string split -m 1 "," $completion' in done.stdout) == (shell == "fish")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish isn't installed")
def test_fish_itself_completes_behind_a_comma() -> None:
    script = (
        "_EDGEPRESS_COMPLETE=fish_source edgepress | source\n"
        'complete -C "edgepress export m --quantize int8,flo"\n'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["fish", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["int8,float16", "int8,float32"]


def test_the_help_of_the_largest_command_loads_no_framework() -> None:
    script = (
        "import sys\n"
        "from edgepress.deploy.cli.main import cli\n"
        "cli.main(['compress', '--help-all'], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'onnxruntime', 'matplotlib'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "--clipnorm" in done.stdout
