"""What DeepL's fields ask of the translator, and how its answer is told."""

import json
from urllib.parse import urlencode

import pytest

from yunmo.apps.translate.orders import Translated
from yunmo.apps.translate.segments import segment
from yunmo.core.errors import InvalidRequest, NotFound, RateLimited, Unsupported
from yunmo.core.identity import Principal
from yunmo.web.dialects.deepl.errors import NotAcceptable, error_reply
from yunmo.web.dialects.deepl.translate import Translations
from yunmo.web.request import Request

TERMS = {"fox": "Fuchs"}


class Translator:
    """Shouts, and remembers what it was asked."""

    def __init__(self, trouble=None, languages=()):
        self.orders = []
        self._trouble = trouble
        self._languages = list(languages)

    async def translate(self, principal, order):
        self.orders.append(order)
        if self._trouble is not None:
            raise self._trouble
        languages = self._languages or [order.source or "en"] * len(order.segments)
        shouted = [segment(part.upper() if isinstance(part, str) else part for part in each.parts) for each in order.segments]
        return [Translated(each, language, 1.0, len(each.text)) for each, language in zip(shouted, languages, strict=True)]


class Glossaries:
    """Has one glossary."""

    def __init__(self):
        self.asked = []

    async def merged_terms(self, project, ids, pair):
        self.asked.append((project, list(ids), (pair.source, pair.target)))
        return TERMS


class Style:
    id, language = "s", "de"

    def told(self):
        return ("Be brief.",)


class Styles:
    """Has one style."""

    async def get(self, project, style_id):
        if style_id != "s":
            raise NotFound("no such style")
        return Style()


class World:
    def __init__(self, **options):
        self.translator = Translator(**options)
        self.glossaries = Glossaries()
        self._handler = Translations(self.translator, self.glossaries, Styles()).translate

    async def ask(self, body=None, form=None, **fields):
        sent = urlencode(form, doseq=True).encode() if form else json.dumps({"target_lang": "DE", **(body or {}), **fields}).encode()
        kind = b"application/x-www-form-urlencoded" if form else b"application/json"

        async def receive():
            return {"type": "http.request", "body": sent, "more_body": False}

        request = Request(
            {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"content-type", kind)]}, receive
        )
        request.principal = Principal("acme", "k", frozenset({"infer"}))
        reply = await self._handler(request)
        return json.loads(reply.body)["translations"]

    @property
    def options(self):
        return self.translator.orders[-1].options


@pytest.fixture
def world():
    return World()


async def test_a_text_needs_no_more_than_its_target(world):
    assert await world.ask(text="hello") == [{"detected_source_language": "EN", "text": "HELLO", "billed_characters": 5}]
    order = world.translator.orders[-1]
    assert (order.source, order.target, order.segments[0].text) == (None, "de", "hello")
    assert (world.options.splitting, world.options.formality, world.options.terms) == ("all", "default", {})


async def test_every_field_reaches_the_translator(world):
    await world.ask(
        text=["hello"],
        source_lang="EN-GB",
        context="a letter",
        split_sentences="0",
        preserve_formatting=True,
        formality="prefer_more",
        glossary_ids=["a", "b,c"],
        style_id="s",
        custom_instructions=["Be kind."],
        translation_memory_id="m",
        translation_memory_threshold=90,
        model_type="latency_optimized",
        model="acme/ours",
        show_billed_characters=True,
        unknown={"a": 1},
    )
    order, options = world.translator.orders[-1], world.options
    assert (order.source, order.target) == ("en-GB", "de")
    assert (options.context, options.splitting, options.formality, options.model) == ("a letter", "off", "prefer_more", "acme/ours")
    assert (options.terms, options.instructions) == (TERMS, ("Be brief.", "Be kind."))
    assert (options.memory, options.memory_threshold) == ("m", 90)
    assert world.glossaries.asked == [("acme", ["a", "b", "c"], ("en", "de"))]


@pytest.mark.parametrize(
    ("fields", "splitting"),
    [
        ({}, "all"),
        ({"split_sentences": 1}, "all"),
        ({"split_sentences": "nonewlines"}, "no_newlines"),
        ({"tag_handling": "xml"}, "all"),
        ({"tag_handling": "html"}, "no_newlines"),
        ({"tag_handling": "html", "split_sentences": "1"}, "all"),
    ],
)
async def test_lines_end_sentences_unless_the_text_is_html(fields, splitting, world):
    await world.ask(text="hello", **fields)
    assert world.options.splitting == splitting


