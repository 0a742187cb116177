"""A deployment run by the engine that was found fastest, and its stand-in for what that one lacks. Real engines, real workers."""

import asyncio
import datetime as dt
import os
import signal

import psutil
import pytest
from test_llama_cpp_conversion import converted

import tiny_adapters
import tiny_decoders
from hub_world import ACME, ADMIN, push
from yunmo.assembly import open_cloud
from yunmo.core.errors import Unavailable, Unsupported
from yunmo.core.tasks import Chat, Generate, Message, Sampling
from yunmo.serving.calibration.report import Calibration, Pace, Trial
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings

MODEL = "acme/llama"
GREEDY = Sampling(max_tokens=4, temperature=0.0)
PLAIN = Generate(prompt="hello world", sampling=GREEDY)
LIKELIEST = Generate(prompt="hello world", sampling=GREEDY, top_logprobs=3)
BIASED = Chat(messages=(Message("user", "hello"),), sampling=Sampling(max_tokens=3, temperature=0.0, logit_bias={"300": 100.0}))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    directory = tiny_decoders.build("llama", root / "base")
    converted(directory, root)
    return directory, {"llama-F32.gguf": (root / "llama_cpp" / "converted-F32.gguf").read_bytes()}


@pytest.fixture
async def cloud(tmp_path, files, request):
    serving = ServingSettings(follow_seconds=0.1, calibrate=False, **getattr(request, "param", {}))
    async with open_cloud(Settings(data=tmp_path / "cloud", serving=serving)) as (opened, _):
        repository = await opened.hub.repositories.create(ACME, "model", MODEL)
        commit = await push(opened.hub, repository, files[1])
        await found_fastest(opened, commit.oid, "openvino_genai")
        yield opened


async def found_fastest(cloud, revision, engine):
    """As a calibration would have noted it."""
    world = cloud.deployments._world
    spec = wish(revision=revision)
    rivals = [offer for offer in world.offers(await world.models.describe(spec), spec) if not offer.is_fallback]
    paces = [Pace(per_second=100.0 if offer.engine == engine else 10.0, p50_ms=1.0) for offer in rivals]
    await world.calibrations._store.save(
        Calibration(
            repository=MODEL,
            revision=revision,
            task="chat",
            unit="tokens/s",
            trials=tuple(Trial(plan=offer.plan, verdict="fit", pace=pace) for offer, pace in zip(rivals, paces, strict=True)),
            fingerprint=world.calibrations._fingerprint(rivals),
            at=dt.datetime.now(dt.UTC),
            took_seconds=1.0,
        )
    )


def wish(name=MODEL, **fields):
    return DeploymentSpec(name, "acme", MODEL, fields.pop("revision", ""), dt.datetime.now(dt.UTC), **{"branch": "main", **fields})


async def ask(cloud, request, model=MODEL):
    return await (await cloud.inference.begin(ACME, model, request)).whole()


def engines(cloud):
    """The engines of the replicas that are up: the deployment's own, its stand-in's."""
    return [view.engine for view in cloud.deployments.view(ADMIN, MODEL).whole() if view.replicas]


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nothing tells tests of it
            await asyncio.sleep(0.01)


async def test_what_the_fastest_engine_lacks_is_answered_by_another_ones_replica_that_comes_when_it_is_asked_for(cloud):
    assert (await ask(cloud, PLAIN)).choices[0].text
    assert engines(cloud) == ["openvino_genai"]
    likeliest = (await ask(cloud, LIKELIEST)).choices[0]
    assert [len(token.top) for token in likeliest.logprobs] == [3] * 4
    assert all(token.id == token.top[0].id for token in likeliest.logprobs)
    assert engines(cloud) == ["openvino_genai", "llama_cpp"]
    assert [token.id for token in (await ask(cloud, with_logprobs(BIASED))).choices[0].logprobs] == [300] * 3
    view = cloud.deployments.view(ADMIN, MODEL)
    assert (view.engine, len(view.replicas), len(view.stand_in.replicas)) == ("openvino_genai", 1, 1)
    assert cloud.deployments._world.memory.used_bytes == view.memory_bytes + view.stand_in.memory_bytes
    rows = await cloud.tenancy.ledger.query(group_by=("model",))
    assert {row.model: row.requests for row in rows} == {MODEL: 3}


