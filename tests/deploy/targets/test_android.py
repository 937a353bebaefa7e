"""Android: the real adb client against a daemon of ours that runs what is pushed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from adbd import Adbd

from edgepress.benchmarks.target import Job, RunOptions
from edgepress.compress.errors import DeviceError, InputError
from edgepress.deploy.benchmarking.benchmark import benchmark
from edgepress.deploy.targets import target_for
from edgepress.deploy.targets.android.benchmark_model import parse_report

needs_adb = pytest.mark.skipif(not shutil.which("adb"), reason="adb is not installed")

OLD = """\
STARTING!
The input model file size (MB): 0.004448
Initialized session in 0.855ms.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
Memory footprint delta from the start of the tool (MB): init=0 overall=12.8672
"""  # noqa: E501
NEW = """\
INFO: count=50 first=5 curr=6 min=4 max=1e+06 avg=7.5 std=1 p5=4 median=5 p95=9
INFO: Overall peak memory footprint (MB) via periodic monitoring: 20.5
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t    0.000\t    4.269\t 75.000%\t 75.000%\t     0.000\t        1\t[conv]:0
\t                 SOFTMAX\t    4.270\t    1.423\t 25.000%\t100.000%\t     0.000\t        1\t[probs]:1

============================== Top by Computation Time ==============================
\t                 CONV_2D\t    0.000\t    4.269\t 75.000%\t 75.000%\t     0.000\t        1\t[conv]:0
Timings (microseconds): count=50 first=1 curr=2 min=1 max=9 avg=3 std=1
"""  # noqa: E501


def test_the_output_of_old_and_new_builds_is_read() -> None:
    old = parse_report(OLD)
    assert (old.n, old.mean_us, old.min_us, old.std_us) == (50, 33209.4, 32641, 450)
    assert (old.init_us, old.first_us, old.peak_bytes) == (855, 49060, 12867200)
    assert old.median_us is None
    new = parse_report(NEW)
    assert (new.max_us, new.median_us, new.p95_us, new.peak_bytes) == (1e6, 5, 9, 20500000)
    assert [(o.operator, o.name, o.mean_ms, o.share) for o in new.operators] == [
        ("CONV_2D", "[conv]:0", 4.269, 0.75),
        ("SOFTMAX", "[probs]:1", 1.423, 0.25),
    ]


@pytest.mark.parametrize("line", ["count=1 curr=53", "count=3 curr=53(all same)"])
def test_equal_values_are_read(line: str) -> None:
    report = parse_report(f"INFO: {line}\n")
    assert (report.mean_us, report.min_us, report.max_us) == (53, 53, 53)


@pytest.mark.parametrize("text", ["", "count=0\n", "ERROR: no such file\n"])
def test_an_output_without_figures_is_refused(text: str) -> None:
    with pytest.raises(DeviceError, match="no figures"):
        parse_report(text)


def _url(phone: Adbd, binary: Path, **options: str) -> str:
    extra = "".join(f"&{k}={v}" for k, v in options.items())
    return f"adb:127.0.0.1:{phone.port}?benchmark_model={binary}{extra}"


@needs_adb
def test_a_phone_measures_and_keeps_nothing(
    phone: Adbd, binary: Path, resnet_float: Path, resnet_int8: Path
) -> None:
    result = benchmark(
        [resnet_float, resnet_int8],
        devices=[_url(phone, binary, cores="1", emulated="1")],
        runs=6,
        launches=1,
        threads=2,
    )
    told = result.to_json()
    assert told["device"]["processor"] == "Double Test1"
    assert told["device"]["system"] == "Android 14"
    assert [row["runtime"] for row in told["rows"]] == ["benchmark_model"] * 2
    assert all(row["peak_memory_bytes"] == 12867200 for row in told["rows"])
    assert not any(row["timing_valid"] for row in told["rows"])
    assert told["comparisons"] == told["failures"] == []
    assert list(phone.root.iterdir()) == []
    run = next(c for c in phone.commands if "--graph" in c)
    assert "taskset 1 " in run
    assert "--num_threads=2" in run


@needs_adb
def test_what_the_binary_says_is_passed_on(phone: Adbd, binary: Path, resnet_float: Path) -> None:
    binary.write_text("#!/bin/sh\necho 'ERROR: Unsupported operator FOO'\nexit 1\n")
    with pytest.raises(DeviceError, match="code 1: ERROR: Unsupported operator FOO"):
        benchmark([resnet_float], devices=[_url(phone, binary)], runs=1, launches=1)
    binary.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(DeviceError, match="no figures: it said 'hello'"):
        benchmark([resnet_float], devices=[_url(phone, binary)], runs=1, launches=1)
    assert list(phone.root.iterdir()) == []


@needs_adb
def test_a_binary_that_never_ends_is_stopped_there(
    phone: Adbd, binary: Path, resnet_float: Path
) -> None:
    binary.write_text("#!/bin/sh\nexec sleep 1000\n")
    with pytest.raises(DeviceError, match="past its time limit"):
        benchmark([resnet_float], devices=[_url(phone, binary)], runs=1, timeout=1)
    assert list(phone.root.iterdir()) == []


@needs_adb
def test_a_pulled_cable_is_one_line(phone: Adbd, binary: Path, resnet_float: Path) -> None:
    target = target_for(_url(phone, binary))
    with target.open(resnet_float, RunOptions()) as session:
        session.run(Job(1))
        phone.unplug()
        with pytest.raises(DeviceError):
            session.run(Job(1))


@needs_adb
def test_two_runs_exclude_each_other(phone: Adbd, binary: Path, resnet_float: Path) -> None:
    first = target_for(_url(phone, binary))
    first.environment()
    with pytest.raises(DeviceError, match="another run"):
        benchmark([resnet_float], devices=[_url(phone, binary)], runs=1)
    first.close()
    assert list(phone.root.iterdir()) == []


@needs_adb
def test_a_daemon_that_loses_exit_codes_is_refused(
    phone: Adbd, binary: Path, resnet_float: Path
) -> None:
    phone.features = "cmd"
    with pytest.raises(DeviceError, match="loses exit codes"):
        benchmark([resnet_float], devices=[_url(phone, binary)], runs=1)


@needs_adb
def test_no_such_phone(phone: Adbd, binary: Path, resnet_float: Path) -> None:
    with pytest.raises(DeviceError, match="not found"):
        benchmark([resnet_float], devices=[f"adb:NOBODY?benchmark_model={binary}"], runs=1)
    with pytest.raises(DeviceError, match="adb: failed to connect"):
        benchmark([resnet_float], devices=[f"adb:127.0.0.1:1?benchmark_model={binary}"], runs=1)


@needs_adb
def test_addresses_are_checked(binary: Path) -> None:
    for url, words in {
        "adb:": "not a device",
        "adb:X": "needs a benchmark_model",
        "adb:X?benchmark_model=/none": "does not exist",
        f"adb:X?benchmark_model={binary}&cores=big": "not a CPU mask",
    }.items():
        with pytest.raises(InputError, match=words):
            target_for(url)


@pytest.mark.slow
@needs_adb
def test_several_phones_are_measured_at_once_and_none_mixed_up(
    phone: Adbd, binary: Path, resnet_float: Path, tmp_path: Path
) -> None:
    other = Adbd(tmp_path / "second" / "phone")
    other.root.mkdir(parents=True)
    other.properties["ro.product.model"] = "Second"
    lost = f"adb:127.0.0.1:1?benchmark_model={binary}"
    urls = [_url(phone, binary), _url(other, binary), lost]
    result = benchmark([resnet_float], devices=urls, runs=4, launches=1, cpus=[1])
    other.unplug()
    told = result.to_json()
    names = [d.get("processor", "") for d in told["devices"]]
    assert names == ["Double Test1", "Second Test1", ""], told["failures"]
    assert [row["device"] for row in told["rows"]] == [d["name"] for d in told["devices"][:2]]
    assert [f["device"] for f in told["failures"]] == ["adb:127.0.0.1:1"]
    for device in (phone, other):
        assert all("taskset 2 " in c for c in device.commands if "--graph" in c)
        assert list(device.root.iterdir()) == []
