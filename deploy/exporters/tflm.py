"""The child's part of microcontrollers: TFLM's own interpreter, where it is installed."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TOTAL = re.compile(r"Arena allocation (\w+) (\d+) bytes")


def measure_arena(request: Mapping[str, Any]) -> dict[str, Any]:
    """Load a TFLite file in TFLM and read what its allocator recorded.

    TFLM aborts the process when a check of its own fails, hence in a child. The interpreter runs
    on a 64-bit machine, so the part for its structures (`tail`) is an upper bound for a
    microcontroller's 32 bits.

    Args:
        request: `source`, a `.tflite` file.

    Returns:
        `arena_bytes`, `head_bytes` (activations) and `tail_bytes` (structures).

    Raises:
        ValueError: The package isn't installed, or TFLM refuses the file.
    """
    try:
        from tflite_micro import runtime
    except ImportError:
        raise ValueError("the package tflite-micro is not installed") from None
    model = Path(request["source"]).read_bytes()
    # Its default, ten times the model's size, is too small for some and too large for others.
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=64 * len(model) + 8_000_000)
    parts = {kind: int(size) for kind, size in _TOTAL.findall(_allocations(interpreter))}
    return {f"{ours}_bytes": parts[theirs] for ours, theirs in _PARTS.items()}


_PARTS = {"arena": "total", "head": "head", "tail": "tail"}


def _allocations(interpreter: Any) -> str:
    """What the allocator prints, from C, on file descriptor 2."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            interpreter.print_allocations()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return file.read().decode(errors="replace")
