"""Hashes that say whether data is the same as before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.preparation.strings import packed
from edgepress.compress.data.readers.arrays import ArraySource
from edgepress.compress.data.readers.boxes.source import BoxSource
from edgepress.compress.data.readers.fixing import digest
from edgepress.compress.data.readers.images.folders import ImageSource
from edgepress.compress.data.readers.images.likeness import alike, of_arrays, of_files
from edgepress.compress.data.readers.images.reading import ImageReading
from edgepress.compress.data.readers.records.encoded import EncodedSource
from edgepress.compress.data.readers.series.overlaps import overlapping
from edgepress.compress.data.readers.sound.likeness import Likeness, of_sounds, of_waves
from edgepress.compress.data.readers.sound.reading import SoundSource
from edgepress.compress.data.readers.texts.likeness import alike_texts
from edgepress.compress.data.splits.setting_aside import Copies, copies_of
from edgepress.compress.kernel.files import sha256
from edgepress.compress.specs.recipe import DataSpec

if TYPE_CHECKING:
    from edgepress.compress.data.dataset import Source

Pairs = NDArray[np.int64]
# The digests of each split's samples; None where there are none.
Digests = dict[str, list[bytes] | None]
# Sets beyond this are not searched for equal samples: it would take longer than it is worth.
_MOST_COMPARED = 200_000


def spec_hash(content: str, spec: DataSpec) -> str:
    """Hash of the content and of what changes which samples a model sees, or what is made of them.

    Losses and metrics in files of the user's, and files of events, count with what they hold.
    """
    settings = spec.model_dump(mode="json", exclude={"spec"})
    events = [] if spec.events is None else [Path(spec.events)]
    code = [sha256(path) for path in (*own_files(spec), *events)]
    whole = f"{content}{settings}{code or ''}"
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


def own_files(spec: DataSpec) -> list[Path]:
    """The Python files that losses and metrics are named in."""
    named = [text.rpartition(":")[0] for text in (*spec.loss, *spec.metric)]
    # Of out=map:file.py:function what stands behind the names of output and metric.
    forms = [[n, *(n.partition(mark)[2] for mark in "=:"), n.rpartition(":")[2]] for n in named]
    files = [[p for p in map(Path, form) if p.suffix == ".py" and p.is_file()] for form in forms]
    return [found[0] for found in files if found]


def arrays_hash(arrays: Mapping[str, Any]) -> str:
    """Hash of arrays by name, their shapes and types; lists and mappings of them included."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        if isinstance(arrays[name], list | tuple | Mapping):
            found.update(
                f"{name}{arrays_hash(_numbered(arrays[name]))}".encode("utf-8", "surrogatepass")
            )
            continue
        value = np.ascontiguousarray(arrays[name])
        found.update(f"{name}{value.shape}{value.dtype}".encode("utf-8", "surrogatepass"))
        found.update(packed(value))
    return found.hexdigest()


def _numbered(values: NDArray[Any]) -> Mapping[str, Any]:
    if isinstance(values, Mapping):
        return values
    return {f"{number:09d}": np.asarray(value) for number, value in enumerate(values)}


def folder_hash(folder: Path) -> str:
    """Hash of the names and contents of all files below a folder."""
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found.update(os.fsencode(path.relative_to(folder)))
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def sources_hash(sources: dict[str, Any]) -> str:
    """Hash of arrays in memory, or of a stream's size and the first batch that it always gives.

    A stream that shuffles would have another hash in every run, and no run could be resumed.
    """
    found = hashlib.sha256()
    for name, source in sources.items():
        found.update(f"{name}{source.size}".encode())
        if isinstance(source, ArraySource):
            targets = source.targets if isinstance(source.targets, dict) else {"y": source.targets}
            found.update(arrays_hash({**source.inputs, **targets}).encode())
            weights = source.weights
            if weights is not None:
                named = weights if isinstance(weights, dict) else {"weights": weights}
                found.update(arrays_hash(named).encode())
            continue
        one, other = (digest(next(source.batches(None, 64).as_numpy_iterator())) for _ in range(2))
        found.update(one if one == other else b"")
    return found.hexdigest()


