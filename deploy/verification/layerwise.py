"""Where an artifact differs from its source: the two compared layer by layer."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.kernel.artifact import TensorSpec
from edgepress.compress.processes.scratch import scratch_folder
from edgepress.compress.training.curves import save_figure
from edgepress.deploy.differences.difference import noise
from edgepress.deploy.lowerings.float_types import in_single_precision
from edgepress.deploy.quantize.precision import PRECISIONS, Precision
from edgepress.deploy.sources.keras_outputs import run_source
from edgepress.deploy.sources.model_files import open_file
from edgepress.deploy.sources.sample_inputs import plausible_inputs
from edgepress.deploy.verification.intermediate_outputs import expose
from edgepress.deploy.verification.tensor_matching import pair_inputs
from edgepress.deploy.verification.verifying import shapes_of

if TYPE_CHECKING:
    import keras

    from edgepress.compress.keras_types import ModelLike
    from edgepress.compress.typing import DataLike
    from edgepress.deploy.sources.source import Source

Array = NDArray[Any]
MOST_DB = 160.0
_SATURATED = 0.01
_OUTLIER = 16.0
# Layers that converters merge with the one before; others (a pooling) may hide its error.
_FOLDED_INTO = frozenset(
    {"Activation", "Add", "BatchNormalization", "Dropout", "LeakyReLU", "ReLU", "Rescaling"}
)
_AGREES_DB = 20.0
_ALIKE_DB = 6.0
_SAME_DB = 3.0


@dataclass(frozen=True)
class LayerError:
    """How one layer's output differs.

    Attributes:
        layer: The Keras layer.
        type: Its class.
        tensor: The artifact's tensor.
        sqnr_db: How far the source's values spread over the difference, in decibels: the noise of
            a verdict, as a ratio the other way round.
        max_abs_error: Largest difference.
        cause: What explains a low ratio, as far as the values tell; else empty.
    """

    layer: str
    type: str
    tensor: str
    sqnr_db: float
    max_abs_error: float
    cause: str


@dataclass(frozen=True)
class LayerReport:
    """All layers that both sides have, in the order of the model.

    Attributes:
        layers: The layers.
        threshold_db: Ratio below which a layer differs from its source: the bound on the noise
            that `verify` has for the file's precision.
        fused: Layers whose output the artifact doesn't hold: folded into a neighbour.
        samples: Samples compared.
    """

    layers: tuple[LayerError, ...]
    threshold_db: float
    fused: tuple[str, ...]
    samples: int

    @property
    def first(self) -> LayerError | None:
        """The first layer that differs."""
        return next((x for x in self.layers if x.sqnr_db < self.threshold_db), None)

    @property
    def worst(self) -> LayerError | None:
        """The layer with the lowest ratio."""
        return min(self.layers, key=lambda x: x.sqnr_db, default=None)

    def to_json(self) -> dict[str, Any]:
        """The fields and the names of the first and the worst layer."""
        return {
            **dataclasses.asdict(self),
            "first": self.first.layer if self.first else None,
            "worst": self.worst.layer if self.worst else None,
        }


def compare_layers(
    model: Source | ModelLike,
    artifact: Path | str,
    data: DataLike | None = None,
    *,
    precision: str | None = None,
    samples: int = 32,
    seed: int = 0,
) -> LayerReport:
    """Compare the outputs of a model's layers with the tensors of an artifact.

    Args:
        model: The Keras model.
        artifact: A `.tflite` or `.onnx` file.
        data: Data to compare on; random inputs in a plausible range without it.
        precision: How the file stores numbers; read from the file by default.
        samples: How many are compared.
        seed: Draws them.

    Returns:
        The error of every layer that both sides have.

    Raises:
        InputError: The file's inputs aren't those of the model.
        DeviceError: The runtime refuses the file or crashes.
    """
    model, path = in_single_precision(model), Path(artifact)
    chosen = PRECISIONS[precision or open_file(path).precision]
    with scratch_folder() as folder:
        shown = expose(path, folder / f"shown{path.suffix}")
        with Runtime(shown) as runtime:
            inputs, specs = runtime.tensors()
            given = _samples(model, data, samples, seed, inputs)
            tensors = runtime.predict(pair_inputs(model, inputs).apply(given))
            raw = runtime.predict(pair_inputs(model, inputs).apply(given), real=False)
    outputs = list(_layer_outputs(model, given))
    found = _paired(outputs, tensors, {s.name for s in specs if s.scale is not None})
    by_name = {spec.name: spec for spec in specs}
    rows = tuple(
        _error(layer, name, want, tensors[name], raw[name], by_name[name])
        for layer, want in outputs
        if (name := found.get(layer.name)) is not None
    )
    fused = tuple(layer.name for layer, _ in outputs if layer.name not in found)
    return LayerReport(rows, threshold_db(chosen), fused, samples)


def threshold_db(precision: Precision) -> float:
    """The bound that `verify` has for a precision, in decibels.

    >>> threshold_db(PRECISIONS["int8"]) == -20 * math.log10(PRECISIONS["int8"].tolerance)
    True
    """
    return -20 * math.log10(precision.tolerance)


def _samples(
    model: keras.Model, data: DataLike | None, samples: int, seed: int, inputs: Sequence[TensorSpec]
) -> dict[str, Array]:
    from edgepress.compress.data import open_data

    if data is None:
        return plausible_inputs(model, samples, seed, shapes_of(model, inputs))
    return open_data(data, model, seed).report_split.sample(samples, seed)[0]


def _layer_outputs(
    model: keras.Model, given: Mapping[str, Array]
) -> Iterator[tuple[keras.Layer, Array]]:
    """Layers with one floating-point output and that output, in the order of the model."""
    import keras

    found = []
    for layer in model.layers:
        nodes = getattr(layer, "_inbound_nodes", ())
        if isinstance(layer, keras.layers.InputLayer) or not nodes:
            continue
        outputs = nodes[-1].output_tensors
        if len(outputs) == 1 and str(outputs[0].dtype).startswith("float"):
            found.append((layer, outputs[0]))
    whole = keras.Model(model.inputs, [tensor for _, tensor in found])
    results = run_source(whole, iter([dict(given)]))
    yield from zip((layer for layer, _ in found), results, strict=True)


def _paired(
    outputs: Sequence[tuple[Any, Array]], tensors: Mapping[str, Array], quantised: Collection[str]
) -> dict[str, str]:
    """The artifact's tensor for each layer; layers that were fused away are absent.

    A tensor with the layer's values is the layer's. Where none agrees and what reads the layer
    doesn't agree either, it is the one that bears the layer's name: converters name a tensor after
    all operations that they fused into it.
    """
    agreeing: dict[str, tuple[float, str]] = {}
    doubtful: dict[str, tuple[float, str]] = {}
    for layer, want in outputs:
        fitting = {n: _aligned(t, want) for n, t in tensors.items()}
        # Of a quantised tensor and its real numbers, the first tells more.
        ratios = {n: (round(_sqnr(want, a), 1), n in quantised) for n, a in fitting.items()
                  if a is not None}  # fmt: skip
        best = max(ratios, key=lambda n: ratios[n], default=None)
        if best is not None and ratios[best][0] >= _AGREES_DB:
            agreeing[layer.name] = (ratios[best][0], best)
            continue
        named = {n: r for n, (r, _) in ratios.items() if _bears(n, layer.name) or r >= _ALIKE_DB}
        if named:
            name = max(named, key=lambda n: named[n])
            doubtful[layer.name] = (named[name], name)
    found = _held(agreeing)
    return {**found, **_claimed(doubtful, _sound(outputs, found), set(found.values()))}


def _held(agreeing: Mapping[str, tuple[float, str]]) -> dict[str, str]:
    """Without the layers that merely resemble the tensor of another one: those were fused away."""
    best: dict[str, float] = {}
    for ratio, name in agreeing.values():
        best[name] = max(ratio, best.get(name, ratio))
    return {
        layer: name for layer, (ratio, name) in agreeing.items() if ratio >= best[name] - _SAME_DB
    }


def _sound(outputs: Sequence[tuple[Any, Array]], found: Collection[str]) -> set[str]:
    """Layers that agree, or that converters fold into layers that are sound."""
    sound: set[str] = set()
    for layer, _ in reversed(outputs):
        readers = [node.operation for node in layer._outbound_nodes]
        folded = readers and all(
            r.name in sound and type(r).__name__ in _FOLDED_INTO for r in readers
        )
        if layer.name in found or folded:
            sound.add(layer.name)
    return sound


def _claimed(
    doubtful: Mapping[str, tuple[float, str]], sound: Collection[str], taken: Collection[str]
) -> dict[str, str]:
    """Each doubtful tensor for the one layer that it fits best."""
    best: dict[str, tuple[float, str]] = {}
    for layer, (ratio, name) in doubtful.items():
        if layer not in sound and name not in taken:
            best[name] = max(best.get(name, (-math.inf, "")), (ratio, layer))
    return {layer: name for name, (_, layer) in best.items()}


def _bears(tensor: str, layer: str) -> bool:
    """Whether a tensor's last operation is in a layer, as far as its name tells."""
    last = tensor.split(";")[0]
    return re.search(rf"(?:^|/){re.escape(layer)}(?:_\d+)?/", last) is not None


