"""A fault in one tensor of a verified file is caught; an unharmed file is not rejected.

What counts as a fault that a precision's bound doesn't allow is measured here by itself, with
scikit-learn, from what the runtimes give: the verdict's own figures are not asked.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from architectures import MODELS
from faults import FAULTS, put_fault
from sklearn.metrics import r2_score, recall_score

from edgepress.benchmarks.runtimes.runtime import Runtime
from edgepress.compress.data import open_data
from edgepress.compress.errors import DeviceError
from edgepress.compress.kernel.artifact import Agreement
from edgepress.deploy.exporting.export import export
from edgepress.deploy.process.worker import Worker
from edgepress.deploy.quantize import PRECISIONS
from edgepress.deploy.sources.keras_outputs import run_source
from edgepress.deploy.sources.sample_inputs import plausible_inputs
from edgepress.deploy.verification.judging import judge
from edgepress.deploy.verification.source_outputs import SourceOutputs, gather
from edgepress.deploy.verification.tensor_matching import pair_inputs, pair_outputs

SAMPLES = 240
FORMATS = ("tflite", "onnx")
FEW = {"grouped": ("float32", "int8")}


@dataclass(frozen=True)
class File:
    """A verified file, and what its source gives with data and without."""

    network: str
    format: str
    precision: str
    path: Path
    sources: dict[str, SourceOutputs]


def labelled(model: keras.Model) -> dict[str, object]:
    """Random inputs and what the model itself decides: the classes where an output has several.

    An untrained network decides most of its samples by a hair: the third that it decides most
    clearly is taken, as a trained network decides most.
    """
    from edgepress.compress.data.tasks import output_names

    inputs = plausible_inputs(model, 3 * SAMPLES, 0)
    found = run_source(model, iter([inputs]))
    clear = np.full(3 * SAMPLES, np.inf)
    for output in found:
        if output.ndim == 2 and output.shape[1] > 1:
            top = np.sort(output, 1)
            margin = (top[:, -1] - top[:, -2]) / output.std()
            clear = np.minimum(clear, margin)
    chosen = np.sort(np.argsort(-clear, kind="stable")[:SAMPLES])
    inputs = {name: values[chosen] for name, values in inputs.items()}
    found = [output[chosen] for output in found]
    targets = [o.argmax(-1) if o.ndim == 2 and o.shape[1] > 1 else o for o in found]
    x = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    y = dict(zip(output_names(model), targets, strict=True)) if len(found) > 1 else targets[0]
    return {"train": (x, y), "test": (x, y)}


def files_of(name: str, precisions: tuple[str, ...], folder: Path, worker: Worker) -> list[File]:
    """All files of one network; none of them may fail its verification."""
    model = MODELS[name]()
    dataset = open_data(labelled(model), model, 0)
    result = export(model, folder / name, FORMATS, precisions, dataset, worker=worker)
    assert not result.failed, (name, result.failed)
    sources = {"data": gather(model, dataset), "random inputs": gather(model, None, SAMPLES)}
    return [File(name, a.format, a.quantize, a.path, sources) for a in result]


def outputs_of(path: Path, source: SourceOutputs) -> list[np.ndarray] | None:
    """What a file gives; None where its runtime refuses the fault by itself."""
    try:
        with Runtime(path) as runtime:
            inputs, specs = runtime.tensors()
            pairing = pair_inputs(source.model, inputs)
            parts = [runtime.predict(pairing.apply(chunk)) for chunk in source.feed()]
    except DeviceError:
        return None
    by_name = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return pair_outputs(source.model, source.outputs, specs, by_name)


def harm(want: list[np.ndarray], have: list[np.ndarray], precision: str, data: bool) -> str:
    """What a fault did beyond what rounding explains, by measures of its own; empty for nothing."""
    bounds = PRECISIONS[precision]
    for w, h in zip(want, have, strict=True):
        if not np.isfinite(h).all():
            return "not a number"
        if bounds.bounded == "largest":
            if np.abs(h - w).max() > 2 * bounds.tolerance * np.abs(w).max():
                return "values that floats don't explain"
            continue
        # A channel of which less is known from the file than from its mean, with an error of at
        # least what the precision explains of the whole output.
        flat_w, flat_h = (a.reshape(-1, a.shape[-1]) for a in (w, h))
        lost = r2_score(flat_w, flat_h, multioutput="raw_values") < 0
        loud = np.sqrt(np.square(flat_w - flat_h).mean(0)) > 2 * bounds.tolerance * w.std()
        level = np.abs(w).max() * 0.05 < w.std()
        if level and (lost & loud).any():
            return "a channel that says nothing"
        if level and r2_score(flat_w.ravel(), flat_h.ravel()) < 1 - (1.5 * bounds.tolerance) ** 2:
            return "an output that is noise"
        if data and w.ndim == 2 and w.shape[1] > 1:
            truth, told = w.argmax(1), h.argmax(1)
            if (truth != told).mean() > 1.5 * bounds.max_drop:
                return "decisions"
            recalls = recall_score(truth, told, average=None, labels=np.unique(truth))
            counts = np.unique(truth, return_counts=True)[1]
            if (1 - recalls[counts >= 40] > 3 * bounds.max_drop).any():
                return "a class"
    return ""


@dataclass(frozen=True)
class Draw:
    """One fault: where it was put, what it did and what the verdict was."""

    file: File
    mode: str
    fault: str
    tensor: str
    harm: str
    verdict: Agreement


def draw(files: list[File], folder: Path, random: np.random.Generator) -> Draw | None:
    """Put a random fault into a random file; None where it can't be put there."""
    file = files[random.integers(len(files))]
    fault = list(FAULTS)[random.integers(len(FAULTS))]
    mode = list(file.sources)[random.integers(2)]
    path = folder / f"fault{file.path.suffix}"
    source = file.sources[mode]
    tensor = put_fault(file.path, path, fault, random)
    got = outputs_of(path, source) if tensor else None
    if got is None:
        return None
    found = harm(source.outputs, got, file.precision, mode == "data")
    return Draw(file, mode, fault, tensor, found, judge(source, got, PRECISIONS[file.precision]))


