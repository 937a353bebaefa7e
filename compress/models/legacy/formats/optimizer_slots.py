"""The arrays of optimizers in SavedModel folders and archives, as an HDF5 file would hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edgepress.compress.models.legacy.formats.saved_model import Tensor, Weight

if TYPE_CHECKING:
    import h5py
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph


def checkpoint_slots(
    checkpoint: TrackableObjectGraph, read: Callable[[str], Tensor]
) -> tuple[Weight, ...]:
    """The optimizer's arrays in a checkpoint.

    Args:
        checkpoint: Its `TrackableObjectGraph`.
        read: Gives the array of a key.

    Returns:
        The number of steps, then every slot under the name that it has in an HDF5 file; empty
        where no optimizer was saved.
    """
    nodes = checkpoint.nodes
    optimizer = _child(checkpoint, 0, "optimizer")
    if optimizer is None:
        return ()
    slots = [slot.slot_variable_node_id for slot in nodes[optimizer].slot_variables]
    listed = _child(checkpoint, optimizer, "_variables")
    if listed is not None:  # since TensorFlow 2.11
        children = [c for c in nodes[listed].children if c.local_name.isdigit()]
        slots += [c.node_id for c in sorted(children, key=lambda c: int(c.local_name))]
    steps = _child(checkpoint, optimizer, "iter")
    found = [] if steps is None else [steps]
    return tuple(
        Weight(attribute.full_name, np.asarray(read(attribute.checkpoint_key)))
        for place in [*found, *slots]
        for attribute in nodes[place].attributes[:1]
    )


def archive_slots(file: h5py.File) -> tuple[Weight, ...]:
    """The optimizer's arrays in an archive's weights, in their order, without names.

    Args:
        file: The open `model.weights.h5`.
    """
    group = file.get("optimizer/vars", {})
    return tuple(Weight("", np.asarray(group[key])) for key in sorted(group, key=int))


def _child(checkpoint: TrackableObjectGraph, node: int, name: str) -> int | None:
    found = (c.node_id for c in checkpoint.nodes[node].children if c.local_name == name)
    return next(found, None)
