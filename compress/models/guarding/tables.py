"""What a table takes in memory, known before it is read."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgepress.compress.errors import InputError
from edgepress.compress.models.guarding.limits import check_memory, memory_limit

# A cell is a number of eight bytes in the table and one of four in what the model takes.
_CELL_BYTES = 12
_AT_ONCE_BYTES, _PIECE_BYTES = 2**20, 2**26
_LINE_ENDS = re.compile(rb"[\r\n]")
# The header's names are looked at one by one, and each column is an array of its own.
_MOST_COLUMNS = 100_000


def check_text(path: Path) -> None:
    """Hold a CSV file's cells against memory, in pieces of bounded size.

    Args:
        path: The file.

    Raises:
        InputError: It holds zero bytes, too many columns, or more cells than memory has room for.
        OSError: It can't be read.
    """
    lines, cells, columns, in_header = 1, 0, 0, True
    for piece in _pieces(path):
        if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and lines == 1:
            raise InputError(
                f"'{path}' can't be read as a table: its text is UTF-16, not UTF-8",
                "save it as UTF-8, or convert it with iconv",
            )
        zero = piece.find(b"\0")
        if zero >= 0:
            line = lines + piece.count(b"\n", 0, zero)
            raise InputError(
                f"'{path}:{line}' holds a zero byte, so it is no text", "save it as UTF-8"
            )
        if in_header:
            head, *rest = _LINE_ENDS.split(piece, 1)
            columns, in_header = columns + head.count(b","), not rest
            _check_columns(path, columns + 1)
        lines += piece.count(b"\n")
        cells += piece.count(b",")
    check_memory(path, _CELL_BYTES * (cells + lines), path.stat().st_size)


def check_parquet(path: Path) -> None:
    """Hold what a Parquet file declares against memory: runs of one value take next to no bytes.

    Args:
        path: The file.

    Raises:
        InputError: It declares too many columns, or more than memory has room for.
        Exception: It is no Parquet file, or damaged.
    """
    from pyarrow import parquet

    declared = parquet.read_metadata(path)
    _check_columns(path, declared.num_columns)
    groups = (declared.row_group(i) for i in range(declared.num_row_groups))
    cells = _CELL_BYTES * declared.num_rows * declared.num_columns
    unpacked = max(cells, sum(group.total_byte_size for group in groups))
    check_memory(path, unpacked, path.stat().st_size)
    _check_repeated(path, declared)


def _check_repeated(path: Path, declared: Any) -> None:
    """Add up what values take that a column keeps once and repeats.

    A long one is repeated in next to nothing, as often as it likes: how much that makes shows when
    it is read, which is in pieces here.
    """
    from pyarrow import parquet

    most, longest = _at_most(declared)
    size, read = path.stat().st_size, 0
    if most <= memory_limit(size):
        return
    with parquet.ParquetFile(path) as file:
        for piece in file.iter_batches(max(1, _PIECE_BYTES // max(1, longest))):
            read += piece.nbytes
            check_memory(path, read, size)


def _at_most(declared: Any) -> tuple[int, int]:
    """Bytes that all values of a Parquet file can take, and a single one."""
    most, longest = 0, 0
    for group in (declared.row_group(i) for i in range(declared.num_row_groups)):
        for part in (group.column(i) for i in range(declared.num_columns)):
            once = any("DICTIONARY" in encoding for encoding in part.encodings)
            most += part.total_uncompressed_size * (max(1, part.num_values) if once else 1)
            longest = max(longest, part.total_uncompressed_size)
    return most, longest


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_AT_ONCE_BYTES):
            yield piece


def _check_columns(path: Path, columns: int) -> None:
    if columns > _MOST_COLUMNS:
        raise InputError(
            f"'{path}' has {columns:,} columns or more; a table may have {_MOST_COLUMNS:,}",
            "keep such data as arrays in an .npz file",
        )
