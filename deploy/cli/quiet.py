"""Loading the frameworks: a word first, since it takes seconds, and no chatter of theirs."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edgepress.compress.kernel import lean_keras
from edgepress.compress.models.other_kinds import check_there
from edgepress.compress.models.user_code import is_reference
from edgepress.compress.processes import signals


@contextmanager
def muted_stderr() -> Iterator[None]:
    """Send file descriptor 2 to a temporary file; give it back, with its content on an error.

    C++ libraries write to the descriptor itself, past Python's `sys.stderr`.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            sink.seek(0)
            sys.stderr.write(sink.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def announce_frameworks() -> None:
    """Say that TensorFlow is being loaded, which takes seconds; refuse an absent MODEL before.

    A process that another one watches over leaves both to that one.

    Raises:
        InputError: The command's MODEL isn't there.
    """
    if "tensorflow" in sys.modules or signals.are_parents():
        return
    context = click.get_current_context(silent=True)
    model = context.params.get("model") if context else None
    if model is not None and not is_reference(str(model)):
        check_there(Path(model))
    click.echo("loading TensorFlow", err=True)


def load_frameworks(verbose: bool, first: Callable[[], None] | None = None) -> None:
    """Import TensorFlow and Keras, without their greetings unless `verbose`.

    Nothing of what they make at import is garbage, so nobody looks for it: while they are
    imported, which took a quarter longer, and afterwards.

    Args:
        verbose: Whether the frameworks talk.
        first: Called before TensorFlow's first operation.

    Raises:
        InputError: The command's MODEL isn't there.
    """
    announce_frameworks()
    gc.disable()
    try:
        _import(verbose, first)
    finally:
        gc.freeze()
        gc.enable()


def _import(verbose: bool, first: Callable[[], None] | None) -> None:
    if verbose:
        lean_keras.load()
        if first is not None:
            first()
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("MPLBACKEND", "Agg")
    warnings.simplefilter("ignore")
    with muted_stderr():
        lean_keras.load()
        import absl.logging
        import tensorflow as tf

        absl.logging.set_verbosity(absl.logging.FATAL)
        tf.get_logger().setLevel("ERROR")
        if first is not None:
            first()
        # The first operation makes the runtime announce itself.
        tf.constant(0.0)
