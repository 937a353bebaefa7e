"""The user's own devices: names for addresses, in `~/.config/edgepress/devices.yaml`.

    pi: ssh://pi@10.0.0.3?python=/home/pi/venv/bin/python
    phone: adb:R58M1234?benchmark_model=/home/me/benchmark_model

`EDGEPRESS_DEVICES` names another file.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.benchmarks.target import Job, RunOptions, Target
from edgepress.benchmarks.tiny_model import write_tiny_model
from edgepress.compress.errors import EdgepressError, InputError
from edgepress.compress.files import atomic_output
from edgepress.compress.registry import near_names


@dataclass(frozen=True)
class Check:
    """What a 2-second proof of a device found.

    Attributes:
        device: Its name or address.
        ok: Whether it is ready.
        seconds: How long the proof took.
        environment: What the device says of itself.
        problem: What is missing, or "".
        cure: What mends it, or "".
    """

    device: str
    ok: bool
    seconds: float
    environment: dict[str, Any]
    problem: str = ""
    cure: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))


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
    import yaml

    path = devices_file()
    if not path.exists():
        return {}
    if not path.is_file():
        raise InputError(f"'{path}' is no file: devices can't be kept there")
    try:
        told = yaml.safe_load(path.read_text("utf-8")) or {}
    except yaml.YAMLError as error:
        raise InputError(f"'{path}' is not YAML: {error}") from None
    pairs = told.items() if isinstance(told, dict) else [(None, None)]
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in pairs):
        raise InputError(f"'{path}' must map names to addresses", "a line is NAME: ssh://…")
    return dict(told)


def add_device(name: str, url: str, force: bool = False) -> Path:
    """Give an address a name.

    Args:
        name: Letters, digits, dots, dashes.
        url: The address; it is checked, not contacted.
        force: Whether a name that is taken may be given anew.

    Returns:
        The file.

    Raises:
        InputError: The name or the address can't be used, or the name is taken.
    """
    import yaml

    from edgepress.deploy.targets import TARGETS, target_for

    if name in TARGETS:
        raise InputError(f"'{name}' is a kind of device itself", "choose another name")
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"'{name}' can't name a device", "letters, digits, dots and dashes")
    if ":" not in url:
        raise InputError(f"'{url}' is not an address", "such as ssh://user@host or adb:SERIAL")
    devices = list_devices()
    if name in devices and not force:
        raise InputError(f"there is a device '{name}' already", "pass --force to replace it")
    target_for(url)
    path = devices_file()
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(yaml.safe_dump({**devices, name: url}), "utf-8")
    return path


def remove_device(name: str) -> Path:
    """Forget a name.

    Returns:
        The file.

    Raises:
        InputError: There is no such name.
    """
    import yaml

    devices = list_devices()
    if name not in devices:
        hint = near_names(name, devices) if devices else "no device has a name yet"
        raise InputError(f"there is no device '{name}'", hint)
    del devices[name]
    path = devices_file()
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(yaml.safe_dump(devices), "utf-8")
    return path


def check_device(device: str, bootstrap: Path | str | None = None) -> Check:
    """Prove in about two seconds that a device is ready: reach it, run a tiny model.

    Args:
        device: A name or an address.
        bootstrap: Local folder of wheels that a board behind SSH gets for the time of the proof.

    Returns:
        What was found. Nothing is raised for a device that isn't ready.

    Raises:
        InputError: There is no such device.
    """
    from edgepress.deploy.targets import target_for

    began = time.monotonic()
    target = target_for(device, bootstrap)
    environment: dict[str, Any] = {}
    try:
        environment = target.environment()
        _prove(target)
    except EdgepressError as error:
        return Check(
            device, False, time.monotonic() - began, environment, error.message, error.hint
        )
    finally:
        target.close()
    return Check(device, True, time.monotonic() - began, environment)


def _prove(target: Target) -> None:
    """Run a tiny model, where the device takes models at all."""
    holds_its_own = target.name.startswith("mcu:/")
    if target.estimated or holds_its_own:
        return
    with tempfile.TemporaryDirectory(prefix="edgepress-") as folder:
        path = write_tiny_model(Path(folder) / "tiny.tflite")
        with target.open(path, RunOptions(timeout=30)) as session:
            session.run(Job(3))
