"""Values that have names: listed in the help, offered by shell completion, checked by the specs.

The tables are read when they are asked for, so that
installed plug-ins are listed too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

# Ways to name layers; a layer's own name or a glob is one more.
UNFREEZE = (
    "all", "none", "top:N", "bottom:N", "middle", "middle:A-B", "from:NAME", "to:NAME",
    "type:CLASS", "bias", "norm",
)  # fmt: skip


class NamedValue(click.types.StringParamType):
    """Text, with the names that it may be, behind commas where it is a list.

    Args:
        names: The names by what they are for; an empty text where that needs no saying.
        more: What else may be given.
        listed: Whether the help lists them.
    """

    def __init__(
        self, names: Callable[[], dict[str, Iterable[str]]], more: str = "", listed: bool = True
    ) -> None:
        self._names = names
        self._more = more
        self._listed = listed

    def listed(self) -> str:
        """The names as the help lists them; empty where it doesn't."""
        if not self._listed:
            return ""
        parts = [
            (f"{use}: " if use else "one of ") + ", ".join(names)
            for use, names in self._names().items()
        ]
        text = "; ".join(parts) + (f"; or {self._more}" if self._more else "")
        return text[0].upper() + text[1:]

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin as the last word behind a comma does."""
        del ctx, param
        before, comma, begun = incomplete.rpartition(",")
        # What follows a colon is for the user to say.
        known = [
            word + colon
            for names in self._names().values()
            for word, colon, _ in (name.partition(":") for name in names)
        ]
        return [
            CompletionItem(before + comma + name)
            for name in dict.fromkeys(known)
            if name.startswith(begun)
        ]


def _table(place: str) -> Callable[[], dict[str, Iterable[str]]]:
    module, _, table = place.rpartition(".")
    return lambda: {"": list(getattr(import_module(f"edgepress.{module}"), table))}


def _criteria() -> dict[str, Iterable[str]]:
    from edgepress.compress.specs.pruning import SECOND_ORDER
    from edgepress.compress.structure.importance import CRITERIA
    from edgepress.compress.weights.allocation.criteria import WEIGHT_CRITERIA

    return {
        "for channels": ["auto", *CRITERIA],
        "for weights": [*WEIGHT_CRITERIA, SECOND_ORDER],
    }


def _augmentations() -> dict[str, Iterable[str]]:
    from edgepress.compress.data.augmentation.changes import AUGMENTATIONS
    from edgepress.compress.data.augmentation.layers import LAYERS

    return {"": [*AUGMENTATIONS, *LAYERS]}


def _devices() -> dict[str, Iterable[str]]:
    """Kinds of addresses, and the names in the user's devices file where that can be read."""
    from edgepress.compress.errors import InputError
    from edgepress.deploy.targets.devices_file import list_devices

    kinds = ["local", "ssh://", "adb:", "mcu:tflm", "mcu:ethos-u55-128", "openvino"]
    try:
        return {"": [*list_devices(), *kinds]}
    except (InputError, OSError):
        return {"": kinds}


DEVICE = NamedValue(_devices, listed=False)
RUNTIME = NamedValue(_table("deploy.sources.contents.lacking_operators.RUNTIMES"))
FILE_RUNTIMES = NamedValue(
    lambda: {"": ["all", *_table("deploy.verification.in_runtimes.RUNTIMES")()[""]]}
)
CHANNEL_CRITERION = NamedValue(lambda: {"": _criteria()["for channels"]})
_OPTIMIZER = NamedValue(_table("compress.training.optimization.optimizers.OPTIMIZERS"))
_SCHEDULE = NamedValue(
    _table("compress.training.optimization.schedules.SCHEDULES"), "file.py:function"
)

# By field of the specs.
_TYPES: dict[str, Any] = {
    "optimizer": _OPTIMIZER,
    "recover_optimizer": _OPTIMIZER,
    "schedule": _SCHEDULE,
    "recover_schedule": _SCHEDULE,
    "criterion": NamedValue(_criteria),
    "metric": NamedValue(
        _table("compress.data.metrics.METRICS"), "topK_accuracy, f1:CLASS or file.py:function"
    ),
    "augment": NamedValue(_augmentations, "file.py:function"),
    "preprocess": NamedValue(
        _table("compress.data.preparation.presets.MODES"),
        "the name of a Keras application, as mobilenet_v2",
    ),
    "device": DEVICE,
    "devices": DEVICE,
    "formats": NamedValue(_table("deploy.exporters.table.EXPORTERS")),
    "quantize": NamedValue(_table("deploy.quantize.precision.PRECISIONS")),
    "unfreeze": NamedValue(lambda: {"": UNFREEZE}, "a layer's name or a glob"),
    **dict.fromkeys(
        ("teacher", "callbacks", "log_csv", "log_tensorboard", "bootstrap"), click.Path()
    ),
}


def type_of_field(name: str) -> Any:
    """What the option for a field takes: names, a file, or any text (None)."""
    return _TYPES.get(name)
