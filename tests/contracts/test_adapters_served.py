"""Adapters under their own names on one base: who may call them, what they answer, and what becomes of them. Real workers."""

import asyncio
import datetime as dt
import json
import os
import signal

import pytest
from test_llama_cpp_adapters import PROMPT, SCALE, by_transformers, converted, greedy
from tokenizers import Tokenizer

import tiny_adapters
import tiny_decoders
from hub_world import ACME, ADMIN, OTHER, push
from yunmo.assembly import open_cloud
from yunmo.core.errors import Conflict, Gated, InvalidRequest, ModelNotFound, Unsupported
from yunmo.core.tasks import Classify, Generate
from yunmo.serving.adapters import BASE
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings

ONE, TWO = "acme/one", "acme/two"
LLAMA = "acme/llama"


def settings(data):
    return Settings(data=data, serving=ServingSettings(follow_seconds=0.1, calibrate=False))


@pytest.fixture
async def cloud(tmp_path):
    async with open_cloud(settings(tmp_path / "cloud")) as (opened, _):
        yield opened


class Made:
    """A base as a GGUF, two adapters, and what the library says with none and with each in the weights."""

    def __init__(self, root):
        self.base = tiny_decoders.build("llama", root / "base")
        converted(self.base, root)
        self.gguf = {"llama-F32.gguf": (root / "llama_cpp" / "converted-F32.gguf").read_bytes()}
        self.tokenizer = Tokenizer.from_file(str(self.base / "tokenizer.json"))
        self.files, self.texts = {}, {None: self._text(self.base)}
        for seed, name in enumerate((ONE, TWO)):
            directory = tiny_adapters.build(self.base, root / f"adapter-{seed}", seed=seed)
            self.files[name] = {path.name: path.read_bytes() for path in directory.iterdir()}
            self.texts[name] = self._text(tiny_adapters.merged(self.base, directory, root / f"merged-{seed}", SCALE))

    def _text(self, directory):
        return self.tokenizer.decode(by_transformers(self.base, directory))

    def adapter(self, name, **config):
        """The adapter's files with another adapter_config.json."""
        settings = json.loads(self.files[name]["adapter_config.json"]) | config
        return self.files[name] | {"adapter_config.json": json.dumps(settings).encode()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("made"))


async def pushed(cloud, name, files, by=ACME, **settings):
    repository = await cloud.hub.repositories.create(by, "model", name)
    if settings:
        await cloud.hub.repositories.change_settings(by, "model", name, **settings)
    return (await push(cloud.hub, repository, files, by=by)).oid


def request(made):
    return Generate(prompt=PROMPT, sampling=greedy(made.base))


async def ask(cloud, made, model, by=ACME):
    answering = await cloud.inference.begin(by, model, request(made))
    return (await answering.whole()).choices[0].text


def workers(cloud, name=LLAMA):
    return [replica.pid for replica in cloud.deployments.view(ADMIN, name).replicas]


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what follows a repository has no event for tests
            await asyncio.sleep(0.01)


def wish(name, repository, **fields):
    return DeploymentSpec(name, "acme", repository, "", dt.datetime.now(dt.UTC), branch="main", **fields)


async def test_adapters_answer_by_their_own_names_from_the_one_worker_of_their_base(cloud, made):
    await pushed(cloud, LLAMA, made.gguf)
    for name in (ONE, TWO):
        await pushed(cloud, name, made.files[name])
    for name in (ONE, TWO, LLAMA, ONE, TWO, LLAMA):
        assert await ask(cloud, made, name) == made.texts[None if name == LLAMA else name], name
    assert len(workers(cloud)) == 1
    view = cloud.deployments.view(ACME, ONE)
    assert (view.engine, view.state, view.replicas, view.memory_bytes) == ("llama_cpp", "ready", (), 0)
    rows = await cloud.tenancy.ledger.query(group_by=("model",))
    assert {row.model: row.requests for row in rows} == {ONE: 2, TWO: 2, LLAMA: 2}


