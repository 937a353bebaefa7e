"""Shapes written in annotations are checked while these tests run."""

from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook(
    [
        f"edgepress.compress.structure.{name}"
        for name in ("channels.ids", "importance.evidence", "importance.from_weights")
    ],
    "beartype.beartype",
)
