"""The state of a training on disk: one file, whole or absent, written beside the training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import atomic_output, sweep
from edgepress.compress.kernel.onednn import crash_notes
from edgepress.compress.models.guarding.archives import read_arrays

if TYPE_CHECKING:
    import keras

Array = NDArray[Any]


@runtime_checkable
class Resumable(Protocol):
    """A callback with a state of its own, which a resumed training gets back."""

    def state(self) -> Mapping[str, Array]:
        """Arrays by name (numbers as arrays of no axis)."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` gave; called after `on_train_begin`."""


@dataclass(frozen=True)
class Snapshot:
    """All that a training needs to go on as if it had never stopped.

    Attributes:
        arrays: Variables of model, optimizer and callbacks, and the best weights, by name.
        facts: The rest, JSON-able.
    """

    arrays: dict[str, Array] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def group(self, prefix: str) -> dict[str, Array]:
        """The arrays below `prefix/`, by the rest of their name."""
        start = f"{prefix}/"
        return {k.removeprefix(start): v for k, v in self.arrays.items() if k.startswith(start)}

    def in_order(self, prefix: str) -> list[Array]:
        """The arrays that `numbered` gave names below `prefix/`."""
        group = self.group(prefix)
        return [group[str(i)] for i in range(len(group))]


def values(variables: Iterable[keras.Variable]) -> list[Array]:
    """Copies of variables' values."""
    return [np.array(variable.numpy()) for variable in variables]


def assign(variables: Iterable[keras.Variable], arrays: list[Array]) -> None:
    """Give variables the values of arrays."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def numbered(prefix: str, arrays: list[Array]) -> dict[str, Array]:
    """Arrays named `prefix/0`, `prefix/1`, …"""
    return {f"{prefix}/{i}": array for i, array in enumerate(arrays)}


def read_snapshot(file: Path, key: str) -> Snapshot | None:
    """What `write_snapshot` wrote; None where it is of something else than the key says.

    Args:
        file: An `.npz` file.
        key: Says what it must be of.

    Raises:
        InputError: It isn't one, is damaged, or was changed since it was written.
    """
    arrays = read_arrays(file)
    digest = arrays.pop("digest", np.zeros(0)).tobytes()
    if "facts" not in arrays or digest != _digest(arrays):
        raise InputError(
            f"'{file}' isn't the state of a training as it was written",
            "start over, without --resume",
        )
    facts = json.loads(arrays.pop("facts").tobytes())
    return Snapshot(arrays, facts) if facts.pop("key") == key else None


def write_snapshot(file: Path, key: str, snapshot: Snapshot) -> None:
    """Write a state to an `.npz` file, whole or not at all.

    Args:
        file: In a folder that is made where it is missing.
        key: Says what it is of.
        snapshot: The state.
    """
    text = json.dumps({**snapshot.facts, "key": key}).encode()
    arrays: dict[str, Any] = {**snapshot.arrays, "facts": np.frombuffer(text, np.uint8)}
    arrays["digest"] = np.frombuffer(_digest(arrays), np.uint8)
    with atomic_output(file, force=True) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def _digest(arrays: Mapping[str, Array]) -> bytes:
    """Hash of all names, shapes and numbers: what a hand changed is no state to go on from.

    The type's name is left out: such files know bfloat16 by its size alone.
    """
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.itemsize} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()


class Checkpoints:
    """The checkpoint of one training in a folder; without a folder nothing is kept.

    Args:
        folder: Where the state lies, made when needed.
        key: Says which training it is; the state of another one is refused.
        writes: Whether this process writes; all but one of several workers only read.
    """

    def __init__(self, folder: Path | None, key: str, writes: bool = True) -> None:
        self._file = None if folder is None else Path(folder) / "training.npz"
        self._writes = writes
        if self._file is not None and writes:
            sweep(self._file)
        self._key = key
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    @property
    def where(self) -> Path | None:
        """The folder, or None."""
        return None if self._file is None else self._file.parent

    def read(self) -> Snapshot | None:
        """The last state, or None where there is none.

        After a crash the work goes on with other kernels, with which pruning may have left another
        model than before: its training starts over.

        Raises:
            InputError: The folder holds the state of another training.
        """
        if self._file is None or not self._file.exists():
            return None
        found = read_snapshot(self._file, self._key)
        if found is None and not crash_notes():
            raise InputError(
                f"'{self._file.parent}' holds the state of another training",
                "resume with the same model, data and options, or give another folder",
            )
        return found

    def write(self, snapshot: Snapshot) -> None:
        """Write a state while the training goes on; waits for the write before."""
        if self._file is None or not self._writes:
            return
        self.wait()
        self._pending = self._writer.submit(write_snapshot, self._file, self._key, snapshot)

    def wait(self) -> None:
        """Return when the last state is on disk.

        Raises:
            OSError: It couldn't be written.
        """
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def close(self) -> None:
        """Finish writing and end the thread."""
        self._writer.shutdown(wait=True)
        self.wait()
