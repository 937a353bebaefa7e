"""What makes Keras slow on networks of very many layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgepress.compress.processes.garbage import unsearched

# Kinds of objects whose attributes Keras walks when it reads or saves a model.
_KINDS = ("Operation", "Layer", "Functional", "Sequential")


@contextmanager
def many_layers() -> Iterator[None]:
    """Read, look at or save a model of many layers in a time that grows with their number.

    Of 2,000 layers' loading the search for garbage took half.
    """
    _remember_attributes()
    with unsearched():
        yield


def _remember_attributes() -> None:
    """Let Keras know the attributes that it leaves out, for each kind of object.

    Keras 3.15 keeps them under one name and looks for them under another, so it makes a layer for
    each layer that it walks.
    """
    from keras.src.backend.common import global_state
    from keras.src.saving import saving_lib

    for kind in _KINDS:
        name = f"saving_attr_skiplist_{kind}"
        if global_state.get_global_attribute(name) is None:
            global_state.set_global_attribute(name, saving_lib.get_attr_skipset(kind))
