"""What was found where the data is, before a task is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgepress.compress.data.preparation.sound import SoundInput
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec, SeriesSpec, SoundSpec, Spec

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Opened:
    """Sources by split ("all" where the data has no splits), and what is known of them.

    Attributes:
        sources: By split.
        fingerprint: Hash of the content.
        class_names: Names of the classes, where the data has them.
        notes: What should be known of how it is read, one line each.
        unlabelled: Splits whose targets only stand in for labels.
        sound: From the samples of sounds to the model's input, where they are sounds.
        heeded: Options of `SoundSpec` and `SeriesSpec`, and `target`, that had a meaning.
    """

    sources: Mapping[str, Any]
    fingerprint: str
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unlabelled: frozenset[str] = field(default=frozenset())
    sound: SoundInput | None = None
    heeded: frozenset[str] = field(default=frozenset())


OF_WINDOWS = frozenset({*SeriesSpec.model_fields, "target"})
_IMAGE_RANK = 4
_FOR = {
    **dict.fromkeys(SoundSpec.model_fields, "it is for folders of sound files"),
    **dict.fromkeys(SeriesSpec.model_fields, "it is for tables whose rows are a time series"),
    "group_by": "it is for tables",
}


def check_heeded(spec: DataSpec, opened: Opened, model: keras.Model) -> None:
    """Refuse options that this kind of data ignores.

    Raises:
        InputError: Names the option.
    """
    if spec.target is not None and "target" not in opened.heeded:
        raise InputError("--target has no effect on this data: it names a column", "leave it out")
    if spec.resize is not None and not any(len(t.shape) == _IMAGE_RANK for t in model.inputs):
        shapes = ", ".join(str(tuple(t.shape[1:])) for t in model.inputs)
        raise InputError(f"--resize is for images, the model takes {shapes}", "leave it out")
    for kind in (SoundSpec, SeriesSpec):
        for name in changed(spec, kind):
            if name not in opened.heeded:
                flag, why = f"--{name.replace('_', '-')}", f"on this data: {_FOR[name]}"
                if opened.sound is not None and kind is SoundSpec:
                    why = (
                        f"with --features {spec.features}"
                        if spec.features
                        else "without --features"
                    )
                raise InputError(f"{flag} has no effect {why}", "leave it out")


def changed(spec: DataSpec, kind: type[Spec]) -> list[str]:
    """Options of a kind that don't have their default."""
    return [n for n, f in kind.model_fields.items() if getattr(spec, n) != f.get_default()]
