"""Segments are translated by real models: tiny encoder-decoders at random, and echo where a chat is wanted."""

import pytest
import pytest_asyncio

from hub_world import ACME, principal
from translation_world import TALKER, ask, deploy_chat, for_pair, marian_files, order, push_model, settings, translated
from yunmo.apps.translate.orders import Options, Order
from yunmo.apps.translate.realtime import Bounds, Realtime, translating
from yunmo.apps.translate.segments import Tag, segment
from yunmo.assembly import open_server
from yunmo.core.errors import Forbidden, Unsupported

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory):
    """acme has models from en into de, zh into en and en into pt, and a chat."""
    files = marian_files(tmp_path_factory.mktemp("marian"))
    async with open_server(settings(tmp_path_factory.mktemp("server"))) as opened:
        for source, target in (("en", "de"), ("zh", "en"), ("en", "pt")):
            await push_model(opened, f"acme/{source}-{target}", for_pair(files, source, target))
        await deploy_chat(opened)
        yield opened


# ---------------------------------------------------------------- sentence models


async def test_a_pushed_model_translates_its_pair_without_being_told_to(server):
    found = await server.translator.translate(ACME, order("the quick brown fox", "hello world"))
    assert tuple(each.segment.text for each in found) == await ask(server, "acme/en-de", "the quick brown fox", "hello world")
    assert [(each.models, each.source, each.confidence) for each in found] == [(("acme/en-de",), "en", 1.0)] * 2
    assert [each.characters for each in found] == [19, 11]


async def test_what_no_model_translates_goes_through_a_third_language(server):
    (found,) = await server.translator.translate(ACME, order("one two three", source="zh", target="pt"))
    middle = await ask(server, "acme/zh-en", "one two three")
    assert (found.segment.text,) == await ask(server, "acme/en-pt", *middle)
    assert found.models == ("acme/zh-en", "acme/en-pt")
    pairs = {(pair.source, pair.target): pair.models for pair in await server.translator.pairs(ACME)}
    assert pairs[("zh", "pt")] == ("acme/zh-en", "acme/en-pt")
    assert pairs[("en", "de")] == ("acme/en-de",)


async def test_each_sentence_is_given_to_the_model_alone(server):
    (found,) = await translated(server, "The quick brown fox.\nHello world. One two three.")
    first, second, third = await ask(server, "acme/en-de", "The quick brown fox.", "Hello world.", "One two three.")
    assert found == f"{first}\n{second} {third}"
    (whole,) = await translated(server, "Hello world. One two three.", splitting="off")
    assert (whole,) == await ask(server, "acme/en-de", "Hello world. One two three.")


async def test_a_sentence_that_is_longer_than_the_model_reads_is_given_to_it_in_parts(server):
    words = " ".join(["the quick brown fox jumps over the lazy dog"] * 40)
    (found,) = await translated(server, words)
    assert len(found) > 100


async def test_tags_and_placeholders_come_through_whatever_the_model_makes_of_markers(server):
    bold, end, line = Tag(1, "open", "<b>"), Tag(1, "close", "</b>"), Tag(2, "alone", "<br/>")
    source = segment(["Hello ", bold, "quick", end, " fox {name}", line, " at https://example.com/a?b=1 now"])
    (found,) = await server.translator.translate(ACME, Order((source,), "de", "en"))
    assert sorted(found.segment.tags, key=str) == sorted(source.tags, key=str)
    assert "{name}" in found.segment.text
    assert "https://example.com/a?b=1" in found.segment.text
    assert not [issue for issue in found.issues if issue.kind in {"tag", "placeholder", "url"}]


async def test_terms_are_in_the_translation_of_whatever_model(server):
    terms = {"quick fox": "rascher Fuchs", "world": "Welt"}
    (found,) = await server.translator.translate(ACME, order("Hello world, said the quick fox.", target="de", terms=terms))
    assert "Welt" in found.segment.text
    assert "rascher Fuchs" in found.segment.text
    assert not [issue for issue in found.issues if issue.kind == "term"]
    (through,) = await translated(server, "hello brave world", source="zh", target="pt", terms={"world": "mundo"})
    assert "mundo" in through


