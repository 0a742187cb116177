"""What every format of documents can do: be read into units, and be written again with their translations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from yunmo.apps.translate.segments import Segment


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a document that is translated as one; `key` is its place, the same whenever the same file is read.

    `note` tells people and models what it is ("slide 3, notes"). `limit` is the greatest length of a line in characters, None where any will do.
    """

    key: str
    segment: Segment
    note: str = ""
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class FormatOptions:
    """What formats may be told: which fields of a JSON file (JSONPath-like rules) or columns of a table are translated; None is all texts."""

    fields: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None


class Document(Protocol):
    """A document that was read. Its units are in reading order."""

    @property
    def units(self) -> Sequence[Unit]: ...

    def write(self, translations: Mapping[str, Segment], target: str, path: Path) -> None:
        """Write the document to `path` with the given units translated (by key) into `target`; units that are not given stay as they are.

        What is not a unit's text stays byte by byte. A translation whose tags are not the unit's raises InvalidRequest.
        """
        ...


class Format(Protocol):
    """A kind of file. Reading raises InvalidRequest for a damaged, encrypted or oversized file, which says what is wrong and how to mend it."""

    @property
    def name(self) -> str: ...

    @property
    def extensions(self) -> tuple[str, ...]: ...

    @property
    def media_types(self) -> tuple[str, ...]: ...

    def read(self, path: Path, options: FormatOptions) -> Document: ...
