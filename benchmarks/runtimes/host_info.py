"""What a machine says about itself: a stand-alone script, since a board must be asked too.

Python 3.10 or newer, nothing else. Run as a program it prints `read_environment` as one JSON line.
"""

from __future__ import annotations

import json
import os
import platform
from glob import glob
from typing import Any


def read_text(path: str) -> str:
    """The stripped text of a small system file, empty where it can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""


def hottest(texts: list[str]) -> float | None:
    """Degrees of the hottest sensor, from thousandths; what no chip survives is no temperature."""
    degrees = [int(text) / 1000 for text in texts if text.lstrip("-").isdigit()]
    return max((d for d in degrees if 0 < d < 130), default=None)


def read_numbers(pattern: str) -> list[int]:
    """The whole numbers in all files that fit a pattern; those that can't be read are left out."""
    texts = [read_text(path) for path in sorted(glob(pattern))]  # noqa: PTH207
    return [int(text) for text in texts if text.isdigit()]


def cooling_state(sysfs: str) -> int | None:
    """How far the kernel holds processors back because of heat; 0 is not at all.

    Source: Documentation/driver-api/thermal of the Linux kernel: cooling devices named after
    cpufreq, or "Processor" where ACPI drives them.
    """
    devices = glob(f"{sysfs}/class/thermal/cooling_device*")  # noqa: PTH207
    mine = [
        d for d in devices if "cpufreq" in (kind := read_text(f"{d}/type")) or kind == "Processor"
    ]
    return max((n for d in mine for n in read_numbers(f"{d}/cur_state")), default=None)


def read_environment(sysfs: str = "/sys", procfs: str = "/proc") -> dict[str, Any]:
    """What this machine says about itself and its present state.

    `throttle_events` counts how often the cores slowed down because of heat since they started,
    where the processor counts it (Intel's).
    """
    cpu = f"{sysfs}/devices/system/cpu"
    governors = f"{cpu}/cpu0/cpufreq/scaling_governor"
    names = [line for line in read_text(f"{procfs}/cpuinfo").splitlines() if ":" in line]
    fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in reversed(names))}
    heat = sorted(glob(f"{sysfs}/class/thermal/thermal_zone*/temp"))  # noqa: PTH207
    for chip in glob(f"{sysfs}/class/hwmon/hwmon*"):  # noqa: PTH207
        if read_text(f"{chip}/name") in ("coretemp", "k10temp", "zenpower"):
            heat += glob(f"{chip}/temp*_input")  # noqa: PTH207
    steal = read_text(f"{procfs}/stat").split("\n")[0].split()[1:]
    model = read_text(f"{procfs}/device-tree/model").strip("\0")
    clocks = read_numbers(f"{cpu}/cpu*/cpufreq/scaling_cur_freq")
    events = read_numbers(f"{cpu}/cpu*/thermal_throttle/core_throttle_count")
    throttled = f"{sysfs}/devices/platform/soc/soc:firmware/get_throttled"
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": model or fields.get("model name") or fields.get("Model") or "",
        "cores": os.cpu_count(),
        "cpus": sorted(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "governor": read_text(governors) or None,
        "frequency_mhz": max((c / 1000 for c in clocks), default=None),
        "temperature_c": hottest([read_text(path) for path in heat]),
        "load": [float(v) for v in read_text(f"{procfs}/loadavg").split()[:3]] or None,
        "steal_ticks": int(steal[7]) if len(steal) > 7 else None,
        "throttled": read_text(throttled) or None,
        "throttle_events": sum(events) if events else None,
        "cooling_state": cooling_state(sysfs),
    }


def reset_peak() -> None:
    """Reset VmHWM at the present size, where the kernel allows it."""
    try:
        with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
            file.write("5")
    except OSError:
        pass


def read_memory() -> dict[str, int]:
    """Peak and present resident bytes of this process.

    From /proc/self/status: `ru_maxrss` would include the parent's peak, which Linux carries over
    fork and exec.
    """
    found = {}
    for line in read_text("/proc/self/status").splitlines():
        name, _, value = line.partition(":")
        if name in ("VmHWM", "VmRSS"):
            found[name] = int(value.split()[0]) * 1024
    return {"peak_bytes": found.get("VmHWM", 0), "resident_bytes": found.get("VmRSS", 0)}


def read_energy(sysfs: str = "/sys") -> dict[str, tuple[int, int]]:
    """Energy counters by path: microjoules, and after how many they start over (0: unknown).

    RAPL's packages where there are any (since 2020 only root may read them), else hwmon's sensors:
    its sockets where it names some, since their cores are counted in them.

    Source: Documentation/power/powercap and Documentation/hwmon of the Linux kernel.
    """
    zones = glob(f"{sysfs}/class/powercap/intel-rapl:*")  # noqa: PTH207
    packages = [z for z in zones if read_text(f"{z}/name").startswith("package")]
    found = [(f"{zone}/energy_uj", f"{zone}/max_energy_range_uj") for zone in packages]
    if not any(read_text(path) for path, _ in found):
        inputs = glob(f"{sysfs}/class/hwmon/hwmon*/energy*_input")  # noqa: PTH207
        sockets = [p for p in inputs if "socket" in read_text(p[: -len("input")] + "label").lower()]
        found = [(path, "") for path in sockets or inputs]
    values = {path: (read_text(path), read_text(limit)) for path, limit in sorted(found)}
    return {p: (int(v), int(top or 0)) for p, (v, top) in values.items() if v.isdigit()}


def energy_between(
    before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]
) -> int | None:
    """Microjoules used between two readings; None without counters, or where one lost count."""
    total = 0
    for path, (value, top) in before.items():
        used = after.get(path, (-1, 0))[0] - value
        used += top if used < 0 else 0
        if used < 0 or path not in after:
            return None
        total += used
    return total if before else None


if __name__ == "__main__":
    print(json.dumps(read_environment()))
