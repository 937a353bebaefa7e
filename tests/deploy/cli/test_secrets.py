"""A password that somebody wrote into an address is repeated by no message, wherever it stood."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgepress.compress.errors import InputError
from edgepress.deploy.cli.main import cli, main

SECRET = "hun@ter2"
ADDRESS = f"ssh://me:{SECRET}@127.0.0.1:1"
RECIPE = "model: m.keras\ndata: d.npz\nbenchmark: "
TEXTS = {
    "r.yaml": [
        f'{RECIPE}{{devices: ["{ADDRESS}"]}}',
        f'{RECIPE}{{devices: {{a: "{ADDRESS}"}}}}',
        f'{RECIPE}{{runs: "{ADDRESS}"}}',
        f'{RECIPE}{{devices: ["{ADDRESS}]}}',
        f'{RECIPE}{{"{ADDRESS}": 1}}',
    ],
    "devices.yaml": [
        f"pi: {ADDRESS}",
        f'pi: "{ADDRESS}',
        f"{{pi: {ADDRESS}",
        f'pi: {{url: "{ADDRESS}"}}',
        f"pi: ssh:me:{SECRET}@127.0.0.1",
        f"pi: me:{SECRET}@127.0.0.1",
        f"pi: https://me:{SECRET}@127.0.0.1",
        "pi: ssh://me@127.0.0.1:1?password=ter2",
        f"pi: ssh://me%3A{SECRET}@127.0.0.1:1",
        "pi: ssh://me:hun?ter2@127.0.0.1:1",
    ],
}
WORDS = {
    "r.yaml": ["compress", "r.yaml", "-o", "out"],
    "devices.yaml": ["devices", "check", "pi"],
}


@pytest.mark.parametrize(("file", "text"), [(f, t) for f, texts in TEXTS.items() for t in texts])
def test_a_file_with_a_password(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEPRESS_DEVICES", str(tmp_path / "devices.yaml"))
    Path(file).write_text(f"{text}\n")
    done = CliRunner().invoke(cli, WORDS[file])
    assert done.exit_code == 2, done.output
    assert "ter2" not in done.output
    if file == "devices.yaml":
        assert "ter2" not in CliRunner().invoke(cli, ["devices", "list"]).output


@pytest.mark.parametrize(
    "words",
    [
        ["devices", "add", "pi", ADDRESS],
        ["devices", "check", "pi", ADDRESS],
        ["compress", "r.yaml", f"--{ADDRESS}"],
        ["devices", "add", "ssh://127.0.0.1:1?password=ter2", "ssh://127.0.0.1:1"],
        ["inspect", f"https://me:{SECRET}@host/m.keras"],
        ["doctor", "m.keras", "--data", f"https://me:{SECRET}@host/d.npz"],
    ],
)
def test_a_command_line_with_a_password(
    words: list[str],
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEPRESS_DEVICES", str(tmp_path / "devices.yaml"))
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    out, err = capfd.readouterr()
    assert "ter2" not in out + err


@pytest.mark.parametrize(
    "text",
    [
        "bench.db@main has no result",
        "ssh://me@127.0.0.1:22 did not answer",
        "ssh://[::1]:22 is not an address",
        "code.py:7: f raises",
        "r.yaml:3: 'name' is no address: x@y",
        "adb:emulator-5554 and mcu:tflm",
        "ssh://me@127.0.0.1:22?python=/opt/pw-3/bin/python",
    ],
)
def test_a_message_without_one_stays_as_it_is(text: str) -> None:
    assert str(InputError(text)) == text
