"""A device under the name that the user gave it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from edgepress.benchmarks.operator_costs import Profile
from edgepress.benchmarks.target import RunOptions, Session, Target


class Named:
    """A target that answers to another name.

    Args:
        name: The user's name for it.
        target: The device.
    """

    def __init__(self, name: str, target: Target) -> None:
        self.name = name
        self.url: str = getattr(target, "url", target.name)
        self._target = target

    @property
    def timing_valid(self) -> bool:
        """As the device."""
        return self._target.timing_valid

    @property
    def estimated(self) -> bool:
        """As the device."""
        return self._target.estimated

    @property
    def on_this_machine(self) -> bool:
        """As the device."""
        return self._target.on_this_machine

    @property
    def gives_outputs(self) -> bool:
        """As the device."""
        return self._target.gives_outputs

    @property
    def takes(self) -> frozenset[str]:
        """As the device."""
        return self._target.takes

    @property
    def suffixes(self) -> frozenset[str]:
        """As the device; all where it doesn't say."""
        return getattr(self._target, "suffixes", frozenset((".tflite", ".onnx")))

    @property
    def precisions(self) -> frozenset[str] | None:
        """As the device."""
        return getattr(self._target, "precisions", None)

    @property
    def sends_files(self) -> bool:
        """As the device."""
        return bool(getattr(self._target, "sends_files", True))

    def environment(self) -> dict[str, Any]:
        """As the device."""
        return self._target.environment()

    def open(self, path: Path, options: RunOptions) -> AbstractContextManager[Session]:
        """As the device."""
        return self._target.open(path, options)

    def profile(self, path: Path, options: RunOptions) -> Profile:
        """As the device."""
        return self._target.profile(path, options)

    def close(self) -> None:
        """As the device."""
        self._target.close()
