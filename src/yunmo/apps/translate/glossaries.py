"""Glossaries: how a project wants its terms translated. One has a dictionary for each pair of languages that it is for.

Languages are base codes without region or script (`en`, `zh`), so that one dictionary serves all of its variants.
"""

import csv
import io
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from yunmo.apps.translate import glossary_store as store
from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.storage.database import Database

EntriesFormat = Literal["tsv", "csv"]
Terms = Mapping[str, str]
"""Source term to target term."""

_CONTROL = re.compile("[\x00-\x1f\x80-\x9f\u2028\u2029]")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Pair:
    """Two base languages."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Dictionary:
    """The terms of one pair of languages."""

    pair: Pair
    terms: Terms


@dataclass(frozen=True, slots=True)
class DictionaryInfo:
    """What is told of a dictionary without its terms."""

    pair: Pair
    entry_count: int


@dataclass(frozen=True, slots=True)
class Glossary:
    """A project's glossary."""

    id: str
    name: str
    created_at: datetime
    dictionaries: tuple[DictionaryInfo, ...]


@dataclass(frozen=True, slots=True)
class GlossaryLimits:
    """What projects may keep."""

    glossaries: int = 1000
    dictionaries: int = 100
    dictionary_bytes: int = 10 * 1024 * 1024
    term_bytes: int = 1024
    name_bytes: int = 1024


