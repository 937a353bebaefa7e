"""An exported file and what is known about it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepress.compress.kernel.figures import OutputMetric


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an artifact.

    Attributes:
        name: The name by which the runtime knows it.
        shape: Sizes; None where free.
        dtype: NumPy name of the element type.
        scale: Quantisation scale, or None for float tensors.
        zero_point: Quantisation zero point, or None.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class OutputAgreement:
    """How one output of an artifact compares with the source's.

    Attributes:
        name: The output.
        passed: Whether its error, and that of each of its slices, is within the tolerance.
        slices: Slices that failed, such as "channels 4-6"; empty where the whole output failed.
        bounded: What the error is: "noise" or "largest difference".
        error: The worst error of the output and of the slices that are judged on their own.
        tolerance: Bound on the error.
        agreement: Share of decisions, or of values, in which the file agrees.
        definition: What counts as agreeing.
    """

    name: str
    passed: bool
    slices: tuple[str, ...]
    bounded: str
    error: float
    tolerance: float
    agreement: float
    definition: str


@dataclass(frozen=True)
class ClassAgreement:
    """How one class fares: of those that fail, else of all, the one that lost most.

    Attributes:
        output: The output that decides it.
        name: The class's name, else its number.
        samples: Samples of the class (of dense outputs: places).
        source_recall: Share of them that the source has right.
        recall: Share of them that the file has right.
        drop: How far the recall falls.
        low: Lower end of the fall, with 95 % confidence for all classes at once.
        high: Upper end.
        passed: Whether rounding explains the fall.
    """

    output: str
    name: str
    samples: int
    source_recall: float
    recall: float
    drop: float
    low: float
    high: float
    passed: bool


@dataclass(frozen=True)
class ClassDecisions:
    """Which class each sample is taken for, by a source and by a file.

    Attributes:
        output: The output that decides.
        names: The classes.
        source: (classes, classes) how many samples of a true class, by row, the source takes for
            which class, by column.
        file: The same of the file.
        changed: Sample, true class, the source's decision and the file's, of the first samples that
            the two decide differently; samples and classes count from 0.
    """

    output: str
    names: tuple[str, ...]
    source: tuple[tuple[int, ...], ...]
    file: tuple[tuple[int, ...], ...]
    changed: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ClassDecisions:
        """The inverse of `dataclasses.asdict`, after JSON."""
        tables = {k: tuple(map(tuple, value[k])) for k in ("source", "file", "changed")}
        return cls(value["output"], tuple(value["names"]), **tables)


@dataclass(frozen=True)
class Agreement:
    """How an artifact compares with its Keras source on the same samples.

    Attributes:
        passed: Whether every bound held.
        max_abs_error: Largest absolute difference over all outputs.
        mean_abs_error: Mean absolute difference over all outputs.
        agreement: Of the output that agrees least, the share of decisions that are the same (top
            class, label; of dense outputs pixel by pixel), or of values within a stated tolerance;
            `outputs` say which.
        tolerance: Bound on `max_abs_error` relative to the source's largest output, wider than the
            precision's own where rounding carries further in the source; or bound on the noise.
        samples: Number of samples compared.
        metric: The task's metric, or None without data.
        split: The data split that the metric was measured on, or None.
        value: The artifact's metric, or None.
        source_value: The source's metric on the same samples, or None.
        reason: Why it failed, empty when it passed.
        metrics: The metrics of the artifact and of the source by output; `value` and
            `source_value` are their headline.
        outputs: Each output by itself.
        worst_class: The class that lost most, where outputs decide classes and data says which.
        decisions: Of each output that decides between a few classes, which class samples were
            taken for.
        doubts: What the samples don't show, one line each.
    """

    passed: bool
    max_abs_error: float
    mean_abs_error: float
    agreement: float
    tolerance: float
    samples: int
    metric: str | None = None
    split: str | None = None
    value: float | None = None
    source_value: float | None = None
    reason: str = ""
    metrics: tuple[OutputMetric, ...] = ()
    outputs: tuple[OutputAgreement, ...] = ()
    worst_class: ClassAgreement | None = None
    decisions: tuple[ClassDecisions, ...] = ()
    doubts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Agreement:
        """The inverse of `to_json`; files of before have no outputs and no worst class."""
        outputs = (
            OutputAgreement(**{**row, "slices": tuple(row["slices"])})
            for row in value.get("outputs", ())
        )
        worst = value.get("worst_class")
        return cls(
            **{
                **value,
                "metrics": tuple(OutputMetric(**row) for row in value.get("metrics", ())),
                "outputs": tuple(outputs),
                "worst_class": ClassAgreement(**worst) if worst else None,
                "decisions": tuple(map(ClassDecisions.from_json, value.get("decisions", ()))),
                "doubts": tuple(value.get("doubts", ())),
            }
        )


@dataclass(frozen=True)
class Artifact:
    """An exported model file.

    Attributes:
        path: The file.
        format: "tflite", "onnx", "c" or "c-standalone".
        quantize: "float32", "float16", "dynamic", "int8", …
        bytes: Size of the file; of C sources what they put into flash as data.
        gzip_bytes: Size after gzip at level 9.
        zstd_bytes: Size after Zstandard at level 12, or None in accounts that don't know it.
        sha256: Hash of the file.
        inputs: Input tensors.
        outputs: Output tensors.
        source: Fingerprint of the Keras model it was made from.
        versions: Versions of the packages that made it.
        verified: How it compares with its source, or None when that wasn't checked.
        layers: The precision of layers that were asked for by name.
        arena_bytes: The arena that C sources give TensorFlow Lite Micro, or compute in; None of
            other files.
    """

    path: Path
    format: str
    quantize: str
    bytes: int
    gzip_bytes: int
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str
    versions: dict[str, str]
    verified: Agreement | None = None
    zstd_bytes: int | None = None
    layers: dict[str, str] = field(default_factory=dict)
    arena_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name, the path as text."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Artifact:
        """The inverse of `to_json`."""

        def specs(items: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
            return tuple(TensorSpec(**{**i, "shape": tuple(i["shape"])}) for i in items)

        verified = value.get("verified")
        return cls(
            **{
                **value,
                "path": Path(value["path"]),
                "inputs": specs(value["inputs"]),
                "outputs": specs(value["outputs"]),
                "verified": Agreement.from_json(verified) if verified else None,
            }
        )
