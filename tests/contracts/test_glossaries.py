"""Glossaries are kept whole, for their project alone, within their limits, on every database."""

import asyncio
import uuid

import pytest

from yunmo.apps.translate.glossaries import Dictionary, Glossaries, GlossaryLimits, Pair, read_terms, written
from yunmo.core.errors import InvalidRequest, NotFound

EN_DE, DE_EN = Pair("en", "de"), Pair("de", "en")
HELLO = Dictionary(EN_DE, {"hello": "hallo", "world": "Welt"})
LIMITS = GlossaryLimits(glossaries=3, dictionaries=2, dictionary_bytes=60, term_bytes=20, name_bytes=10)


@pytest.fixture
def glossaries(database):
    return Glossaries(database, LIMITS)


async def test_a_glossary_is_found_again_with_its_terms(glossaries):
    made = await glossaries.create("acme", "words", [HELLO, Dictionary(DE_EN, {"Welt": "world"})])
    assert [found.id for found in await glossaries.list("acme")] == [made.id]
    found = await glossaries.get("acme", made.id.upper())
    assert (found.name, found.created_at) == ("words", made.created_at)
    assert {info.pair: info.entry_count for info in found.dictionaries} == {EN_DE: 2, DE_EN: 1}
    assert await glossaries.terms("acme", made.id, EN_DE) == HELLO.terms


async def test_another_projects_glossary_is_not_there(glossaries):
    made = await glossaries.create("acme", "words", [HELLO])
    assert await glossaries.list("other") == []
    for act in (
        glossaries.get("other", made.id),
        glossaries.terms("other", made.id, EN_DE),
        glossaries.merged_terms("other", [made.id], EN_DE),
        glossaries.change("other", made.id, "mine", None),
        glossaries.replace("other", made.id, HELLO),
        glossaries.delete("other", made.id),
        glossaries.delete_dictionary("other", made.id, EN_DE),
    ):
        with pytest.raises(NotFound):
            await act
    assert (await glossaries.get("acme", made.id)).name == "words"


async def test_what_is_no_id_is_told_from_what_is_not_there(glossaries):
    with pytest.raises(InvalidRequest, match="UUID"):
        await glossaries.get("acme", "words")
    with pytest.raises(NotFound):
        await glossaries.get("acme", str(uuid.uuid4()))


async def test_a_change_adds_terms_and_a_replacement_takes_their_place(glossaries):
    made = await glossaries.create("acme", "words", [HELLO])
    changed = await glossaries.change("acme", made.id, "more", Dictionary(EN_DE, {"hello": "servus", "sky": "Himmel"}))
    assert (changed.name, changed.dictionaries[0].entry_count) == ("more", 3)
    assert await glossaries.terms("acme", made.id, EN_DE) == {"hello": "servus", "world": "Welt", "sky": "Himmel"}
    assert (await glossaries.replace("acme", made.id, Dictionary(EN_DE, {"sea": "Meer"}))).entry_count == 1
    assert await glossaries.terms("acme", made.id, EN_DE) == {"sea": "Meer"}
    await glossaries.change("acme", made.id, None, Dictionary(DE_EN, {"Meer": "sea"}))
    await glossaries.delete_dictionary("acme", made.id, EN_DE)
    assert [info.pair for info in (await glossaries.get("acme", made.id)).dictionaries] == [DE_EN]
    with pytest.raises(NotFound):
        await glossaries.delete_dictionary("acme", made.id, EN_DE)
    await glossaries.delete("acme", made.id)
    assert await glossaries.list("acme") == []


async def test_changes_at_once_lose_no_term(database):
    glossaries = Glossaries(database)
    made = await glossaries.create("acme", "words", [HELLO])
    await asyncio.gather(*(glossaries.change("acme", made.id, None, Dictionary(EN_DE, {f"t{n}": "x"})) for n in range(8)))
    assert len(await glossaries.terms("acme", made.id, EN_DE)) == 10


