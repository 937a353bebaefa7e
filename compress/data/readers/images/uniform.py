"""How all images of a folder are read alike, and what that leaves out of them."""

from __future__ import annotations

from edgepress.compress.data.readers.images.image_files import Survey
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec

_EIGHT_BITS = 255
# Modes of images whose values, or copies of them, are those of so many channels.
_SAME_VALUES = {1: ("L",), 3: ("L", "RGB", "RGBA"), 4: ("RGBA",)}
# Depths of cameras and of files: what their full scale may be.
_BITS = (8, 10, 12, 14, 16)


def are_deep(survey: Survey, spec: DataSpec) -> bool:
    """Whether images are read as they are stored, since 8 bits would cut them.

    Args:
        survey: What the files hold.
        spec: How values are prepared.

    Raises:
        InputError: Files differ in depth so that their values don't mean the same, or the
            preparation is one of 8 bits.
    """
    if not survey.deep:
        return False
    whole = [depth for depth in survey.depths if depth != "float"]
    mixed = len(whole) < len(survey.depths) > 1
    if mixed or ("8-bit" in survey.depths and survey.high > _EIGHT_BITS):
        (one, first), (other, second) = list(survey.depths.items())[:2]
        raise InputError(
            f"'{first}' holds {one} values and '{second}' {other} ones, which don't mean the same",
            "save all images of the folder alike",
        )
    if spec.preprocess is not None and (survey.high > _EIGHT_BITS or not whole):
        raise InputError(
            f"--preprocess {spec.preprocess} is for values from 0 to 255,"
            f" the images run from {survey.low:g} to {survey.high:g}",
            "use --scale, --mean and --std",
        )
    return True


def is_plain(survey: Survey, size_px: tuple[int, int], channels: int) -> bool:
    """Whether any decoder of PNG files gives the values that are read: nothing is converted.

    Args:
        survey: What the files hold.
        size_px: (height, width) that they are read at.
        channels: Channels that are read.
    """
    modes = _SAME_VALUES[channels]
    return bool(survey.plain) and all(
        mode in modes and (height, width) == size_px for mode, width, height in survey.plain
    )


def full_scale(high: float) -> int:
    """The largest value of the fewest bits that hold a value, as cameras count bits."""
    return next((2**bits - 1 for bits in _BITS if high < 2**bits), 2**32 - 1)


def remarks(survey: Survey, spec: DataSpec, channels: int, what: str = "images") -> list[str]:
    """What should be known of how the images are read, one line each.

    Args:
        survey: What the files hold.
        spec: How values are prepared.
        channels: Channels that are read.
        what: What the images are.
    """
    found = []
    if survey.deep:
        text = (
            f"the {what} hold {' and '.join(survey.depths)} values, from {survey.low:g} to"
            f" {survey.high:g}: they are read as they are stored"
        )
        top = full_scale(survey.high)
        if survey.high > _EIGHT_BITS and spec.std is None and (spec.scale or 1) > 1.5 / top:
            text += f"; to scale them to 0..1, pass --scale 1/{top}"
        found.append(text)
    number, first = survey.transparent
    if number and channels < 4:
        found.append(
            f"{_share(number, survey)} {what} have transparent pixels, such as '{first}': alpha is"
            " left out, and the colours beneath it are read"
        )
    number, first = survey.colour
    if number and channels == 1:
        found.append(
            f"{_share(number, survey)} {what} are in colour, such as '{first}': they are read as"
            " grey, for the model takes one channel"
        )
    number, first = survey.frames
    if number:
        found.append(
            f"{_share(number, survey)} {what} hold several frames, such as '{first}': the first"
            " of each is read"
        )
    return found


def _share(number: int, survey: Survey) -> str:
    return f"{number:,} of {survey.count:,}"
