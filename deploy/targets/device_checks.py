"""Naming a device, and proving in about two seconds that it is ready."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepress.benchmarks.target import Job, RunOptions, Target
from edgepress.benchmarks.tflite.tiny_model import write_tiny_model
from edgepress.compress.errors import EdgepressError, InputError
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.deploy.targets.devices_file import changing, devices_file


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


def add_device(name: str, url: str, force: bool = False) -> Path:
    """Give an address a name.

    Args:
        name: Letters, digits, dots, dashes.
        url: The address; it is checked, not contacted.
        force: Whether a name that is taken may be given again.

    Returns:
        The file.

    Raises:
        InputError: The name or the address can't be used, or the name is taken.
    """
    from edgepress.deploy.targets.table import TARGETS, target_for

    if name in TARGETS:
        raise InputError(f"'{name}' is a kind of device itself", "choose another name")
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"'{name}' can't name a device", "letters, digits, dots and dashes")
    if ":" not in url:
        raise InputError(f"'{url}' is not an address", "such as ssh://user@host or adb:SERIAL")
    target_for(url)
    with changing() as devices:
        if name in devices and not force:
            raise InputError(f"there is a device '{name}' already", "pass --force to replace it")
        devices[name] = url
    return devices_file()


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
    from edgepress.deploy.targets.table import target_for

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
    with scratch_folder() as folder:
        path = write_tiny_model(folder / "tiny.tflite")
        with target.open(path, RunOptions(timeout=30)) as session:
            session.run(Job(3))
