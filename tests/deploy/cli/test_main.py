"""The outermost room: help without frameworks, and one line for every mistake."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgepress.compress.errors import CheckFailed, InputError
from edgepress.compress.processes import signals
from edgepress.deploy.cli.main import COMMANDS, cli, main


def edgepress(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from edgepress.deploy.cli import main; main()", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def test_help_version_and_listing_import_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from edgepress.deploy.cli.main import cli\n"
        "for words in (['--help'], ['--version']):\n"
        "    cli.main(words, standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'numpy', 'pydantic', 'rich', 'matplotlib'}\n"
        "sys.exit(' '.join(sorted(heavy & sys.modules.keys())) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "finetune" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_explains_each_option(name: str) -> None:
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.help
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [p.name for p in options if not p.help] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prun"], "no command 'prun'; did you mean 'prune'?"),
        (["inspect"], "Missing argument 'MODEL'"),
        (["inspect", "absent.keras"], "'absent.keras' does not exist"),
        (["finetune", "m.keras", "-o", "o.keras"], "Missing option '--data'"),
        (["prune", "m.keras", "-o", "o.keras", "--sparsity", "1.5"], "--sparsity 1.5"),
        (["prune", "m.keras", "-o", "o.keras", "--target-macs", "0"], "--target-macs 0"),
        (["prune", "m.keras", "-o", "o.txt", "--sparsity", "0.5"], "must end in .keras"),
        (["prune", "m.keras", "-o", "o.keras"], "give exactly one of sparsity"),
        (["prune", "m.keras", "-o", "o.keras", "--sparsity", "0.5", "--scale", "2"], "--scale"),
        (["benchmark", "absent.tflite"], "'absent.tflite' does not exist"),
        (["compress", "m.keras", "-o", "run"], "missing --data"),
        (["compress", "absent.yaml", "-o", "run"], "'absent.yaml' does not exist"),
        (["compress", "--resume", "absent"], "no run to resume"),
        (["report", "absent", "-o", "r.html"], "does not exist"),
    ],
    ids=lambda v: " ".join(v[:2]) if isinstance(v, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(words: list[str], says: str, tmp_path: Path) -> None:
    done = edgepress(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("edgepress: error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device\n"),
        (OSError(errno.EROFS, "Read-only file system", "o"), "error: 'o': Read-only file system\n"),
        (RuntimeError("t/saved_model.pb; File too large"), "t/saved_model.pb; File too large\n"),
        (ValueError("odd"), "internal failure, ValueError: odd; run again with --debug"),
    ],
)
def test_what_the_disk_refuses_is_no_failure_of_the_program(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(SystemExit) as end:
        main(["devices", "list"])
    assert end.value.code == (3 if isinstance(error, ValueError) else 2)
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "stops"),
    [
        (
            SystemError("__import__ returned a result with an exception set"),
            True,
        ),
        (InputError("data 'd.npz' can't be read: odd"), True),
        (CheckFailed("the metric falls", "prune less"), False),
    ],
)
def test_what_native_code_makes_of_a_signal_is_a_stop(
    error: Exception,
    stops: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(click.Group, "invoke", fail)
    monkeypatch.setattr(signals, "_received", [signal.SIGTERM])
    with pytest.raises(SystemExit) as end:
        main(["devices", "list"])
    assert end.value.code == (143 if stops else 1)
    assert ("edgepress: stopped" in capsys.readouterr().err) == stops


def test_recipe_errors_name_the_line(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: m.keras\ndata: {spec: d.npz}\nprune:\n  - sparsty: 0.5\n")
    done = edgepress("compress", str(recipe), "-o", str(tmp_path / "run"))
    assert done.returncode == 2
    assert f"{recipe}:4: unknown option 'prune.0.sparsty'" in done.stderr


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    code = (
        "import keras\n"
        "def model():\n"
        "    x = keras.Input((4,)); return keras.Model(x, keras.layers.Dense(2)(x))\n"
    )
    (tmp_path / "mine.py").write_text(code)
    done = edgepress("inspect", f"{tmp_path / 'mine.py'}:model", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["params"] == 10
    assert done.stderr == "loading TensorFlow\n"