async def test_a_new_adapter_comes_while_the_base_answers_and_no_request_fails(cloud, made):
    await pushed(cloud, LLAMA, made.gguf)
    assert await ask(cloud, made, LLAMA) == made.texts[None]
    (before,) = workers(cloud)
    await pushed(cloud, ONE, made.files[ONE])
    asked = asyncio.ensure_future(ask(cloud, made, ONE))
    answers = 0
    while not asked.done():
        assert await ask(cloud, made, LLAMA) == made.texts[None]
        answers += 1
    assert await asked == made.texts[ONE]
    assert answers > 3
    await until(lambda: len(workers(cloud)) == 1)
    assert workers(cloud) != [before]


async def test_a_new_commit_of_an_adapter_is_served_and_the_one_before_until_then(cloud, made):
    await pushed(cloud, LLAMA, made.gguf)
    await pushed(cloud, ONE, made.files[ONE])
    assert await ask(cloud, made, ONE) == made.texts[ONE]
    repository = await cloud.hub.repositories.find(ACME, "model", ONE)
    commit = (await push(cloud.hub, repository, made.files[TWO])).oid
    texts = set()
    async with asyncio.timeout(60):
        while made.texts[TWO] not in texts:
            texts.add(await ask(cloud, made, ONE))
    assert texts <= {made.texts[ONE], made.texts[TWO]}
    assert cloud.deployments.view(ACME, ONE).revision == commit


async def test_a_private_adapter_is_its_projects_alone(cloud, made):
    await pushed(cloud, LLAMA, made.gguf)
    await pushed(cloud, ONE, made.files[ONE], is_private=True)
    assert await ask(cloud, made, ONE) == made.texts[ONE]
    for name in (ONE, "acme/ONE"):
        with pytest.raises(ModelNotFound):
            await ask(cloud, made, name, by=OTHER)
    assert await ask(cloud, made, LLAMA, by=OTHER) == made.texts[None]


@pytest.mark.parametrize(("closed", "error"), [({"is_private": True}, ModelNotFound), ({"gated": "manual"}, Gated)])
async def test_an_adapter_is_no_way_to_a_base_that_is_closed_to_the_caller(cloud, made, closed, error):
    await pushed(cloud, LLAMA, made.gguf, **closed)
    await pushed(cloud, ONE, made.files[ONE])
    with pytest.raises(error):
        await ask(cloud, made, ONE, by=OTHER)
    assert await ask(cloud, made, ONE) == made.texts[ONE]
    with pytest.raises(error):
        await ask(cloud, made, ONE, by=OTHER)


async def test_a_gated_adapter_opens_for_whom_its_owner_lets_in(cloud, made):
    await pushed(cloud, LLAMA, made.gguf)
    await pushed(cloud, ONE, made.files[ONE], gated="manual")
    assert await ask(cloud, made, ONE) == made.texts[ONE]
    with pytest.raises(Gated):
        await ask(cloud, made, ONE, by=OTHER)
    await cloud.hub.access.grant(ACME, await cloud.hub.repositories.find(ACME, "model", ONE), "other")
    assert await ask(cloud, made, "acme/ONE", by=OTHER) == made.texts[ONE]


async def test_another_project_puts_its_adapter_on_a_public_base_and_never_on_a_private_one(cloud, made):
    await pushed(cloud, LLAMA, made.gguf)
    await pushed(cloud, "other/mine", made.files[ONE], by=OTHER)
    assert await ask(cloud, made, "other/mine", by=OTHER) == made.texts[ONE]
    await pushed(cloud, "acme/secret", made.gguf, is_private=True)
    await pushed(cloud, "other/spy", made.adapter(ONE, base_model_name_or_path="acme/secret"), by=OTHER)
    with pytest.raises(InvalidRequest, match=r"an adapter of 'acme/secret', which is not here, or 'other' may not use it"):
        await ask(cloud, made, "other/spy", by=OTHER)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"base_model_name_or_path": "meta/absent"}, r"an adapter of 'meta/absent', which is not here.*--option base=NAME"),
        ({"use_dora": True}, "has DoRA"),
        ({"peft_type": "IA3"}, "of the type IA3"),
        ({"base_model_name_or_path": TWO}, "is an adapter itself"),
    ],
)
async def test_what_cannot_be_served_says_why_before_anything_is_loaded_or_kept(cloud, made, config, reason):
    await pushed(cloud, LLAMA, made.gguf)
    await pushed(cloud, TWO, made.files[TWO])
    await pushed(cloud, ONE, made.adapter(ONE, **config))
    with pytest.raises(InvalidRequest, match=reason):
        await ask(cloud, made, ONE)
    with pytest.raises(InvalidRequest, match=reason):
        await cloud.deployments.create(ACME, wish("named", ONE))
    assert not {"named", ONE} & {view.name for view in cloud.deployments.list(ADMIN)}


