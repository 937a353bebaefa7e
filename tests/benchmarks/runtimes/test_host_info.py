"""What the machine says of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepress.benchmarks.measurement import Environment
from edgepress.benchmarks.runtimes import host_info
from edgepress.deploy.targets.shell_host import SCRIPT, parse_host


def test_the_script_alone_prints_the_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-P", host_info.__file__], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told.keys() == host_info.read_environment().keys()
    assert told["cores"] == os.cpu_count()
    assert set(told["cpus"]) <= set(range(told["cores"]))


def _counter(path: Path, **files: object) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (path / name).write_text(f"{value}\n")


def _used(sysfs: Path, zone: Path, file: str, value: int) -> int | None:
    before = host_info.read_energy(str(sysfs))
    (zone / file).write_text(str(value))
    return host_info.energy_between(before, host_info.read_energy(str(sysfs)))


def test_energy_is_the_growth_of_all_packages(tmp_path: Path) -> None:
    zones = tmp_path / "class/powercap"
    for i, name in enumerate(("package-0", "package-1", "psys")):
        _counter(zones / f"intel-rapl:{i}", name=name, energy_uj=1000, max_energy_range_uj=5000)
    _counter(zones / "intel-rapl:0:0", name="core", energy_uj=7)
    _counter(tmp_path / "class/hwmon/hwmon0", energy1_input=50)
    assert len(host_info.read_energy(str(tmp_path))) == 2
    assert _used(tmp_path, zones / "intel-rapl:1", "energy_uj", 1400) == 400
    assert _used(tmp_path, zones / "intel-rapl:1", "energy_uj", 100) == 3700  # it started over
    assert _used(tmp_path, zones / "intel-rapl:2", "energy_uj", 9000) == 0


def test_sensors_count_where_there_are_no_packages(tmp_path: Path) -> None:
    sensor = tmp_path / "class/hwmon/hwmon3"
    _counter(sensor, energy1_input=50, energy2_input=70)
    assert _used(tmp_path, sensor, "energy2_input", 90) == 20
    assert _used(tmp_path, sensor, "energy2_input", 3) is None  # where it started over isn't known
    _counter(sensor, energy2_label="Esocket0")
    assert list(host_info.read_energy(str(tmp_path))) == [str(sensor / "energy2_input")]


def test_a_machine_without_counters_tells_no_energy(tmp_path: Path) -> None:
    assert host_info.energy_between(host_info.read_energy(str(tmp_path)), {}) is None


def test_sensors_that_are_none_are_left_out() -> None:
    assert host_info.hottest(["45000", "61500", "-273000", "255000", "", "broken"]) == 61.5
    assert host_info.hottest([]) is None


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"cores": 4, "load": [3.0, 1, 1]}, {}, "busy: load 3.0 on 4 cores"),
        ({"steal_ticks": 5}, {"steal_ticks": 105}, "CPU steal time of 1000 ms"),
        ({"frequency_mhz": 2000.0}, {"frequency_mhz": 1500.0}, "frequency fell"),
        ({}, {"throttled": "throttled=0x50005"}, "reports throttling"),
        ({"throttle_events": 7}, {"throttle_events": 10}, "throttled itself 3 times"),
        ({}, {"cooling_state": 2}, "thermal throttling (cooling state 2)"),
        ({}, {"temperature_c": 91.0}, "at 91 °C"),
        ({"governor": "powersave"}, {}, "governor is 'powersave'"),
    ],
)
def test_what_makes_figures_doubtful_is_said(
    before: dict[str, object], after: dict[str, object], words: str
) -> None:
    (warning,) = Environment(before, after).warnings()
    assert words in warning
    quiet = {"cores": 4, "load": [0.1, 1, 1], "throttled": "throttled=0x0", "governor": "schedutil"}
    assert Environment(quiet, quiet).warnings() == ()


@pytest.fixture
def hot_board(tmp_path: Path) -> Path:
    """The kernel's files of a board with two cores that is too hot."""
    system, cpus = tmp_path / "sys", tmp_path / "sys/devices/system/cpu"
    for i, (clock, events) in enumerate(((600_000, 3), (1_500_000, 4))):
        _counter(cpus / f"cpu{i}/cpufreq", scaling_cur_freq=clock, scaling_governor="powersave")
        _counter(cpus / f"cpu{i}/thermal_throttle", core_throttle_count=events)
    thermal = system / "class/thermal"
    _counter(thermal / "thermal_zone0", temp=84_000)
    _counter(thermal / "thermal_zone1", temp=-273_000)
    _counter(thermal / "cooling_device0", type="cpufreq-cpu0", cur_state=2)
    _counter(thermal / "cooling_device1", type="pwm-fan", cur_state=4)
    _counter(system / "class/hwmon/hwmon0", name="k10temp", temp1_input=86_500)
    _counter(system / "class/hwmon/hwmon1", name="nvme", temp1_input=99_000)
    _counter(system / "devices/platform/soc/soc:firmware", get_throttled="0x50005")
    cores = "".join(f"processor\t: {i}\nmodel name\t: Test core\n\n" for i in range(2))
    _counter(tmp_path / "proc", cpuinfo=cores, loadavg="3.50 2.00 1.00 1/99 7",
             stat="cpu  1 2 3 4 5 6 7 88 9 10")  # fmt: skip
    return tmp_path


def test_heat_governor_and_throttling_are_read_where_the_kernel_tells_them(
    hot_board: Path,
) -> None:
    told = host_info.read_environment(str(hot_board / "sys"), str(hot_board / "proc"))
    expected = {
        "processor": "Test core", "governor": "powersave", "frequency_mhz": 1500.0,
        "temperature_c": 86.5, "load": [3.5, 2.0, 1.0], "steal_ticks": 88,
        "throttled": "0x50005", "throttle_events": 7, "cooling_state": 2,
    }  # fmt: skip
    assert {name: told[name] for name in expected} == expected
    cooler = {**told, "throttle_events": 5, "cores": 2}
    said = " ".join(Environment(cooler, told).warnings())
    for word in ("busy", "throttling", "2 times", "cooling state 2", "86 °C", "powersave"):
        assert word in said


def test_the_shell_reads_what_python_reads(hot_board: Path) -> None:
    script = SCRIPT.replace("/sys/", f"{hot_board}/sys/").replace("/proc/", f"{hot_board}/proc/")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    here = host_info.read_environment(str(hot_board / "sys"), str(hot_board / "proc"))
    there = parse_host(done.stdout)
    assert there["cores"] == 2
    for name in ("governor", "frequency_mhz", "load", "steal_ticks", "throttled",
                 "throttle_events", "cooling_state", "processor"):  # fmt: skip
        assert there[name] == here[name], name
    assert there["temperature_c"] == 84.0


def test_a_system_without_such_files_tells_nothing(tmp_path: Path) -> None:
    told = host_info.read_environment(str(tmp_path), str(tmp_path))
    for name in ("governor", "frequency_mhz", "temperature_c", "load", "steal_ticks", "throttled",
                 "throttle_events", "cooling_state"):  # fmt: skip
        assert told[name] is None, name
