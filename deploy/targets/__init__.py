"""Devices: a name or an address becomes a `Target`.

The names load on first use: where the devices file is, every command asks before its first word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.kernel.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgepress.deploy.targets.device_checks import add_device as add_device
    from edgepress.deploy.targets.device_checks import check_device as check_device
    from edgepress.deploy.targets.devices_file import list_devices as list_devices
    from edgepress.deploy.targets.devices_file import remove_device as remove_device
    from edgepress.deploy.targets.table import TARGETS as TARGETS
    from edgepress.deploy.targets.table import target_for as target_for

__getattr__, __dir__, __all__ = lazy_names(__name__)
