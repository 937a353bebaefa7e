"""Devices: a name or an address becomes a `Target`."""

from __future__ import annotations

from edgepress.deploy.targets.device_checks import add_device, check_device
from edgepress.deploy.targets.devices_file import list_devices, remove_device
from edgepress.deploy.targets.table import TARGETS, target_for

__all__ = [
    "TARGETS",
    "add_device",
    "check_device",
    "list_devices",
    "remove_device",
    "target_for",
]
