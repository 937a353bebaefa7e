"""Sounds that were cut from one recording at different moments, so that parts of them are the same.

Candidates are found by pairs of peaks in their spectrograms (Wang 2003, "An industrial-strength
audio search algorithm"), which stay the same wherever a cut begins; each is then judged by the
correlation of the waves themselves at every lag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Array = NDArray[np.int64]

# Samples of a frame and between frames, at some 4,000 samples a second.
_FRAME, _HOP = 512, 64
# A peak is the highest value within so many bands and frames; so many of a frame's length are kept.
_AROUND, _PEAKS = (15, 9), 4
# Each peak is joined with so many later ones, at most so many frames behind it.
_JOINED, _AHEAD = 5, 60
# Pairs of peaks that more sounds than this have tell none apart.
_MOST_ALIKE = 24
# Pairs of peaks at one distance that make two sounds candidates, and candidates of a sound.
_VOTES, _MOST_CANDIDATES = 4, 4
# Waves correlate by this where they overlap, clearly less at any other lag (as tones do not), and
# the overlap holds this share of each sound's energy and at least so many samples.
_ALIKE, _ELSEWHERE, _SHARED, _FEWEST = 0.9, 0.9, 0.25, 400
# What low frequencies, which all sounds share, are reduced by; lags between samples that are tried.
_EMPHASIS, _FINER = 0.95, 4
# Lags nearer than this belong to the same peak of the correlation.
_NEAR = 6
# Waves that are kept while candidates are judged.
_KEPT = 512


def cut_pairs(marks: Sequence[Array], wave: Callable[[int], Floats]) -> Array:
    """(pairs, 2) places of sounds of which a part is the same at another moment.

    Args:
        marks: Of each sound, as `marks_of` gives them.
        wave: Gives (samples,) values of the sound at a place, at some 4,000 samples a second.
    """
    kept = lru_cache(_KEPT)(wave)
    pairs = _candidates(marks).tolist()
    found = [(one, other) for one, other in pairs if _overlap(kept(one), kept(other))]
    return np.array(found, np.int64).reshape(-1, 2)


def _candidates(marks: Sequence[Array]) -> Array:
    """(pairs, 2) places of sounds that share pairs of peaks at one distance."""
    sizes = [len(mark) for mark in marks]
    if not sum(sizes):
        return np.empty((0, 2), np.int64)
    every = np.concatenate(marks)
    sounds = np.repeat(np.arange(len(marks)), sizes)
    order = np.argsort(every[:, 0], kind="stable")
    keys, times, sounds = every[order, 0], every[order, 1], sounds[order]
    _, counts = np.unique(keys, return_counts=True)
    plain = np.repeat(counts <= _MOST_ALIKE, counts)
    keys, times, sounds = keys[plain], times[plain], sounds[plain]
    votes = []
    for step in range(1, _MOST_ALIKE):
        here = np.flatnonzero(keys[step:] == keys[:-step]) if step < len(keys) else keys[:0]
        if not len(here):
            break
        one, other = sounds[here], sounds[here + step]
        lags = times[here + step] - times[here]
        swapped = one > other
        one, other = np.where(swapped, other, one), np.where(swapped, one, other)
        lags = np.where(swapped, -lags, lags)
        votes.append(np.stack([one, other, lags], 1)[one != other])
    return _elected(np.concatenate(votes)) if votes else np.empty((0, 2), np.int64)


def _elected(votes: Array) -> Array:
    """Pairs with enough votes at one lag, give or take a frame; the best of each sound."""
    rounds = []
    for phase in (0, 1):
        kinds = np.concatenate([votes[:, :2], (votes[:, 2:] + phase) // 2], 1)
        pairs, counts = np.unique(kinds, axis=0, return_counts=True)
        rounds.append(np.concatenate([pairs[:, :2], counts[:, None]], 1)[counts >= _VOTES])
    both = np.concatenate(rounds)
    both = both[np.argsort(-both[:, 2], kind="stable")]
    taken: dict[tuple[int, int], None] = {}
    candidates: dict[int, int] = {}
    for one, other, _ in both.tolist():
        if (one, other) in taken or any(
            candidates.get(sound, 0) >= _MOST_CANDIDATES for sound in (one, other)
        ):
            continue
        taken[one, other] = None
        for sound in (one, other):
            candidates[sound] = candidates.get(sound, 0) + 1
    return np.array(list(taken), np.int64).reshape(-1, 2)


def marks_of(wave: Floats) -> Array:
    """(marks, 2) number of each pair of peaks of a sound, and the frame that it begins in.

    Args:
        wave: (samples,) values at some 4,000 samples a second.
    """
    from scipy.ndimage import maximum_filter

    if len(wave) < _FRAME or not wave.any():
        return np.empty((0, 2), np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(_emphasised(wave), _FRAME)[::_HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1))
    highest = maximum_filter(spectrum, (_AROUND[1], _AROUND[0]), mode="constant")
    places = np.argwhere((spectrum == highest) & (spectrum > 0))
    most = max(_JOINED + 1, round(_PEAKS * len(wave) / _FRAME))
    strongest = np.argsort(-spectrum[places[:, 0], places[:, 1]], kind="stable")[:most]
    peaks = places[np.sort(strongest)]
    found = []
    for step in range(1, _JOINED + 1):
        here, there = peaks[:-step], peaks[step:]
        ahead = there[:, 0] - here[:, 0]
        key = (here[:, 1] * _FRAME + there[:, 1]) * (_AHEAD + 1) + ahead
        found.append(np.stack([key, here[:, 0]], 1)[ahead <= _AHEAD])
    return np.concatenate(found) if found else np.empty((0, 2), np.int64)


def _emphasised(wave: Floats) -> Floats:
    """The differences of neighbouring samples, nearly: each frequency counts then."""
    found: Floats = wave.astype(np.float32)
    return np.append(found[:1], found[1:] - np.float32(_EMPHASIS) * found[:-1])


def _overlap(one: Floats, other: Floats) -> bool:
    """Whether a part of two sounds is the same, and the same at one lag alone."""
    first, second = _emphasised(one), _emphasised(other)
    size = len(first) + len(second)
    product = np.fft.rfft(first, size) * np.fft.rfft(second, size).conj()
    fine = np.fft.irfft(product, _FINER * size) * _FINER
    # Places 0, 1, … are lags of the first sound behind the second's start; the last ones before it.
    steps = np.arange(-len(second) + 1, len(first))
    rows = fine[(steps[:, None] * _FINER + np.arange(_FINER)) % (_FINER * size)]
    raw = np.abs(rows).max(1)
    shared_one, shared_other = _shared(first, second, steps)
    enough = (
        (shared_one >= _SHARED * shared_one.max())
        & (shared_other >= _SHARED * shared_other.max())
        & (np.minimum(len(first), steps + len(second)) - np.maximum(0, steps) >= _FEWEST)
    )
    like = np.where(enough, raw / np.sqrt(np.maximum(shared_one * shared_other, 1e-30)), 0.0)
    best = int(like.argmax())
    apart = np.abs(steps - steps[best]) > _NEAR
    elsewhere = float(like[apart].max()) if apart.any() else 0.0
    return bool(like[best] >= _ALIKE and elsewhere <= _ELSEWHERE * like[best])


def _shared(
    first: Floats, second: Floats, steps: Array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The energy that each of two sounds has where they overlap, at each lag."""
    sums = [
        np.concatenate([[0.0], np.cumsum(np.square(x, dtype=np.float64))]) for x in (first, second)
    ]
    begin = np.maximum(0, steps)
    end = np.minimum(len(first), steps + len(second))
    return sums[0][end] - sums[0][begin], sums[1][end - steps] - sums[1][begin - steps]