class Glossaries:
    """The glossaries of every project. One that is not the project's is not there for it: NotFound."""

    def __init__(self, database: Database, limits: GlossaryLimits | None = None) -> None:
        self._database = database
        self.limits = limits or GlossaryLimits()

    async def create(self, project: str, name: str, dictionaries: Sequence[Dictionary]) -> Glossary:
        """Make a glossary. Raises InvalidRequest for what a limit forbids, and for two dictionaries of one pair."""
        self._check_name(name)
        pairs = [each.pair for each in dictionaries]
        if not pairs or len(set(pairs)) < len(pairs):
            raise InvalidRequest("A glossary needs at least one dictionary, and one only for each pair of languages.", param="dictionaries")
        for each in dictionaries:
            self._check(each)
        glossary = Glossary(
            str(uuid.uuid4()), name, datetime.now(UTC), tuple(DictionaryInfo(each.pair, len(each.terms)) for each in dictionaries)
        )
        rows = [_row(glossary.id, each) for each in dictionaries]

        def work(connection: store.Connection) -> None:
            if store.count_glossaries(connection, project) >= self.limits.glossaries:
                raise InvalidRequest(
                    f"The project '{project}' has {self.limits.glossaries} glossaries, and may not have more. Delete some."
                )
            self._check_dictionaries(len(rows))
            store.insert(connection, glossary.id, project, name, glossary.created_at)
            for row in rows:
                store.put_dictionary(connection, row)

        await self._database.write(work)
        return glossary

    async def list(self, project: str) -> list[Glossary]:
        """The project's glossaries, oldest first."""
        return [_glossary(found) for found in await self._database.read(lambda connection: store.select(connection, project))]

    async def get(self, project: str, glossary_id: str) -> Glossary:
        """One of the project's glossaries."""
        checked = _checked_id(glossary_id)
        return _glossary(await self._database.read(lambda connection: _found(connection, project, checked)))

    async def terms(self, project: str, glossary_id: str, pair: Pair) -> Terms:
        """A dictionary's terms. Raises NotFound where the glossary has none of this pair."""
        checked = _checked_id(glossary_id)

        def work(connection: store.Connection) -> Terms:
            _found(connection, project, checked)
            return _terms(connection, checked, pair)

        return await self._database.read(work)

    async def merged_terms(self, project: str, glossary_ids: Sequence[str], pair: Pair) -> Terms:
        """The terms of several glossaries; where two have one, the first counts. Raises InvalidRequest if none has the pair."""
        merged: dict[str, str] = {}
        has_pair = False
        for glossary_id in glossary_ids:
            try:
                found = await self.terms(project, glossary_id, pair)
            except _NoDictionary:
                continue
            has_pair = True
            merged = {**found, **merged}
        if not has_pair:
            raise InvalidRequest(
                f"No glossary given has a dictionary from '{pair.source}' to '{pair.target}'. Name another, or leave it out.",
                param="glossary_id",
            )
        return merged

    async def change(self, project: str, glossary_id: str, name: str | None, dictionary: Dictionary | None) -> Glossary:
        """Give it another name, and add a dictionary's terms to those of its pair: a term that is there gets its new translation."""
        checked = _checked_id(glossary_id)
        if name is not None:
            self._check_name(name)

        def work(connection: store.Connection) -> store.GlossaryRow:
            found = _found(connection, project, checked)
            if name is not None:
                store.rename(connection, checked, name)
            if dictionary is not None:
                is_new = dictionary.pair not in {each.pair for each in _glossary(found).dictionaries}
                merged = (
                    dictionary
                    if is_new
                    else Dictionary(dictionary.pair, {**_terms(connection, checked, dictionary.pair), **dictionary.terms})
                )
                self._check(merged)
                self._check_dictionaries(len(found.dictionaries) + is_new)
                store.put_dictionary(connection, _row(checked, merged))
            return _found(connection, project, checked)

        return _glossary(await self._database.write(work))

    async def replace(self, project: str, glossary_id: str, dictionary: Dictionary) -> DictionaryInfo:
        """Put a dictionary in the place of the one of its pair, or beside those of other pairs."""
        checked = _checked_id(glossary_id)
        self._check(dictionary)

        def work(connection: store.Connection) -> None:
            found = _glossary(_found(connection, project, checked))
            self._check_dictionaries(len({*(each.pair for each in found.dictionaries), dictionary.pair}))
            store.put_dictionary(connection, _row(checked, dictionary))

        await self._database.write(work)
        return DictionaryInfo(dictionary.pair, len(dictionary.terms))

    async def delete(self, project: str, glossary_id: str) -> None:
        """Delete the glossary with all of its dictionaries."""
        checked = _checked_id(glossary_id)

        def work(connection: store.Connection) -> None:
            _found(connection, project, checked)
            store.delete(connection, checked)

        await self._database.write(work)

    async def delete_dictionary(self, project: str, glossary_id: str, pair: Pair) -> None:
        """Delete one dictionary; a glossary may be left with none."""
        checked = _checked_id(glossary_id)

        def work(connection: store.Connection) -> None:
            _found(connection, project, checked)
            if not store.delete_dictionary(connection, checked, pair.source, pair.target):
                raise _no_dictionary(pair)

        await self._database.write(work)

    def _check_name(self, name: str) -> None:
        if not name.strip() or len(name.encode()) > self.limits.name_bytes or _CONTROL.search(name):
            raise InvalidRequest(
                f"The name of a glossary has 1 to {self.limits.name_bytes} bytes of UTF-8 without control characters.", param="name"
            )

    def _check(self, dictionary: Dictionary) -> None:
        if dictionary.pair.source == dictionary.pair.target:
            raise InvalidRequest("The two languages of a dictionary must differ.", param="target_lang")
        if not dictionary.terms:
            raise InvalidRequest("There are no terms. Give at least one.", param="entries")
        for source, target in dictionary.terms.items():
            for term in (source, target):
                self._check_term(term)
        if len(written(dictionary.terms).encode()) > self.limits.dictionary_bytes:
            raise InvalidRequest(
                f"A dictionary may have {self.limits.dictionary_bytes:,} bytes. Put these terms into several glossaries.", param="entries"
            )

    def _check_term(self, term: str) -> None:
        if not term:
            raise InvalidRequest("A term is empty.", param="entries")
        if _CONTROL.search(term):
            raise InvalidRequest(f"The term {term[:_SHOWN]!r} has a control character or a line separator.", param="entries")
        if len(term.encode()) > self.limits.term_bytes:
            raise InvalidRequest(f"The term {term[:_SHOWN]!r}… is longer than {self.limits.term_bytes} bytes of UTF-8.", param="entries")

    def _check_dictionaries(self, count: int) -> None:
        if count > self.limits.dictionaries:
            raise InvalidRequest(f"A glossary may have {self.limits.dictionaries} dictionaries.", param="dictionaries")


