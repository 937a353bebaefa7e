"""TFRecord files and data sets of Hugging Face's `datasets` on disk."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

from edgepress.compress import DataSpec
from edgepress.compress.data import Dataset, open_data
from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.limits import VARIABLE

COUNT, SIDE = 20, 8


def network(*shape: int, classes: int = 2) -> keras.Model:
    x = inputs = keras.Input(shape or (SIDE, SIDE, 3), name="image")
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))


def images() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    labels = np.arange(COUNT) % 2
    return random.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8), labels


def png(pixels: Any) -> bytes:
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()


def feature(value: Any) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=list(map(int, values))))


def write(path: Path, records: list[Mapping[str, Any]], packed: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), packed) as file:
        for record in records:
            features = tf.train.Features(feature={n: feature(v) for n, v in record.items()})
            file.write(tf.train.Example(features=features).SerializeToString())
    return path


def encoded() -> list[Mapping[str, Any]]:
    pixels, labels = images()
    return [
        {"image/encoded": png(p), "label": int(y), "height": SIDE}
        for p, y in zip(pixels, labels, strict=True)
    ]


def samples(data: Dataset) -> dict[bytes, int]:
    """The label of each sample, by its values."""
    found = {}
    for split in (data.train, data.val, data.test):
        for x, y in split.in_order(1).as_numpy_iterator() if split else ():
            found[np.asarray(x, np.float32).tobytes()] = int(np.ravel(y)[0])
    return found


def expected() -> dict[bytes, int]:
    pixels, labels = images()
    return {p.astype(np.float32).tobytes(): int(y) for p, y in zip(pixels, labels, strict=True)}


@pytest.mark.parametrize("packed", ["", "GZIP"])
def test_encoded_images_of_tfrecords_are_those_that_were_written(
    tmp_path: Path, packed: str
) -> None:
    data = open_data(write(tmp_path / "a.tfrecord", encoded(), packed), network())
    assert samples(data) == expected()
    assert "columns not read: height" in data.warnings


def test_raw_pixels_and_plain_numbers_are_read(tmp_path: Path) -> None:
    pixels, labels = images()
    raw = [{"image": p.tobytes(), "label": int(y)} for p, y in zip(pixels, labels, strict=True)]
    assert samples(open_data(write(tmp_path / "raw.tfrecords", raw), network())) == expected()
    plain = [{"image": p.ravel().tolist(), "label": int(y)}
             for p, y in zip(pixels, labels, strict=True)]  # fmt: skip
    assert samples(open_data(write(tmp_path / "int.tfrecord", plain), network())) == expected()
    table = [{"a": float(y), "b": 2.0, "label": int(y)} for y in labels]
    data = open_data(write(tmp_path / "t.tfrecord", table), network(2))
    assert data.training_split.source.size + data.val.size == COUNT  # type: ignore[union-attr]


def test_files_are_named_for_their_splits(tmp_path: Path) -> None:
    records = encoded()
    write(tmp_path / "set-train.tfrecord-00000-of-00002", records[:8])
    write(tmp_path / "set-train.tfrecord-00001-of-00002", records[8:14])
    write(tmp_path / "set-test.tfrecord-00000-of-00001", records[14:])
    data = open_data(tmp_path, network())
    assert data.test is not None
    assert data.test.size == 6
    assert samples(data) == expected()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda r: [*r[:3], {"label": 1, "height": 8}, *r[3:]], "lacks feature 'image/encoded'"),
        (lambda r: [{**x, "image/encoded": b"nothing"} for x in r], "no JPEG, PNG"),
        (lambda r: [{k: v for k, v in x.items() if k != "label"} for x in r], "--target"),
        (lambda r: [{**x, "image/encoded": x["image/encoded"][:60]} for x in r], "not a readable"),
        (lambda r: [], "no records"),
    ],
)
def test_records_that_do_not_fit_are_refused(tmp_path: Path, change: Any, told: str) -> None:
    path = write(tmp_path / "a.tfrecord", change(encoded()))
    with pytest.raises(InputError, match=told):
        open_data(path, network())


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", encoded())
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match="is damaged behind record 18"):
        open_data(path, network())
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(InputError, match="is damaged from its beginning"):
        open_data(path, network())
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(b"\xff\xff\xff no Example")
    with pytest.raises(InputError, match=r"record 0, is no tf\.train\.Example"):
        open_data(path, network())


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table(features: bool = True) -> pa.Table:
    pixels, labels = images()
    made = pa.table(
        {
            "image": pa.array([{"bytes": png(p), "path": None} for p in pixels], IMAGE),
            "label": pa.array(labels, pa.int64()),
        }
    )
    told = {"info": {"features": {
        "image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    }}}  # fmt: skip
    return made.replace_schema_metadata({"huggingface": json.dumps(told)}) if features else made


def save_to_disk(folder: Path, made: pa.Table) -> Path:
    folder.mkdir(parents=True)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, made.schema) as writer,
    ):
        writer.write_table(made)
    (folder / "state.json").write_text("{}")
    (folder / "dataset_info.json").write_text("{}")
    return folder


def test_a_saved_data_set_is_read_with_its_class_names(tmp_path: Path) -> None:
    data = open_data(save_to_disk(tmp_path / "test_of_mine", table()), network())
    assert samples(data) == expected()
    assert data.class_names == ("cat", "dog")


def test_numbers_that_the_data_names_follow_another_order_of_the_names(tmp_path: Path) -> None:
    saved = save_to_disk(tmp_path / "mine", table())
    spec = DataSpec(spec=saved, classes=("dog", "cat"))
    data = open_data(spec, network())
    assert data.class_names == ("dog", "cat")
    assert samples(data) == {pixels: 1 - label for pixels, label in expected().items()}
    with pytest.raises(InputError, match="'dog', which isn't among the classes"):
        open_data(DataSpec(spec=saved, classes=("bird", "cat")), network())


def test_a_saved_dict_has_its_splits(tmp_path: Path) -> None:
    made = table()
    for name, part in (("train", made[:12]), ("validation", made[12:16]), ("test", made[16:]),
                       ("unsupervised", made[:3])):  # fmt: skip
        save_to_disk(tmp_path / name, part)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    data = open_data(tmp_path, network())
    assert data.val is not None
    assert data.test is not None
    assert (data.training_split.size, data.val.size, data.test.size) == (12, 4, 4)
    assert "splits not read: unsupervised" in data.warnings


def test_parquet_of_the_hub_is_read_as_a_folder_and_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(table()[:14], tmp_path / "data" / "train-00000-of-00001.parquet")
    pq.write_table(table()[14:], tmp_path / "data" / "test-00000-of-00001.parquet")
    data = open_data(tmp_path, network())
    assert data.test is not None
    assert (data.test.size, data.class_names) == (6, ("cat", "dog"))
    assert samples(data) == expected()
    pq.write_table(table(features=False), tmp_path / "one.parquet")
    assert samples(open_data(tmp_path / "one.parquet", network())) == expected()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label": [-1] * COUNT}, "no label"),
        ({"image": [{"bytes": None, "path": "../elsewhere.png"}] * COUNT}, "isn't in"),
        ({"image": [None, *table()["image"].to_pylist()[1:]]}, "record 0 is empty"),
    ],
)
def test_rows_without_a_value_are_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    made = table()
    for name, values in changes.items():
        place = made.column_names.index(name)
        made = made.set_column(place, name, pa.array(values, made.schema.field(name).type))
    with pytest.raises(InputError, match=told):
        open_data(save_to_disk(tmp_path / "saved", made), network())


def test_options_that_records_have_no_use_for_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecord", encoded())
    with pytest.raises(InputError, match="--features has no effect"):
        open_data(DataSpec(spec=path, features="mfcc"), network())


def test_what_packed_records_take_is_known_before_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "0.02")
    zeros = [{"image": bytes(2**20), "label": place % 2} for place in range(40)]
    packed = write(tmp_path / "a.tfrecord", zeros, "GZIP")
    repeated = pa.DictionaryArray.from_arrays(np.zeros(40, np.int32), [bytes(2**20)])
    (tmp_path / "hub").mkdir()
    table = pa.table({"image": repeated, "label": [0, 1] * 20})
    pq.write_table(table, tmp_path / "hub" / "train-00000-of-00001.parquet")
    folder = tmp_path / "arrow"
    folder.mkdir()
    made = pa.table({"image": [bytes(2**20)] * 4, "label": [0, 1] * 2})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, made.schema, options=options) as writer,
    ):
        for _ in range(10):
            writer.write_table(made)
    for name in ("state.json", "dataset_info.json"):
        (folder / name).write_text("{}")
    for path in (packed, tmp_path / "hub", folder):
        with pytest.raises(InputError, match=r"declares contents of 2\d\.\d MB|of 4\d\.\d MB"):
            open_data(path, network())
