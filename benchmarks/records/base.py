"""What all records share, and paths that lie inside a run."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

# Folders of a run that hold files.
_INSIDE = ("artifacts", "stages")


class Record(BaseModel):
    """Base of all records: frozen; fields that it doesn't know are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def to_json(self) -> dict[str, Any]:
        """What was given, as JSON-able values."""
        return self.model_dump(mode="json", exclude_unset=True)


class RunPath(str):
    """A file of a run as text: relative to the run's folder, and never outside it.

    A moved, copied or renamed run so means its own files, whatever lies at the old place.

    Raises:
        ValueError: The text is an absolute path or leaves the folder.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """A checked path."""
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"'{text}' is not a path inside the run's folder")
        return super().__new__(cls, path)

    @classmethod
    def of(cls, path: Path, folder: Path) -> Self:
        """A file's path inside a run's folder.

        Raises:
            ValueError: It lies elsewhere.
        """
        return cls(path.absolute().relative_to(folder.absolute()).as_posix())

    @classmethod
    def read(cls, text: Any) -> Any:
        """A path as an earlier version wrote it: from the working directory, or absolute.

        What follows the last folder that runs keep files in is the path inside; anything else is
        left for `RunPath` to judge.
        """
        if not isinstance(text, str):
            return text
        parts = PurePosixPath(text).parts
        found = [i for i, part in enumerate(parts) if part in _INSIDE]
        return "/".join(parts[found[-1] :]) if found else text

    def under(self, folder: Path) -> Path:
        """The file itself.

        Args:
            folder: The run's folder, wherever it lies now.
        """
        return folder / self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic reads and checks one: as text."""
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


T = TypeVar("T")
# A list that may be missing or null in a file.
Several = Annotated[tuple[T, ...], BeforeValidator(lambda value: () if value is None else value)]
Some = Annotated[dict[str, T], BeforeValidator(lambda value: {} if value is None else value)]