def with_logprobs(chat):
    return Chat(messages=chat.messages, sampling=chat.sampling, top_logprobs=0)


async def test_requests_that_wait_while_the_model_is_cold_are_parted_by_what_they_need(cloud):
    answers = await asyncio.gather(*(ask(cloud, request) for request in (LIKELIEST, PLAIN, BIASED, LIKELIEST, PLAIN)))
    assert all(answer.choices for answer in answers)
    assert sorted(engines(cloud)) == ["llama_cpp", "openvino_genai"]


async def test_who_asks_for_the_engine_gets_no_other(cloud):
    await cloud.deployments.create(ACME, wish("acme/fast", options={"engine": "openvino_genai"}))
    with pytest.raises(Unsupported, match="top_logprobs"):
        await ask(cloud, LIKELIEST, "acme/fast")


@pytest.mark.parametrize("cloud", [{"idle_seconds": 1.0}], indirect=True)
async def test_a_stand_in_that_nobody_asks_is_unloaded_and_comes_again(cloud):
    await cloud.deployments.create(ACME, wish(is_pinned=True))
    await ask(cloud, LIKELIEST)
    await until(lambda: engines(cloud) == ["openvino_genai"])
    await until(lambda: cloud.deployments._world.memory.used_bytes == cloud.deployments.view(ADMIN, MODEL).memory_bytes)
    assert (await ask(cloud, LIKELIEST)).choices[0].logprobs


async def test_a_request_whose_stand_in_dies_is_answered_by_the_next(cloud):
    await ask(cloud, LIKELIEST)
    (replica,) = cloud.deployments.view(ADMIN, MODEL).stand_in.replicas
    os.kill(replica.pid, signal.SIGSTOP)
    asked = asyncio.ensure_future(ask(cloud, LIKELIEST))
    await until(lambda: cloud.deployments.view(ADMIN, MODEL).stand_in.replicas[0].outstanding == 1)
    os.kill(replica.pid, signal.SIGKILL)
    assert (await asked).choices[0].logprobs


async def test_the_stand_in_ends_with_its_deployment_and_becomes_what_that_becomes(cloud, files):
    await ask(cloud, LIKELIEST)
    (replica,) = cloud.deployments.view(ADMIN, MODEL).stand_in.replicas
    await cloud.deployments.change(ACME, MODEL, {"options": {"context_tokens": 64}})
    await until(lambda: cloud.deployments.view(ADMIN, MODEL).plan.context_tokens == 64)
    await ask(cloud, LIKELIEST)
    await until(lambda: all(view.plan.context_tokens == 64 for view in cloud.deployments.view(ADMIN, MODEL).whole()))
    await cloud.deployments.delete(ACME, MODEL)
    assert cloud.deployments._world.memory.used_bytes == 0
    assert not psutil.pid_exists(replica.pid)


async def test_a_stand_in_for_which_there_is_no_room_is_refused_and_all_else_is_answered(cloud):
    await cloud.deployments.create(ACME, wish(is_pinned=True))
    await ask(cloud, PLAIN)
    memory = cloud.deployments._world.memory
    memory.total_bytes = memory.used_bytes
    with pytest.raises(Unavailable, match="MiB"):
        await asyncio.wait_for(ask(cloud, LIKELIEST), 60)
    assert (await ask(cloud, PLAIN)).choices[0].text


async def test_a_base_with_an_adapter_is_run_by_an_engine_that_takes_it(cloud, files, tmp_path):
    await ask(cloud, PLAIN)
    assert engines(cloud) == ["openvino_genai"]
    directory = tiny_adapters.build(files[0], tmp_path / "adapter")
    repository = await cloud.hub.repositories.create(ACME, "model", "acme/adapter")
    adapter = {path.name: path.read_bytes() for path in directory.iterdir()}
    settings = adapter["adapter_config.json"].replace(str(files[0]).encode(), MODEL.encode())
    await push(cloud.hub, repository, adapter | {"adapter_config.json": settings})
    assert (await ask(cloud, PLAIN, "acme/adapter")).choices[0].text
    await until(lambda: engines(cloud) == ["llama_cpp"])
    await cloud.deployments.delete(ACME, "acme/adapter")
    await until(lambda: engines(cloud) == ["openvino_genai"])
