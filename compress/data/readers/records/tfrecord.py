"""TFRecord files of `tf.train.Example`s."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.opened import Opened
from edgepress.compress.data.readers.records.columns import Columns, record_sources
from edgepress.compress.data.readers.records.splits import files_by_split
from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.limits import check_gzip, check_memory
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

Array = NDArray[Any]
_NAME = re.compile(r"\.tf-?rec(ord)?s?([-.].*)?$", re.IGNORECASE)
_GZIP = b"\x1f\x8b"


def is_tfrecord(path: Path) -> bool:
    """Whether a file is named as TFRecord files are."""
    return (
        "rec" in path.name.lower() and _NAME.search(path.name) is not None and path.name[0] != "."
    )


def holds_tfrecords(folder: Path) -> bool:
    """Whether there is a TFRecord file in a folder or the folders in it."""
    return any(is_tfrecord(Path(name)) for _, _, names in os.walk(folder) for name in names)


def open_tfrecords(path: Path, model: keras.Model, spec: DataSpec, fingerprint: str) -> Opened:
    """A TFRecord file, or a folder of such, as sources.

    Args:
        path: A file, or a folder whose files are named for splits, as
            `train-00000-of-00002.tfrecord`, or not at all.
        model: The Keras model.
        spec: Names the target and the classes, where they are named.
        fingerprint: Hash of the content.

    Raises:
        InputError: A file is damaged or holds no Examples, features are missing, or they don't fit
            the model.
    """
    if path.is_dir():
        files = files_by_split(path, (p for p in path.rglob("*") if p.is_file() and is_tfrecord(p)))
    else:
        files = {"all": [path]}
    columns = {split: _columns(paths) for split, paths in files.items()}
    sources, names, notes = record_sources(columns, model, spec)
    return Opened(sources, fingerprint, names, notes, heeded=frozenset({"target"}))


def _columns(paths: Sequence[Path]) -> Columns:
    """All features of all records.

    Raises:
        InputError: A record lacks a feature that the first has, or has another number of values.
    """
    size = sum(path.stat().st_size for path in paths)
    check_memory(paths[0], 2 * size, size)
    found: dict[str, list[Any]] = {}
    where: list[str] = []
    for place, features in _examples(paths):
        if not found and features:
            found = {name: [] for name in sorted(features)}
        odd = sorted(found.keys() ^ features.keys())
        if not found:
            raise InputError(f"{place} has no features", "write records with features")
        if odd:
            lacks, other = ("lacks", "has") if odd[0] in found else ("has", "lacks")
            raise InputError(
                f"{place} {lacks} feature '{odd[0]}', which the first record {other}",
                "write the same features into each record",
            )
        for name, values in found.items():
            values.append(features[name])
        where.append(place)
    if not where:
        raise InputError(f"'{paths[0]}' holds no records")
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return Columns(
        {name: _array(name, values, where) for name, values in found.items()},
        {},
        f"the records of '{paths[0]}'{more}",
    )


def _examples(paths: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record's place and its features: one value, or an array or list of several."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    for path in paths:
        with path.open("rb") as file:
            packed = "GZIP" if file.read(2) == _GZIP else ""
        place = -1
        try:
            if packed:
                check_gzip(path)
            records = tf.data.TFRecordDataset(str(path), packed).as_numpy_iterator()
            for place, record in enumerate(records):
                example = tf.train.Example.FromString(record)
                yield f"'{path}', record {place},", _features(example)
        except DecodeError:
            raise InputError(
                f"'{path}', record {place}, is no tf.train.Example", "write records as Examples"
            ) from None
        except (tf.errors.DataLossError, EOFError, OSError, zlib.error):
            where = "from its beginning" if place < 0 else f"behind record {place}"
            raise InputError(
                f"'{path}' is damaged {where}, or compressed otherwise than by GZIP",
                "write it again, or copy it again",
            ) from None


def _features(example: tf.train.Example) -> dict[str, Any]:
    found = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is None:
            continue
        values = getattr(feature, kind).value
        types = {"bytes_list": object, "float_list": np.float32, "int64_list": np.int64}
        found[name] = values[0] if len(values) == 1 else np.array(list(values), types[kind])
    return found


def _array(name: str, values: Sequence[Any], where: Sequence[str]) -> Array:
    shapes = [np.shape(value) for value in values]
    odd = next((n for n, shape in enumerate(shapes) if shape != shapes[0]), None)
    if odd is not None:
        counts = [int(np.prod(shapes[n])) for n in (0, odd)]
        raise InputError(
            f"{where[odd]} has {counts[1]} values of feature '{name}', the first {counts[0]}",
            "pad them to one length",
        )
    if isinstance(values[0], bytes) or (shapes[0] and values[0].dtype == object):
        found = np.empty((len(values), *shapes[0]), object)
        for place, value in enumerate(values):
            found[place] = value
        return found
    kind = np.int64 if np.asarray(values[0]).dtype.kind in "iu" else np.float32
    return np.array(values, kind)
