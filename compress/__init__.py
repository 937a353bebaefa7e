"""Make Keras models smaller: load, inspect, fine-tune, prune, strip.

The names load on first use, so that `from edgepress import compress` costs
nothing. One thing happens at import: on x86, unless it is set already, the environment variable
`TF_ENABLE_ONEDNN_OPTS` is set to 1 (`kernel/onednn.py` says why), which TensorFlow reads when it is
imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.kernel.lazy_names import lazy_names
from edgepress.compress.kernel.onednn import prefer_onednn

prefer_onednn()

if TYPE_CHECKING:
    from edgepress.compress.data import Dataset as Dataset
    from edgepress.compress.data import Task as Task
    from edgepress.compress.data import open_data as open_data
    from edgepress.compress.errors import CheckFailed as CheckFailed
    from edgepress.compress.errors import DeviceError as DeviceError
    from edgepress.compress.errors import EdgepressError as EdgepressError
    from edgepress.compress.errors import InputError as InputError
    from edgepress.compress.errors import Stopped as Stopped
    from edgepress.compress.inspection import inspect as inspect
    from edgepress.compress.kernel.artifact import Agreement as Agreement
    from edgepress.compress.kernel.artifact import Artifact as Artifact
    from edgepress.compress.models import load as load
    from edgepress.compress.models import save as save
    from edgepress.compress.pruning import prune as prune
    from edgepress.compress.specs.pruning_result import PruneResult as PruneResult
    from edgepress.compress.specs.recipe import DataSpec as DataSpec
    from edgepress.compress.specs.recipe import FinetuneSpec as FinetuneSpec
    from edgepress.compress.specs.recipe import PruneSpec as PruneSpec
    from edgepress.compress.specs.recipe import TrainSpec as TrainSpec
    from edgepress.compress.stripping import strip as strip
    from edgepress.compress.structure.sensitivity import sensitivity as sensitivity
    from edgepress.compress.training import FinetuneResult as FinetuneResult
    from edgepress.compress.training import History as History
    from edgepress.compress.training import advise as advise
    from edgepress.compress.training import finetune as finetune
    from edgepress.compress.training import lr_find as lr_find
    from edgepress.compress.training import unfreeze_search as unfreeze_search

__getattr__, __dir__, __all__ = lazy_names(__name__)
