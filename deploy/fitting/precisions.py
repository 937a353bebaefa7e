"""Which precisions a fit tries in the given model, and what zeros make smaller."""

from __future__ import annotations

from collections.abc import Sequence

from edgepress.deploy.exporters.table import EXPORTERS

# Those that need no training, the coarsest first.
_TRIED = ("int8", "dynamic", "float16", "float32")


def candidates(format: str, asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Precisions of the given model's files that are measured.

    Args:
        format: The file format.
        asked: Those to choose from; all that need no training by default.
    """
    if asked:
        return tuple(asked)
    exporter = EXPORTERS[format]
    return tuple(name for name in _TRIED if name in exporter.precisions)


def zeros_pay(minimise: str) -> bool:
    """Whether zeros in kernels make an objective smaller: what is compressed for transport does."""
    return minimise == "gzip_bytes"
