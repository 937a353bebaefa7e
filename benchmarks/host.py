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


def read_environment() -> dict[str, Any]:
    """What this machine says about itself and its present state."""
    cpu = "/sys/devices/system/cpu/cpu0/cpufreq/"
    names = [line for line in read_text("/proc/cpuinfo").splitlines() if ":" in line]
    fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in reversed(names))}
    heat = [read_text(path) for path in sorted(glob("/sys/class/thermal/thermal_zone*/temp"))]  # noqa: PTH207
    steal = read_text("/proc/stat").split("\n")[0].split()[1:]
    model = read_text("/proc/device-tree/model").strip("\0")
    frequency = read_text(cpu + "scaling_cur_freq")
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": model or fields.get("model name") or fields.get("Model") or "",
        "cores": os.cpu_count(),
        "cpus": sorted(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "governor": read_text(cpu + "scaling_governor") or None,
        "frequency_mhz": int(frequency) / 1000 if frequency.isdigit() else None,
        "temperature_c": max(
            (int(h) / 1000 for h in heat if h.lstrip("-").isdigit()), default=None
        ),
        "load": [float(v) for v in read_text("/proc/loadavg").split()[:3]] or None,
        "steal_ticks": int(steal[7]) if len(steal) > 7 else None,
        "throttled": read_text("/sys/devices/platform/soc/soc:firmware/get_throttled") or None,
    }


def read_energy() -> dict[str, int]:
    """Energy counters by name, in microjoules: RAPL packages and hwmon sensors."""
    counters = {}
    places = ("/sys/class/powercap/intel-rapl:?/energy_uj", "/sys/class/hwmon/hwmon*/energy*_input")
    for path in [found for place in places for found in glob(place)]:  # noqa: PTH207
        value = read_text(path)
        if value.isdigit():
            counters[path] = int(value)
    return counters


def energy_between(before: dict[str, int], after: dict[str, int]) -> int | None:
    """Microjoules used between two readings; None without counters or where one ran over."""
    used = [after[name] - value for name, value in before.items() if name in after]
    return sum(used) if used and min(used) >= 0 else None


if __name__ == "__main__":
    print(json.dumps(read_environment()))
