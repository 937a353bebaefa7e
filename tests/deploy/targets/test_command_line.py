"""`edgepress benchmark` and `edgepress devices` as people call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from edgepress.deploy.cli.main import cli


def _call(*words: Any) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "devices.yaml"
    monkeypatch.setenv("EDGEPRESS_DEVICES", str(path))
    return path


def test_results_go_where_ci_looks_for_them(onnx_file: Path, tmp_path: Path) -> None:
    junit, github, kept = tmp_path / "j.xml", tmp_path / "g.json", tmp_path / "h.db"
    done = _call("benchmark", onnx_file, "--runs", 5, "--json", "--junit", junit, "--github",
                 github, "--history", kept, "--label", "first")  # fmt: skip
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["rows"][0]["runs"] == 5
    assert ElementTree.parse(junit).getroot().get("failures") == "0"
    assert json.loads(github.read_text())
    document["rows"][0].update(bytes=1, median_ms=1e-9, ci95_ms=[1e-9, 1e-9])
    before = tmp_path / "before.json"
    before.write_text(json.dumps(document))
    worse = _call("benchmark", onnx_file, "--runs", 5, "--json", "--against", before)
    assert worse.exit_code == 1
    verdicts = {c["quantity"]: c["verdict"] for c in json.loads(worse.stdout)["changes"]}
    assert verdicts.pop("memory")  # of this very process, whatever it did
    assert verdicts == {"latency": "regression", "size": "regression"}
    for words in ("2 regressions", "latency of", "size of"):
        assert words in worse.stderr


def test_a_precision_may_be_given_in_per_cent(onnx_file: Path) -> None:
    done = _call("benchmark", onnx_file, "--runs", 5, "--precision", "90%", "--json")
    assert done.exit_code == 0
    assert _call("benchmark", onnx_file, "--precision", "200%").exit_code == 2


def test_a_profile_is_shown(onnx_file: Path) -> None:
    done = _call("benchmark", onnx_file, "--runs", 5, "--profile")
    assert done.exit_code == 0
    assert "Time by operator" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--label", "first"), "--label needs --history"),
        (("--model", "net.keras"), "--model needs --data"),
        (("--force",), "--force needs --output"),
        (("--scale", "2"), "--scale needs --data"),
        (("--augment", "flip"), "No such option"),
        (("--bootstrap", "wheels"), "no effect on 'local'"),
    ],
)
def test_an_option_without_effect_is_refused(
    onnx_file: Path, words: tuple[str, ...], said: str
) -> None:
    done = _call("benchmark", onnx_file, "--runs", 2, *words)
    assert done.exit_code == 2
    assert said in done.output


def test_the_table_says_how_figures_were_got(onnx_file: Path, own_file: Path) -> None:
    own_file.write_text("here: local\n")
    done = _call("benchmark", onnx_file, "--runs", 4, "--launches", 2, "--threads", "1,2",
                 "--device", "local", "--device", "here", "--device-timeout", 100)  # fmt: skip
    assert done.exit_code == 0
    assert "1 thread, 4 runs in 2 launches" in done.stdout
    ratios = done.stdout.partition("Ratios of time")[2]
    # Under the names of the files, for there is more than one device.
    assert ratios.count("\nlocal") == ratios.count("\nhere") == 1
    late = _call("benchmark", onnx_file, "--runs", 4, "--device-timeout", "0.0001")
    assert late.exit_code == 3
    assert "did not answer within 0.0001 s" in late.output


def test_a_run_that_its_time_limit_cut_off_says_so(onnx_file: Path) -> None:
    done = _call("benchmark", onnx_file, "--runs", 100000, "--max-seconds", "0.5", "--json")
    (row,) = json.loads(done.stdout)["rows"]
    assert any("stopped by --max-seconds" in note for note in row["notes"])
    whole = _call("benchmark", onnx_file, "--runs", 4, "--json")
    (row,) = json.loads(whole.stdout)["rows"]
    assert not any("cut off" in note for note in row["notes"])


def test_a_device_is_forgotten(own_file: Path) -> None:
    assert _call("devices", "add", "board", "mcu:/dev/no-such-board").exit_code == 0
    assert "did you mean 'board'?" in _call("devices", "remove", "bord").output
    assert _call("devices", "remove", "board").exit_code == 0
    assert json.loads(_call("devices", "list", "--json").stdout)["devices"] == {"local": "local"}
    nobody = _call("devices", "remove", "board")
    assert nobody.exit_code == 2
    assert "no device has a name yet" in nobody.output


def test_devices_are_added_listed_and_checked(own_file: Path) -> None:
    assert _call("devices", "add", "board", "mcu:/dev/no-such-board").exit_code == 0
    assert own_file.exists()
    told = json.loads(_call("devices", "list", "--json").stdout)
    assert told["devices"] == {"local": "local", "board": "mcu:/dev/no-such-board"}
    assert _call("devices", "check", "local").exit_code == 0
    missing = _call("devices", "check", "board", "--json")
    assert missing.exit_code == 3
    assert json.loads(missing.stdout)["cure"]
    assert _call("devices", "check", "bord").exit_code == 2
