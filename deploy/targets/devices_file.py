"""The user's own devices: names for addresses, in `~/.config/edgepress/devices.yaml`.

    pi: ssh://pi@10.0.0.3?python=/home/pi/venv/bin/python
    phone: adb:R58M1234?benchmark_model=/home/me/benchmark_model

`EDGEPRESS_DEVICES` names another file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import atomic_output
from edgepress.compress.kernel.locks import locked
from edgepress.compress.kernel.registry import near_names

_WAIT_S = 10.0


def devices_file() -> Path:
    """Where the user's devices are kept."""
    named = os.environ.get("EDGEPRESS_DEVICES")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "edgepress" / "devices.yaml"


def list_devices() -> dict[str, str]:
    """Addresses by name; empty where there is no file.

    Raises:
        InputError: The file is not a mapping of names to addresses.
    """
    from edgepress.compress.specs.yaml_text import read_yaml

    path = devices_file()
    if not path.exists():
        return {}
    if not path.is_file():
        raise InputError(f"'{path}' is no file: devices can't be kept there")
    entries = read_yaml(path, "devices file")[0] or {}
    pairs = entries.items() if isinstance(entries, dict) else [(None, None)]
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in pairs):
        raise InputError(f"'{path}' must map names to addresses", "a line is NAME: ssh://…")
    bare = next((name for name, url in entries.items() if ":" not in url and url in entries), None)
    if bare is not None:
        raise InputError(
            f"'{path}': '{bare}' stands for '{entries[bare]}', which is itself such a name",
            "write the address, such as ssh://user@host or adb:SERIAL",
        )
    return dict(entries)


@contextmanager
def changing() -> Iterator[dict[str, str]]:
    """Addresses by name, for the block to change; kept when it succeeds.

    One process at a time, so that none loses what another one added.

    Raises:
        InputError: As `list_devices`, or another process doesn't let go of the file.
    """
    place = devices_file().resolve().parent
    place.mkdir(parents=True, exist_ok=True)
    with locked(place, devices_file(), _WAIT_S):
        devices = list_devices()
        yield devices
        _write(devices)


def _write(devices: Mapping[str, str]) -> None:
    """Keep addresses by name, for the user's eyes alone."""
    import yaml

    with atomic_output(devices_file().resolve(), force=True) as temporary:  # the file may be a link
        temporary.touch(0o600)
        temporary.write_text(yaml.safe_dump(dict(devices)), "utf-8")


def remove_device(name: str) -> Path:
    """Forget a name.

    Returns:
        The file.

    Raises:
        InputError: There is no such name.
    """
    known = list_devices()
    if name not in known:
        hint = near_names(name, known) if known else "no device has a name yet"
        raise InputError(f"there is no device '{name}'", hint)
    with changing() as devices:
        devices.pop(name, None)
    return devices_file()
