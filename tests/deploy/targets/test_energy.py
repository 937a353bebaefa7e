"""Energy, where the machine has a counter."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from adbd import Adbd
from click.testing import CliRunner

from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.cli.main import cli
from edgepress.deploy.targets.android.battery import energy_between, take_readings
from edgepress.deploy.targets.local import LocalTarget

needs_adb = pytest.mark.skipif(not shutil.which("adb"), reason="adb is not installed")


@contextmanager
def ticking(counter: Path) -> Iterator[None]:
    """A counter that grows by 1000 every millisecond: one watt."""
    stop = threading.Event()

    def tick() -> None:
        value = 10**6
        while not stop.wait(0.001):
            value += 1000
            fresh = counter.with_name("fresh")
            fresh.write_text(str(value))
            fresh.replace(counter)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_row_has_the_energy_of_its_rounds(tmp_path: Path, resnet_float: Path) -> None:
    zone = tmp_path / "class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text("1000000")
    here = LocalTarget(sysfs=str(tmp_path))
    with ticking(zone / "energy_uj"):
        (row,) = benchmark([resnet_float], devices=[here], runs=400, launches=1).to_json()["rows"]
    assert row["energy_mj"] > 0


def test_a_row_without_a_counter_has_no_such_field(tmp_path: Path, resnet_float: Path) -> None:
    here = LocalTarget(sysfs=str(tmp_path))
    (row,) = benchmark([resnet_float], devices=[here], runs=5, launches=1).to_json()["rows"]
    assert "energy_mj" not in row
    assert "energy_uj" not in row


def test_a_battery_is_read_from_the_kernel_or_from_dumpsys() -> None:
    kernel = "EP_BATTERY 3000000 4000000 Discharging\nx\nEP_BATTERY 2999000 4000000 Discharging\n"
    rest, readings = take_readings(kernel)
    assert rest == "x\n"
    assert energy_between(readings) == pytest.approx(1000 * 3600 * 4)  # 1000 uAh at 4 V
    fields = "EP_BATTERY status: {} Charge counter: {} voltage: 4000\n"
    assert energy_between(take_readings(fields.format(3, 900) + fields.format(3, 800))[1]) == (
        pytest.approx(100 * 3600 * 4)
    )
    charging = fields.format(2, 900) + fields.format(2, 950)
    assert energy_between(take_readings(charging)[1]) is None
    assert energy_between(take_readings("EP_BATTERY\nEP_BATTERY\n")[1]) is None


@pytest.fixture
def drained(phone: Adbd, binary: Path) -> Path:
    """A phone's battery: each run takes 1 mAh out of it."""
    battery = phone.root.parent / "sys/class/power_supply/battery"
    battery.mkdir(parents=True)
    for name, value in {"charge_counter": 3_000_000, "voltage_now": 4_000_000,
                        "status": "Discharging"}.items():  # fmt: skip
        (battery / name).write_text(f"{value}\n")
    counter = battery / "charge_counter"
    drain = (
        f"\nfrom pathlib import Path\ncounter = Path({str(counter)!r})\n"
        "counter.write_text(str(int(counter.read_text()) - 1000))\n"
    )
    binary.write_text(binary.read_text() + drain)
    return battery


def _row(phone: Adbd, binary: Path, file: Path) -> dict[str, Any]:
    url = f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}"
    row: dict[str, Any]
    (row,) = benchmark([file], devices=[url], runs=3, launches=1).to_json()["rows"]
    return row


@needs_adb
def test_a_phone_is_measured_by_its_battery(
    phone: Adbd, binary: Path, resnet_float: Path, drained: Path
) -> None:
    row = _row(phone, binary, resnet_float)
    # Each round is one inference that counts and one before it.
    assert row["energy_mj"] == pytest.approx(1000 * 3600 * 4 / 2 / 1e3)


@pytest.mark.slow
@needs_adb
def test_a_phone_on_its_charger_says_so(
    phone: Adbd, binary: Path, resnet_float: Path, drained: Path
) -> None:
    (drained / "status").write_text("Charging\n")
    row = _row(phone, binary, resnet_float)
    assert "energy_mj" not in row
    assert any("connect over Wi-Fi" in note for note in row["notes"])
    device = f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}"
    command = ["benchmark", str(resnet_float), "--device", device, "--runs", "2"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("note: energy isn't measured") == 1
