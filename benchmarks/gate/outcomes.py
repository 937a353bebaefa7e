"""What a file made of each sample, small enough to be kept with its figures.

A metric alone can't tell a lost per cent from luck; the same samples before and after can. Samples
are known by hashes of their content and stand in the order of these, so that a data set that
shuffles is paired like any other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.gate.resampling import drawn_counts

Floats = NDArray[np.float64]
Statistic = Literal["mean", "root", "explained", "decibels"]


@dataclass(frozen=True)
class Outcomes:
    """One metric of one output, sample by sample.

    The metric is `statistic` of the sum of `parts` over that of `weights`.

    Attributes:
        metric: Its name.
        higher_is_better: Its direction.
        parts: (samples,) what each sample adds: 1 for a right decision, a share of right ones, a
            mean error, an intersection.
        weights: (samples,) what each sample is counted with, as its union; None where all count 1.
        statistic: From that mean to the metric: itself, its root, the share of `scale` that it
            leaves explained, or `scale` over it in decibels.
        scale: The targets' variance or squared range; 1 where the statistic takes none.
        output: The model's output; empty for the metric over all of them.
        samples_hash: Of all samples, inputs and targets; empty where unknown.
    """

    metric: str
    higher_is_better: bool
    parts: Floats
    weights: Floats | None = None
    statistic: Statistic = "mean"
    scale: float = 1.0
    output: str = ""
    samples_hash: str = ""

    @property
    def n(self) -> int:
        """How many samples there are."""
        return len(self.parts)

    @property
    def decisions(self) -> bool:
        """Whether every sample is one decision, right or wrong."""
        plain = self.weights is None and self.statistic == "mean"
        return self.higher_is_better and plain and bool(np.isin(self.parts, (0.0, 1.0)).all())

    @property
    def value(self) -> float:
        """The metric over all samples."""
        return float(self.over(np.ones((1, self.n)))[0])

    def over(self, counts: Floats) -> Floats:
        """The metric where each sample appears some number of times.

        Args:
            counts: (draws, samples) how often.

        Returns:
            (draws,) values.
        """
        weights = np.ones(self.n) if self.weights is None else self.weights
        below = counts @ weights
        empty = 1.0 if self.weights is not None else np.nan  # no pixel in either: all is right
        mean = np.divide(
            counts @ self.parts, below, out=np.full(len(counts), empty), where=below > 0
        )
        if self.statistic == "root":
            return np.sqrt(mean)
        if self.statistic == "explained":
            return 1 - mean / self.scale
        if self.statistic == "decibels":
            return 10 * np.log10(self.scale / np.maximum(mean, self.scale * 1e-10))
        return mean

    def resampled(self, draws: int) -> Floats:
        """(draws,) the metric over bootstrap draws of the samples."""
        return np.concatenate([self.over(c) for c in drawn_counts(self.n, draws)])

    def to_json(self) -> dict[str, Any]:
        """The fields by name, samples packed: one bit a decision, 4 bytes an error."""
        common = _common(self)
        if self.decisions:
            bits = np.packbits(self.parts > 0.5)
            return {**common, "kind": "decisions", "parts": _packed(bits)}
        weights = None if self.weights is None else _packed(self.weights.astype("<f4"))
        return {
            **common,
            "kind": "values",
            "parts": _packed(self.parts.astype("<f4")),
            "weights": weights,
            "statistic": self.statistic,
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Outcomes | None:
        """The inverse of `to_json`; None where the samples aren't there or give another value."""
        try:
            n, weights = int(document["samples"]), None
            if document["kind"] == "decisions":
                bits = np.frombuffer(_unpacked(document["parts"]), np.uint8)
                parts = np.unpackbits(bits, count=n).astype(float)
            else:
                parts = np.frombuffer(_unpacked(document["parts"]), "<f4").astype(float)
                if document.get("weights"):
                    weights = np.frombuffer(_unpacked(document["weights"]), "<f4").astype(float)
            found = cls(
                str(document["metric"]),
                bool(document["higher_is_better"]),
                parts,
                weights,
                document.get("statistic", "mean"),
                float(document.get("scale", 1.0)),
                str(document.get("output") or ""),
                str(document.get("samples_hash") or ""),
            )
            whole = found.n == n and (weights is None or len(weights) == n)
            return found if whole and close(found.value, float(document["value"])) else None
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error):
            return None


@dataclass(frozen=True)
class Resampled:
    """A metric that is no mean over samples, over bootstrap draws of them.

    Attributes:
        metric: Its name.
        higher_is_better: Its direction.
        value: The metric over all samples.
        draws: (draws,) the metric over each of `resampling.drawn_indices`.
        n: Samples.
        output: The model's output; empty for the metric over all of them.
        samples_hash: As of `Outcomes`.
    """

    metric: str
    higher_is_better: bool
    value: float
    draws: Floats
    n: int
    output: str = ""
    samples_hash: str = ""
    decisions: ClassVar[bool] = False

    def resampled(self, draws: int) -> Floats:
        """(draws or fewer,) the metric over bootstrap draws of the samples."""
        return self.draws[:draws]

    def to_json(self) -> dict[str, Any]:
        """The fields by name, draws packed."""
        return {**_common(self), "kind": "draws", "parts": _packed(self.draws.astype("<f4"))}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Resampled | None:
        """The inverse of `to_json`; None where it isn't one."""
        try:
            return cls(
                str(document["metric"]),
                bool(document["higher_is_better"]),
                float(document["value"]),
                np.frombuffer(_unpacked(document["parts"]), "<f4").astype(float),
                int(document["samples"]),
                str(document.get("output") or ""),
                str(document.get("samples_hash") or ""),
            )
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error):
            return None


Result = Outcomes | Resampled


def _common(result: Result) -> dict[str, Any]:
    """The fields that every result has, by name."""
    return {
        "output": result.output,
        "metric": result.metric,
        "higher_is_better": result.higher_is_better,
        "value": result.value,
        "samples": result.n,
        "samples_hash": result.samples_hash,
    }


def read_result(document: Mapping[str, Any]) -> Result | None:
    """What `to_json` of either gave."""
    kind = Resampled if document.get("kind") == "draws" else Outcomes
    return kind.from_json(document)


def close(a: float, b: float) -> bool:
    """Whether two figures are one, but for rounding to 32 bits."""
    return bool(np.isclose(a, b, rtol=1e-4, atol=1e-7))


def _packed(array: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


class SampleHashes:
    """Hashes of samples, gathered batch by batch."""

    def __init__(self) -> None:
        self._found: list[bytes] = []

    def add(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Take in a batch: arrays (samples, …) of its inputs and targets, in a fixed order."""
        rows = [np.ascontiguousarray(a) for a in arrays]
        for i in range(len(rows[0])):
            digest = hashlib.blake2b(digest_size=8)
            for array in rows:
                digest.update(array[i].tobytes())
            self._found.append(digest.digest())

    def order(self) -> NDArray[np.int64]:
        """(samples,) the samples' places in the order of their hashes."""
        return np.array(sorted(range(len(self._found)), key=self._found.__getitem__), np.int64)

    def hexdigest(self) -> str:
        """Hash of all samples, whatever their order."""
        return hashlib.blake2b(b"".join(sorted(self._found)), digest_size=8).hexdigest()
