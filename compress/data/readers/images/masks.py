"""Target images that number the classes of pixels: told from pictures by what all of them hold."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgepress.compress.data.inferring.target_reading import VOID
from edgepress.compress.data.readers.images.image_files import refuse_unreadable
from edgepress.compress.data.readers.images.limits import decoding, fault_of, open_image
from edgepress.compress.data.readers.images.pixels import deep_values, depth_of, palette_of
from edgepress.compress.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
Colour = tuple[int, int, int]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
# More colours than this in one file, and it is a picture.
_MOST_COLOURS = 64
# Pictures have more levels of grey than this.
_MOST_LEVELS = 8
# Files by which pictures are known; masks are looked at to the last one.
_FIRST = 32
# Of a mask that a lossy format has blurred, so few pixels lie between dark and bright.
_DARK, _BRIGHT, _MOST_BETWEEN = 32, 223, 0.05
_AT_ONCE = 4


@dataclass(frozen=True)
class Pixels:
    """What one target image holds.

    Attributes:
        values: The distinct numbers, of one that has a number for each pixel; else None.
        palette: The colours of those numbers, where the file gives them.
        between: Share of pixels that are neither dark nor bright.
        lossy: Whether the format blurs values.
        many: Whether it has more colours than masks have.
    instead: What it has instead of numbers.
    """

    values: Array | None
    palette: dict[int, Colour] = field(default_factory=dict)
    between: float = 0.0
    lossy: bool = False
    many: bool = False
    instead: str = "colours"


@dataclass(frozen=True)
class Output:
    """What is known of the output that target images are for.

    Attributes:
        name: Of the output.
        channels: How many it has.
        of_classes: Whether it tells classes apart, by its activation or loss.
        of_values: Whether it gives values, by its activation or loss.
    """

    name: str
    channels: int
    of_classes: bool
    of_values: bool


@dataclass(frozen=True)
class MaskReading:
    """Reads class numbers: never resampled but to the nearest, never as colours.

    Attributes:
        size_px: (height, width).
        flat: Whether there is no axis of channels.
        white: The number that stands for class 1, where it isn't 1.
        threshold: From which number on it is class 1, where a lossy format has blurred them.
        by_colour: Whether palettes of black and white are read as these, not by their numbers.
        wide: Whether there are numbers above 255.
        void: The number of pixels without a class, which they keep; None where there is none.
    """

    size_px: tuple[int, int]
    flat: bool
    white: int = 1
    threshold: int = 0
    by_colour: bool = False
    wide: bool = False
    void: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width) or (height, width, 1)."""
        return self.size_px if self.flat else (*self.size_px, 1)

    @property
    def dtype(self) -> type[np.integer[Any]]:
        """uint8, or int32 where numbers are larger."""
        return np.int32 if self.wide else np.uint8

    def read(self, path: str) -> Array:
        """The class of each pixel of a file, in the shape that it says.

        Raises:
            InputError: The file is no readable image.
        """
        from PIL import Image

        with decoding(path):
            found = _numbers_of(path, self.by_colour)
        if self.threshold:
            found = (found >= self.threshold).astype(self.dtype)
        elif self.white != 1:
            white = (found == self.white).astype(self.dtype)
            found = white if self.void is None else np.where(found == self.void, self.void, white)
        if found.shape != self.size_px:
            image = Image.fromarray(found.astype(np.int32))
            found = np.asarray(image.resize(self.size_px[::-1], Image.Resampling.NEAREST))
        return found.astype(self.dtype).reshape(self.shape)


def mask_reading(
    paths: Sequence[str], output: Output, size_px: tuple[int, int], void: int | None = None
) -> tuple[MaskReading | None, tuple[int, ...], list[str]]:
    """How target images are read as class numbers, if they are masks.

    All of them decide, so that a file that holds one class alone is read as the others are.

    Args:
        paths: The target images.
        output: What they are targets of.
        size_px: (height, width) that they are read at.
        void: The number that marks pixels without a class; None where no such is known.

    Returns:
        The reading, None for pictures; files that together hold every class number; remarks.

    Raises:
        InputError: A file can't be read, or holds what the output has no class for.
    """
    some = _survey(paths[:_FIRST])
    if void is None and _decided(paths, some, output, size_px, void)[0] is None:
        return None, (), []
    found = some + _survey(paths[_FIRST:])
    reading, notes = _decided(paths, found, output, size_px, void)
    return reading, _showing(found), notes


