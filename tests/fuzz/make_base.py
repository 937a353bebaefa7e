"""Writes the files that every case finds: run as a script with the folder's path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_RECIPE = """model: m.keras
data: good.npz
finetune: {epochs: 2}
prune:
  - {structure: weights, sparsity: 0.5}
export: {formats: [tflite], quantize: [float32]}
benchmark: {runs: 5, profile: true}
"""
_SEARCH = """search:
  space: {prune.0.sparsity: [0.3, 0.6]}
  objectives: [metric, bytes]
"""

# A fit that has time for the given model alone.
QUICK_FIT = (
    *("fit", "m.keras", "--data", "good.npz", "--minimise", "bytes", "--quantize", "float32"),
    *("--runs", "5", "--launches", "1", "--time", "1s"),
)


def _models() -> None:
    import keras
    import numpy as np

    layers = keras.layers
    x = keras.Input((4,), name="input")
    hidden = layers.Dense(8, activation="relu", name="hidden")(x)
    model = keras.Model(x, layers.Dense(3, activation="softmax", name="out")(hidden))
    model.save("m.keras")
    model.save("m.h5")
    grey = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    grey.save("g.keras")
    random = np.random.default_rng(0)
    labels = np.arange(24) % 3
    np.savez("good.npz", x=random.normal(size=(24, 4)).astype("f4"), y=labels)
    np.savez("grey.npz", x=random.normal(size=(24, 8, 8, 1)).astype("f4"), y=labels)


def _records(folder: Path) -> None:
    """The same images as TFRecords, as a data set that `datasets` saved, and as Parquet."""
    import io
    import json

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow as tf
    from PIL import Image

    images, labels = [], [int(i % 3) for i in range(12)]
    for number in range(12):
        out = io.BytesIO()
        Image.fromarray(np.full((8, 8), 20 * number, np.uint8)).save(out, "PNG")
        images.append(out.getvalue())
    for part in ("arrow", "parquet"):
        (folder / part).mkdir(parents=True)
    with tf.io.TFRecordWriter(str(folder / "a.tfrecord")) as file:
        for image, label in zip(images, labels, strict=True):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            features = tf.train.Features(feature=feature)
            file.write(tf.train.Example(features=features).SerializeToString())
    told = {"info": {"features": {"label": {"names": list("abc"), "_type": "ClassLabel"}}}}
    table = pa.table({"image": [{"bytes": i, "path": None} for i in images], "label": labels})
    table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, folder / "parquet" / "train-00000-of-00001.parquet")
    place = str(folder / "arrow" / "data-00000-of-00001.arrow")
    with pa.OSFile(place, "wb") as out_file, pa.ipc.new_stream(out_file, table.schema) as writer:
        writer.write_table(table)
    for name in ("state.json", "dataset_info.json"):
        (folder / "arrow" / name).write_text(json.dumps(told["info"]))


def _checkpoint(model: str, state: Path) -> None:
    """What `finetune --epochs 3` keeps of a training until its end."""
    from edgepress.compress import finetune

    finetune(model, "good.npz", epochs=3, state_dir=state)


def _call(*words: str) -> None:
    import pytest

    from edgepress.deploy.cli import main

    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code in (0, None), words


def make(folder: Path) -> None:
    """Write models, data, artifacts, a run and a benchmark into a folder."""
    folder = folder.absolute()
    os.chdir(folder)
    _models()
    Path("r.yaml").write_text(_RECIPE)
    Path("s.yaml").write_text(_RECIPE + _SEARCH)
    _call("compress", "r.yaml", "-o", "run")
    _call("export", "m.keras", "-o", "files", "--format", "tflite", "--format", "onnx")
    for path in Path("files").glob("*float32*") or Path("files").iterdir():
        if path.suffix in (".tflite", ".onnx"):
            path.rename(f"m{path.suffix}")
    _call("search", "s.yaml", "--trials", "1", "-o", "search")
    _call("benchmark", "m.tflite", "--runs", "5", "-o", "bench.json")
    _call(*QUICK_FIT, "-o", "fit")
    _records(folder / "kept")
    _checkpoint("m.keras", folder / "state")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
