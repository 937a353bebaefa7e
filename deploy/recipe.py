"""The recipe: one file that says what the whole line does."""

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
from edgepress.compress.specs.training import Drop
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
        formats: File formats: tflite, onnx, c.
        quantize: Precisions: float32, float16, dynamic, int8, int16x8, int8-weights, int4-weights.
        io: Type of an int8 file's inputs and outputs.
        graph_batch: Batch size of the files: dynamic, a number, or auto (free unless that costs
            operators in a TFLite graph, then 1).
        opset: Of ONNX files, 13 to 18.
        nchw: Whether ONNX files take images channels first.
        calibration_samples: Samples of the representative data set; fewer than 200 clip.
        calibration_method: How int8 ranges are taken from samples; auto takes the best on them; by
            default percentile in TFLite, min-max in ONNX.
        equalize: Whether cross-layer equalisation before int8 is tried, and kept where it helps on
            calibration samples; by default in small depthwise networks.
        bias_correction: Whether bias correction before int8 is tried, and kept where it helps; by
            default in small depthwise networks.
        sparse_encoding: Whether float32 and float16 TFLite files leave zeros out: auto where the
            file is smaller so, runs and isn't slower for it; on; off.
        select_ops: Whether TFLite files may use TensorFlow's own kernels.
        shapes: Sizes of inputs that the model leaves free, as NAME=24x36, without the batch.
        qat_epochs: Epochs of quantisation-aware training before the int8 files of tflite and c.
        int8_max_drop: Largest fall of the metric from the model to its int8 TFLite file; the layers
            that lose most are kept in floats until it holds.
        verify_samples: Samples each file is compared on; all of the report split by default.
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
    int8_max_drop: Drop | None = Field(None, ge=0)
    verify_samples: int | None = Field(None, ge=1)


class BenchmarkSpec(Spec):
    """What is measured and where.

    Attributes:
        devices: Devices: local, or a name or address.
        runs: Timed inferences of each file.
        threads: Threads of the runtime; several, as 1,2, are measured each.
        batch: Samples in one inference; several, as 1,8, are measured each; as in the file by
            default.
        xnnpack: Whether LiteRT applies XNNPACK.
        delegates: LiteRT delegate of the device: library[,key=value…].
        providers: ONNX Runtime's execution providers, the preferred first; the CPU's by default.
        cpus: Cores that inference is bound to, as 0,2-3; all by default.
        bootstrap: Local folder of wheels that boards behind SSH get for the time of the run, in a
            virtual environment.
        precision: Go on beyond the runs until every 95 % interval is narrower than this share of
            its value, as 1% or 0.01.
        max_seconds: Time limit of the timing, for each device.
        launches: Fresh processes over which the runs of each file are spread.
        timeout: Seconds that one request to a device may take.
        profile: Whether the devices also tell the time of each operator.
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

    max_drop: Drop | None = Field(None, ge=0)


def _as_steps(value: Any) -> Any:
    return [value] if isinstance(value, dict | PruneSpec) else value


class Recipe(Spec):
    """The whole line.

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
