"""The measuring instrument: samples, statistics, reports.

It knows artifacts and the protocol of a device, and imports no framework. The names load on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepress.compress.kernel.lazy_names import lazy_names

if TYPE_CHECKING:
    from edgepress.benchmarks.measuring import measure as measure
    from edgepress.benchmarks.results import BenchmarkResult as BenchmarkResult
    from edgepress.benchmarks.results import Measurement as Measurement
    from edgepress.benchmarks.runtimes.runtime import Runtime as Runtime
    from edgepress.benchmarks.target import Target as Target
    from edgepress.benchmarks.tflite.arena import plan_arena as plan_arena
    from edgepress.compress.errors import CheckFailed as CheckFailed
    from edgepress.compress.errors import DeviceError as DeviceError
    from edgepress.compress.errors import EdgepressError as EdgepressError
    from edgepress.compress.errors import InputError as InputError
    from edgepress.compress.errors import Stopped as Stopped
    from edgepress.compress.kernel.artifact import Artifact as Artifact

__getattr__, __dir__, __all__ = lazy_names(__name__)
