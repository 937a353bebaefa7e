"""Features of sounds: written down for a firmware, or carried along in a model's files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgepress.compress.data import Dataset, Split
from edgepress.compress.data.preparation.inputs import Preparation
from edgepress.compress.data.preparation.sound import SoundFeatures, SoundInput
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import write_json
from edgepress.deploy.quantize.float_tail import SOUND_FRONT

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from edgepress.compress.data.readers.sound.reading import SoundSource


def sound_of(dataset: Dataset | None) -> SoundInput | None:
    """How sounds become the inputs of a data set; None where it holds none."""
    return None if dataset is None else dataset.report_split.preparation.sound


def write_features(dataset: Dataset | None, folder: Path) -> list[Path]:
    """Write what a firmware needs to compute the same features; gives the files.

    Args:
        dataset: The data set that the model's inputs come from.
        folder: Where they go.
    """
    sound = sound_of(dataset)
    if dataset is None or sound is None:
        return []
    preparation = dataset.report_split.preparation
    parameters: dict[str, Any] = {
        "sample_rate": sound.sample_rate,
        "samples": sound.samples,
        "channels": "mean",
        "features": None,
    }
    if sound.features is not None:
        parameters["features"] = sound.features.to_json()
        parameters["shape"] = [sound.features.frames(sound.samples), sound.features.width]
    for name in ("scale", "mean", "std"):
        value = getattr(preparation, name)
        if value is not None:
            parameters[name] = value
    path = folder / "features.json"
    write_json(path, parameters)
    return [path]


def with_features(model: keras.Model, dataset: Dataset | None) -> tuple[keras.Model, Dataset]:
    """A model that computes its features itself, and its data set of plain sounds.

    Frames are transformed by a convolution with the windowed waves of each frequency, which every
    file format has, within rounding what the Fourier transform gives.

    Args:
        model: The Keras model, which takes features.
        dataset: Its data set.

    Raises:
        InputError: There are no features to carry along.
    """
    sound = sound_of(dataset)
    if dataset is None or sound is None or sound.features is None:
        raise InputError(
            "--with-features needs sounds and their features", "give --data and --features"
        )
    preparation = dataset.report_split.preparation
    carrying = _joined(model, sound, sound.features, preparation)
    name = carrying.inputs[0].name
    plain = dataclasses.replace(sound, features=None, channel=False)

    def changed(split: Split) -> Split:
        source = dataclasses.replace(cast("SoundSource", split.source), input_name=name)
        prepared = Preparation({name: "float32"}, targets=preparation.targets, sound=plain)
        return dataclasses.replace(split, source=source, preparation=prepared)

    return carrying, dataset.with_splits(changed)


def _joined(
    model: keras.Model, sound: SoundInput, features: SoundFeatures, preparation: Preparation
) -> keras.Model:
    import keras

    given = keras.Input((sound.samples,), name="sound")
    scale, mean = preparation.scale or 1.0, np.asarray(preparation.mean or 0.0, np.float32)
    std = np.asarray(preparation.std or 1.0, np.float32)
    x = keras.layers.Reshape((sound.samples, 1))(given)
    x = _features(x, features)
    if sound.channel:
        x = keras.layers.Reshape((*x.shape[1:], 1))(x)
    if (preparation.scale, preparation.mean, preparation.std) != (None, None, None):
        x = (x * scale - mean) / std
    front = keras.Model(given, x, name=SOUND_FRONT)
    return keras.Model(given, model(front(given)), name=model.name)


def _features(sounds: keras.KerasTensor, features: SoundFeatures) -> keras.KerasTensor:
    """Features of (batch, samples, 1) sounds by operations of Keras."""
    import keras

    ops = keras.ops
    chosen = _frequencies(features)
    parts = [
        _fixed(
            keras.layers.Conv1D(
                len(chosen), features.frame_length, features.hop_length, use_bias=False
            ),
            sounds,
            _waves(features, chosen, wave),
        )
        for wave in (np.cos, np.sin)
    ]
    x = parts[0] * parts[0] + parts[1] * parts[1]
    if not features.power:
        x = ops.sqrt(x)
    if features.kind == "spectrogram":
        return x
    matrix = features.mel_matrix[chosen]
    x = _fixed(keras.layers.Dense(matrix.shape[1], use_bias=False), x, matrix)
    if features.kind == "mel":
        return x
    x = ops.log(x + features.log_offset)
    if features.kind == "log-mel":
        return x
    return _fixed(keras.layers.Dense(features.coefficients, use_bias=False), x, features.cosines)


def _fixed(layer: keras.Layer, x: keras.KerasTensor, weights: NDArray[Any]) -> keras.KerasTensor:
    layer.trainable = False
    result = layer(x)
    layer.set_weights([weights])
    return result


def _frequencies(features: SoundFeatures) -> NDArray[np.int64]:
    """Those frequencies that count in some band."""
    every = np.arange(features.fft_length // 2 + 1)
    return every if features.kind == "spectrogram" else every[features.mel_matrix.any(1)]


def _waves(
    features: SoundFeatures, chosen: NDArray[np.int64], wave: np.ufunc
) -> NDArray[np.float32]:
    """(frame, 1, frequencies) waves of each frequency under the window."""
    import tensorflow as tf

    places = np.arange(features.frame_length, dtype=np.float64)
    window = tf.signal.hann_window(features.frame_length, dtype=tf.float64).numpy()
    turns = wave(2 * np.pi * np.outer(places, chosen) / features.fft_length)
    return (window[:, None] * turns).astype(np.float32)[:, None]
