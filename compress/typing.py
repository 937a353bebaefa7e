"""What people may hand to `prune`, `finetune` and their like; for annotations only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgepress.compress.data.opening import DataLike as DataLike
    from edgepress.compress.keras_types import ModelLike as ModelLike
