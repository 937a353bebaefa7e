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
    assert verdicts == {"latency": "regression", "size": "regression"}


def test_a_precision_may_be_given_in_per_cent(onnx_file: Path) -> None:
    done = _call("benchmark", onnx_file, "--runs", 5, "--precision", "90%", "--json")
    assert done.exit_code == 0
    assert _call("benchmark", onnx_file, "--precision", "200%").exit_code == 2


def test_a_profile_is_shown(onnx_file: Path) -> None:
    done = _call("benchmark", onnx_file, "--runs", 5, "--profile")
    assert done.exit_code == 0
    assert "Time by operator" in done.stdout


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
