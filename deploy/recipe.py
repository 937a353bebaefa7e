"""The recipe: one file that describes the full pipeline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, overload

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from edgepress.compress.errors import InputError
from edgepress.compress.specs.construction import explain, hint
from edgepress.compress.specs.notation import parse_share, parse_size
from edgepress.compress.specs.recipe import DataSpec, FinetuneSpec, PruneSpec, Spec
from edgepress.deploy.quantize.precision import Method


def parse_list(value: Any) -> Any:
    """Read `tflite,onnx` as a list; texts inside a list may hold commas too."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(t, str) for t in texts):
        return value
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def parse_batch(value: Any) -> Any:
    """Read a number as one; `auto` and `dynamic` stay text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def parse_counts(value: Any) -> Any:
    """Read `1,2` or a number as numbers, nothing as none."""
    if value is None:
        return ()
    if isinstance(value, int):
        return (value,)
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def parse_cores(value: Any) -> Any:
    """Read `0,2-3` as the cores 0, 2 and 3."""
    if not isinstance(value, str):
        return parse_counts(value)
    found: list[Any] = []
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", part)
        rising = match and int(match[1]) <= int(match[2])
        found += range(int(match[1]), int(match[2]) + 1) if match and rising else [part.strip()]
    return tuple(found)


Sizes = Annotated[tuple[int, ...], BeforeValidator(parse_size)]
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(parse_counts)]
Cores = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(parse_cores)]
List = Annotated[tuple[str, ...], BeforeValidator(parse_list), Field(min_length=1)]


class ExportSpec(Spec):
    """Which files are written.

    Attributes:
        formats: File formats.
        quantize: Precisions of the files.
        io: Type of an int8 file's inputs and outputs.
        graph_batch: Batch size of the files: dynamic, a number, or auto (free unless that costs
            operators in a TFLite graph, then 1).
        opset: Opset of ONNX files, 13 to 18.
        nchw: Give ONNX files image inputs with channels first.
        calibration_samples: Samples for the int8 calibration; with fewer than 200, ranges are too
            narrow.
        calibration_method: How int8 ranges are derived from the samples; auto uses the best one; by
            default percentile in TFLite, min-max in ONNX.
        equalize: Try cross-layer equalisation before int8, and keep it if it helps on calibration
            samples; by default in small depthwise networks.
        bias_correction: Try bias correction before int8, and keep it if it helps; by default in
            small depthwise networks.
        sparse_encoding: Store float32 and float16 TFLite files without their zeros: on, off, or
            auto (if the file becomes smaller, runs and is not slower).
        select_ops: Allow TensorFlow's own kernels (select TF ops) in TFLite files.
        shapes: Sizes of inputs with free dimensions, as NAME=24x36, without the batch.
        qat_epochs: Epochs of quantisation-aware training before the int8 files of tflite and c.
        int8_max_drop: Largest fall of the metric from the model to its int8 TFLite file; the layers
            that lose most stay in floating point until it holds.
        verify_samples: Samples on which each file is compared; by default the whole test split.
    """

    formats: List = ("tflite", "onnx")
    quantize: List = ("float32", "int8")
    io: Literal["float", "int8", "uint8"] = "float"
    graph_batch: Annotated[
        Annotated[int, Field(ge=1)] | Literal["auto", "dynamic"], BeforeValidator(parse_batch)
    ] = "auto"
    opset: int = Field(18, ge=13, le=18)
    nchw: bool = False
    calibration_samples: int = Field(256, ge=1)
    calibration_method: Method | None = None
    equalize: bool | None = None
    bias_correction: bool | None = None
    sparse_encoding: Literal["auto", "on", "off"] = "auto"
    select_ops: bool = False
    shapes: dict[str, Sizes] = Field(default_factory=dict)
    qat_epochs: int = Field(0, ge=0)
    int8_max_drop: float | None = Field(None, ge=0)
    verify_samples: int | None = Field(None, ge=1)


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

    devices: List = ("local",)
    runs: int = Field(200, ge=1)
    threads: Counts = Field((1,), min_length=1)
    batch: Counts = ()
    xnnpack: bool = True
    delegates: tuple[str, ...] = ()
    providers: Annotated[tuple[str, ...], BeforeValidator(parse_list)] = ()
    cpus: Cores = ()
    bootstrap: str | None = None
    precision: Annotated[float, BeforeValidator(parse_share)] | None = Field(None, gt=0, lt=1)
    max_seconds: float = Field(120.0, gt=0)
    launches: int = Field(5, ge=1)
    timeout: float = Field(300.0, gt=0)
    profile: bool = False


class AcceptSpec(Spec):
    """What the result must keep.

    Attributes:
        max_drop: Largest fall of the metric from the given model to any exported file: points of
            a score as a share of 1, or the share by which an error grows.
    """

    max_drop: float | None = Field(None, ge=0)


def _as_steps(value: Any) -> Any:
    return [value] if isinstance(value, dict | PruneSpec) else value


class Recipe(Spec):
    """The full pipeline.

    Attributes:
        model: The model, as the command line takes it.
        data: The data.
        finetune: Fine-tuning before pruning, or None.
        prune: Pruning steps in order.
        export: Files to write.
        benchmark: What is measured.
        accept: What the result must keep.
        seed: Seed of every random choice.
        custom_objects: Python file with the user's layers.
        unsafe_lambda: Whether Lambda layers may run their Python code.
    """

    model: str
    data: DataSpec
    finetune: FinetuneSpec | None = None
    prune: Annotated[tuple[PruneSpec, ...], BeforeValidator(_as_steps)] = ()
    export: ExportSpec = ExportSpec()
    benchmark: BenchmarkSpec = BenchmarkSpec()
    accept: AcceptSpec = AcceptSpec()
    seed: int = Field(0, ge=0)
    custom_objects: str | None = None
    unsafe_lambda: bool = False


R = TypeVar("R", bound=Recipe)


@overload
def read_recipe(path: Path) -> Recipe: ...
@overload
def read_recipe(path: Path, kind: type[R]) -> R: ...
def read_recipe(path: Path, kind: type[Recipe] = Recipe) -> Recipe:
    """Read a recipe; errors name its lines.

    Args:
        path: A YAML file. Paths in it are relative to the working directory.
        kind: What the file holds: a recipe, or one with more to it.

    Raises:
        InputError: The file is missing, isn't YAML, or holds something unknown or impossible.
    """
    try:
        text = path.read_text("utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except FileNotFoundError:
        raise InputError(f"recipe '{path}' does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"recipe '{path}' is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"recipe '{path}' is not a mapping", "it begins with model: and data:")
    try:
        return kind(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        line = line_of(tree, problem["loc"])
        raise InputError(f"{path}:{line}: {explain(problem)}", hint(problem, kind)) from None


def line_of(node: yaml.Node | None, place: tuple[Any, ...]) -> int:
    """Line number, from 1, of the entry that a place in the values stands for."""
    line = 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(step)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def check_writable(recipe: Recipe) -> None:
    """Refuse, before any work, a recipe that its own file couldn't say again.

    Raises:
        InputError: The data is a value in memory, which `--resume` could not find.
    """
    if not isinstance(recipe.data.spec, str):
        kind = type(recipe.data.spec).__name__
        raise InputError(
            f"a run's data must be found again when it is resumed, and a {kind} in memory can't be",
            "save it with numpy.savez and name the file, or give file.py:function",
        )


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe with every default filled in."""
    values = recipe.model_dump(mode="json")
    path.write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
