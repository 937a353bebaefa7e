"""The table of devices: a name or an address becomes a `Target`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from edgepress.benchmarks.target import Target
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.registry import Table, near_names
from edgepress.deploy.targets.addresses import refuse_password
from edgepress.deploy.targets.android.target import android_target
from edgepress.deploy.targets.devices_file import list_devices
from edgepress.deploy.targets.local import local_target
from edgepress.deploy.targets.micro.target import micro_target
from edgepress.deploy.targets.named import Named
from edgepress.deploy.targets.openvino import openvino_target
from edgepress.deploy.targets.ssh.target import ssh_target

TARGETS: Table[Callable[[str], Target]] = Table(
    "kind of device",
    {
        "local": local_target,
        "ssh": ssh_target,
        "adb": android_target,
        "mcu": micro_target,
        "openvino": openvino_target,
    },
    entry_point_group="edgepress.targets",
)


def target_for(device: str, bootstrap: Path | str | None = None) -> Target:
    """The device behind a name or an address.

    Args:
        device: `local`, `ssh://user@host:port`, `adb:SERIAL`, `mcu:…`, `openvino`, or a name
            from the user's devices file.
        bootstrap: A local folder of wheels that a board behind SSH gets for the time of the run.

    Returns:
        The target, not yet contacted.

    Raises:
        InputError: There is no such kind of device, or the address is malformed.
    """
    refuse_password(device)
    known = list_devices() if ":" not in device and device not in TARGETS else {}
    if device in known:
        return Named(device, target_for(known[device], bootstrap))
    kind = device.partition(":")[0].partition("?")[0]
    if kind not in TARGETS:
        hint = near_names(kind, [*TARGETS, *known])
        raise InputError(f"unknown device '{device}'", hint)
    if bootstrap is not None:
        if kind != "ssh":
            raise InputError(f"--bootstrap has no effect on '{device}'", "it is for ssh:// devices")
        device += f"{'&' if '?' in device else '?'}wheels={quote(str(bootstrap))}"
    return TARGETS[kind](device)
