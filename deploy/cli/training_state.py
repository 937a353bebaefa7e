"""Where `finetune` and `prune` keep the checkpoints from which they go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepress.compress.errors import InputError, Stopped


@contextmanager
def training_state(output: Path, resume: bool) -> Iterator[Path]:
    """A folder for checkpoints beside an output; removed when the block succeeds.

    Args:
        output: The file that the command writes.
        resume: Whether checkpoints of an earlier, stopped call are used.

    Yields:
        The folder.

    Raises:
        InputError: There is nothing to resume.
        Stopped: The user stopped the work; says how to go on.
    """
    folder = output.with_name(f".{output.name}.state")
    if resume and not folder.exists():
        raise InputError(f"there is nothing to resume beside '{output}'", "leave --resume out")
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    except (KeyboardInterrupt, Stopped):
        if not folder.exists():
            raise Stopped("stopped before the first checkpoint; nothing was written") from None
        raise Stopped(
            "stopped; the last checkpoint is kept", "run the same command with --resume to go on"
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
