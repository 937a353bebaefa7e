"""Pictures that are nearly the same: saved, scaled or lit otherwise."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.images.limits import open_image

Floats = NDArray[np.float32]
Pairs = NDArray[np.int64]
# Beyond this, finding what is alike would take longer than the other looks at a folder.
MOST_IMAGES, MOST_BYTES = 20_000, 256_000_000
# Pictures are compared by means over so many parts of each side.
_PARTS = 12
# Correlation from which two are nearly the same. JPEG of quality 75 leaves as much of 19 in 20
# photographs of 32 x 32 pixels, and of larger ones more; of 18 million pairs of different
# photographs of CIFAR-10 none reaches it, of two million pairs of handwritten digits 67.
_ALIKE = 0.98
# Standard deviation, as a share of the values' range, below which a picture shows nothing.
_FLAT = 0.01
_DIRECTIONS, _SAMPLED = 16, 2000
# Pairs for each picture from which on likeness says nothing of where pictures come from; and those
# that are looked at for it.
_MOST_PAIRS, _LOOKED_AT = 20, 200
_AT_ONCE, _CHUNK = 4, 1024


def of_files(files: Sequence[str | bytes]) -> Floats | None:
    """(images, values) what pictures in files look like; None where it would take too long.

    Args:
        files: Paths, or contents of files.
    """
    if len(files) > MOST_IMAGES or sum(map(_size, files)) > MOST_BYTES:
        return None
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return np.stack(list(pool.map(_look, files)))


def of_arrays(images: NDArray[np.generic]) -> Floats | None:
    """As `of_files`, of an array (images, height, width, channels)."""
    if len(images) > MOST_IMAGES or images.nbytes > MOST_BYTES:
        return None
    parts = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    return np.concatenate([_means(part.astype(np.float32)) for part in parts])


def _size(file: str | bytes) -> int:
    return len(file) if isinstance(file, bytes) else Path(file).stat().st_size


def _look(file: str | bytes) -> Floats:
    from PIL import Image, ImageOps

    with open_image(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
        opened.draft("RGB", (2 * _PARTS, 2 * _PARTS))
        image = ImageOps.exif_transpose(opened).convert("RGB")
        small = image.resize((_PARTS, _PARTS), Image.Resampling.BOX)
        return np.asarray(small, np.float32).ravel()


def _means(images: Floats) -> Floats:
    """(images, values) means over parts of each side."""
    for axis in (1, 2):
        size = images.shape[axis]
        if size > _PARTS:
            edges = np.arange(_PARTS + 1) * size // _PARTS
            sums = np.add.reduceat(images, edges[:-1], axis)
            shape = [1, 1, 1, 1]
            shape[axis] = _PARTS
            images = sums / np.diff(edges).reshape(shape).astype(np.float32)
    return images.reshape(len(images), -1)


def alike(looks: Floats) -> Pairs:
    """(pairs, 2) places of pictures that are nearly the same.

    None where most pictures are like many others, as drawings of a few strokes are.

    Args:
        looks: (images, values) as `of_files` gives them.
    """
    from scipy.spatial import cKDTree

    span = float(looks.max() - looks.min()) or 1.0
    shown = np.flatnonzero(looks.std(1) > _FLAT * span)
    if len(shown) < 2:
        return np.empty((0, 2), np.int64)
    vectors = looks[shown] - looks[shown].mean(1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    radius = float(np.sqrt(2 * (1 - _ALIKE)))
    # No two are further apart in a few directions than in all of them.
    some = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), _SAMPLED)).astype(int)]
    spread = some - some.mean(0)
    # Those along which they differ most: the last eigenvectors, many times faster than an SVD.
    directions = np.linalg.eigh((spread.T @ spread).astype(np.float64))[1][:, -_DIRECTIONS:]
    tree = cKDTree(vectors @ directions)
    if tree.count_neighbors(tree, radius) > (1 + 2 * _LOOKED_AT) * len(vectors):
        return np.empty((0, 2), np.int64)
    pairs = tree.query_pairs(radius, output_type="ndarray").astype(np.int64)
    kept = [
        part[np.einsum("ij,ij->i", vectors[part[:, 0]], vectors[part[:, 1]]) >= _ALIKE]
        for part in np.array_split(pairs, max(1, len(pairs) // _CHUNK))
    ]
    found = np.concatenate(kept)
    if len(found) > _MOST_PAIRS * len(vectors):
        return np.empty((0, 2), np.int64)
    return np.asarray(shown[found], np.int64)