@pytest.mark.parametrize("text", ["", "   ", "12 345,67", "→ • —", "{name}", "https://example.com/", "😀"])
async def test_what_has_no_words_stays_as_it_is_and_costs_no_model(text, server):
    (found,) = await server.translator.translate(ACME, order(text))
    assert (found.segment, found.models, found.issues) == (segment([text]), (), ())


async def test_the_language_is_found_out_where_it_is_not_told(server):
    told = await translated(server, "The weather is lovely today, is it not?", source="en", target="pt")
    found = await server.translator.translate(
        ACME, order("The weather is lovely today, is it not?", "今天天气很好，我们去公园散步吧。", "42", source=None, target="pt")
    )
    assert [each.source for each in found][:2] == ["en", "zh-Hans"]
    assert found[0].segment.text == told[0]
    assert 0.5 < found[0].confidence <= 1
    assert [each.models for each in found] == [("acme/en-pt",), ("acme/zh-en", "acme/en-pt"), ()]


async def test_a_text_that_is_in_the_target_language_stays_as_it_is(server):
    assert await translated(server, "hello world", target="en") == ["hello world"]
    assert await translated(server, "hello world", target="en-GB") == ["hello world"]


async def test_the_scripts_of_chinese_need_no_model(server):
    (found,) = await server.translator.translate(ACME, order("软件和网络", source="zh-Hans", target="zh-Hant"))
    assert (found.segment.text, found.models) == ("軟體和網路", ())


async def test_what_a_sentence_model_cannot_be_told_is_refused_and_wishes_are_not(server):
    for wrong, param in (({"formality": "more"}, "formality"), ({"instructions": ("Be brief.",)}, "instructions")):
        with pytest.raises(Unsupported, match="chat model") as refused:
            await translated(server, "hello", **wrong)
        assert refused.value.param == param
    assert len(await translated(server, "hello", formality="prefer_more", context="A letter.")) == 1


async def test_a_growing_text_ends_as_its_sentences_translate(server):
    session = Realtime(translating(server.translator, ACME, order()), "en", Bounds(max_erasure=0.5))
    for word in ["The", "quick", "brown", "fox.", "Hello", "world"]:
        await session.hear(word + " ")
    ended = await session.end()
    first, second = await ask(server, "acme/en-de", "The quick brown fox.", "Hello world")
    assert (ended.concluded, ended.tentative) == (f"{first.strip()} {second.strip()}", "")
    assert session.measured.normalized_erasure <= 0.5
    assert session.measured.average_lag_ms > 0


# ---------------------------------------------------------------- chat models


async def test_a_chat_model_translates_what_it_is_named_for(server):
    found = await server.translator.translate(ACME, order("Hello {name}!", target="sw", model=TALKER))
    assert [(each.segment.text, each.models) for each in found] == [("Hello {name}!", (TALKER,))]


async def test_a_chat_model_takes_instructions_and_formality(server):
    wanted = {"formality": "more", "instructions": ("Be brief.",), "context": "A letter.", "terms": {"cloud": "wingu"}}
    assert await translated(server, "Hello", target="sw", model=TALKER, **wanted) == ["Hello"]


async def test_tags_come_through_a_chat_model(server):
    source = segment(["Hello ", Tag(1, "open", "<b>"), "dear", Tag(1, "close", "</b>"), " world"])
    (found,) = await server.translator.translate(ACME, Order((source,), "sw", "en", Options(model=TALKER)))
    assert found.segment == source


async def test_who_may_not_infer_may_not_translate(server):
    for act in (server.translator.pairs(principal("acme", "read")), translated(server, "x", by=principal("acme", "read"))):
        with pytest.raises(Forbidden):
            await act