def _decided(
    paths: Sequence[str],
    found: Sequence[Pixels],
    output: Output,
    size_px: tuple[int, int],
    void: int | None,
) -> tuple[MaskReading | None, list[str]]:
    decisions = zip(paths, found, strict=False)
    without = [(path, pixels.instead) for path, pixels in decisions if pixels.values is None]
    if without:
        if output.of_classes or (output.channels == 1 and not any(p.many for p in found)):
            path, instead = without[0]
            raise InputError(
                f"target '{path}' holds {instead}, output '{output.name}' takes class numbers",
                "save masks as grey or palette PNG files whose values are the classes' numbers",
            )
        return None, []
    by_colour = _black_and_white(found)
    values = np.unique(np.concatenate([_values(pixels, by_colour) for pixels in found]))
    values = values[values != void]
    if output.of_values and void is None and not any(pixels.palette for pixels in found):
        return None, []
    if output.channels <= 2:
        reading, notes = _two_classes(found, values, size_px, by_colour, output.channels == 2, void)
        if reading is not None:
            return reading, notes
    if output.channels == 1:
        _refuse_many(found, values, output, void)
        return None, []
    return _classes(paths, found, values, output, size_px, void)


def _two_classes(
    found: Sequence[Pixels],
    values: Array,
    size_px: tuple[int, int],
    by_colour: bool,
    flat: bool,
    void: int | None,
) -> tuple[MaskReading | None, list[str]]:
    """How masks of two classes are read, None if they are none: class 1 is what is not 0."""
    if void is not None and len(values) == 1:
        raise InputError(
            f"masks hold {values[0]} and {void} alone, and without {void} one class is left",
            f"leave ignore_label out if {void} is a class",
        )
    high, wide = int(values.max(initial=0)), max(values.max(initial=0), void or 0) > VOID
    if set(values) <= {0, 1, VOID} and (1 in values or VOID not in values):
        return MaskReading(size_px, flat, by_colour=by_colour, wide=wide, void=void), []
    if len(values) == 1 or (len(values) == 2 and values[0] == 0):
        note = f"masks of 0 and {high} are read as classes 0 and 1"
        return MaskReading(size_px, flat, high, 0, by_colour, wide, void), [note]
    blurred = all(p.lossy and p.between < _MOST_BETWEEN for p in found) and high <= VOID
    if void is None and blurred and values[0] < _DARK and high > _BRIGHT:
        note = "masks are blurred by a lossy format: values from 128 on are read as class 1"
        return MaskReading(size_px, flat, threshold=128, by_colour=by_colour), [note]
    return None, []


def _refuse_many(found: Sequence[Pixels], values: Array, output: Output, void: int | None) -> None:
    """Refuse class numbers for one channel, which palettes, a void label or their number show."""
    if void is not None or any(pixels.palette for pixels in found):
        raise InputError(
            f"masks hold class numbers up to {values.max()}, output '{output.name}' has one"
            " channel",
            "a model with an output for each class is needed",
        )
    if 1 < len(values) <= _MOST_LEVELS and not any(p.lossy for p in found):
        listed = ", ".join(map(str, values))
        raise InputError(
            f"target images hold {listed} alone, which are no two classes for the one channel of"
            f" output '{output.name}'",
            "save masks as 0 and one more number; --ignore-label N if one of them marks pixels"
            " without a class, --loss mse if they are pictures",
        )


def _classes(
    paths: Sequence[str], found: Sequence[Pixels], values: Array, output: Output,
    size_px: tuple[int, int], void: int | None,
) -> tuple[MaskReading | None, list[str]]:  # fmt: skip
    """How masks of an output with a channel for each class are read."""
    wide = bool(max(values.max(initial=0), void or 0) > VOID)
    beyond = [v for v in values if v >= output.channels and v != VOID]
    if not beyond:
        blurred = next((p for p, x in zip(paths, found, strict=False) if x.lossy), None)
        if blurred is not None and len(values) > 1:
            raise InputError(f"mask '{blurred}' is of a lossy format", _lossy_hint(found))
        _check_palettes(paths, found)
        return MaskReading(size_px, flat=True, wide=wide, void=void), []
    if not output.of_classes and void is None:
        return None, []
    by_path = zip(paths, found, strict=False)
    first = next(p for p, pixels in by_path if beyond[0] in _values(pixels, by_colour=False))
    raise InputError(
        f"target '{first}' holds class number {beyond[0]}, output '{output.name}' has"
        f" {output.channels} classes (0 to {output.channels - 1})",
        _lossy_hint(found) or f"number the classes from 0 to {output.channels - 1}",
    )


