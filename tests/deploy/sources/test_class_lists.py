"""The classes that a TFLite or ONNX file lists itself number the labels that it is measured on."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgepress.compress import InputError
from edgepress.compress.data import open_data
from edgepress.deploy.exporters.tflite.metadata import describe
from edgepress.deploy.sources.opening import open_source


def described(path: Path, names: list[str]) -> None:
    """Metadata as TFLite has it."""
    describe(path, "m", "", class_names=names)


def packed(path: Path, names: list[str]) -> None:
    """A list behind the model, without metadata."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labelmap.txt", "\n".join(names))


def props(path: Path, names: list[str]) -> None:
    """As Ultralytics writes it."""
    model = onnx.load(path)
    model.metadata_props.add(key="names", value=str(dict(enumerate(names))))
    onnx.save(model, path)


Write = Callable[[Path, list[str]], None]


@pytest.mark.parametrize(("kind", "write"), [("tflite", described), ("tflite", packed),
                                             ("tflite int8", packed), ("onnx", props)])  # fmt: skip
def test_labels_are_numbered_as_the_file_says(
    kinds: Any, kind: str, write: Write, tmp_path: Path
) -> None:
    source = kinds.files[kind]
    shutil.copy(source, path := tmp_path / f"m{source.suffix}")
    count = int(kinds.model.outputs[0].shape[-1])
    names = [f"kind {number:02}" for number in range(count)][::-1]
    write(path, names)
    source = open_source(path)
    inside = {"x": np.zeros((4, 8, 8, 2), np.float32), "y": np.array([names[1], names[0]] * 2)}
    data = open_data(inside, source.model)
    assert data.class_names == tuple(names)
    assert "the metadata of" in " ".join(data.warnings)
    with pytest.raises(InputError, match="the data has class 'other'"):
        open_data({**inside, "y": np.array(["other", names[0]] * 2)}, source.model)
