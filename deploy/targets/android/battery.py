"""Energy that an Android device used, from its battery's charge counter.

The kernel's counter where the shell may read it, else `dumpsys battery`, which is some seconds
behind. It is the whole phone's energy, screen and idle current included.

Source: Documentation/ABI/testing/sysfs-class-power of the Linux kernel (charge_counter and
voltage_now in µAh and µV); dumpsys battery (counter in µAh, voltage in mV, status 3: discharging).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A shell function; what it prints is found again by its first word.
READ_BATTERY = """battery() {
p=/sys/class/power_supply/battery
c=$(cat $p/charge_counter 2>/dev/null) && v=$(cat $p/voltage_now 2>/dev/null) &&
echo "EP_BATTERY $c $v $(cat $p/status 2>/dev/null)" ||
echo EP_BATTERY $(dumpsys battery 2>/dev/null | grep -E '^ *(Charge counter|voltage|status):')
}"""


@dataclass(frozen=True)
class Reading:
    """The battery at one moment: its charge in microampere-hours, volts, and whether it gives."""

    charge_uah: int
    volts: float
    discharging: bool


def take_readings(output: str) -> tuple[str, list[Reading]]:
    """A command's output without the lines of `READ_BATTERY`, and what they tell."""
    lines = re.findall(r"^EP_BATTERY(.*)$", output, re.M)
    rest = re.sub(r"^EP_BATTERY.*\n?", "", output, flags=re.M)
    return rest, [reading for line in lines if (reading := _reading(line.strip()))]


def energy_between(readings: Sequence[Reading]) -> float | None:
    """Microjoules used between the first and the last reading.

    Returns:
        None without a counter, and where the battery isn't discharging.
    """
    if len(readings) < 2 or not all(reading.discharging for reading in readings):
        return None
    first, last = readings[0], readings[-1]
    used = first.charge_uah - last.charge_uah
    return used * 3600.0 * (first.volts + last.volts) / 2 if used >= 0 else None


def _reading(line: str) -> Reading | None:
    kernel = re.match(r"(\d+) (\d+) (.*)", line)
    if kernel:
        volts = int(kernel[2]) / 1e6
        return Reading(int(kernel[1]), volts, kernel[3].strip() == "Discharging")
    fields = dict(re.findall(r"(Charge counter|voltage|status): (\d+)", line))
    if len(fields) < 3:
        return None
    volts = int(fields["voltage"]) / 1e3
    return Reading(int(fields["Charge counter"]), volts, fields["status"] == "3")
