"""Figures of each epoch for other programs: a CSV table, TensorBoard's event files.

Both go on where a resumed training does: the table is rewritten up to the epoch that was kept,
events of epochs that are done again stand in a newer file, which TensorBoard prefers. Keras's
CSVLogger writes the epochs that a resumed training does again a second time, its TensorBoard
callback needs the package of that name.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgepress.compress.errors import InputError
from edgepress.compress.kernel.files import atomic_output, check_rewritten
from edgepress.compress.specs.recipe import TrainSpec

if TYPE_CHECKING:
    import tensorflow as tf

Columns = Mapping[str, Sequence[float]]


class Log(Protocol):
    """Is told of every whole epoch."""

    def write(self, columns: Columns) -> None:
        """Take the figures so far.

        Args:
            columns: By name one value for each whole epoch; the last one is new.
        """


class CsvLog:
    """A table with a line for each epoch.

    Args:
        path: The file; replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, columns: Columns) -> None:
        """Write all epochs so far: the file is whole at any moment."""
        with (
            atomic_output(self._path, force=True) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.writer(file)
            table.writerow(["epoch", *columns])
            for number, row in enumerate(zip(*columns.values(), strict=True), 1):
                table.writerow([number, *row])


class TensorBoardLog:
    """TensorBoard's event file, written without TensorBoard.

    Args:
        folder: Where the file goes; made when needed.

    Source: TensorFlow's event.proto; event files are TFRecord files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        """Add the last epoch's figures."""
        epoch = len(next(iter(columns.values())))
        writer = self._opened()
        for name, column in columns.items():
            writer.write(_event(step=epoch, name=name, value=column[-1]))
        writer.flush()

    def _opened(self) -> tf.io.TFRecordWriter:
        import tensorflow as tf

        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._folder / f"events.out.tfevents.{time.time_ns()}.edgepress"
            self._writer = tf.io.TFRecordWriter(str(file))
            self._writer.write(_event(version="brain.Event:2"))
        return self._writer


def _event(step: int = 0, name: str = "", value: float = 0.0, version: str = "") -> bytes:
    import tensorflow as tf

    event = tf.compat.v1.Event(wall_time=time.time(), step=step)
    if version:
        event.file_version = version
    else:
        event.summary.value.add(tag=name, simple_value=value)
    return bytes(event.SerializeToString())


def logs_of(spec: TrainSpec) -> list[Log]:
    """The logs that a training asks for.

    Raises:
        InputError: One can't be written there.
    """
    logs: list[Log] = []
    if spec.log_csv is not None:
        path = Path(spec.log_csv)
        if path.is_dir():
            raise InputError(f"log_csv '{path}' is a folder", "name a .csv file")
        check_rewritten(path, "log of a training", rb"epoch[,\r\n]")
        logs.append(CsvLog(path))
    if spec.log_tensorboard is not None:
        folder = Path(spec.log_tensorboard)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"log_tensorboard '{folder}' is a file", "name a folder")
        logs.append(TensorBoardLog(folder))
    return logs
