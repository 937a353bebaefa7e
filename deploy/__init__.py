"""Turn Keras models into files for devices, verify them, measure them, run the full pipeline.

The names load on first use, so that `from edgepress import deploy` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.kernel.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgepress.benchmarks.results import BenchmarkResult as BenchmarkResult
    from edgepress.benchmarks.results import Measurement as Measurement
    from edgepress.compress.data import Dataset as Dataset
    from edgepress.compress.data import Task as Task
    from edgepress.compress.errors import CheckFailed as CheckFailed
    from edgepress.compress.errors import DeviceError as DeviceError
    from edgepress.compress.errors import EdgepressError as EdgepressError
    from edgepress.compress.errors import InputError as InputError
    from edgepress.compress.errors import Stopped as Stopped
    from edgepress.compress.kernel.artifact import Agreement as Agreement
    from edgepress.compress.kernel.artifact import Artifact as Artifact
    from edgepress.compress.specs.pruning_result import PruneResult as PruneResult
    from edgepress.compress.specs.recipe import DataSpec as DataSpec
    from edgepress.compress.specs.recipe import FinetuneSpec as FinetuneSpec
    from edgepress.compress.specs.recipe import PruneSpec as PruneSpec
    from edgepress.compress.specs.recipe import TrainSpec as TrainSpec
    from edgepress.deploy.benchmarking.benchmark import benchmark as benchmark
    from edgepress.deploy.exporting.export import export as export
    from edgepress.deploy.exporting.result import ExportResult as ExportResult
    from edgepress.deploy.fitting.fit import fit as fit
    from edgepress.deploy.fitting.outcome import FitResult as FitResult
    from edgepress.deploy.fitting.spec import FitRecipe as FitRecipe
    from edgepress.deploy.fitting.spec import FitSpec as FitSpec
    from edgepress.deploy.pipeline.pipeline import RunResult as RunResult
    from edgepress.deploy.pipeline.pipeline import run as run
    from edgepress.deploy.pruning import prune as prune
    from edgepress.deploy.recipe import AcceptSpec as AcceptSpec
    from edgepress.deploy.recipe import BenchmarkSpec as BenchmarkSpec
    from edgepress.deploy.recipe import ExportSpec as ExportSpec
    from edgepress.deploy.recipe import Recipe as Recipe
    from edgepress.deploy.searching.running.worker import search_worker as search_worker
    from edgepress.deploy.searching.search import SearchResult as SearchResult
    from edgepress.deploy.searching.search import search as search
    from edgepress.deploy.sources.inspection import inspect as inspect
    from edgepress.deploy.verification.in_runtimes import RuntimeAgreement as RuntimeAgreement
    from edgepress.deploy.verification.in_runtimes import verify_in_runtimes as verify_in_runtimes
    from edgepress.deploy.verification.verifying import verify as verify

__getattr__, __dir__, __all__ = lazy_names(__name__)
