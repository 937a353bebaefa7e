"""Texts that are nearly the same: other capitals, blanks and marks, a word or two replaced."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.int64]
_MOST_TEXTS = 20_000
# Of the pairs of neighbouring words that two texts have, the share both have, from which on they
# are nearly the same: one word in ten, or two in twenty, may differ.
_ALIKE = 0.6
# Neighbours that more texts have, as "of the", don't lead from one text to another.
_COMMON = 100
# Pairs for each text from which on likeness says nothing, as of sentences made by one pattern.
_MOST_PAIRS = 20
_CHUNK = 1024


def alike_texts(texts: Sequence[str]) -> Pairs:
    """(pairs, 2) places of texts that are nearly the same.

    None where most texts are like many others, and of more than 20,000 texts. Source: Broder 1997,
    "On the resemblance and containment of documents", with shingles of two words.

    Args:
        texts: The texts.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    if len(texts) > _MOST_TEXTS:
        return np.empty((0, 2), np.int64)
    vectorizer = HashingVectorizer(
        analyzer=_shingles, n_features=2**22, norm=None, binary=True, alternate_sign=False,
        dtype=np.float32,
    )  # fmt: skip
    held = vectorizer.transform(texts).tocsr()
    sizes = np.diff(held.indptr).astype(np.float32)
    counts = np.bincount(held.indices, minlength=held.shape[1])
    rare = held[:, np.flatnonzero((counts > 1) & (counts <= _COMMON))]
    across, found = rare.T.tocsc(), []
    for start in range(0, len(texts), _CHUNK):
        near = (rare[start : start + _CHUNK] @ across).tocoo()
        one, other = near.row + start, near.col
        upper = one < other
        one, other = one[upper], other[upper]
        shared = np.asarray(held[one].multiply(held[other]).sum(1)).ravel()
        kept = shared >= _ALIKE * (sizes[one] + sizes[other] - shared)
        found.append(np.stack([one[kept], other[kept]], 1))
        if sum(map(len, found)) > _MOST_PAIRS * len(texts):
            return np.empty((0, 2), np.int64)
    return np.concatenate(found).astype(np.int64)


def _shingles(text: str) -> Iterator[str]:
    """Pairs of neighbouring words, without capitals and marks; a text of one word is that word."""
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    yield from (" ".join(pair) for pair in itertools.pairwise(words))
    if len(words) == 1:
        yield words[0]
