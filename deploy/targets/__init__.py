"""Devices: a name or an address becomes a `Target`."""

from __future__ import annotations

from collections.abc import Callable

from edgepress.benchmarks.target import Target
from edgepress.compress.registry import Table
from edgepress.deploy.targets.android import android_target
from edgepress.deploy.targets.local import local_target
from edgepress.deploy.targets.micro import micro_target
from edgepress.deploy.targets.ssh import ssh_target

TARGETS: Table[Callable[[str], Target]] = Table(
    "kind of device",
    {
        "local": local_target,
        "ssh": ssh_target,
        "adb": android_target,
        "mcu": micro_target,
    },
    entry_point_group="edgepress.targets",
)


def target_for(device: str) -> Target:
    """The device behind a name or an address.

    Args:
        device: `local`, `ssh://user@host:port`, `adb:SERIAL`, `mcu:…`.

    Returns:
        The target, not yet contacted.

    Raises:
        InputError: There is no such kind of device, or the address is malformed.
    """
    return TARGETS[device.partition(":")[0]](device)
