"""Zeros left out of float TFLite files: TFLite's sparse encoding, where it is read and pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from edgepress.compress.errors import DeviceError, InputError
from edgepress.compress.kernel.artifact import Artifact
from edgepress.compress.weights.masks.masks import FAST_BLOCK, FAST_FROM
from edgepress.deploy.exporters import Job
from edgepress.deploy.exporters.tflite.writing import request_for
from edgepress.deploy.sources.formats.tflite_reading import TFLiteReader

Kernel = Float[np.ndarray, "..."]
# Precisions whose encoded files XNNPACK runs; it refuses those with integer weights.
ENCODED = ("float32", "float16")
_FLOATS = ("FLOAT32", "FLOAT16")
# The converter encodes what has at least this share of zeros, in blocks of four where nine tenths
# of the zeros lie in such.
_LEAST, _IN_BLOCKS = 0.3, 0.9
# What holds less of a file, such as biases of zeros, isn't worth a second conversion of the whole.
_WORTH = 0.01


def encode_zeros(
    job: Job, artifact: Artifact, verify: Callable[[Path], Artifact]
) -> tuple[Artifact, list[str]]:
    """Replace a float TFLite file by one whose zeros are encoded, where that is better.

    Args:
        job: What the file was made of; its settings say whether this is up to the file ("auto") or
            asked for ("on").
        artifact: The dense file; replaced on disk by an encoded one.
        verify: Runs and measures a file.

    Returns:
        The file that is on disk, and what was found.

    Raises:
        DeviceError: The converter or the runtime refuses what was asked for.
    """
    asked = job.settings.sparse_encoding == "on"
    if job.settings.sparse_encoding == "off" or artifact.quantize not in ENCODED:
        return artifact, []
    kernels = list(_float_kernels(artifact.path))
    name = artifact.path.name
    size = sum(array.size for _, array in kernels)
    encodable = sum(array.size for _, array in kernels if np.mean(array == 0) >= _LEAST)
    if not encodable or (encodable < _WORTH * size and not asked):
        empty = f"{name}: dense: no array has {_LEAST:.0%} of zeros, which is what is encoded"
        return artifact, [empty] if asked else []
    share = _zeros_computed([array for product, array in kernels if product])
    if share is not None and share < FAST_FROM and not asked:
        return artifact, [
            f"{name}: dense: with encoded zeros, dense layers in blocks of {FAST_BLOCK} inputs run"
            f" slower below {FAST_FROM:.0%} of zeros ({share:.0%} here); --sparse-encoding on does"
            " it all the same"
        ]
    trial = artifact.path.with_name(f"encoded_{name}")
    try:
        job.worker.ask("tflite", request_for(job, artifact.quantize, trial, sparse=True))
        encoded = verify(trial)
    except (DeviceError, InputError) as error:
        if asked:
            raise
        return artifact, [f"{name}: dense: the file with encoded zeros fails: {error.message}"]
    sizes = f"{artifact.bytes:,} bytes dense, {encoded.bytes:,} with encoded zeros"
    passed = encoded.verified is None or encoded.verified.passed
    if not asked and not (passed and encoded.bytes < artifact.bytes):
        why = "" if passed else ", which differs from the model"
        return artifact, [f"{name}: dense: {sizes}{why}"]
    trial.replace(artifact.path)
    return replace(encoded, path=artifact.path), [f"{name}: zeros encoded: {sizes}"]


def _zeros_computed(kernels: Sequence[Kernel]) -> float | None:
    """The share of zeros of the kernels that would be computed encoded; None where none would."""
    found = []
    for kernel in kernels:
        zeros = kernel == 0
        whole = zeros[:, : zeros.shape[1] // FAST_BLOCK * FAST_BLOCK]
        blocks = whole.reshape(len(whole), -1, FAST_BLOCK).all(2).mean() if whole.size else 0.0
        if zeros.mean() >= _LEAST and blocks > _IN_BLOCKS * zeros.mean():
            found.append((int(zeros.sum()), zeros.size))
    if not found:
        return None
    return sum(zeros for zeros, _ in found) / sum(size for _, size in found)


def _float_kernels(path: Path) -> Iterator[tuple[bool, Kernel]]:
    """(whether a fully connected layer's, array) of the float arrays of two axes or more."""
    reader = TFLiteReader(path)
    for place, graph in enumerate(reader.graphs):
        dense = {o.inputs[1] for o in graph.operators if o.name == "FULLY_CONNECTED"}
        for tensor in graph.tensors:
            if tensor.constant and tensor.type in _FLOATS and len(tensor.shape) > 1:
                array = reader.values(place, tensor).reshape(tensor.shape)
                yield tensor.index in dense and array.ndim == 2, array
