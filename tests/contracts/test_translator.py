"""Segments are translated by real encoder-decoders (tiny, at random) over the routes that are told, found in repositories, and put together."""

import json

import pytest

import tiny_translators
from hub_world import ACME, OTHER, push
from yunmo.apps.translate.orders import Order
from yunmo.apps.translate.segments import Tag, segment
from yunmo.assembly import open_server
from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Translate
from yunmo.settings import ServingSettings, Settings


@pytest.fixture
async def server(tmp_path):
    async with open_server(Settings(data=tmp_path / "data", serving=ServingSettings(calibrate=False))) as opened:
        yield opened


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    """The files of a tiny Marian."""
    directory = tiny_translators.build("marian", tmp_path_factory.mktemp("marian"))
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def push_pair(server, files, name, source, target, *, by=ACME, is_private=False):
    """Push a model that says that it translates `source` into `target`."""
    tokenizer = json.loads(files["tokenizer_config.json"]) | {"source_lang": source, "target_lang": target}
    repository = await server.cloud.hub.repositories.create(by, "model", name, is_private=is_private)
    await push(server.cloud.hub, repository, files | {"tokenizer_config.json": json.dumps(tokenizer).encode()})


async def ask(server, model, *texts):
    answering = await server.cloud.inference.begin(ACME, model, Translate(texts=texts))
    return (await answering.whole()).texts


async def test_a_pushed_model_translates_its_pair_without_being_told_to(server, marian):
    await push_pair(server, marian, "acme/words", "en", "de")
    order = Order((segment(["the quick brown fox"]), segment(["hello world"])), "de", "en")
    translated = await server.translator.translate(ACME, order)
    expected = await ask(server, "acme/words", "the quick brown fox", "hello world")
    assert tuple(each.segment.text for each in translated) == expected
    assert [each.models for each in translated] == [("acme/words",)] * 2
    assert [each.characters for each in translated] == [19, 11]


async def test_what_no_model_translates_goes_through_a_third_language(server, marian):
    await push_pair(server, marian, "acme/first", "zh", "en")
    await push_pair(server, marian, "acme/second", "en", "pt")
    (translated,) = await server.translator.translate(ACME, Order((segment(["one two three"]),), "pt", "zh"))
    middle = await ask(server, "acme/first", "one two three")
    assert (translated.segment.text,) == await ask(server, "acme/second", *middle)
    assert translated.models == ("acme/first", "acme/second")
    found = {(pair.source, pair.target): pair.models for pair in await server.translator.pairs(ACME)}
    assert found == {("zh", "en"): ("acme/first",), ("en", "pt"): ("acme/second",), ("zh", "pt"): ("acme/first", "acme/second")}


async def test_a_pair_that_nothing_translates_is_refused_with_the_way_to_add_it(server):
    with pytest.raises(InvalidRequest, match=r"translates en into sw.*yunmo translate routes add en sw MODEL"):
        await server.translator.translate(ACME, Order((segment(["hello"]),), "sw", "en"))


async def test_private_models_translate_for_their_own_project_alone(server, marian):
    await push_pair(server, marian, "acme/secret", "en", "de", is_private=True)
    assert [pair.models for pair in await server.translator.pairs(ACME)] == [("acme/secret",)]
    assert await server.translator.pairs(OTHER) == ()
    with pytest.raises(InvalidRequest, match="Nothing here translates"):
        await server.translator.translate(OTHER, Order((segment(["hello"]),), "de", "en"))


async def test_tags_come_through(server, marian):
    await push_pair(server, marian, "acme/words", "en", "de")
    tag = Tag(1, "alone", "<br/>")
    (translated,) = await server.translator.translate(ACME, Order((segment(["hello", tag, "world"]),), "de", "en"))
    assert translated.segment.tags == (tag,)
