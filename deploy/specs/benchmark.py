"""The options of a benchmark: declared, explained and checked here, for every way of asking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from edgepress.compress.errors import InputError
from edgepress.compress.specs.notation import parse_share
from edgepress.compress.specs.training import Spec
from edgepress.deploy.specs.notation import Cores, Counts, List, PathText, Words

if TYPE_CHECKING:
    from edgepress.benchmarks.target import RunOptions


def _some_runs(value: Any) -> Any:
    if isinstance(value, int) and value < 1:
        raise ValueError("a benchmark needs at least 1 run")
    return value


class BenchmarkSpec(Spec):
    """What is measured and where.

    Attributes:
        devices: Devices to measure on: local, or the name or address of one.
        runs: Timed inferences of each file.
        threads: Threads of the runtime; each of several, as 1,2, is measured.
        batch: Samples per inference; each of several, as 1,8, is measured; by default as in the
            file.
        xnnpack: Let LiteRT use XNNPACK.
        delegates: LiteRT delegate of the device: library[,key=value…].
        providers: Execution providers of ONNX Runtime, the preferred one first; the CPU by default.
        cpus: Cores to run on, as 0,2-3; all by default.
        bootstrap: Local folder of wheels that are installed on SSH boards for the run, in a
            temporary virtual environment.
        precision: Keep measuring after the given runs until every 95 % confidence interval is
            narrower than this share of its value, as 1% or 0.01.
        max_seconds: Time limit of the measurement on each device.
        launches: Fresh processes that the runs of each file are divided among.
        timeout: Seconds that one request to a device may take.
        profile: Also measure the time of each operator.
    """

    flags: ClassVar[Mapping[str, str]] = {
        "devices": "device",
        "delegates": "delegate",
        "providers": "provider",
        "timeout": "device-timeout",
    }

    devices: List = ("local",)
    runs: Annotated[int, BeforeValidator(_some_runs)] = Field(200, ge=1)
    threads: Counts = Field((1,), min_length=1)
    batch: Counts = ()
    xnnpack: bool = True
    delegates: tuple[str, ...] = ()
    providers: Words = ()
    cpus: Cores = ()
    bootstrap: PathText | None = None
    precision: (
        Annotated[float, BeforeValidator(parse_share, json_schema_input_type=float | str)] | None
    ) = Field(None, gt=0, lt=1)
    max_seconds: float = Field(120.0, gt=0)
    launches: int = Field(5, ge=1)
    timeout: float = Field(300.0, gt=0)
    profile: bool = False

    def run_options(self) -> RunOptions:
        """How the files are run, beside threads and batch.

        Raises:
            InputError: A delegate is malformed.
        """
        from edgepress.benchmarks.target import RunOptions

        return RunOptions(
            xnnpack=self.xnnpack,
            delegates=tuple(read_delegate(text) for text in self.delegates),
            providers=self.providers,
            cpus=self.cpus,
            timeout=self.timeout,
        )


def read_delegate(text: str) -> tuple[str, dict[str, str]]:
    """Read `libfoo.so,key=value,…` as a library and its options.

    Raises:
        InputError: An option has no value, or the library has no name.
    """
    library, *words = (word.strip() for word in text.split(","))
    pairs = [word.partition("=") for word in words]
    if not library or not all(key and equals for key, equals, _ in pairs):
        raise InputError(
            f"'{text}' is not a delegate", "the form is /path/to/libfoo.so[,key=value…]"
        )
    return library, {key: value for key, _, value in pairs}
