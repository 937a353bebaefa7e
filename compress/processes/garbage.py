"""Python's search for garbage, put off where nothing is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unsearched() -> Iterator[None]:
    """Put off the search for garbage until the block ends.

    Python searches each time a few objects more are alive, and goes through those that are there
    already: where a network is read or made, through those of TensorFlow and of all layers so far.
    These are kept and no garbage. A block is as long as one network takes to be made, not as a
    training: cycles that hold arrays stay until it ends.
    """
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()