async def test_an_adapter_of_another_base_fails_its_own_calls_with_the_shapes(cloud, made, tmp_path):
    wider = tiny_decoders.build("llama", tmp_path / "wider", hidden_size=128)
    foreign = tiny_adapters.build(wider, tmp_path / "foreign")
    await pushed(cloud, LLAMA, made.gguf)
    await pushed(cloud, ONE, {path.name: path.read_bytes() for path in foreign.iterdir()})
    with pytest.raises(InvalidRequest, match="does not fit its base"):
        await ask(cloud, made, ONE)
    assert await ask(cloud, made, LLAMA) == made.texts[None]


async def test_a_base_may_be_named_and_nothing_else_is_an_adapters_to_choose(cloud, made):
    await pushed(cloud, "acme/renamed", made.gguf)
    await pushed(cloud, ONE, made.files[ONE])
    await cloud.deployments.create(ACME, wish("named", ONE, options={BASE: "acme/renamed"}))
    assert await ask(cloud, made, "named") == made.texts[ONE]
    for options, field in (({"slots": 4}, "slots"), ({"engine": "transformers"}, "engine")):
        with pytest.raises(InvalidRequest) as refused:
            await cloud.deployments.change(ACME, "named", {"options": options})
        assert refused.value.param == field
    with pytest.raises(InvalidRequest, match="Calibrate its base, acme/renamed"):
        await cloud.deployments.calibrate(ACME, "named", None, None)
    with pytest.raises(Conflict, match="undeploy that first"):
        await cloud.deployments.create(ACME, wish("named", "acme/renamed"))
    with pytest.raises(Unsupported):
        await (await cloud.inference.begin(ACME, "named", Classify(texts=("a",)))).whole()


async def test_a_base_on_an_engine_that_takes_no_adapters_says_so(cloud, made):
    files = {path.name: path.read_bytes() for path in made.base.iterdir()}
    await pushed(cloud, LLAMA, files)
    await cloud.deployments.create(ACME, wish("kept", LLAMA, options={"engine": "transformers"}))
    await pushed(cloud, ONE, made.files[ONE])
    with pytest.raises(Unsupported, match="the engine transformers runs here: it takes no adapters"):
        await ask(cloud, made, ONE)
    await until(lambda: cloud.deployments.view(ACME, "kept").state != "preparing")


async def test_adapters_are_known_again_after_a_restart_and_after_their_base_was_undeployed(tmp_path, made):
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        await pushed(cloud, LLAMA, made.gguf)
        await pushed(cloud, ONE, made.files[ONE])
        assert await ask(cloud, made, ONE) == made.texts[ONE]
        await cloud.deployments.delete(ADMIN, LLAMA)
        await asyncio.sleep(1.1)  # a name is remembered for a second
        assert await ask(cloud, made, ONE) == made.texts[ONE]
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        assert await ask(cloud, made, LLAMA) == made.texts[None]
        (worker,) = workers(cloud)
        assert await ask(cloud, made, ONE) == made.texts[ONE]
        assert workers(cloud) == [worker], "the base started with the adapter that it carries"


async def test_an_adapter_goes_with_its_repository(cloud, made):
    await pushed(cloud, LLAMA, made.gguf)
    await pushed(cloud, ONE, made.files[ONE])
    assert await ask(cloud, made, ONE) == made.texts[ONE]
    await cloud.hub.repositories.delete(ACME, "model", ONE)
    await until(lambda: cloud.deployments.get(ONE) is None)
    with pytest.raises(ModelNotFound):
        await ask(cloud, made, ONE)
    assert await ask(cloud, made, LLAMA) == made.texts[None]


async def test_a_worker_that_dies_comes_back_with_its_adapters(cloud, made):
    await pushed(cloud, LLAMA, made.gguf)
    await pushed(cloud, ONE, made.files[ONE])
    assert await ask(cloud, made, ONE) == made.texts[ONE]
    os.kill(workers(cloud)[0], signal.SIGKILL)
    assert await ask(cloud, made, ONE) == made.texts[ONE]
