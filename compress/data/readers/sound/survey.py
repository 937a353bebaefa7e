"""What the sound files of a folder hold, and which can't be read, before any work on them."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgepress.compress.data.readers.sound.decoding import decoded, refusing_cut_files
from edgepress.compress.errors import InputError
from edgepress.compress.kernel.boundary import reason

_AT_ONCE = 4
# Values of float files above this are no rounding of a loud one: they mean something else.
_LOUD = 1.5


@dataclass(frozen=True)
class SoundFacts:
    """What one file holds.

    Attributes:
        sample_rate: Samples a second.
        channels: How many.
        samples: Of each channel.
        peak: The largest magnitude.
        plain: Whether it is a WAV file of 16 bits, which every decoder reads alike.
    """

    sample_rate: int
    channels: int
    samples: int
    peak: float
    plain: bool = False

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class Survey:
    """What the files of a folder hold, all together.

    Attributes:
        paths: The files.
        facts: What each holds.
    """

    paths: tuple[str, ...]
    facts: tuple[SoundFacts, ...]

    @property
    def rates(self) -> dict[int, str]:
        """A file of each sample rate."""
        found: dict[int, str] = {}
        for path, facts in zip(self.paths, self.facts, strict=True):
            found.setdefault(facts.sample_rate, path)
        return found

    def those(self, holds: Callable[[SoundFacts], bool]) -> tuple[int, str]:
        """How many files something holds for, and the first of them."""
        places = [place for place, facts in enumerate(self.facts) if holds(facts)]
        return len(places), self.paths[places[0]] if places else ""

    def remarks(self, sample_rate: int, samples: int, hop: int) -> list[str]:
        """What reading does to the files, one line each.

        Args:
            sample_rate: Samples a second that they are read at.
            samples: Samples that are kept.
            hop: Samples behind them that no frame begins in.
        """
        seconds, total = samples / sample_rate, len(self.paths)
        half = 0.5 / sample_rate
        longest = seconds + hop / sample_rate - half
        cases: list[tuple[Callable[[SoundFacts], bool], str]] = [
            (lambda f: f.sample_rate != sample_rate, f"are resampled to {sample_rate} Hz"),
            (lambda f: f.channels > 1, "have several channels: their mean is read"),
            (lambda f: f.seconds > longest, f"are cut to their first {seconds:g} s"),
            (lambda f: f.seconds < seconds - half, f"are padded with silence to {seconds:g} s"),
            (lambda f: f.peak == 0, "are silent"),
            (
                lambda f: f.peak > _LOUD,
                "hold floats beyond -1 to 1, which are read as they are stored",
            ),
        ]
        found = [(self.those(holds), what) for holds, what in cases]
        return [
            f"{number:,} of {total:,} sounds, such as '{first}', {what}"
            for (number, first), what in found
            if number
        ]


def survey_sounds(paths: Sequence[str]) -> Survey:
    """Decode each file once.

    Args:
        paths: The files.

    Raises:
        InputError: One can't be read, is empty or holds values that are NaN; says how many.
    """
    with refusing_cut_files(), ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(_facts, paths))
    bad = [(p, fault) for p, fault in zip(paths, found, strict=True) if isinstance(fault, str)]
    if bad:
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise InputError(
            f"'{bad[0][0]}' is not a readable sound: {bad[0][1]}{more}",
            "remove them, or copy them again" if more else "remove it, or copy it again",
        )
    return Survey(tuple(paths), tuple(f for f in found if isinstance(f, SoundFacts)))


def _facts(path: str) -> SoundFacts | str:
    """What a file holds, or what is wrong with it."""
    try:
        sound = decoded(path)
    except InputError as error:
        return error.format_message()
    except Warning as warning:
        return f"it is cut off ({warning})"
    except UnboundLocalError:  # what SciPy raises where its loop over the parts finds none
        return "its head is damaged"
    except Exception as error:  # SciPy and soundfile raise many kinds
        return reason(error).replace(f"'{path}'", "it")
    samples, channels = sound.values.shape
    if samples == 0 or channels == 0:
        return "it holds no samples"
    if sound.sample_rate <= 0:
        return f"its sample rate is {sound.sample_rate} Hz"
    if not np.isfinite(sound.values).all():
        return "it holds values that are NaN or infinite"
    peak = float(np.abs(sound.values).max())
    return SoundFacts(sound.sample_rate, channels, samples, peak, _is_plain(path))


def _is_plain(path: str) -> bool:
    """Whether it is laid out as every decoder of 16-bit WAV files takes for granted."""
    with Path(path).open("rb") as file:
        riff, _, form = _read(file, "<4sI4s")
        name, size = _read(file, "<4sI")
        if (riff, form, name, size) != (b"RIFF", b"WAVE", b"fmt ", 16):
            return False
        kind, channels, rate, each_second, block, bits = _read(file, "<HHIIHH")
        if (kind, bits, block, each_second) != (1, 16, 2 * channels, 2 * channels * rate):
            return False
        name, size = _read(file, "<4sI")
        # Behind a part of odd length some look for the next one a byte too early.
        while name not in (b"data", b"\0\0\0\0") and size % 2 == 0:
            file.seek(size, io.SEEK_CUR)
            name, size = _read(file, "<4sI")
        return name == b"data" and file.tell() + size == os.fstat(file.fileno()).st_size


def _read(file: IO[bytes], form: str) -> tuple[Any, ...]:
    """The next numbers and names of a file; zeros where it ends."""
    size = struct.calcsize(form)
    return struct.unpack(form, file.read(size).ljust(size, b"\0"))
