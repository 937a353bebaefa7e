"""What a machine without Python says about itself; the fields are those of `host_info.py`."""

from __future__ import annotations

from typing import Any

from edgepress.benchmarks.runtimes.host_info import hottest

# For POSIX shells with the usual small programs: busybox's, Android's toybox.
SCRIPT = r"""
first() { head -n 1 "$1" 2>/dev/null; }
cpu=/sys/devices/system/cpu
echo "machine=$(uname -m)"
echo "system=$(uname -s) $(uname -r)"
model=$(tr -d '\000' 2>/dev/null < /proc/device-tree/model)
[ -n "$model" ] || model=$(sed -n 's/^model name[^:]*: *//p; s/^Hardware[^:]*: *//p' /proc/cpuinfo |
  head -n 1)
echo "processor=$model"
echo "cores=$(grep -c '^processor' /proc/cpuinfo)"
echo "governor=$(first $cpu/cpu0/cpufreq/scaling_governor)"
echo "frequency=$(cat $cpu/cpu*/cpufreq/scaling_cur_freq 2>/dev/null | sort -n | tail -n 1)"
echo "heat=$(cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null | tr '\n' ' ')"
echo "load=$(first /proc/loadavg)"
echo "ticks=$(first /proc/stat)"
echo "throttled=$(first /sys/devices/platform/soc/soc:firmware/get_throttled)"
for d in /sys/class/thermal/cooling_device*; do
  case $(first $d/type) in *cpufreq*|Processor) echo "cooling=$(first $d/cur_state)";; esac
done | sort -t = -k 2 -n | tail -n 1
cat $cpu/cpu*/thermal_throttle/core_throttle_count 2>/dev/null | sed 's/^/event=/'
"""


def parse_host(text: str) -> dict[str, Any]:
    """The environment out of what `SCRIPT` prints; what it doesn't tell is None."""
    lines = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    facts = dict(lines)
    events = [int(value) for name, value in lines if name == "event" and value.isdigit()]

    def number(name: str) -> int | None:
        value = facts.get(name, "")
        return int(value) if value.lstrip("-").isdigit() else None

    frequency = number("frequency")
    load, ticks = facts.get("load", "").split()[:3], facts.get("ticks", "").split()[1:]
    return {
        "machine": facts.get("machine", ""),
        "system": facts.get("system", ""),
        "processor": facts.get("processor", ""),
        "cores": number("cores"),
        "governor": facts.get("governor") or None,
        "frequency_mhz": None if frequency is None else frequency / 1000,
        "temperature_c": hottest(facts.get("heat", "").split()),
        "load": [float(value) for value in load] or None,
        "steal_ticks": int(ticks[7]) if len(ticks) > 7 else None,
        "throttled": facts.get("throttled") or None,
        "throttle_events": sum(events) if events else None,
        "cooling_state": number("cooling"),
    }
