"""Model files that lead to other files or declare more than they hold are refused in one line."""

from __future__ import annotations

import os
import re
import resource
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from edgepress.compress.errors import InputError
from edgepress.compress.models import load, writing
from edgepress.compress.models.guarding import archives
from edgepress.compress.models.guarding.archives import open_archive, read_arrays
from edgepress.compress.models.guarding.hdf5 import check_keras_file, open_hdf5
from edgepress.compress.models.guarding.limits import VARIABLE, memory_limit
from edgepress.compress.processes import scratch

ROOT = Path(__file__).parents[3]
NAME = "model_weights/dense/dense/kernel"
LINKS = {
    "external link": "is a link to another file",
    "external storage": "keeps its numbers in another file",
    "virtual dataset": "is a virtual dataset",
    "soft link": "is a soft link",
    "declared shape": "declares 3,200,000,000 bytes",
    "variable length": "holds no plain numbers",
}


def _external_link(file: h5py.File, marker: Path) -> None:
    file[NAME] = h5py.ExternalLink(marker, "/x")


def _external_storage(file: h5py.File, marker: Path) -> None:
    file.create_dataset(NAME, (3, 2), np.float32, external=[(str(marker), 0, 24)])


def _virtual(file: h5py.File, marker: Path) -> None:
    layout = h5py.VirtualLayout((3, 2), np.float32)
    layout[:] = h5py.VirtualSource(marker, "x", (3, 2))
    file.create_virtual_dataset(NAME, layout)


def _soft_link(file: h5py.File, _: Path) -> None:
    file[NAME] = h5py.SoftLink("/model_weights/other")


def _declared(file: h5py.File, _: Path) -> None:
    file.create_dataset(NAME, (400, 2_000_000), np.float32, chunks=(10, 100), compression="gzip")


def _variable(file: h5py.File, _: Path) -> None:
    file.create_dataset(NAME, (3,), h5py.vlen_dtype(np.float32))


CHANGES: dict[str, Callable[[h5py.File, Path], None]] = dict(
    zip(
        LINKS,
        (_external_link, _external_storage, _virtual, _soft_link, _declared, _variable),
        strict=True,
    )
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one network as `.h5` and `.keras`."""
    folder = tmp_path_factory.mktemp("whole")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    for ending in ("h5", "keras"):
        model.save(folder / f"m.{ending}")
    return folder


def _replaced(source: Path, out: Path, change: Callable[[h5py.File, Path], None]) -> Path:
    """A copy of an HDF5 model whose kernel was replaced; the target is a file of the test's own."""
    marker = out.parent / "marker.h5"
    with h5py.File(marker, "w") as file:
        file["x"] = np.full((3, 2), 7, np.float32)
    out.write_bytes(source.read_bytes())
    with h5py.File(out, "a") as file:
        names = [n for n in _datasets(file) if n.endswith("kernel")]
        del file[names[0]]
        if NAME in file:
            del file[NAME]
        change(file, marker)
    return out


def _datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, at: found.append(name) if hasattr(at, "shape") else None)
    return found


