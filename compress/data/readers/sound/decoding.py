"""Sound files as numbers: WAV by SciPy, other formats by soundfile."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.readers.class_folders import FileKind
from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.limits import check_memory

Array = NDArray[np.float32]

SOUNDS = FileKind(
    "sounds", (".wav", ".wave", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff", ".au")
)
_WAVE = (b"RIFF", b"RIFX", b"RF64")
_SAMPLE_BYTES = 4
_NEEDS_SOUNDFILE = "pip install 'edgepress[sound]'"


@dataclass(frozen=True)
class Sound:
    """What a file holds.

    Attributes:
        values: (samples, channels) from -1 to 1; of floats as they are stored.
        sample_rate: Samples a second.
    """

    values: Array
    sample_rate: int


def decoded(path: str) -> Sound:
    """A sound file's samples.

    Raises:
        InputError: Its format needs a package that isn't there.
        Exception: It is no readable sound; libraries raise many kinds.
    """
    with Path(path).open("rb") as file:
        wave = file.read(4) in _WAVE
    if not wave:
        return _by_soundfile(path)
    try:
        return _wave(path)
    except ValueError:  # a compressed WAV file, or a damaged one
        if not _has_soundfile():
            raise
        return _by_soundfile(path)


@contextmanager
def refusing_cut_files() -> Iterator[None]:
    """Take a WAV file that ends before its header says for a fault, rather than warn of it.

    Filters of warnings are the process's: enter it outside of threads.
    """
    from scipy.io.wavfile import WavFileWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WavFileWarning)
        warnings.filterwarnings("error", "Reached EOF", WavFileWarning)
        yield


def _wave(path: str) -> Sound:
    from scipy.io import wavfile

    rate, values = wavfile.read(path)
    values = values[:, None] if values.ndim == 1 else values
    return Sound(_from_one_to_one(values), int(rate))


def _from_one_to_one(values: NDArray[Any]) -> Array:
    """Whole numbers of any width as -1 to 1; 24 bits come in the upper ones of 32."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype.kind == "u":
        return ((values - 128.0) / 128).astype(np.float32)
    full = 2.0 ** (8 * values.dtype.itemsize - 1)
    return (values / full).astype(np.float32)


def _has_soundfile() -> bool:
    try:
        import soundfile  # noqa: F401
    except (ImportError, OSError):
        return False
    return True


def _by_soundfile(path: str) -> Sound:
    if not _has_soundfile():
        raise InputError("its format needs the package soundfile", _NEEDS_SOUNDFILE)
    import soundfile

    header, size = soundfile.info(path), Path(path).stat().st_size
    # Silence is packed to next to nothing; reading makes a copy.
    check_memory(path, 2 * _SAMPLE_BYTES * header.frames * header.channels, size)
    values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return Sound(values, int(rate))