async def test_of_several_glossaries_the_first_counts(glossaries):
    first = await glossaries.create("acme", "one", [Dictionary(EN_DE, {"a": "1", "b": "1"})])
    second = await glossaries.create("acme", "two", [Dictionary(EN_DE, {"b": "2", "c": "2"}), Dictionary(DE_EN, {"x": "y"})])
    assert await glossaries.merged_terms("acme", [first.id, second.id], EN_DE) == {"a": "1", "b": "1", "c": "2"}
    assert await glossaries.merged_terms("acme", [first.id, second.id], DE_EN) == {"x": "y"}
    with pytest.raises(InvalidRequest, match="from 'en' to 'fr'"):
        await glossaries.merged_terms("acme", [first.id, second.id], Pair("en", "fr"))


async def test_every_limit_is_kept(glossaries):
    for name, dictionaries in (
        ("", [HELLO]),
        ("x" * 11, [HELLO]),
        ("tab\t", [HELLO]),
        ("none", []),
        ("twice", [HELLO, HELLO]),
        ("same", [Dictionary(Pair("en", "en"), {"a": "b"})]),
        ("empty", [Dictionary(EN_DE, {})]),
        ("term", [Dictionary(EN_DE, {"": "b"})]),
        ("term", [Dictionary(EN_DE, {"a": "词" * 7})]),
        ("term", [Dictionary(EN_DE, {"a\u2028": "b"})]),
        ("term", [Dictionary(EN_DE, {"a": "\x85"})]),
        ("big", [Dictionary(EN_DE, {f"term {n}": "x" * 10 for n in range(4)})]),
        ("many", [HELLO, Dictionary(DE_EN, {"a": "b"}), Dictionary(Pair("de", "fr"), {"a": "b"})]),
    ):
        with pytest.raises(InvalidRequest):
            await glossaries.create("acme", name, dictionaries)
    assert await glossaries.list("acme") == []
    made = [await glossaries.create("acme", "words", [HELLO]) for _ in range(3)]
    with pytest.raises(InvalidRequest, match="3 glossaries"):
        await glossaries.create("acme", "words", [HELLO])
    assert await glossaries.create("other", "words", [HELLO])
    with pytest.raises(InvalidRequest):
        await glossaries.change("acme", made[0].id, None, Dictionary(EN_DE, {f"term {n}": "x" * 10 for n in range(3)}))
    await glossaries.change("acme", made[0].id, None, Dictionary(DE_EN, {"a": "b"}))
    for act in (glossaries.change, glossaries.replace):
        with pytest.raises(InvalidRequest, match="2 dictionaries"):
            await act("acme", made[0].id, *([None] if act == glossaries.change else []), Dictionary(Pair("de", "fr"), {"a": "b"}))
    assert await glossaries.terms("acme", made[0].id, EN_DE) == HELLO.terms


def test_terms_are_read_from_tabs_and_from_commas():
    assert read_terms(" a \t b\r\n\nc d\te", "tsv", EN_DE) == {"a": "b", "c d": "e"}
    assert read_terms('a,b\n"c, d","e ""f"""\n', "csv", EN_DE) == {"a": "b", "c, d": 'e "f"'}
    assert read_terms("a,b,EN,DE\nc,d,en,fr\ne,f,en-US,de\n", "csv", EN_DE) == {"a": "b", "e": "f"}
    assert read_terms(written({"a": "b"}), "tsv", EN_DE) == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "form", "what"),
    [
        ("a", "tsv", "Row 1 has 1 columns"),
        ("a\tb\tc", "tsv", "Row 1 has 3 columns"),
        ("a\tb\n\t", "tsv", None),
        ("a\tb\na\tc", "tsv", "Row 2 has the source term 'a' again"),
        ("a,b\nc,", "csv", "Row 2 has an empty term"),
        ("a,b,c", "csv", "Row 1 has 3 columns"),
        ('a,"b', "csv", "cannot be read"),
        ("a\tb", "xlsx", "entries_format"),
    ],
)
def test_rows_that_are_no_terms_are_named(text, form, what):
    if what is None:
        assert read_terms(text, form, EN_DE) == {"a": "b"}
        return
    with pytest.raises(InvalidRequest, match=what):
        read_terms(text, form, EN_DE)
