"""CSV and TSV: cells by column, with their quotes and line ends as they were."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from yunmo.apps.translate.documents.encoding import read_text
from yunmo.apps.translate.documents.format import Document, FormatOptions, Unit
from yunmo.apps.translate.documents.inline import Write, tagged
from yunmo.apps.translate.documents.splicing import Place, SplicedDocument, has_words, in_order, numbered
from yunmo.apps.translate.segments import Segment, Tag
from yunmo.core.errors import InvalidRequest

CELLS = 1_000_000
_DELIMITERS = ",;\t|"
_NOTE_CHARACTERS = 80
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 50, 1 << 16


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell's text and place, its quotes included; rows and columns count from 0."""

    row: int
    column: int
    start: int
    end: int
    text: str
    is_quoted: bool


class TableFormat:
    """Tables of text. `columns` are names of the first row, or numbers from 1; without them every cell that has words is a unit."""

    def __init__(self, name: str, extensions: tuple[str, ...], media_types: tuple[str, ...]) -> None:
        self.name, self.extensions, self.media_types = name, extensions, media_types

    def read(self, path: Path, options: FormatOptions) -> Document:
        """The cells of the columns that were asked for; the row of names stays where columns are asked for by name."""
        source = read_text(path)
        delimiter = "\t" if self.name == "tsv" else _delimiter(source.text)
        header = [cell.text.strip() for cell in takewhile(lambda cell: cell.row == 0, _cells(source.text, delimiter))]
        first, wanted = _wanted(header, options.columns)
        writers = {is_quoted: _writer(delimiter, is_quoted=is_quoted) for is_quoted in (False, True)}
        places = []
        for count, cell in enumerate(_cells(source.text, delimiter)):
            if count >= CELLS:
                raise InvalidRequest(f"The table has more than the {CELLS:,} cells that are read: split it.")
            if cell.row >= first and (wanted is None or cell.column in wanted) and has_words(cell.text):
                name = header[cell.column][:_NOTE_CHARACTERS] if cell.column < len(header) and cell.row else ""
                note = f"row {cell.row + 1}, column {cell.column + 1}" + (f": {name}" if name else "")
                places.append(Place(Unit("", tagged(cell.text), note), cell.start, cell.end, writers[cell.is_quoted]))
        return SplicedDocument(source, numbered(places))


CSV = TableFormat("csv", (".csv",), ("text/csv",))
TSV = TableFormat("tsv", (".tsv", ".tab"), ("text/tab-separated-values",))


def _writer(delimiter: str, *, is_quoted: bool) -> Write:
    plain, needs_quotes = in_order(str), re.compile(f'[{re.escape(delimiter)}"\r\n]')

    def write(translation: Segment, tag_text: Callable[[Tag], str]) -> str:
        text = plain(translation, tag_text)
        return '"' + text.replace('"', '""') + '"' if is_quoted or needs_quotes.search(text) else text

    return write


def _wanted(header: list[str], columns: tuple[str, ...] | None) -> tuple[int, set[int] | None]:
    """The first row and the columns that are translated."""
    if columns is None:
        return 0, None
    wanted, has_names = set(), False
    for column in columns:
        if column in header:
            wanted |= {number for number, name in enumerate(header) if name == column}
            has_names = True
        elif column.isdecimal() and 1 <= int(column) <= len(header):
            wanted.add(int(column) - 1)
        else:
            raise InvalidRequest(
                f"The table has no column {column!r}: its columns are {', '.join(map(repr, header[:50]))}.", param="columns"
            )
    return int(has_names), wanted


def _cells(text: str, delimiter: str) -> Iterator[_Cell]:
    """The cells as Python's csv reads them: what follows a closing quote belongs to its cell."""
    sign = re.escape(delimiter)
    quoted = re.compile(rf'"((?:[^"]|"")*+)"([^{sign}\r\n]*+)')
    bare = re.compile(rf"[^{sign}\r\n]*+")
    divider = re.compile(rf"{sign}|\r\n|\r|\n|\Z")
    at = row = column = 0
    while at < len(text) or column:
        is_quoted = text.startswith('"', at)
        found = (quoted if is_quoted else bare).match(text, at)
        if not found:
            raise InvalidRequest(f"The quote that begins row {row + 1}, column {column + 1} of the table has no end: close it.")
        cell = found[1].replace('""', '"') + found[2] if is_quoted else found[0]
        yield _Cell(row, column, at, found.end(), cell, is_quoted)
        divided = divider.match(text, found.end())
        if not divided or not divided[0]:
            return
        at = divided.end()
        row, column = (row, column + 1) if divided[0] == delimiter else (row + 1, 0)


def _delimiter(text: str) -> str:
    """The sign that divides the first rows most evenly."""

    def evenness(delimiter: str) -> tuple[float, int]:
        rows = Counter(cell.row for cell in _first_cells(text, delimiter))
        usual, times = Counter(rows.values()).most_common(1)[0] if rows else (1, 0)
        return (times / len(rows) if usual > 1 else 0.0, usual)

    return max(_DELIMITERS, key=evenness)


def _first_cells(text: str, delimiter: str) -> Iterator[_Cell]:
    try:
        yield from (cell for cell in _cells(text[:_SAMPLE_CHARACTERS], delimiter) if cell.row < _SAMPLE_ROWS)
    except InvalidRequest:
        return  # the sample ends inside quotes
