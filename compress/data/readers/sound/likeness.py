"""Sounds that are nearly the same: saved, cut or sampled otherwise, louder, noisier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.sound.cuts import cut_pairs, marks_of
from edgepress.compress.data.readers.sound.reading import SoundReading

Floats = NDArray[np.float32]
Pairs = NDArray[np.int64]

# Beyond this, decoding all files once more would take longer than the rest of opening them.
MOST_SOUNDS, MOST_BYTES = 20_000, 256_000_000
# Waves are compared up to half of this many samples a second: what formats leave out lies above.
_RATE = 4_000
# Numbers that a wave is told by. Of two waves that correlate by 0.98 these do so within 0.003.
_DIRECTIONS = 256
_AT_ONCE = 4
# Rows of numbers are sounds from this length on, where most swing around zero: their mean is less
# than this share of their spread.
_FEWEST_SAMPLES, _SWINGS = 1_000, 0.25
# Arrays don't say their rate; this is what sounds of few seconds mostly have.
_USUAL_RATE = 16_000
_LOOKED_AT = 200


class Likeness:
    """Sounds looked at once.

    Attributes:
        looks: (sounds, values) projections of each wave on fixed random directions, of length 1.
            Their correlation is that of the waves (Johnson and Lindenstrauss 1984), which two
            recordings of the same thing don't have: only copies of one recording do.
    """

    def __init__(self, count: int, size: int, step: int, read: Callable[[int], Floats]) -> None:
        """Look at sounds.

        Args:
            count: How many.
            size: Samples of each.
            step: Samples that count as one.
            read: Gives (size,) samples of the sound at a place.
        """
        self._step, self._read = step, read
        low = max(1, size // step)
        directions = np.random.default_rng(0).standard_normal((low, _DIRECTIONS), np.float32)

        def look(place: int) -> tuple[Floats, NDArray[np.int64]]:
            whole = read(place)
            wave = whole[: low * step]
            wave = np.pad(wave, (0, low * step - len(wave))).reshape(low, step).mean(1)
            projected = (wave - wave.mean()) @ directions
            length = np.linalg.norm(projected) or 1.0
            return np.asarray(projected / length, np.float32), marks_of(self._low(whole))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(look, range(count)))
        self.looks: Floats = np.stack([projected for projected, _ in found])
        self._marks = [marks for _, marks in found]

    def cuts(self) -> Pairs:
        """(pairs, 2) places of sounds that were cut from one recording at different moments."""
        return cut_pairs(self._marks, lambda place: self._low(self._read(place)))

    def _low(self, wave: Floats) -> Floats:
        """A wave without the high frequencies, which change with the moment of a cut if folded."""
        from scipy.signal import resample_poly

        found = resample_poly(wave, 1, self._step) if self._step > 1 else wave
        return np.asarray(found, np.float32)


def of_sounds(paths: Sequence[str], reading: SoundReading) -> Likeness | None:
    """What sound files are like; None where it would take too long.

    Args:
        paths: The files.
        reading: How they are read: all of one rate and length.
    """
    if len(paths) > MOST_SOUNDS or sum(Path(p).stat().st_size for p in paths) > MOST_BYTES:
        return None
    step = max(1, round(reading.sample_rate / _RATE))
    return Likeness(len(paths), reading.samples, step, lambda place: reading.read(paths[place]))


def of_waves(values: NDArray[Any]) -> Likeness | None:
    """As `of_sounds`, of an array (sounds, samples) or (sounds, samples, 1).

    None of what is no sound: rows that are short, or don't swing around zero.
    """
    waves = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
    if waves.ndim != 2 or waves.shape[1] < _FEWEST_SAMPLES or waves.dtype.kind not in "if":
        return None
    if len(waves) > MOST_SOUNDS or waves.nbytes > MOST_BYTES:
        return None
    some = waves[np.linspace(0, len(waves) - 1, min(len(waves), _LOOKED_AT)).astype(int)]
    spread = some.std(1, dtype=np.float64)
    if (np.abs(some.mean(1, dtype=np.float64)) > _SWINGS * spread).mean() > 0.5:
        return None
    usual = min(_USUAL_RATE, waves.shape[1])
    step = max(1, usual // _RATE)
    return Likeness(len(waves), waves.shape[1], step, lambda place: waves[place].astype(np.float32))