async def test_a_form_says_the_same_as_json(world):
    form = {"text": ["a <x>b</x>", "c"], "target_lang": "de", "tag_handling": "xml", "ignore_tags": ["y,x"], "outline_detection": "0"}
    found = await world.ask(form=form)
    assert [each["text"] for each in found] == ["A <x>b</x>", "C"]
    assert found[0]["tag_handling_version"] == "v1"


async def test_tags_are_handled_as_they_are_told(world):
    text = "<a>one</a><B>two</B>"
    await world.ask(text=text, tag_handling="xml", non_splitting_tags=["a", "B"])
    assert len(world.translator.orders[-1].segments) == 1
    await world.ask(text=text, tag_handling="xml", outline_detection=False, splitting_tags="B")
    assert [each.text for each in world.translator.orders[-1].segments] == ["one", "two"]
    assert (await world.ask(text="<P>x <B>y</B></P>", tag_handling="html", ignore_tags="B"))[0]["text"] == "<P>X <B>y</B></P>"


async def test_a_texts_language_is_that_of_most_of_it():
    world = World(languages=["fr", "zh-Hans", "und", "und"])
    found = await world.ask(text=["<p>oui</p><p>一二三四五六</p>", "<p>123</p>", "<p>1</p>", "…"], tag_handling="html")
    assert [(each["detected_source_language"], each["billed_characters"]) for each in found] == [("ZH", 9), ("EN", 3), ("EN", 1), ("EN", 0)]


async def test_texts_without_words_ask_nobody(world):
    assert [each["text"] for each in await world.ask(text=["", " ", "…"])] == ["", " ", "…"]
    assert world.translator.orders == []


@pytest.mark.parametrize(
    ("trouble", "what"),
    [
        (InvalidRequest("nothing translates", param="target"), r"Value for 'target_lang' not supported\. nothing translates"),
        (InvalidRequest("not known", param="source"), r"Value for 'source_lang' not supported\. not known"),
        (Unsupported("cannot be told", param="formality"), "Target language 'DE' doesn't support formality"),
        (Unsupported("cannot be told", param="instructions"), "^cannot be told$"),
    ],
)
async def test_refusals_are_in_deepls_words(trouble, what):
    with pytest.raises(InvalidRequest, match=what):
        await World(trouble=trouble).ask(text="hello")


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"text": None}, "Parameter 'text' not specified"),
        ({"text": "x", "target_lang": ""}, "Parameter 'target_lang' not specified"),
        ({"text": "x", "target_lang": 1}, "Value for 'target_lang' not supported"),
        ({"text": ["x", 1]}, "not supported"),
        ({"text": "x", "glossary_id": "a", "glossary_ids": ["b"]}, "not both"),
        ({"text": "x", "glossary_id": "a"}, "requires the source_lang"),
        ({"text": "x", "glossary_ids": ["a"] * 6, "source_lang": "EN"}, "glossary_ids"),
        ({"text": "x", "glossary_ids": "a,b,c,d,e,f", "source_lang": "EN"}, "5 glossaries"),
        ({"text": "x", "style_id": "s", "target_lang": "FR"}, "is for DE"),
    ],
)
async def test_what_is_missing_or_contradicts_itself_is_refused(fields, what, world):
    with pytest.raises(InvalidRequest, match=what):
        await world.ask(fields)


def test_errors_are_texts_with_the_statuses_that_clients_know():
    async def receive():
        return {}

    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}, receive)
    request.id = "trace"
    for error, status, content in (
        (InvalidRequest("no", param="name"), 400, {"message": "no"}),
        (InvalidRequest("Row 2", param="entries"), 400, {"message": "Invalid glossary entries provided", "detail": "Row 2"}),
        (NotAcceptable("tsv only"), 415, {"message": "tsv only"}),
        (RateLimited("slow", retry_after_seconds=2.1), 429, {"message": "slow"}),
    ):
        reply = error_reply(error, request)
        assert (reply.status_code, json.loads(reply.body), reply.headers["x-trace-id"]) == (status, content, "trace")
    assert reply.headers["retry-after"] == "3"
