"""Which models translate for whom: routes that are told, models that are found, limits, and a memory before them."""

from types import SimpleNamespace

import pytest

from hub_world import ACME, ADMIN, OTHER, principal
from translation_world import TALKER, ask, deploy_chat, for_pair, marian_files, order, push_model, settings, translated
from yunmo.apps.translate.route_store import ROUTES_PER_PROJECT, RouteStore
from yunmo.apps.translate.routes import Route
from yunmo.apps.translate.segments import segment
from yunmo.apps.translate.translator import Translator
from yunmo.assembly import open_server
from yunmo.core.errors import EngineFailed, Forbidden, InvalidRequest, ModelNotFound, NotFound, RateLimited
from yunmo.core.identity import Limits, Principal


@pytest.fixture
async def server(tmp_path):
    async with open_server(settings(tmp_path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    return for_pair(marian_files(tmp_path_factory.mktemp("marian")), "en", "de")


async def test_a_model_of_many_languages_translates_all_of_them(server, tmp_path):
    await push_model(server, "acme/many", marian_files(tmp_path / "nllb", "nllb"))
    (found,) = await server.translator.translate(ACME, order("hello world", source="en", target="fr"))
    assert found.models == ("acme/many",)
    pairs = await server.translator.pairs(ACME)
    assert len(pairs) > 1000
    assert all(pair.models == ("acme/many",) for pair in pairs)


async def test_a_model_that_does_neither_is_refused(server, tiny_model):
    await push_model(server, "acme/judge", {path.name: path.read_bytes() for path in tiny_model("classify").iterdir()})
    with pytest.raises(InvalidRequest, match="does not translate; it does: classify"):
        await translated(server, "hello", model="acme/judge")
    with pytest.raises(InvalidRequest, match="does not translate"):
        await server.translator.routing.add(ACME, Route("en", "de", "acme/judge"))
    with pytest.raises(ModelNotFound):
        await translated(server, "hello", model="acme/nothing")


# ---------------------------------------------------------------- routes


async def test_a_pair_that_nothing_translates_is_refused_with_the_way_to_add_it(server):
    with pytest.raises(InvalidRequest, match=r"translates en into sw.*yunmo translate routes add en sw MODEL"):
        await translated(server, "hello", target="sw")
    with pytest.raises(InvalidRequest, match="klingon"):
        await translated(server, "hello", target="klingon")


async def test_a_told_route_is_taken_until_it_is_removed(server, marian):
    await push_model(server, "acme/en-de", marian)
    await deploy_chat(server)
    added = await server.translator.routing.add(ACME, Route("eng", "*", TALKER, 3))
    assert added == Route("en", "*", TALKER, 3, "acme")
    assert await translated(server, "hello world") == ["hello world"]
    assert await translated(server, "hello world", target="sw") == ["hello world"]
    assert (await server.translator.routing.remove(ACME, added)).model == TALKER
    assert tuple(await translated(server, "hello world")) == await ask(server, "acme/en-de", "hello world")
    with pytest.raises(NotFound):
        await server.translator.routing.remove(ACME, added)


async def test_a_model_that_fails_gives_way_to_the_next_one(server, marian):
    await push_model(server, "acme/en-de", marian)
    await deploy_chat(server, error_on="hello world")
    for target in ("de", "fr"):
        await server.translator.routing.add(ACME, Route("en", target, TALKER))
    (found,) = await server.translator.translate(ACME, order("hello world"))
    assert found.models == ("acme/en-de",)
    assert (found.segment.text,) == await ask(server, "acme/en-de", "hello world")
    for wanted in ({"target": "fr"}, {"model": TALKER}):
        with pytest.raises(EngineFailed, match="told to fail"):
            await translated(server, "hello world", **wanted)


async def test_an_operators_route_is_everybodys_and_nobody_elses_to_remove(server):
    await deploy_chat(server)
    await server.translator.routing.add(ADMIN, Route("en", "sw", TALKER))
    for project in (ACME, OTHER):
        assert await translated(server, "hello", target="sw", by=project) == ["hello"]
        with pytest.raises(NotFound):
            await server.translator.routing.remove(project, Route("en", "sw", TALKER))
    with pytest.raises(Forbidden):
        await server.translator.routing.add(OTHER, Route("en", "sw", TALKER, project="acme"))
    with pytest.raises(Forbidden):
        await server.translator.routing.add(principal("other", "read", "infer"), Route("en", "sw", TALKER))


async def test_private_models_and_the_routes_to_them_are_their_own_projects_alone(server, marian):
    await push_model(server, "acme/secret", marian, is_private=True)
    await server.translator.routing.add(ADMIN, Route("en", "fr", "acme/secret"))
    assert {pair.models for pair in await server.translator.pairs(ACME)} == {("acme/secret",)}
    assert await server.translator.pairs(principal("acme", "infer"))
    assert await server.translator.pairs(OTHER) == ()
    assert (await server.translator.routing.table(OTHER)).told == []
    for target in ("de", "fr"):
        with pytest.raises(InvalidRequest, match="Nothing here translates"):
            await translated(server, "hello", target=target, by=OTHER)
    with pytest.raises(ModelNotFound):
        await translated(server, "hello", model="acme/secret", by=OTHER)


async def test_the_table_follows_what_is_deleted(server, marian):
    await push_model(server, "acme/en-de", marian)
    assert await server.translator.pairs(ACME)
    await server.cloud.hub.repositories.delete(ACME, "model", "acme/en-de")
    assert await server.translator.pairs(ACME) == ()


async def test_routes_have_limits(database):
    store = RouteStore(database)
    for number in range(ROUTES_PER_PROJECT):
        await store.put(Route("en", "de", f"model-{number}", project="acme"))
    with pytest.raises(InvalidRequest, match=f"at most {ROUTES_PER_PROJECT}"):
        await store.put(Route("en", "de", "one-more", project="acme"))
    assert len(await store.seen_by("acme")) == ROUTES_PER_PROJECT
    await store.put(Route("en", "de", "model-0", 5, project="acme"))
    assert Route("en", "de", "model-0", 5, "acme") in await store.seen_by("acme")
    await store.put(Route("en", "de", "for-all"))
    assert await store.seen_by("other") == [Route("en", "de", "for-all")]


async def test_a_priority_beyond_bounds_is_refused(server):
    await deploy_chat(server)
    with pytest.raises(InvalidRequest, match="priority is from -1000 to 1000"):
        await server.translator.routing.add(ACME, Route("en", "sw", TALKER, 1001))


# ---------------------------------------------------------------- limits, memory


async def test_an_order_of_many_texts_keeps_within_the_limit_of_its_key(server):
    await deploy_chat(server, delay_seconds=0.02)
    narrow = Principal("acme", "narrow", frozenset({"infer"}), limits=Limits(concurrent_requests=1))
    texts = [f"text {chr(97 + number)}" for number in range(12)]
    assert await translated(server, *texts, target="sw", model=TALKER, by=narrow) == texts


async def test_a_limit_that_is_used_up_by_others_is_told(server):
    await deploy_chat(server)
    narrow = Principal("acme", "narrow", frozenset({"infer"}), limits=Limits(requests_per_minute=1))
    await translated(server, "one", target="sw", model=TALKER, by=narrow)
    with pytest.raises(RateLimited):
        await translated(server, "two", target="sw", model=TALKER, by=narrow)


async def test_what_a_memory_knows_is_not_asked_of_a_model(server, database):
    async def recall(_, wanted, segments):
        known = {"hello": "hujambo"}
        assert (wanted.source, wanted.options.memory) == ("en", "letters")
        return [segment([known[each.text]]) if each.text in known else None for each in segments]

    await deploy_chat(server)
    translator = Translator(server.cloud, RouteStore(database), SimpleNamespace(recall=recall))
    found = await translator.translate(ACME, order("hello", "world", "12", target="sw", model=TALKER, memory="letters"))
    assert [(each.segment.text, each.models) for each in found] == [("hujambo", ()), ("world", (TALKER,)), ("12", ())]