def _lossy_hint(found: Sequence[Pixels]) -> str:
    """What to do where a lossy format has blurred class numbers; empty where none has."""
    lossy = any(pixels.lossy for pixels in found)
    return "JPEG and lossy WebP blur class numbers: save masks as PNG files" if lossy else ""


def _survey(paths: Sequence[str]) -> list[Pixels]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(_pixels_or_fault, paths))
    refuse_unreadable(paths, found)
    return [pixels for pixels in found if isinstance(pixels, Pixels)]


def _pixels_or_fault(path: str) -> Pixels | str:
    try:
        return _pixels(path)
    except Exception as error:  # Pillow raises many kinds: OSError, SyntaxError, ValueError, …
        return fault_of(error, path)


def _pixels(path: str) -> Pixels:
    with open_image(path) as image:
        if depth_of(image) == "float":
            return Pixels(None, many=True, instead="floats")
        if "A" in image.getbands() and len(set(image.getchannel("A").getextrema())) > 1:
            return Pixels(None, instead="transparent pixels beside others")
        lossy = image.format in ("JPEG", "WEBP")
        if image.mode in ("RGB", "RGBA", "CMYK", "YCbCr") and not _is_grey(image):
            return Pixels(None, many=image.convert("RGB").getcolors(_MOST_COLOURS) is None)
        palette = _palette(image)
    numbers = _numbers_of(path, by_colour=False)
    values = np.unique(numbers)
    between = float(((numbers > _DARK) & (numbers < _BRIGHT)).mean()) if lossy else 0.0
    used = {int(v): palette[v] for v in values if v < len(palette)}
    return Pixels(values, used, between, lossy, len(values) > _MOST_COLOURS)


def _palette(image: Image) -> list[Colour]:
    """The colours of a file's palette; none where it is that of greys, or there is none."""
    if image.mode not in ("P", "PA"):
        return []
    raw = palette_of(image)
    if np.array_equal(raw, np.arange(len(raw))[:, None].repeat(3, 1)):
        return []
    return [(int(r), int(g), int(b)) for r, g, b in raw]


def _is_grey(image: Image) -> bool:
    values = np.asarray(image.convert("RGB"))
    return bool((values == values[..., :1]).all())


def _numbers_of(path: str, by_colour: bool) -> Array:
    """(height, width) the number of each pixel of an upright image."""
    from PIL import ImageOps

    with open_image(path) as file:
        if depth_of(file) != "8-bit":
            return deep_values(path)[..., 0].astype(np.int32)
        image = ImageOps.exif_transpose(file)
        if image.mode == "PA":
            image = image.convert("P")
        if image.mode != "P" or by_colour:
            image = image.convert("RGB").getchannel(0)
        return np.asarray(image)


def _values(pixels: Pixels, by_colour: bool) -> Array:
    assert pixels.values is not None
    if not (by_colour and pixels.palette):
        return pixels.values
    return np.array(sorted({colour[0] for colour in pixels.palette.values()}))


def _black_and_white(found: Sequence[Pixels]) -> bool:
    """Whether palettes hold black and white alone: their numbers may stand for either."""
    colours = {colour for pixels in found for colour in pixels.palette.values()}
    return bool(colours) and colours <= {_WHITE, _BLACK}


def _check_palettes(paths: Sequence[str], found: Sequence[Pixels]) -> None:
    """Refuse palettes in which a number has different colours: then it isn't a class's number."""
    seen: dict[int, tuple[Colour, str]] = {}
    for path, pixels in zip(paths, found, strict=False):
        for number, colour in pixels.palette.items():
            first, where = seen.setdefault(number, (colour, path))
            if first != colour:
                raise InputError(
                    f"class number {number} has the colour {first} in '{where}' and {colour} in"
                    f" '{path}': the palettes differ, so numbers don't stand for classes",
                    "save all masks with one palette",
                )


def _showing(found: Sequence[Pixels]) -> tuple[int, ...]:
    """Places of files that together hold every number."""
    places: dict[int, int] = {}
    for place, pixels in enumerate(found):
        for value in pixels.values if pixels.values is not None else ():
            places.setdefault(int(value), place)
    return tuple(dict.fromkeys(places.values()))