def _packed(path: Path, *members: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("legacy", [False, True], ids=["keras3", "older"])
def test_an_object_that_leads_out_is_named(
    kind: str, legacy: bool, whole: Path, tmp_path: Path
) -> None:
    path = _replaced(whole / "m.h5", tmp_path / "m.h5", CHANGES[kind])
    if legacy:
        with h5py.File(path, "a") as file:
            file.attrs["keras_version"] = "2.4.0"
    with pytest.raises(InputError, match=LINKS[kind]) as caught:
        load(path)
    assert f"/{NAME}" in str(caught.value)


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_weights_of_an_archive_are_looked_through(
    kind: str, packing: int, whole: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(whole / "m.keras") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    weights = _replaced(whole / "m.h5", tmp_path / "w.h5", CHANGES[kind])
    held["model.weights.h5"] = weights.read_bytes()
    path = _packed(tmp_path / "m.keras", *held.items(), kind=packing)
    with pytest.raises(InputError, match=LINKS[kind]):
        load(path)


def test_an_archive_packed_again_loads_alike(whole: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(whole / "m.keras") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    path = _packed(tmp_path / "m.keras", *held.items())
    for mine, theirs in zip(
        load(path).get_weights(), load(whole / "m.h5").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    assert check_keras_file(path) == check_keras_file(whole / "m.keras") == 4 * (3 * 2 + 2)


def test_a_group_that_has_two_names_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a/b"] = file.create_group("a")
    with pytest.raises(InputError, match="'/a/b' in it is a group that has another name"):
        check_keras_file(tmp_path / "m.h5")
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        inner = file.create_group("a")
        for _ in range(12):
            below = inner.create_group("a")
            inner["b"] = below
            inner = below
    with pytest.raises(InputError, match="is a group that has another name"):
        check_keras_file(tmp_path / "deep.h5")


def test_compressed_weights_are_read(tmp_path: Path) -> None:
    zeros = np.zeros((1000, 1000), np.float32)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("x", data=zeros, compression="gzip", shuffle=True)
    with open_hdf5(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file["x"][()], zeros)


def test_a_layer_wider_than_its_numbers_is_named(whole: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(whole / "m.keras") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    held["config.json"] = held["config.json"].replace(b'"units": 2', b'"units": 2000000000')
    path = _packed(tmp_path / "m.keras", *held.items())
    with pytest.raises(InputError, match=r"layer 'dense' .*3 x 2000000000"):
        load(path)


def test_what_an_archive_unpacks_to_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "masks.npz"
    np.savez_compressed(path, a=np.zeros(3_000_000, bool), b=np.zeros(3_000_000, bool))
    assert path.stat().st_size < 20_000  # honest masks pack as tightly as a trap
    assert set(read_arrays(path)) == {"a", "b"}
    monkeypatch.setenv(VARIABLE, "0.005")
    with pytest.raises(InputError, match=r"contents of 6\.0 MB, above the limit of 5\.0 MB"):
        read_arrays(path)
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(InputError, match=f"{VARIABLE} is 'much'"):
        read_arrays(path)


def test_the_limit_grows_with_the_file() -> None:
    assert memory_limit(0) < memory_limit(10**6) <= memory_limit(10**7)


def test_an_array_that_declares_more_than_it_holds_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(10, np.float32))
    content = (tmp_path / "x.npy").read_bytes().replace(b"(10,), }      ", b"(10000000,), }")
    path = _packed(tmp_path / "a.npz", ("x.npy", content))
    with pytest.raises(InputError, match=r"'x\.npy' declares 40,000,000 bytes and holds 40"):
        read_arrays(path)


def test_python_objects_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    with pytest.raises(InputError, match="holds Python objects"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    path = _packed(tmp_path / "a.zip", ("x", b"1"), ("x", b"2"))
    with pytest.raises(InputError, match="two members named 'x'"), open_archive(path):
        pass


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x"])
def test_names_that_leave_the_archive_are_refused(name: str, tmp_path: Path) -> None:
    path = _packed(tmp_path / "a.zip", (name, b"1"))
    with pytest.raises(InputError, match="leads out of the archive"), open_archive(path):
        pass


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    path = _packed(tmp_path / "a.zip", ("secret", b"1"), kind=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag alone: nothing is encrypted
    path.write_bytes(content)
    with pytest.raises(InputError, match="'secret' is encrypted"), open_archive(path):
        pass


@pytest.mark.parametrize("ending", ["keras", "h5", "tflite", "onnx", "npz"])
def test_a_pipe_or_device_is_not_read(ending: str, tmp_path: Path) -> None:
    pipe, device = tmp_path / f"pipe.{ending}", tmp_path / f"device.{ending}"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    read = read_arrays if ending == "npz" else load
    for path, what in ((pipe, "a pipe"), (device, "a device")):
        with pytest.raises(InputError, match=what):
            read(path)


def test_nothing_else_opens_such_files() -> None:
    opening = re.compile(r"h5py\.(File\(|is_hdf5)|ZipFile\(|load_weights\(|models\.load_model\(")
    found = {
        str(path.relative_to(ROOT)): sorted(set(opening.findall(path.read_text("utf-8"))))
        for folder in ("compress", "deploy")
        for path in (ROOT / folder).rglob("*.py")
        if opening.search(path.read_text("utf-8")) and path.parent.name != "guarding"
    }
    assert set(found) == {
        "compress/models/reading.py",  # Keras's own loader, behind the look-through
        "deploy/exporters/tflite/metadata.py",  # labels behind a TFLite file of its own
        "deploy/targets/native_runner.py",  # the wheel of the installed runtime
    }


def test_a_large_archive_loads_and_is_sized_like_a_small_one(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = load(whole / "m.keras")
    zipped = writing.saved_bytes(small)
    monkeypatch.setattr(archives, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(writing, "_ZIPPED_UP_TO", 0)
    large = load(whole / "m.keras")
    for mine, theirs in zip(large.get_weights(), small.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # HDF5 pads a file on the disk otherwise than one in memory.
    assert abs(writing.saved_bytes(large) - zipped) < 4096


def test_a_save_that_the_disk_stops_leaves_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(scratch, "_own", [])
    model, limits = load(whole / "m.keras"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError):
            writing.save(model, tmp_path / "out.keras")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path for path in tmp_path.iterdir() if path != place] == []
    # What Keras forgets there goes with the process.
    assert list(place.iterdir()) == [scratch.own_folder()]
    scratch._remove_own()


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_weights_of_every_type_that_keras_saves_are_read(kind: str, tmp_path: Path) -> None:
    """HDF5 has no name for bfloat16, and keeps such numbers as opaque bytes."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=kind)])
    model.save(tmp_path / "m.keras")
    loaded = load(tmp_path / "m.keras")
    for mine, theirs in zip(loaded.weights, model.weights, strict=True):
        assert mine.dtype == theirs.dtype == kind
        np.testing.assert_array_equal(np.asarray(mine, float), np.asarray(theirs, float))
