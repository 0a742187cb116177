"""Documents are translated by real models (tiny, at random) as the Translator translates their segments, and their journals are read as they were written."""

import asyncio

import pytest

import tiny_translators
from hub_world import ACME, push
from yunmo.apps.translate.document_reading import DocumentReader
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.journal import Entry, key_of, read_entries, written
from yunmo.apps.translate.orders import Issue, Order
from yunmo.apps.translate.segments import Tag, segment
from yunmo.apps.translate.translations import DocumentOrder, Sent, translated_name
from yunmo.assembly import open_server
from yunmo.core.errors import InvalidRequest, TooLarge
from yunmo.settings import ServingSettings, Settings

TEXTS = ("the quick brown fox", "hello world", "one two three")


async def pieces(*parts):
    for part in parts:
        yield part


@pytest.fixture
async def server(tmp_path):
    async with open_server(Settings(data=tmp_path / "data", serving=ServingSettings(calibrate=False))) as opened:
        yield opened


async def ended(server, job):
    async with asyncio.timeout(120):
        while not job.has_ended:
            await asyncio.sleep(0.05)
            job = await server.documents.get(ACME, job.id)
    return job


async def test_a_document_says_what_its_model_says(server, tmp_path):
    directory = tiny_translators.build("marian", tmp_path / "marian")
    repository = await server.cloud.hub.repositories.create(ACME, "model", "acme/words")
    await push(server.cloud.hub, repository, {path.name: path.read_bytes() for path in directory.iterdir()})
    order = DocumentOrder(target="de", source="en", model="acme/words")
    job = await server.documents.submit_sent(ACME, Sent("a.txt", pieces("\n\n".join(TEXTS).encode())), order)
    job = await ended(server, job)
    assert job.state == "succeeded", job.error
    file, result = await server.documents.result(ACME, job.id)
    content = b"".join([piece async for piece in server.cloud.files.stream(file)]).decode()
    segments = tuple(segment([text]) for text in TEXTS)
    expected = await server.translator.translate(ACME, Order(segments, "de", "en", order.options))
    assert content.split("\n\n") == [each.segment.text for each in expected]
    assert result.models["acme/words"]
    assert result.issue_count == sum(len(each.issues) for each in expected)


async def test_a_document_that_is_not_taken_leaves_no_file(server):
    with pytest.raises(InvalidRequest, match="no format"):
        await server.documents.submit_sent(ACME, Sent("a.exe", pieces(b"MZ")), DocumentOrder(target="de", source="en", model="x"))
    assert await server.cloud.files.page("acme") == []


async def test_a_document_beyond_the_limit_is_not_read(server, tmp_path):
    file = await server.cloud.files.add("acme", "a.txt", "user_data", pieces(b"hello world"))
    reader = DocumentReader(server.cloud, tmp_path / "documents", limit_bytes=10)
    with pytest.raises(TooLarge, match="11 bytes"):
        async with reader.open(file, FormatOptions()):
            pass
    lines = await server.cloud.files.add("acme", "a.txt", "user_data", pieces(b"one\n\ntwo\n\nthree\n"))
    reader = DocumentReader(server.cloud, tmp_path / "documents", limit_units=2)
    with pytest.raises(TooLarge, match="3 paragraphs"):
        async with reader.open(lines, FormatOptions()):
            pass
    assert list((tmp_path / "documents").iterdir()) == []


async def test_a_journal_is_read_as_it_was_written_whatever_its_pieces():
    tagged = segment(["a", Tag(1, "alone", "<br/>"), "b\n"])
    entries = [Entry(key_of(tagged), tagged, "en", 3, ("m",), ("r",), (Issue("tag", "x"),)), Entry("k", segment(["好"]), "zh", 1)]
    data = written(entries)
    cut = [data[start : start + 7] for start in range(0, len(data), 7)]
    assert [entry async for entry in read_entries(pieces(*cut))] == entries
    with pytest.raises(InvalidRequest):
        [entry async for entry in read_entries(pieces(b'{"key": 1}\n'))]


def test_segments_of_the_same_words_and_other_tags_have_other_keys():
    assert key_of(segment(["a"])) == key_of(segment(["a"]))
    assert len({key_of(each) for each in (segment(["a"]), segment(["a", Tag(1, "alone")]), segment(["a", Tag(2, "alone")]))}) == 3


def test_a_translation_is_called_after_its_language():
    assert translated_name("my letter.HTML", "zh-Hans", (".html", ".htm")) == "my letter.zh-Hans.HTML"
    assert translated_name("file", "de", (".txt",)) == "file.de.txt"
    assert translated_name("page.html", "de", (".docx",)) == "page.de.docx"
