"""HDF5 files that were looked through before a dataset in them is read.

HDF5 lets a file name other files: by external links, by external storage and by virtual datasets.
A model needs none of them, and one from somebody else could carry any file of this machine into
an output. It also lets a dataset declare a shape without storing it.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import check_regular
from edgepress.compress.models.guarding.archives import open_archive
from edgepress.compress.models.guarding.limits import check_memory, memory_limit

if TYPE_CHECKING:
    import h5py

WEIGHTS = "model.weights.h5"
# Deflate's limit is 1032; others that are read pack less tightly, or to a size of their own.
_RATIO = 1100
# Below, a shape of which nothing is stored does no harm: HDF5 leaves out what was never written.
_SMALL_BYTES = 2**20
# Keras writes numbers of types that HDF5 lacks, as bfloat16, as opaque bytes.
_NARROW_BYTES = 2
_DEFLATE, _SHUFFLE, _CHECKSUM, _SZIP, _NBIT, _SCALEOFFSET, _LZF = 1, 2, 3, 4, 5, 6, 32000
_PACKERS = frozenset({_DEFLATE, _SZIP, _NBIT, _SCALEOFFSET, _LZF})
_FILTERS = _PACKERS | {_SHUFFLE, _CHECKSUM}


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    import h5py

    return path.is_file() and bool(h5py.is_hdf5(path))


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """An HDF5 file, open for reading, that refers to no other file.

    Args:
        path: The file.

    Yields:
        The `h5py.File`.

    Raises:
        InputError: It is no regular file, an object in it refers to another file or is packed by a
            filter that isn't read, or its datasets declare more than the file can hold.
        OSError: It is no HDF5 file, or can't be read.
    """
    check_regular(path)
    with _looked_through(path, path, path.stat().st_size) as (file, _):
        yield file


@contextmanager
def _looked_through(stored: Any, path: Path, size: int) -> Iterator[tuple[Any, int]]:
    """An open `h5py.File` whose objects are all allowed, and the bytes of what they declare.

    Args:
        stored: A path, or a file of bytes.
        path: What it is called in messages.
        size: Bytes of the file.
    """
    import h5py

    with h5py.File(stored, "r") as file:
        yield file, _check_objects(file, path, size)


@contextmanager
def open_weights(archive: zipfile.ZipFile, path: Path) -> Iterator[Any]:
    """The weights of a `.keras` archive, checked like those of a file.

    Args:
        archive: The open archive.
        path: Its path.

    Yields:
        The `h5py.File`. What isn't compressed is read in place, not copied.

    Raises:
        InputError: As for `open_hdf5`.
        KeyError: The archive holds no weights in HDF5.
        OSError: They are damaged.
    """
    member = archive.getinfo(WEIGHTS)
    with (
        _seekable(archive, member) as stored,
        _looked_through(stored, path, member.file_size) as (file, _),
    ):
        yield file


@contextmanager
def _seekable(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Any]:
    """A member as a file: its place in the archive, or unpacked to a temporary file."""
    if member.compress_type == zipfile.ZIP_STORED and archive.filename:
        with archive.open(member):  # checks the member's own head
            pass
        with Path(archive.filename).open("rb") as file:
            file.seek(member.header_offset + 26)
            lengths = file.read(4)
            begin = member.header_offset + 30
            begin += int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            yield io.BufferedReader(_Part(file, begin, member.file_size), 2**16)
        return
    with tempfile.TemporaryFile() as unpacked:
        with archive.open(member) as packed:
            shutil.copyfileobj(packed, unpacked, 2**20)
        yield unpacked


class _Part(io.RawIOBase):
    """Some bytes of a file as a file of its own."""

    def __init__(self, file: io.BufferedReader, begin: int, size: int) -> None:
        super().__init__()
        self._file, self._begin, self._size, self._place = file, begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = max(0, offset + (0, self._place, self._size)[whence])
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._place)]
        self._file.seek(self._begin + self._place)
        count = int(self._file.readinto(view)) if len(view) else 0
        self._place += count
        return count


def check_keras_file(path: Path) -> int:
    """Look through a `.keras` archive or an HDF5 file, before Keras reads it.

    Args:
        path: The file.

    Returns:
        Bytes of all numbers that it declares.

    Raises:
        InputError: As for `open_archive` and `open_hdf5`.
        OSError: It is damaged.
    """
    check_regular(path)
    if not zipfile.is_zipfile(path):
        with _looked_through(path, path, path.stat().st_size) as (_, declared):
            return declared
    with open_archive(path) as archive:
        if WEIGHTS not in archive.namelist():
            return sum(member.file_size for member in archive.infolist())
        member = archive.getinfo(WEIGHTS)
        with (
            _seekable(archive, member) as stored,
            _looked_through(stored, path, member.file_size) as (_, declared),
        ):
            return declared


@dataclass(frozen=True)
class _Dataset:
    name: str
    declared: int
    stored: int
    chunk: int
    largest: int
    filters: tuple[int, ...]


def _check_objects(file: h5py.File, path: Path, size: int) -> int:
    """Refuse objects that lead out of an HDF5 file or declare more than it holds.

    Args:
        file: The `h5py.File`; no dataset of it is read.
        path: What it is called in messages.
        size: Bytes of the file.

    Returns:
        Bytes of all numbers that it declares.
    """
    total = 0
    for found in _datasets(file, path):
        _check_dataset(found, path, size)
        total += max(found.declared, found.chunk)
    check_memory(path, total, size)
    return total


def _datasets(file: h5py.File, path: Path) -> Iterator[_Dataset]:
    """All datasets, by every name that leads to them; follows no link but hard ones.

    Raises:
        InputError: Something leads out of the file, or a group has two names.
    """
    from h5py import h5d, h5g, h5o

    root = h5g.open(file.id, b"/")
    waiting = [("", root)]
    # Two names for each of forty groups, one in another, would be 2**40 names.
    seen = {h5o.get_info(root).addr}
    while waiting:
        where, group = waiting.pop()
        for key in list(group):
            name = f"{where}/{key.decode('utf-8', 'replace')}"
            _check_link(group.links.get_info(key).type, name, path)
            found = h5o.open(group, key)
            if isinstance(found, h5d.DatasetID):
                yield _described(found, name, path)
            elif isinstance(found, h5g.GroupID):
                address = h5o.get_info(found).addr
                if address in seen:
                    raise _refusal(path, name, "is a group that has another name, too")
                seen.add(address)
                waiting.append((name, found))


def _check_link(kind: int, name: str, path: Path) -> None:
    from h5py import h5l

    if kind == h5l.TYPE_HARD:
        return
    words = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}
    raise _refusal(path, name, f"is {words.get(kind, 'a link of a kind of its own')}")


def _described(dataset: h5py.h5d.DatasetID, name: str, path: Path) -> _Dataset:
    """A dataset's sizes, asked for only once it is known to lie in this file."""
    from h5py import h5d, h5t

    made = dataset.get_create_plist()
    if made.get_layout() == h5d.VIRTUAL:
        raise _refusal(path, name, "is a virtual dataset, whose numbers lie in other files")
    if made.get_external_count():
        raise _refusal(path, name, "keeps its numbers in another file")
    kind = dataset.get_type()
    narrow = kind.get_class() == h5t.OPAQUE and kind.get_size() <= _NARROW_BYTES
    others = (h5t.VLEN, h5t.REFERENCE, h5t.OPAQUE)
    if (kind.get_class() in others and not narrow) or kind.detect_class(h5t.VLEN):
        raise _refusal(path, name, "holds no plain numbers")
    declared = chunk = kind.get_size()
    for length in dataset.shape:
        declared *= length
    chunked = made.get_layout() == h5d.CHUNKED
    for length in made.get_chunk() if chunked else ():
        chunk *= length
    filters = tuple(made.get_filter(i)[0] for i in range(made.get_nfilters()))
    largest = 0
    if chunked and filters:
        count = dataset.get_num_chunks()
        largest = max((dataset.get_chunk_info(i).size for i in range(count)), default=0)
    stored = declared if made.get_layout() == h5d.COMPACT else dataset.get_storage_size()
    return _Dataset(name, declared, stored, chunk if chunked else 0, largest, filters)


def _check_dataset(found: _Dataset, path: Path, size: int) -> None:
    packers = [kind for kind in found.filters if kind in _PACKERS]
    if set(found.filters) - _FILTERS or len(packers) > 1:
        raise _refusal(path, found.name, "is packed in a way that isn't read", "save it unpacked")
    takes = max(found.declared, found.chunk)
    holds = min(found.stored, size) * (_RATIO if packers else 1)
    if takes > max(_SMALL_BYTES, holds):
        raise _refusal(
            path,
            found.name,
            f"declares {takes:,} bytes, of which {found.stored:,} are stored",
            "copy or download it again",
        )
    # A chunk of deflated bytes unpacks to what they say, whatever its shape is.
    if packers and found.largest > 2 * found.chunk + 1024 * 64:
        raise _refusal(path, found.name, "has pieces that unpack to more than it declares")
    if packers and found.largest * _RATIO > memory_limit(size):
        raise _refusal(
            path, found.name, "is packed in pieces that are too large", "save it unpacked"
        )


def _refusal(path: Path, name: str, what: str, hint: str = "") -> InputError:
    hint = hint or "get the model from a source you trust, or save it again with model.save()"
    return InputError(f"'{path}' is not read: '{name[:200]}' in it {what}", hint)
