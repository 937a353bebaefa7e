"""Names for devices, and their two-second proof."""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from sshd import SSHD, sshd

from edgepress.compress.errors import InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.cli.main import cli
from edgepress.deploy.targets import add_device, check_device, list_devices, target_for
from edgepress.deploy.targets.addresses import masked


@pytest.fixture(autouse=True)
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "user" / "devices.yaml"
    monkeypatch.setenv("EDGEPRESS_DEVICES", str(path))
    return path


def test_a_name_stands_for_its_address(own_file: Path, onnx_file: Path) -> None:
    assert list_devices() == {}
    assert add_device("here", "mcu:/dev/ttyUSB99") == own_file
    assert list_devices() == {"here": "mcu:/dev/ttyUSB99"}
    own_file.write_text("mine: local\n")
    told = benchmark([onnx_file], devices=["mine"], runs=2, launches=1).to_json()
    assert told["device"]["name"] == told["rows"][0]["device"] == "mine"
    assert told["device"]["url"] == "local"


def test_a_folder_holds_no_devices(own_file: Path) -> None:
    own_file.mkdir(parents=True)
    with pytest.raises(InputError, match="is no file"):
        list_devices()


def test_a_taken_name_and_a_bad_address_are_refused() -> None:
    add_device("pi", "mcu:/dev/ttyS0")
    with pytest.raises(InputError, match="already"):
        add_device("pi", "mcu:/dev/ttyS1")
    add_device("pi", "mcu:/dev/ttyS1", force=True)
    assert list_devices() == {"pi": "mcu:/dev/ttyS1"}
    for name, url in {"local": "mcu:/dev/ttyS0", "a b": "mcu:/dev/ttyS0", "x": "nothing",
                      "y": "telnet://host", "z": "mcu:nobody"}.items():  # fmt: skip
        with pytest.raises(InputError):
            add_device(name, url)
    assert list(list_devices()) == ["pi"]


def test_an_unknown_name_lists_the_near_ones() -> None:
    add_device("raspberry", "mcu:/dev/ttyS0")
    with pytest.raises(InputError) as caught:
        target_for("rasberry")
    assert "raspberry" in caught.value.hint


@pytest.mark.parametrize("text", ["[1, 2]", "a: {b: c}", "a: [", "just text"])
def test_a_damaged_file_is_named(own_file: Path, text: str) -> None:
    own_file.parent.mkdir()
    own_file.write_text(text)
    with pytest.raises(InputError, match=r"devices\.yaml"):
        list_devices()


def test_this_machine_is_ready() -> None:
    check = check_device("local")
    assert check.ok
    assert check.environment["cores"] >= 1


def test_what_is_missing_comes_with_its_cure() -> None:
    check = check_device("mcu:/dev/there-is-no-such-board")
    assert not check.ok
    assert "can't be opened" in check.problem
    assert "plugged in" in check.cure


@pytest.mark.skipif(not importlib.util.find_spec("tflite_micro"), reason="no tflite-micro")
def test_tflm_is_ready() -> None:
    assert check_device("mcu:tflm").ok


@pytest.mark.skipif(not SSHD, reason="openssh-server is not installed")
def test_a_board_is_proved(tmp_path: Path) -> None:
    pytest.importorskip("asyncssh")
    with sshd(tmp_path) as server:
        add_device("board", server.url(python=sys.executable))
        assert check_device("board").ok
        add_device("bare", server.url(python="python9"))
        check = check_device("bare")
    assert not check.ok
    assert "python9" in check.problem
    assert "?python=" in check.cure


def test_a_name_that_stands_for_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPRESS_DEVICES", str(tmp_path / "devices.yaml"))
    (tmp_path / "devices.yaml").write_text("pi: pi\n")
    with pytest.raises(InputError, match="itself such a name"):
        list_devices()


def test_the_file_is_the_users_alone_and_a_link_to_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.yaml").symlink_to(tmp_path / "devices.yaml")
    monkeypatch.setenv("EDGEPRESS_DEVICES", str(tmp_path / "link.yaml"))
    add_device("board", "mcu:/dev/ttyS1")
    assert (tmp_path / "devices.yaml").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "link.yaml").is_symlink()


def test_devices_that_are_added_at_one_time_are_all_kept(own_file: Path) -> None:
    names = [f"d{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: add_device(name, "mcu:/dev/ttyS1"), names))
    assert set(list_devices()) == set(names)


@pytest.mark.parametrize(
    "url",
    [
        "ssh://pi:hunter2@10.0.0.3",
        "ssh://pi:hunter2@10.0.0.3:99999",
        "ssh://pi:hunter2@10.0.0.3?x=y",
        "ssh://:hunter2@h",
        "ssh://pi:hunter2/@h",
        "shh://pi:hunter2@h",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str, own_file: Path) -> None:
    with pytest.raises(InputError, match="holds a password") as caught:
        target_for(url)
    assert "hunter2" not in str(caught.value)
    own_file.parent.mkdir()
    own_file.write_text(f"pi: {url}\n")
    shown = CliRunner().invoke(cli, ["devices", "list"])
    assert shown.exit_code == 0
    assert "hunter2" not in shown.output
    assert "…@" in shown.output


def test_an_address_without_a_password_is_none() -> None:
    for url in ("ssh://pi@10.0.0.3:22", "ssh://[::1]:22", "ssh://pi@[::1]:22?python=/a@b"):
        assert masked(url) == url
