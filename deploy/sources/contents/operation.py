"""One operator of a file, and what the file stores for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Constant:
    """Numbers that a file stores for an operator.

    Attributes:
        key: Where they are stored; numbers that several operators read are counted once.
        size: How many.
        bytes: What they take.
        dtype: Their type by its NumPy name, or "int4".
        zeros: How many stand for zero.
        kernel: Whether products are made with them or rows looked up in them (not a bias).
    """

    key: str
    size: int
    bytes: int
    dtype: str
    zeros: int
    kernel: bool


@dataclass(frozen=True)
class Operation:
    """One operator of a file.

    Attributes:
        name: Its node, or its first output.
        type: Its kind in the file's own terms.
        macs: Multiply-accumulates, or None where it makes none to speak of.
        shape: Of its first output; None where free.
        dtype: Of its first output.
        activation_bytes: Size of its outputs at batch 1.
        constants: What the file stores for it.
        in_floats: Whether it computes in floats.
        uncounted: Why `macs` leaves out what it multiplies; empty where it doesn't.
    """

    name: str
    type: str
    macs: int | None
    shape: tuple[int | None, ...]
    dtype: str
    activation_bytes: int
    constants: tuple[Constant, ...] = ()
    in_floats: bool = True
    uncounted: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Operation:
        """The inverse of `dataclasses.asdict`, over JSON."""
        constants = tuple(Constant(**c) for c in value["constants"])
        return cls(**{**value, "shape": tuple(value["shape"]), "constants": constants})