def _aligned(got: Array, want: Array) -> Array | None:
    """An artifact's tensor in the layer's shape, or None if it can't be that.

    Of the layouts that fit (channels last or first), the one that agrees better.
    """
    if got.size != want.size:
        return None
    sizes = [s for s in want.shape if s != 1]
    layouts = [got, np.moveaxis(got, 1, -1)] if got.ndim > 2 else [got]
    fitting = [a.reshape(want.shape) for a in layouts if [s for s in a.shape if s != 1] == sizes]
    return max(fitting, key=lambda a: _sqnr(want, a), default=None)


def _sqnr(want: Array, got: Array) -> float:
    signal = float(np.mean(np.square(want.astype(np.float64))))
    noise = float(np.mean(np.square(got.astype(np.float64) - want)))
    if not np.isfinite(noise):
        return -MOST_DB
    if noise <= 0 or signal <= 0:
        return MOST_DB if noise <= 0 else -MOST_DB
    return float(np.clip(10 * math.log10(signal / noise), -MOST_DB, MOST_DB))


def _ratio(noise: float) -> float:
    """Noise in decibels below the signal."""
    return float(np.clip(-20 * math.log10(max(noise, 1e-12)), -MOST_DB, MOST_DB))


def _error(
    layer: Any, name: str, want: Array, got: Array, raw: Array, spec: TensorSpec
) -> LayerError:
    aligned = _aligned(got, want)
    assert aligned is not None
    difference = np.abs(aligned.astype(np.float64) - want)
    largest = float(difference.max(initial=0))
    return LayerError(
        layer=layer.name,
        type=type(layer).__name__,
        tensor=name,
        sqnr_db=_ratio(noise(difference, want)),
        max_abs_error=largest if math.isfinite(largest) else float(np.finfo(np.float32).max),
        cause=_cause(want, aligned, raw, spec),
    )


