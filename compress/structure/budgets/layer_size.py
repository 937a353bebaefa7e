"""What the time of a layer depends on: its sizes, not its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["conv", "depthwise", "dense"]


@dataclass(frozen=True)
class LayerSize:
    """One layer's sizes; two layers with the same ones take the same time.

    Attributes:
        kind: Which operator.
        area: (height, width) of what comes in; (1, rows) for a dense layer.
        kernel: (height, width) of the kernel.
        strides: (vertical, horizontal).
        dilation: (vertical, horizontal).
        same: Whether the input is padded so that strides alone make the output smaller.
        inputs: Channels that come in.
        outputs: Channels that go out; for a depthwise layer those of each channel.
    """

    kind: Kind
    area: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    same: bool
    inputs: int
    outputs: int

    @property
    def signature(self) -> str:
        """The sizes as one text, the same in every process."""
        pairs = (self.area, self.kernel, self.strides, self.dilation)
        middle = " ".join("x".join(map(str, pair)) for pair in pairs)
        padding = "same" if self.same else "valid"
        return f"{self.kind} {middle} {padding} {self.inputs}->{self.outputs}"
