"""Damaged, truncated and odd model files load, or are refused in one line; nothing in them runs."""

from __future__ import annotations

import fcntl
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepress.compress.errors import InputError
from edgepress.compress.models import load

tf_keras = pytest.importorskip("tf_keras")
FILES = ("old.h5", "old.keras", "new.h5", "new.keras")
PARTS = (
    "saved_model.pb",
    "keras_metadata.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
)
FEW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MANY = settings(FEW, max_examples=300, derandomize=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small model in every format."""
    folder = tmp_path_factory.mktemp("whole")
    for library, name in ((tf_keras, "old"), (keras, "new")):
        layers = library.layers
        model = library.Sequential(
            [
                library.Input((6, 6, 2)),
                layers.Conv2D(3, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dense(2),
            ]
        )
        for form in ("h5", "keras"):
            model.save(folder / f"{name}.{form}")
        if library is tf_keras:
            model.save(folder / "saved", save_format="tf")
    return folder


def _attempt(path: Path) -> str:
    """Load, and give the line of the refusal; anything but that is a defect."""
    try:
        load(path)
    except InputError as error:
        line = error.format_message()
        assert line
        assert "\n" not in line
        assert len(line) < 800
        return line
    return ""


def _damaged(raw: bytes, cut: float | None, changes: list[tuple[float, int]]) -> bytes:
    changed = bytearray(raw[: int(len(raw) * cut)] if cut is not None else raw)
    for place, value in changes:
        if changed:
            changed[int(place * (len(changed) - 1))] = value
    return bytes(changed)


PLACES = st.floats(0, 1, exclude_max=True)
CHANGES = st.lists(st.tuples(PLACES | st.floats(0, 0.05), st.integers(0, 255)), max_size=8)
CUTS = st.none() | PLACES


def _check_file(whole: Path, tmp_path: Path, name: str, cut: Any, changes: Any) -> None:
    path = tmp_path / f"damaged{Path(name).suffix}"
    path.write_bytes(_damaged((whole / name).read_bytes(), cut, changes))
    line = _attempt(path)
    assert cut is None or line, "a file cut short was loaded"


def _check_part(whole: Path, tmp_path: Path, part: str, cut: Any, changes: Any) -> None:
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole / "saved", folder)
    (folder / part).write_bytes(_damaged((whole / "saved" / part).read_bytes(), cut, changes))
    _attempt(folder)


@FEW
@given(name=st.sampled_from(FILES), cut=CUTS, changes=CHANGES)
def test_damaged_files(whole: Path, tmp_path: Path, name: str, cut: Any, changes: Any) -> None:
    _check_file(whole, tmp_path, name, cut, changes)


@FEW
@given(part=st.sampled_from(PARTS), cut=CUTS, changes=CHANGES)
def test_damaged_folders(whole: Path, tmp_path: Path, part: str, cut: Any, changes: Any) -> None:
    _check_part(whole, tmp_path, part, cut, changes)


@pytest.mark.slow
@MANY
@given(name=st.sampled_from(FILES), cut=CUTS, changes=CHANGES)
def test_many_damaged_files(whole: Path, tmp_path: Path, name: str, cut: Any, changes: Any) -> None:
    _check_file(whole, tmp_path, name, cut, changes)


@pytest.mark.slow
@MANY
@given(part=st.sampled_from(PARTS), cut=CUTS, changes=CHANGES)
def test_many_damaged_folders(
    whole: Path, tmp_path: Path, part: str, cut: Any, changes: Any
) -> None:
    _check_part(whole, tmp_path, part, cut, changes)


VALUES = st.sampled_from([None, -1, 0, 1e30, "x", [], {}, "os.system", True, [[]], ["a", 0, 0]])


def _places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in items if isinstance(value, dict | list) else ():
        found += [(value, key), *(_places_in(item) if isinstance(item, dict | list) else ())]
    return found


def _check_config(whole: Path, tmp_path: Path, changes: list[tuple[float, Any]]) -> None:
    path = tmp_path / "odd.h5"
    shutil.copy(whole / "old.h5", path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for place, value in changes:
            places = _places_in(config)
            container, key = places[int(place * len(places))]
            container[key] = value
        file.attrs["model_config"] = json.dumps(config)
    _attempt(path)


ODD = st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=2)


@FEW
@given(changes=ODD)
def test_odd_configurations(whole: Path, tmp_path: Path, changes: Any) -> None:
    _check_config(whole, tmp_path, changes)


@pytest.mark.slow
@MANY
@given(changes=ODD)
def test_many_odd_configurations(whole: Path, tmp_path: Path, changes: Any) -> None:
    _check_config(whole, tmp_path, changes)


OLD = '{"keras_version": "2.15.0"}'
ARCHIVES: dict[str, dict[str, str | bytes | None]] = {
    "no_weights": {"model.weights.h5": None},
    "no_metadata": {"metadata.json": None},
    "empty_configuration": {"config.json": ""},
    "configuration_is_a_list": {"config.json": "[]"},
    "configuration_is_nothing": {"config.json": "null"},
    "deep_configuration": {"config.json": "[" * 100_000 + "]" * 100_000},
    "metadata_is_nothing": {"metadata.json": "null"},
    "deep_metadata": {"metadata.json": "[" * 50_000},
    "odd_version": {"metadata.json": '{"keras_version": ["3"]}'},
    "weights_are_something_else": {"model.weights.h5": b"abc"},
    "weights_are_a_bomb": {"model.weights.h5": bytes(50_000_000)},
    "old_without_a_model": {"config.json": "{}", "metadata.json": OLD},
    "old_and_nothing": {"config.json": "null", "metadata.json": OLD},
    "old_weights": {"metadata.json": OLD, "model.weights.h5": b"abc"},
}


# Files whose metadata Keras does without.
UNTOLD = ("no_metadata", "metadata_is_nothing", "deep_metadata", "odd_version")


@pytest.mark.parametrize("name", ARCHIVES)
def test_odd_archives(whole: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(whole / "new.keras") as archive:
        members: dict[str, Any] = {n: archive.read(n) for n in archive.namelist()}
    members |= ARCHIVES[name]
    with zipfile.ZipFile(tmp_path / "odd.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            if content is not None:
                archive.writestr(member, content)
    line = _attempt(tmp_path / "odd.keras")
    assert line or name in UNTOLD


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied"), "permissions"),
        (FileNotFoundError(2, "No such file or directory"), "is missing a file"),
        (RecursionError("maximum depth"), "too deeply"),
        (NotImplementedError("no such thing"), "doesn't have"),
        (MemoryError(), "memory"),
        (RuntimeError("bad heap signature"), "damaged"),
    ],
)
def test_each_failure_is_told_as_what_it_is(
    whole: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(keras.models, "load_model", fail)
    assert says in _attempt(whole / "new.keras")
    if isinstance(error, PermissionError):
        monkeypatch.setattr(Path, "open", fail)
        assert says in _attempt(whole / "old.h5")


def test_archives_that_python_cannot_unpack(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}" + " " * 500)
    raw = path.read_bytes()
    for place in (raw.index(b"PK\x03\x04") + 8, raw.index(b"PK\x01\x02") + 10):
        raw = raw[:place] + b"\x63\0" + raw[place + 2 :]
    path.write_bytes(raw)
    assert "can't be opened" in _attempt(path)


def test_a_file_that_is_being_written_is_not_called_damaged(whole: Path) -> None:
    with (whole / "old.h5").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as HDF5 does while it writes
        assert "being written" in _attempt(whole / "old.h5")


def test_weights_of_the_first_keras_are_told_as_such(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["nb_layers"] = 3
        file.create_group("layer_0").attrs["nb_params"] = 0
    assert "weights of 3 layers but no model" in _attempt(tmp_path / "weights.h5")


def test_a_way_of_resizing_that_keras_lacks_is_told(tmp_path: Path) -> None:
    layer = tf_keras.layers.UpSampling2D(2, interpolation="gaussian", name="grow")
    tf_keras.Sequential([tf_keras.Input((4, 4, 1)), layer]).save(tmp_path / "odd.h5")
    assert "'grow'" in _attempt(tmp_path / "odd.h5")


KINDS = {
    "l.h5": (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "git lfs pull"),
    "d.keras": (b"<!DOCTYPE html><html>404</html>", "web page"),
    "arch.json": (b'{"class_name": "Sequential"}', "without weights"),
    "m.h5.gz": (b"\x1f\x8b\x08xxx", "unpack"),
    "m.pt": (b"\x80\x04\x95", "never unpickles"),
    "saved_model.pb": (b"\x08\x01", "folder of a SavedModel"),
    "mine.py": (b"import keras", "file.py:function"),
    "other.h5": (b"nothing known", "neither a .keras archive nor an HDF5 file"),
}


@pytest.mark.parametrize("name", KINDS)
def test_files_of_other_kinds_are_told_as_what_they_are(name: str, tmp_path: Path) -> None:
    content, says = KINDS[name]
    (tmp_path / name).write_bytes(content)
    assert says in _attempt(tmp_path / name)


def test_archives_and_folders_of_other_kinds(whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole / "new.keras", tmp_path / "renamed.h5")
    assert "end in .keras" in _attempt(tmp_path / "renamed.h5")
    assert "renamed.h5'" in _attempt(tmp_path)
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("archive/data.pkl", "")
    assert "PyTorch" in _attempt(tmp_path / "m.pt")
    versions = tmp_path / "versions"
    shutil.copytree(whole / "saved", versions / "1")
    assert f"give '{versions / '1'}'" in _attempt(versions)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.index").write_text("")
    assert "checkpoint" in _attempt(tmp_path / "checkpoint")


def test_a_name_that_no_file_can_have() -> None:
    assert "does not exist" in _attempt(Path("a" * 300 + ".keras"))


def test_a_member_outside_of_the_archive_is_not_written(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "inner" / "outside.keras"
    path.parent.mkdir()
    shutil.copy(whole / "new.keras", path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../written.txt", "x")
    _attempt(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["inner", "outside.keras"]


@pytest.mark.parametrize("form", ["h5", "keras"])
def test_code_in_a_file_is_not_run(tmp_path: Path, form: str) -> None:
    """The code would leave a file behind, whenever it runs."""
    trace = str(tmp_path / "trace")

    def leave_a_trace(x: Any) -> Any:
        __import__("pathlib").Path(trace).touch()
        return x

    model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Lambda(leave_a_trace)])
    model.save(tmp_path / f"code.{form}")
    Path(trace).unlink()
    assert "never run" in _attempt(tmp_path / f"code.{form}")
    assert not Path(trace).exists()


def test_hdf5_with_arrays_that_are_too_short(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.h5"
    path.write_bytes((whole / "old.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        name = next(n for n in file["model_weights"] if n.startswith("dense"))
        group = file["model_weights"][name]
        key = group.attrs["weight_names"][0]
        del group[key]
        group[key] = np.zeros((3, 2), "float32")
    assert "don't fit" in _attempt(path)
