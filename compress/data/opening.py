"""Opening whatever `--data` names: the reader is chosen, splits are made, the task inferred."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgepress.compress.data.augmentation.augmenting import Augmentation, parse_augmentation
from edgepress.compress.data.checks import (
    check_class_names,
    class_by_class,
    left_out,
    refuse_undefined,
    shared,
    shared_samples,
    suspected_range,
    uneven_classes,
)
from edgepress.compress.data.dataset import Dataset, Source, Split
from edgepress.compress.data.mixing import check_own_changes, for_mixed_samples, span_in
from edgepress.compress.data.naming import by_name
from edgepress.compress.data.preparation.inputs import measured_inputs, preparation_for
from edgepress.compress.data.preparation.strings import takes_text
from edgepress.compress.data.readers.arrays import (
    SPLITS,
    array_source,
    is_read,
    split_arrays,
)
from edgepress.compress.data.readers.boxes.opening import box_file, box_folder, open_boxes
from edgepress.compress.data.readers.boxes.source import BoxSource
from edgepress.compress.data.readers.class_folders import check_folders, kinds_below
from edgepress.compress.data.readers.endless import check_steps, endless_source
from edgepress.compress.data.readers.fingerprints import (
    Digests,
    arrays_hash,
    copies_in,
    folder_hash,
    sample_digests,
    sources_hash,
    spec_hash,
)
from edgepress.compress.data.readers.fixing import fixed
from edgepress.compress.data.readers.images.folders import IMAGES, takes_images
from edgepress.compress.data.readers.images.opening import open_images
from edgepress.compress.data.readers.labels import numbered
from edgepress.compress.data.readers.opened import Opened, check_heeded
from edgepress.compress.data.readers.records.arrow import (
    ARROW,
    has_records,
    is_saved_dataset,
    open_saved,
)
from edgepress.compress.data.readers.records.tfrecord import (
    holds_tfrecords,
    is_tfrecord,
    open_tfrecords,
)
from edgepress.compress.data.readers.series.opening import TABLES, open_series
from edgepress.compress.data.readers.sound.decoding import SOUNDS
from edgepress.compress.data.readers.sound.opening import open_sounds
from edgepress.compress.data.readers.streams import is_stream, stream_source, tfds_streams
from edgepress.compress.data.readers.tables import read_table
from edgepress.compress.data.readers.texts.folders import open_texts
from edgepress.compress.data.readers.unread import check_names, check_samples
from edgepress.compress.data.splits.setting_aside import check_groups, set_aside
from edgepress.compress.data.target_images import with_scaled_targets
from edgepress.compress.data.task_of_data import plain_loss, reads_targets, task_of
from edgepress.compress.data.tasks import Task
from edgepress.compress.data.unlabelled import agreement, answered, with_placeholders
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import check_regular, explained, reading
from edgepress.compress.kernel.files import sha256
from edgepress.compress.models.class_lists.own import classes_of
from edgepress.compress.models.guarding.archives import read_arrays
from edgepress.compress.models.user_code import call_reference, is_reference
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    from os import PathLike

    import keras
    import tensorflow as tf

    # An open data set, how to open one, or arrays.
    DataLike: TypeAlias = (
        Dataset | DataSpec | str | PathLike[str] | Mapping[str, Any] | tuple[Any, ...]
    )

_FORMS = (
    "a .npz, .csv, .parquet, .tfrecord or COCO .json file, a folder of images, sounds, texts or"
    " tables, tfds:NAME or file.py:function"
)


def open_data(
    data: DataLike | None, model: keras.Model, seed: int = 0, teacher: keras.Model | None = None
) -> Dataset:
    """Open a data set for a model.

    Args:
        data: `DataSpec`, specification as text, a pair of arrays (x, y), mapping of arrays or
            `tf.data.Dataset`s, or an open `Dataset` (given back as it is).
        model: The Keras model whose inputs and outputs it must fit.
        seed: Draws the validation split where the data has none.
        teacher: The Keras model whose answers stand in for labels where the specification says
            `unlabelled`; `model` itself where it is None.

    Returns:
        The data set.

    Raises:
        InputError: It isn't there, can't be read, or doesn't fit the model.
    """
    if isinstance(data, Dataset):
        return data
    spec = data if isinstance(data, DataSpec) else DataSpec(spec=data)
    named = f"data '{spec.spec}'" if isinstance(spec.spec, str) else "the data"
    with reading(named):
        try:
            return _dataset(spec, model, seed, teacher)
        except Exception as error:
            raise explained(error) or error from error


def _dataset(spec: DataSpec, model: keras.Model, seed: int, teacher: keras.Model | None) -> Dataset:
    preparation = preparation_for(model, spec)
    opened = _open(spec, model)
    check_heeded(spec, opened, model)
    preparation = replace(preparation, sound=opened.sound)
    sources: dict[str, Any] = dict(opened.sources)
    keep: set[str] = set()
    if spec.unlabelled:
        keep = {"test"} & sources.keys() - opened.unlabelled
        keep = {split for split in keep if reads_targets(model, sources[split], spec)}
        sources = answered(sources, keep, teacher or model, preparation, plain_loss(spec))
    check_steps(sources, spec.steps_per_epoch)
    sources, digests, copies = _with_validation(sources, spec, seed)
    preparation, scaled = with_scaled_targets(preparation, sources, model)
    names = opened.class_names or spec.classes
    own = classes_of(model)
    order = own.note(names, bool(spec.classes)) if own is not None else ""
    task = task_of(model, sources, spec, preparation, names)
    refuse_undefined(task, sources)
    check_class_names(names, model, task)
    span = functools.partial(span_in, next(iter(sources.values())), preparation)
    boxes = any(isinstance(source, BoxSource) for source in sources.values())
    augmentation = parse_augmentation(spec.augment, model, task, span, boxes)
    preparation, task = for_mixed_samples(preparation, task, augmentation.mixing, model)
    splits = {
        name: Split(name, source, preparation, augmentation if name == "train" else Augmentation())
        for name, source in sources.items()
    }
    if augmentation.own and "train" in splits:
        check_own_changes(splits["train"])
    low, high = _range(splits, measured_inputs(model))
    return Dataset(
        train=splits.get("train"),
        val=splits.get("val"),
        test=splits.get("test"),
        task=task,
        fingerprint=spec_hash(opened.fingerprint, spec),
        input_range=(low, high),
        class_names=names,
        warnings=(
            *([order] if order else []),
            *opened.notes,
            *copies,
            *scaled,
            *([] if opened.sound else suspected_range(spec, model, (low, high))),
            *_warnings(sources, digests, names, task),
            *left_out(task),
            *task.remarks,
            *augmentation.remarks,
            *(agreement(keep) if spec.unlabelled else ()),
        ),
        unlabelled=spec.unlabelled,
        chosen_on_test=bool(shared(digests, "val", "test")),
    )


def _open(spec: DataSpec, model: keras.Model) -> Opened:
    given = spec.spec
    if isinstance(given, Mapping):
        return _open_mapping(given, model, "the data", spec)
    if isinstance(given, tuple) and len(given) in (2, 3) and _holds_numbers(given[0]):
        named = dict(zip(("x", "y", "sample_weight"), given, strict=False))
        return _open_mapping(named, model, "the data", spec)
    if not isinstance(given, str | os.PathLike):
        raise InputError(
            f"data is of the type {type(given).__name__}",
            f"give (x, y), a mapping with the keys train, val, test, or {_FORMS}",
        )
    text = str(given)
    if text.startswith("tfds:"):
        streams, names = tfds_streams(text.removeprefix("tfds:"))
        sources = {k: _stream(v, model, text, k, True) for k, v in streams.items()}
        return Opened(sources, hashlib.sha256(text.encode()).hexdigest(), names)
    path = Path(text)
    if not path.exists():
        if is_reference(text):
            return _open_mapping(_called(text), model, text, spec)
        raise InputError(f"data '{text}' does not exist", f"give {_FORMS}")
    return _open_folder(path, model, spec) if path.is_dir() else _open_file(path, model, spec)


def _open_file(path: Path, model: keras.Model, spec: DataSpec) -> Opened:
    check_regular(path)
    if path.suffix == ".npz":
        return _open_arrays(read_arrays(path), model, f"'{path}'", sha256(path), spec)
    if is_tfrecord(path):
        return open_tfrecords(path, model, spec, sha256(path))
    if path.suffix == ".json":
        return open_boxes(path, box_file(path), model, spec, sha256(path))
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"'{path}' is not a supported data format", f"give {_FORMS}")
    if spec.window is not None:
        return open_series(path, model, spec, sha256(path))
    if path.suffix == ".parquet" and has_records(path):
        return open_saved(path, model, spec, sha256(path))
    table = read_table(path, spec.target, model, spec.group_by, spec.classes)
    source = array_source(table.inputs, table.targets, model, f"'{path}'")
    sources = {"all": replace(source, groups=table.groups)}
    heeded = frozenset({"group_by", "target"})
    return Opened(sources, sha256(path), table.class_names, table.notes, heeded=heeded)


def _called(reference: str) -> Mapping[str, Any]:
    value = call_reference(reference)
    if not isinstance(value, Mapping):
        raise InputError(
            f"'{reference}' returns {type(value).__name__}",
            "return a mapping with the keys train, val, test",
        )
    return value


def _open_mapping(
    data: Mapping[str, Any], model: keras.Model, where: str, spec: DataSpec
) -> Opened:
    if not data.keys() & set(SPLITS):
        arrays = {k: v for k, v in data.items() if _holds_numbers(v)}
        return _open_arrays(arrays, model, where, arrays_hash(arrays), spec)
    notes = check_names(map(str, data), SPLITS, where)
    sources: dict[str, Any] = {}
    for name in SPLITS:
        value = data.get(name)
        if value is None:
            continue
        if is_stream(value):
            inside = f"{where}, split '{name}'"
            if name == "train" and spec.steps_per_epoch is not None:
                sources[name] = endless_source(value, model, inside, spec.steps_per_epoch)
            else:
                sources[name] = _stream(value, model, inside, name)
        elif isinstance(value, tuple | list) and len(value) in (2, 3):
            inside = f"{where}, split '{name}'"
            sources[name] = array_source(
                value[0], value[1], model, inside, spec.resize is not None, *value[2:]
            )
        else:
            raise InputError(
                f"{where}: split '{name}' is {type(value).__name__}",
                "give a tf.data.Dataset or arrays (x, y) or (x, y, sample_weight)",
            )
    return Opened(sources, sources_hash(sources), notes=notes)


def _stream(
    value: tf.data.Dataset, model: keras.Model, where: str, name: str, shuffle: bool = False
) -> Source:
    """A source of a `tf.data.Dataset`; what is measured on gives the same at each pass."""
    source = stream_source(value, model, where, shuffle and name == "train")
    return source if name == "train" else fixed(source, where)


def _holds_numbers(value: object) -> bool:
    return isinstance(value, list | tuple | Mapping) or hasattr(value, "__array__")


def _open_arrays(
    arrays: Mapping[str, Any], model: keras.Model, where: str, fingerprint: str, spec: DataSpec
) -> Opened:
    notes = check_names(arrays, filter(is_read, arrays), where)
    check_samples(arrays, [name for name in arrays if is_read(name)], where)
    made: set[str] = set()
    if spec.unlabelled:
        arrays, made = with_placeholders(arrays, model)
    given = split_arrays(arrays, where)
    named = {split: by_name(x, y, model) for split, (x, y, _) in given.items()}
    parts, found = numbered(named, spec.classes, classes_of(model))
    names = arrays.get("class_names", found)
    sources = {
        split: array_source(
            x,
            y,
            model,
            where if split == "all" else f"{where}, {split}",
            spec.resize is not None,
            given[split][2],
        )
        for split, (x, y) in parts.items()
    }
    classes = tuple(str(n) for n in np.asarray(names).ravel())
    unlabelled = frozenset(suffix.removeprefix("_") for suffix in made)
    return Opened(sources, fingerprint, classes, notes, unlabelled)


def _open_folder(path: Path, model: keras.Model, spec: DataSpec) -> Opened:
    if not any(path.iterdir()):
        raise InputError(f"folder '{path}' is empty", f"give {_FORMS}")
    check_folders(path)
    if spec.window is None and holds_tfrecords(path):
        return open_tfrecords(path, model, spec, folder_hash(path))
    boxes = box_folder(path) if takes_images(model) else None
    if boxes is not None:
        return open_boxes(path, boxes, model, spec, folder_hash(path))
    kinds = kinds_below(path, (IMAGES, SOUNDS, TABLES, ARROW))
    if spec.window is None and not kinds & {IMAGES, SOUNDS} and is_saved_dataset(path):
        return open_saved(path, model, spec, folder_hash(path))
    if len(model.inputs) == 1 and takes_text(model.inputs[0]) and spec.window is None:
        return open_texts(path, model, spec, folder_hash(path))
    if TABLES in kinds and spec.window is not None:
        return open_series(path, model, spec, folder_hash(path))
    if SOUNDS in kinds and (IMAGES not in kinds or not takes_images(model)):
        heard = open_sounds(path, model, spec)
        return Opened(
            heard.sources,
            folder_hash(path),
            heard.class_names,
            heard.notes,
            sound=heard.input,
            heeded=heard.heeded,
        )
    if kinds == {TABLES}:
        raise InputError(
            f"'{path}' is a folder of tables", "cut their rows into windows with --window ROWS"
        )
    found = open_images(path, model, spec)
    return Opened(found.sources, folder_hash(path), found.class_names, found.notes)


def _with_validation(
    sources: dict[str, Any], spec: DataSpec, seed: int
) -> tuple[dict[str, Source], Digests, list[str]]:
    """Sources by split, a validation split taken from the training split where there is none.

    Returns:
        The sources, the digests of their samples, and remarks.
    """
    sources = dict(sources)
    if "all" in sources:
        sources.setdefault("train", sources.pop("all"))
    train = sources.get("train")
    check_groups(sources)
    known = None if train is None else sample_digests(train)
    others = {k: sample_digests(v) for k, v in sources.items() if k != "train"} if known else {}
    digests = {"train": known, **others}
    if train is None or "val" in sources or not hasattr(train, "part") or train.size < 2:
        return sources, digests, []
    drawn = set_aside(train, copies_in(train, known), spec.validation_split, seed)
    for name, places in (("train", drawn.kept), ("val", drawn.aside)):
        sources[name] = train.part(places)
        digests[name] = [known[place] for place in places] if known else None
    return sources, digests, list(drawn.notes)


def _range(splits: dict[str, Split], measured: frozenset[str]) -> tuple[float, float]:
    """Lowest and highest value of a first batch, of the inputs that are measured values."""
    first = next(iter(splits.values())).in_order(64).take(1)
    inputs = next(first.as_numpy_iterator())[0]
    named = inputs if isinstance(inputs, dict) else dict.fromkeys(measured or {""}, inputs)
    plain = {n: v for n, v in named.items() if v.dtype != object}  # texts have no range
    if not all(np.isfinite(v).all() for v in plain.values()):
        raise InputError("the first batch of the data holds values that are NaN or infinite")
    values = [v for n, v in plain.items() if n in measured]
    if not values:
        return 0.0, 0.0
    return float(min(v.min() for v in values)), float(max(v.max() for v in values))


def _warnings(
    sources: dict[str, Source], digests: Digests, names: tuple[str, ...], task: Task
) -> Iterator[str]:
    if "train" in sources:
        yield from uneven_classes(sources["train"], names, task)
        yield from class_by_class(sources["train"])
    yield from shared_samples(digests)
    if "test" not in sources and "val" in sources:
        yield "the data has no test split: figures come from the validation split"
