"""What was found where the data is, before a task is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgepress.compress.data.preparation.sound import SoundInput
from edgepress.compress.errors import InputError
from edgepress.compress.specs.recipe import DataSpec, SeriesSpec, SoundSpec, Spec


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
        heeded: Options of `SoundSpec` and `SeriesSpec` that had a meaning.
    """

    sources: Mapping[str, Any]
    fingerprint: str
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unlabelled: frozenset[str] = field(default=frozenset())
    sound: SoundInput | None = None
    heeded: frozenset[str] = field(default=frozenset())


OF_SOUNDS = frozenset(SoundSpec.model_fields)
OF_WINDOWS = frozenset(SeriesSpec.model_fields)
_FOR = {
    **dict.fromkeys(OF_SOUNDS, "it is for folders and lists of sound files"),
    **dict.fromkeys(OF_WINDOWS, "it is for tables whose rows are a time series"),
    "group_by": "it is for tables",
}


def check_heeded(spec: DataSpec, opened: Opened) -> None:
    """Refuse options that this kind of data has no use for.

    Raises:
        InputError: Names the option.
    """
    for kind in (SoundSpec, SeriesSpec):
        for name in changed(spec, kind):
            if name not in opened.heeded:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{flag} has no effect on this data: {_FOR[name]}", "leave it out")


def changed(spec: DataSpec, kind: type[Spec]) -> list[str]:
    """Options of a kind that don't have their default."""
    return [n for n, f in kind.model_fields.items() if getattr(spec, n) != f.get_default()]