def _cause(want: Array, got: Array, raw: Array, spec: TensorSpec) -> str:
    """What the values say of why a tensor is noisy."""
    if not np.isfinite(got).all():
        return "values that are NaN or infinite"
    if spec.scale is None:
        return ""
    limits = np.iinfo(raw.dtype)
    low, high = ((limit - (spec.zero_point or 0)) * spec.scale for limit in
                 (limits.min, limits.max))  # fmt: skip
    beyond = float(((want < low - spec.scale) | (want > high + spec.scale)).mean())
    if beyond > _SATURATED:
        return f"saturated: {beyond:.1%} of the values lie outside {low:.3g} to {high:.3g}"
    if want.ndim > 1:
        ranges = np.abs(want.reshape(-1, want.shape[-1])).max(0)
        typical = float(np.median(ranges))
        if typical > 0 and ranges.max() > _OUTLIER * typical:
            channel = int(ranges.argmax())
            return (
                f"outlier: channel {channel} reaches {ranges.max():.3g}, a typical one"
                f" {typical:.3g}, and all share one scale"
            )
    return ""


def draw_layers(report: LayerReport, path: Path) -> None:
    """Draw the ratio of every layer as a picture.

    Args:
        report: The comparison.
        path: A `.png` or `.svg` file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, max(2.0, 0.28 * len(report.layers) + 1)), layout="constrained")
    axes = figure.add_subplot()
    names = [row.layer for row in report.layers]
    values = [row.sqnr_db for row in report.layers]
    differs = [value < report.threshold_db for value in values]
    axes.barh(names, values, color=["tab:red" if d else "tab:blue" for d in differs])
    axes.axvline(report.threshold_db, color="black", linewidth=1, linestyle="--")
    axes.invert_yaxis()
    axes.set_xlabel("signal to quantisation noise (dB); dashed: the bound")
    save_figure(figure, path)