def read_terms(text: str, form: str, pair: Pair, codes: Mapping[str, str] | None = None) -> Terms:
    """The terms in tab- or comma-separated values: a source term and its translation in each row; empty rows are passed over.

    Rows of comma-separated values may name their languages in a third and fourth column: those of other pairs are passed over. `codes`
    turns what is written there into base codes. Raises InvalidRequest for a row that is no pair of terms, and for a term that comes twice.
    """
    if form not in get_args(EntriesFormat):
        raise InvalidRequest(
            f"Value for 'entries_format' not supported. Use {' or '.join(get_args(EntriesFormat))}.", param="entries_format"
        )
    rows = _tab_rows(text) if form == "tsv" else _comma_rows(text, pair, codes or {})
    terms: dict[str, str] = {}
    for number, source, target in rows:
        if not source or not target:
            raise InvalidRequest(f"Row {number} has an empty term.", param="entries")
        if source in terms:
            raise InvalidRequest(f"Row {number} has the source term {source[:_SHOWN]!r} again, which is in a row above.", param="entries")
        terms[source] = target
    return terms


def written(terms: Terms) -> str:
    """The terms as tab-separated values."""
    return "\n".join(f"{source}\t{target}" for source, target in terms.items())


def _tab_rows(text: str) -> list[tuple[int, str, str]]:
    rows = []
    for number, line in enumerate(re.split("\r\n|\n|\r", text), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 2:
            raise InvalidRequest(f"Row {number} has {len(cells)} columns; it takes a term, a tab and its translation.", param="entries")
        rows.append((number, cells[0].strip(), cells[1].strip()))
    return rows


def _comma_rows(text: str, pair: Pair, codes: Mapping[str, str]) -> list[tuple[int, str, str]]:
    rows = []
    try:
        for number, raw in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), 1):
            cells = [cell.strip() for cell in raw]
            if not any(cells):
                continue
            if len(cells) not in {2, 4}:
                raise InvalidRequest(f"Row {number} has {len(cells)} columns; it takes two, or four with the languages.", param="entries")
            if len(cells) == 4 and tuple(codes.get(cell.lower(), _base(cell)) for cell in cells[2:]) != (pair.source, pair.target):
                continue
            rows.append((number, cells[0], cells[1]))
    except csv.Error as error:
        raise InvalidRequest(f"The comma-separated values cannot be read: {error}.", param="entries") from error
    return rows


def _base(code: str) -> str:
    return re.split("[-_]", code.lower())[0]


class _NoDictionary(NotFound):
    code = NotFound.code


def _no_dictionary(pair: Pair) -> _NoDictionary:
    return _NoDictionary(f"The glossary has no dictionary from '{pair.source}' to '{pair.target}'.")


def _checked_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise InvalidRequest(f"'{text[:_SHOWN]}' is no id of a glossary: those are UUIDs.", param="glossary_id") from error


def _found(connection: store.Connection, project: str, glossary_id: str) -> store.GlossaryRow:
    found = store.select(connection, project, glossary_id)
    if not found:
        raise NotFound(f"There is no glossary '{glossary_id}' in your project.")
    return found[0]


def _terms(connection: store.Connection, glossary_id: str, pair: Pair) -> Terms:
    text = store.find_entries(connection, glossary_id, pair.source, pair.target)
    if text is None:
        raise _no_dictionary(pair)
    return dict(line.split("\t", 1) for line in text.split("\n"))  # each line has one tab: `written` made it


def _glossary(row: store.GlossaryRow) -> Glossary:
    infos = tuple(DictionaryInfo(Pair(source, target), count) for source, target, count in row.dictionaries)
    return Glossary(row.id, row.name, row.created_at, infos)


def _row(glossary_id: str, dictionary: Dictionary) -> store.DictionaryRow:
    pair = dictionary.pair
    return store.DictionaryRow(glossary_id, pair.source, pair.target, len(dictionary.terms), written(dictionary.terms))