def sample_digests(source: Source) -> list[bytes] | None:
    """A hash of the inputs of each sample, byte for byte; of images and sounds that of the file.

    Returns:
        One for each sample; None of streams, and of more samples than it is worth.
    """
    if source.size > _MOST_COMPARED:
        return None
    if isinstance(source, ArraySource):
        rows = zip(*source.inputs.values(), strict=True)
        return [_digest(b"".join(packed(np.asarray(a)) for a in row)) for row in rows]
    if isinstance(source, ImageSource | SoundSource | BoxSource):
        return [_digest(Path(path).read_bytes()) for path in source.paths]
    if isinstance(source, EncodedSource):
        return [_digest(item) for item in source.items]
    return None


def copies_in(source: Source, digests: list[bytes] | None) -> Copies | None:
    """Which samples are the same, and which are nearly; None where it isn't known.

    Args:
        source: The samples.
        digests: Of each of them.
    """
    if not digests:
        return None
    near = next(found for way in _WAYS if (found := way(source)) is not None)
    return copies_of(digests, near.pairs, near.recordings, near.such_as, near.certain)


_NONE = np.empty((0, 2), np.int64)


@dataclass(frozen=True)
class _Near:
    """Samples that are nearly the same, in the way in which samples of their kind may be.

    Its attributes are arguments of `copies_of`.
    """

    pairs: Pairs
    recordings: bool = True
    such_as: str = ""
    certain: Pairs = field(default_factory=lambda: _NONE)


def _near_texts(source: Source) -> _Near | None:
    texts = _texts(source)
    if texts is None:
        return None
    return _Near(alike_texts(texts), such_as="a text of which a word or two differ")


def _near_sounds(source: Source) -> _Near | None:
    sounds = _sounds(source)
    if sounds is None:
        return None
    changed = "a sound that was saved otherwise, made louder or cut at another moment"
    return _Near(alike(sounds.looks), such_as=changed, certain=sounds.cuts())


def _windows(source: Source) -> _Near | None:
    shared = _overlaps(source)
    if not len(shared):
        return None
    return _Near(_NONE, not _are_rows(source), "a window that shares steps with another", shared)


def _near_pictures(source: Source) -> _Near:
    changed = "a photograph that was saved or lit otherwise"
    return _Near(alike(_looks(source)), not _are_rows(source), changed)


# The first that knows such samples is right; pictures are what is left, none among rows of a table.
_WAYS = (_near_texts, _near_sounds, _windows, _near_pictures)


def _are_rows(source: Source) -> bool:
    """Whether samples are rows of a table."""
    return isinstance(source, ArraySource) and all(a.ndim <= 2 for a in source.inputs.values())


def _overlaps(source: Source) -> Pairs:
    """(pairs, 2) sequences that share steps; none of windows cut here, which know their rows."""
    cut_here = getattr(source, "rows", None) is not None
    if isinstance(source, ArraySource) and len(source.inputs) == 1 and not cut_here:
        return overlapping(next(iter(source.inputs.values())))
    return _NONE


def _sounds(source: Source) -> Likeness | None:
    """What sounds are like; None of other samples, and of too many."""
    if isinstance(source, SoundSource):
        return of_sounds(source.paths, source.reading)
    if isinstance(source, ArraySource) and len(source.inputs) == 1:
        return of_waves(next(iter(source.inputs.values())))
    return None


def _texts(source: Source) -> list[str] | None:
    """The texts of samples that are nothing else; None of others."""
    if not isinstance(source, ArraySource) or len(source.inputs) != 1:
        return None
    [values] = source.inputs.values()
    if values.dtype.kind not in "OSU" or values[:1].size != 1:
        return None
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.flat]


def _looks(source: Source) -> NDArray[np.float32] | None:
    """(samples, values) what pictures look like; None of other samples, and of too many."""
    if isinstance(source, ArraySource):
        images = list(source.inputs.values())
        plain = len(images) == 1 and images[0].ndim == 4 and images[0].shape[-1] in (1, 3, 4)
        return of_arrays(images[0]) if plain else None
    if isinstance(source, ImageSource | EncodedSource | BoxSource):
        files = source.items if isinstance(source, EncodedSource) else source.paths
        deep = isinstance(source.reading, ImageReading) and source.reading.deep
        return None if deep else of_files(files)
    return None


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
