"""Where `finetune` and `prune` keep the checkpoints from which they go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepress.compress.errors import Stopped
from edgepress.compress.kernel.files import sweep
from edgepress.deploy.cli import display


def state_folder(output: Path) -> Path:
    """Where the checkpoints of a command that writes an output lie."""
    return output.with_name(f".{output.name}.state")


@contextmanager
def training_state(output: Path, resume: bool) -> Iterator[Path]:
    """A folder for checkpoints beside an output; removed when the block succeeds.

    Args:
        output: The file that the command writes.
        resume: Whether checkpoints of an earlier, stopped call are used; where there are none yet,
            the work starts at its beginning.

    Yields:
        The folder.

    Raises:
        Stopped: The user stopped the work; says how to go on.
    """
    folder = state_folder(output)
    for written in (output, output.with_suffix(".json"), output.with_suffix(".png")):
        sweep(written)
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    elif not folder.exists():
        display.say("note: there is no checkpoint yet, so the training starts at its beginning")
    try:
        yield folder
    except (KeyboardInterrupt, Stopped):
        if not folder.exists():
            raise Stopped("stopped before the first checkpoint; nothing was written") from None
        raise Stopped(
            "stopped; the last checkpoint is kept", "run the same command with --resume to go on"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