def table(draws: list[Draw]) -> str:
    """What was put in and caught, and each fault that wasn't."""
    lines = []
    for what in ("fault", "precision", "format", "mode", "harm"):
        counts: Counter[str] = Counter()
        caught: Counter[str] = Counter()
        for d in draws:
            key = getattr(d, what, None) or getattr(d.file, what)
            counts[key] += 1
            caught[key] += not d.verdict.passed
        lines += [f"{what:10} {key:34} {caught[key]:4} of {counts[key]:4}" for key in counts]
    for d in draws:
        if d.verdict.passed:
            rows = ", ".join(f"{r.error:.3g} of {r.tolerance:.3g}" for r in d.verdict.outputs)
            lines.append(
                f"missed: {d.file.network} {d.file.format} {d.file.precision}, {d.mode}: {d.fault}"
                f" in {d.tensor}: {d.harm}; {rows}"
            )
    return "\n".join(lines)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, worker: Worker) -> list[File]:
    folder = tmp_path_factory.mktemp("few")
    return [f for name, some in FEW.items() for f in files_of(name, some, folder, worker)]


def faults(files: list[File], folder: Path, wanted: int, seed: int) -> list[Draw]:
    """So many faults that do harm."""
    random, found = np.random.default_rng(seed), []
    for _ in range(6 * wanted):
        made = draw(files, folder, random)
        if made is not None and made.harm:
            found.append(made)
        if len(found) == wanted:
            break
    return found


def test_faults_are_caught_and_unharmed_files_are_not(few, tmp_path, capsys):
    for file in few:
        for source in file.sources.values():
            verdict = judge(source, outputs_of(file.path, source), PRECISIONS[file.precision])
            assert verdict.passed, (file, verdict.reason)
    draws = faults(few, tmp_path, 12, seed=0)
    assert len(draws) == 12
    assert all(not d.verdict.passed for d in draws), table(draws)
    assert all(re.search(r"\d", d.verdict.reason) for d in draws)


@pytest.mark.slow
def test_two_hundred_faults_over_all_networks_and_precisions(tmp_path, worker, capsys):
    files = [f for name in MODELS for f in files_of(name, tuple(PRECISIONS), tmp_path, worker)]
    rejected = [
        (f.network, f.format, f.precision, mode, verdict.reason)
        for f in files
        for mode, source in f.sources.items()
        if not (
            verdict := judge(source, outputs_of(f.path, source), PRECISIONS[f.precision])
        ).passed
    ]
    draws = faults(files, tmp_path, 200, seed=1)
    with capsys.disabled():
        print(f"\n{len(files)} files of {len(MODELS)} networks; rejected unharmed: {rejected}")
        print(table(draws))
    assert rejected == []
    assert len(draws) == 200
    assert sum(not d.verdict.passed for d in draws) >= 199
