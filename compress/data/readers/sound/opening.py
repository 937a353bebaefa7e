"""A folder of sounds as sources by split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress.data.preparation.sound import SoundFeatures, SoundInput, features_of
from edgepress.compress.data.readers.class_folders import (
    class_names,
    empty_classes,
    files_by_folder,
    folder_splits,
    labelled_files,
    shown_names,
    subfolders,
)
from edgepress.compress.data.readers.sound.decoding import SOUNDS
from edgepress.compress.data.readers.sound.reading import SoundReading, SoundSource
from edgepress.compress.data.readers.sound.survey import Survey, survey_sounds
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras

# Sounds that are held as one array in a batch: an hour at 48 kHz.
_MOST_SAMPLES = 200_000_000


# What options each kind of features heeds, beside those of all sounds.
_OF_ALL = frozenset({"features", "sample_rate", "clip_seconds"})
_OF_FRAMES = frozenset({"frame_ms", "hop_ms", "fft_length", "spectrum"})
_OF_MEL = _OF_FRAMES | {"bands", "fmin", "fmax"}
_HEEDED = {
    None: frozenset[str](),
    "spectrogram": _OF_FRAMES,
    "mel": _OF_MEL,
    "log-mel": _OF_MEL | {"log_offset"},
    "mfcc": _OF_MEL | {"log_offset", "coefficients"},
}


@dataclass(frozen=True)
class SoundFolder:
    """What a folder of sounds holds.

    Attributes:
        sources: By split; "all" where it has none.
        class_names: Of class folders, in the order of their numbers.
        notes: What should be known of how it is read, one line each.
        input: From samples to the model's input.
        heeded: Options of `SoundSpec` that had a meaning.
    """

    sources: dict[str, SoundSource]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    input: SoundInput
    heeded: frozenset[str]


def open_sounds(path: Path, model: keras.Model, spec: DataSpec) -> SoundFolder:
    """The sounds of class folders, of all splits read alike.

    Args:
        path: The folder.
        model: The Keras model that they are for.
        spec: How they are read, and which features are computed.

    Raises:
        InputError: There are none, one is damaged, their sample rates differ, or what comes of
            them doesn't fit the model.
    """
    splits = folder_splits(path)
    folders = {folder: files_by_folder(folder, SOUNDS) for folder in splits.values()}
    names, notes = class_names(path, folders, model, SOUNDS, spec.classes)
    listed = {
        split: labelled_files(folder, folders[folder], names, SOUNDS)
        for split, folder in splits.items()
    }
    survey = survey_sounds([file for paths, _ in listed.values() for file in paths])
    how, reading, input_notes = sound_input(survey, model, spec, f"'{path}'")
    sources = {
        split: SoundSource(model.inputs[0].name, paths, np.asarray(labels, np.int64), reading)
        for split, (paths, labels) in listed.items()
    }
    return SoundFolder(
        sources,
        shown_names(names),
        (*notes, *subfolders(folders, SOUNDS), *empty_classes(folders, SOUNDS), *input_notes),
        how,
        _OF_ALL | _HEEDED[spec.features],
    )


def sound_input(
    survey: Survey, model: keras.Model, spec: DataSpec, where: str
) -> tuple[SoundInput, SoundReading, list[str]]:
    """How sounds are read for a model.

    Args:
        survey: What the files hold.
        model: The Keras model.
        spec: How they are read, and which features are computed.
        where: What they come from, for messages.

    Returns:
        From samples to the model's input; how files are read; notes.
    """
    rate = _sample_rate(survey, spec, where)
    features = features_of(spec, rate)
    shape = _shape(model, features, where)
    samples = _samples(shape, features, spec, rate, where)
    how = SoundInput(features, len(shape) == (3 if features else 2), samples, rate)
    what = f"{samples / rate:g} s at {rate} Hz" + (f", as {features.text()}" if features else "")
    hop = features.hop_length if features else 1
    notes = [f"sounds are read as {what}", *survey.remarks(rate, samples, hop)]
    empty = features.empty_bands() if features else []
    if empty:
        notes.append(
            f"no frequency falls in {len(empty)} of the {spec.bands} bands, such as band"
            f" {empty[0]}: take fewer --bands, a longer --fft-length or a higher --fmin"
        )
    plain = all(facts.plain and facts.sample_rate == rate for facts in survey.facts)
    return how, SoundReading(rate, samples, plain), notes


def _sample_rate(survey: Survey, spec: DataSpec, where: str) -> int:
    if spec.sample_rate is not None:
        return spec.sample_rate
    rates = survey.rates
    if len(rates) > 1:
        (one, first), (other, second) = list(rates.items())[:2]
        raise InputError(
            f"{where}: '{first}' has {one} Hz and '{second}' {other} Hz",
            f"say which the model was trained with: --sample-rate {min(rates)}",
        )
    return next(iter(rates))


def _shape(
    model: keras.Model, features: SoundFeatures | None, where: str
) -> tuple[int | None, ...]:
    """The sizes of the model's one input, without the batch."""
    shapes = [tuple(t.shape[1:]) for t in model.inputs]
    listed = ", ".join(map(str, shapes))
    if len(shapes) != 1:
        raise InputError(f"{where} holds sounds, the model has {len(shapes)} inputs: {listed}")
    shape = shapes[0]
    if features is None:
        if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
            return shape
        raise InputError(
            f"{where} holds sounds, the model takes {listed}",
            "say which features those are with --features log-mel, mfcc, mel or spectrogram",
        )
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        if shape[1] in (None, features.width):
            return shape
        turned = " (bands stand before frames in it)" if shape[0] == features.width else ""
        raise InputError(
            f"{where}: {features.text()} give (frames, {features.width}), the model takes"
            f" {listed}{turned}",
            "give the --bands, --coefficients or --fft-length that it was trained with",
        )
    raise InputError(
        f"{where}: {features.kind} gives (frames, {features.width}), the model takes {listed}",
        "leave --features out" if len(shape) == 1 else "check the model's input",
    )


def _samples(
    shape: tuple[int | None, ...],
    features: SoundFeatures | None,
    spec: DataSpec,
    rate: int,
    where: str,
) -> int:
    """Samples of each sound: as asked, else what fills the model's input."""
    wanted = shape[0]
    if spec.clip_seconds is not None:
        samples = max(1, round(spec.clip_seconds * rate))
    elif wanted is None:
        raise InputError(
            f"{where}: the model takes sounds of any length", "give one with --clip-seconds"
        )
    else:
        samples = features.samples(wanted) if features else wanted
    if samples > _MOST_SAMPLES:
        raise InputError(f"{where}: sounds of {samples:,} samples are too long", "cut them")
    given = features.frames(samples) if features else samples
    if given < 1 or wanted not in (None, given):
        unit = f"frames ({features.text()})" if features else "samples"
        raise InputError(
            f"{where}: {samples / rate:g} s at {rate} Hz give {given} {unit}, the model takes"
            f" {wanted or 'at least 1'}",
            "give the --sample-rate, --clip-seconds, --frame-ms and --hop-ms that it was trained"
            " with",
        )
    return samples
