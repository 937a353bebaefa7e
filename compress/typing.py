"""What people may hand to `prune`, `finetune` and their like; for annotations only."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from edgepress.compress.data import Dataset
    from edgepress.compress.specs.recipe import DataSpec

    # A model in memory, its file or folder, or `file.py:function` that makes it.
    ModelLike = keras.Model | str | PathLike[str]
    # An open data set, how to open one, or arrays.
    DataLike = Dataset | DataSpec | str | PathLike[str] | Mapping[str, Any] | tuple[Any, ...]
