"""A C program while it is written: constants, the kernels that it uses, and calls of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepress.deploy.exporters.c.headers import c_number, constant_array
from edgepress.deploy.exporters.c_standalone.network import Network, Value
from edgepress.deploy.exporters.exporter import Unsupported

_KERNELS = Path(__file__).with_name("kernels")
# What a kernel stands on, in the order in which it is written.
_NEEDS = {
    "fully_connected": ("rescaled_once", "limited"),
    "conv_2d": ("scaled", "rescaled", "limited"),
    "depthwise_conv_2d": ("scaled", "rescaled", "limited"),
    "max_pool_2d": ("limited", "pool_2d"),
    "average_pool_2d": ("limited", "pool_2d"),
    "mean": ("scaled", "rescaled", "limited", "view"),
    "add": ("scaled", "rescaled", "limited", "view", "pair"),
    "sub": ("scaled", "rescaled", "limited", "view", "pair"),
    "mul": ("scaled", "rescaled", "limited", "view", "pair"),
    "maximum": ("view", "pair"),
    "minimum": ("view", "pair"),
    "softmax": ("scaled", "limited"),
    "move": ("view",),
    "resize_nearest": ("copy",),
    "quantize": ("limited",),
}
_C_TYPES = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t"}


@dataclass
class Program:
    """A C program of a network.

    Attributes:
        network: The network, its memory laid out.
        constants: Lines of C.
        calls: Statements of the function that runs the network.
        constant_bytes: The content of the arrays, one behind the other.
    """

    network: Network
    constants: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    constant_bytes: bytes = b""
    _kernels: dict[str, None] = field(default_factory=dict)
    _arrays: dict[tuple[str, bytes], str] = field(default_factory=dict)
    _records: int = 0
    _rank: int = 1

    def pointer(self, value: Value) -> str:
        """Where a value lies, as an expression of C."""
        if value.numbers is not None:
            return self.array(value.numbers)
        if value.type == "INT8":
            offset = self.network.offsets[value.source]
            return f"arena + {offset}" if offset else "arena"
        for side, ends in (("output", self.network.outputs), ("input", self.network.inputs)):
            for number, end in enumerate(ends):
                if end.source == value.source:
                    return f"{side}_{number}"
        raise Unsupported(
            f"c-standalone computes in int8 alone, and the network in {value.type.lower()}, too;"
            " --format c has it"
        )

    def array(self, numbers: NDArray[np.generic]) -> str:
        """The name of an array of constants; equal ones are one."""
        kind = _C_TYPES[numbers.dtype.name]
        key = (kind, numbers.tobytes())
        if key not in self._arrays:
            name = f"constants_{len(self._arrays)}"
            self._arrays[key] = name
            self.constants += constant_array(name, kind, numbers.ravel().tolist())
            self.constant_bytes += numbers.tobytes()
        return self._arrays[key]

    def record(self, kind: str, fields: Mapping[str, str | int]) -> str:
        """A pointer to a record of a kernel's arguments."""
        name = f"arguments_{self._records}"
        self._records += 1
        self.constants.append(f"static const struct {kind} {name} = {{\n")
        self.constants += [f"    .{key} = {value},\n" for key, value in fields.items()]
        self.constants.append("};\n")
        return f"&{name}"

    def call(self, kernel: str, *arguments: str) -> None:
        """Run a kernel."""
        self._kernels.update(dict.fromkeys((*_NEEDS.get(kernel, ()), kernel)))
        self.calls.append(f"{kernel}({', '.join(arguments)});")

    def each(self, count: int, kernel: str, record: str, given: Value, made: Value) -> None:
        """Run a kernel for each sample of a batch."""
        start, end = self.pointer(given), self.pointer(made)
        if count > 1:
            self.calls.append(f"for (int32_t n = 0; n < {count}; ++n)")
            start, end = f"{start} + n * {given.size // count}", f"{end} + n * {made.size // count}"
        self.call(kernel, record, start, end)

    def hand_over(self, target: str, source: str, size: int) -> None:
        """Copy an input into the arena or an output out of it, unless it is there."""
        self.copy(target, source, size)
        self.calls[-1] = f"if ({target} != {source}) {self.calls[-1]}"

    def copy(self, target: str, source: str, size: int) -> None:
        """Copy bytes that lie behind one another."""
        self.call("copy", target, source, str(size))

    def view(self, sizes: Sequence[int], steps: Sequence[int]) -> str:
        """A `struct view`."""
        self._rank = max(self._rank, len(sizes))
        sizes, steps = sizes or (1,), steps or (0,)
        return f"{{{len(sizes)}, {{{_listed(sizes)}}}, {{{_listed(steps)}}}}}"

    def kernels(self) -> Iterator[str]:
        """The kernels that are called, and what they stand on."""
        order = sorted(self._kernels, key=_ORDER.index)
        if "view" in order:
            yield f"#define RANK {self._rank}\n\n"
        for name in order:
            yield (_KERNELS / f"{name}.c").read_text(encoding="utf-8") + "\n"


_SHARED = ("copy", "scaled", "rescaled", "rescaled_once", "limited", "view", "pool_2d", "pair")
_ORDER = (*_SHARED, *sorted(p.stem for p in _KERNELS.glob("*.c") if p.stem not in _SHARED))


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(c_number(int(number)) for number in numbers)


def walked(*views: NDArray[np.int8]) -> tuple[list[int], list[list[int]]]:
    """How views of one shape are walked through together, with as few axes as that takes.

    Returns:
        The sizes of the axes, and for each view how far apart its elements are along them.
    """
    axes = [axis for axis, size in enumerate(views[0].shape) if size > 1]
    sizes = [views[0].shape[axis] for axis in axes]
    steps = [[view.strides[axis] for axis in axes] for view in views]
    for axis in range(len(sizes) - 2, -1, -1):
        if all(row[axis] == row[axis + 1] * sizes[axis + 1] for row in steps):
            sizes[axis : axis + 2] = [sizes[axis] * sizes[axis + 1]]
            for row in steps:
                del row[axis]
    return sizes or [1], [row or [1] for row in steps]
