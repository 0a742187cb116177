"""Deployments follow what becomes of their repository: its name, its gate, its end; and say what they lack."""

import asyncio
import datetime as dt
from types import SimpleNamespace

import pytest

from hub_world import ACME, ADMIN, OTHER, open_hub, push
from yunmo.assembly import open_cloud
from yunmo.core.errors import Gated, ModelNotFound, Unavailable
from yunmo.core.tasks import Classify
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings

HELLO = Classify(texts=("hello",))
MIB = 1 << 20


def settings(tmp_path, **serving):
    return Settings(data=tmp_path, serving=ServingSettings(follow_seconds=0.05, calibrate=False, **serving))


@pytest.fixture
async def cloud(tmp_path):
    async with open_cloud(settings(tmp_path)) as (opened, _):
        yield opened


@pytest.fixture
def files(tiny_model):
    return {path.name: path.read_bytes() for path in tiny_model("classify").iterdir()}


def wish(name, repository="echo", project="acme", **fields):
    return DeploymentSpec(name, project, repository, "", dt.datetime.now(dt.UTC), **fields)


async def pushed(cloud, name, files, by=ACME):
    repository = await cloud.hub.repositories.create(by, "model", name)
    return (await push(cloud.hub, repository, files, by=by)).oid


async def ask(cloud, principal, model):
    return await (await cloud.inference.begin(principal, model, HELLO)).whole()


async def until(holds):
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - what follows a repository has no event for tests
            await asyncio.sleep(0.01)


# ------------------------------------------------------------ gates


async def test_a_gate_holds_for_a_loaded_model_too_and_opens_for_whom_the_owner_lets_in(cloud, files):
    await pushed(cloud, "acme/model", files)
    await ask(cloud, OTHER, "acme/model")
    await cloud.hub.repositories.change_settings(ACME, "model", "acme/model", gated="manual")
    await until(lambda: cloud.deployments.get("acme/model").spec.is_gated)
    for model in ("acme/model", "acme/MODEL"):
        with pytest.raises(Gated, match="Ask its owner for access"):
            await ask(cloud, OTHER, model)
    await ask(cloud, ACME, "acme/model")
    await ask(cloud, ADMIN, "acme/model")
    repository = await cloud.hub.repositories.find(ACME, "model", "acme/model")
    await cloud.hub.access.grant(ACME, repository, "other")
    await ask(cloud, OTHER, "acme/model")


async def test_a_gate_that_was_opened_or_closed_to_all_holds_for_named_and_pinned_deployments(cloud, files):
    await pushed(cloud, "acme/model", files)
    await cloud.hub.repositories.change_settings(ACME, "model", "acme/model", gated="manual")
    revision = (await cloud.hub.models.find(ACME, "acme/model")).commit
    await cloud.deployments.create(ACME, wish("kept", "acme/model", branch=revision))
    with pytest.raises(Gated):
        await cloud.inference.find(OTHER, "kept")
    await cloud.hub.repositories.change_settings(ACME, "model", "acme/model", gated="")
    assert (await cloud.inference.find(OTHER, "kept")).name == "kept"
    await cloud.hub.repositories.change_settings(ACME, "model", "acme/model", is_private=True)
    await until(lambda: cloud.deployments.get("kept").spec.is_private)
    with pytest.raises(ModelNotFound):
        await cloud.inference.find(OTHER, "kept")


async def test_a_gated_model_is_gated_from_the_first_request_after_a_restart(tmp_path, files):
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        await pushed(cloud, "acme/model", files)
        await cloud.hub.repositories.change_settings(ACME, "model", "acme/model", gated="auto")
        await cloud.inference.find(ACME, "acme/model")
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        with pytest.raises(Gated):
            await cloud.inference.find(OTHER, "acme/model")


async def test_calls_of_a_gated_model_do_not_read_the_database_each_time(tmp_path, files, monkeypatch):
    async with open_cloud(Settings(data=tmp_path, serving=ServingSettings(follow_seconds=1000, calibrate=False))) as (cloud, _):
        await pushed(cloud, "acme/model", files)
        await cloud.hub.repositories.change_settings(ACME, "model", "acme/model", gated="manual")
        await cloud.inference.find(ACME, "acme/model")
        database = cloud.hub.models.database
        reads, read = [], database.read
        monkeypatch.setattr(database, "read", lambda work: (reads.append(work), read(work))[1])
        for _ in range(200):
            await cloud.inference.find(ACME, "acme/model")
            with pytest.raises(Gated):
                await cloud.inference.find(OTHER, "acme/model")
        assert 1 <= len(reads) < 20


# ------------------------------------------------------------ ends and new names


async def test_what_was_deployed_by_itself_goes_with_its_repository(cloud, files):
    await pushed(cloud, "acme/model", files)
    await cloud.inference.find(OTHER, "acme/model")
    runner = cloud.deployments.get("acme/model")
    await cloud.hub.repositories.delete(ACME, "model", "acme/model")
    async with asyncio.timeout(30):
        await runner.ended.wait()
    assert cloud.deployments.get("acme/model") is None
    with pytest.raises(ModelNotFound):
        await cloud.inference.find(OTHER, "acme/model")


async def test_what_people_deployed_says_that_its_repository_is_gone_and_serves_again_when_it_is_back(cloud, files):
    await pushed(cloud, "acme/model", files)
    await cloud.deployments.create(ACME, wish("named", "acme/model", branch="main", options={"engine": "transformers"}))
    await ask(cloud, OTHER, "named")
    await cloud.hub.repositories.delete(ACME, "model", "acme/model")
    view = await failed(cloud, "named")
    assert view.reason == "the repository was deleted or closed: acme/model"
    with pytest.raises(Unavailable, match="the repository was deleted"):
        await ask(cloud, OTHER, "named")
    await until(lambda: not cloud.deployments.view(ACME, "named").replicas)
    assert cloud.deployments.view(ACME, "named").state == "failed"
    revision = await pushed(cloud, "acme/model", {**files, "README.md": b"again"})
    await until(lambda: cloud.deployments.get("named").spec.revision == revision)
    await until(lambda: cloud.deployments.view(ACME, "named").state == "idle")
    await ask(cloud, OTHER, "named")


async def test_a_repository_that_went_while_the_server_was_down_leaves_nothing_pending(tmp_path, files):
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        for name in ("acme/one", "acme/two"):
            await pushed(cloud, name, files)
        await cloud.inference.find(ACME, "acme/one")
        await cloud.deployments.create(ACME, wish("named", "acme/two", branch="main"))
    async with open_hub(tmp_path) as hub:
        for name in ("acme/one", "acme/two"):
            await hub.repositories.delete(ACME, "model", name)
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        assert [(view.name, view.state) for view in cloud.deployments.list(ADMIN)] == [("named", "failed")]


async def failed(cloud, name):
    await until(lambda: cloud.deployments.view(ACME, name).state == "failed")
    return cloud.deployments.view(ACME, name)


async def test_what_was_deployed_by_itself_takes_its_repositorys_new_name(cloud, files):
    await pushed(cloud, "acme/old", files)
    await cloud.inference.find(OTHER, "acme/old")
    await cloud.deployments.create(ACME, wish("named", "acme/old", branch="main"))
    await cloud.hub.repositories.move(ACME, "model", "acme/old", "acme/new")
    await until(lambda: cloud.deployments.get("acme/new") is not None)
    await until(lambda: cloud.deployments.get("named").spec.repository == "acme/new")
    assert cloud.deployments.get("acme/old") is None
    spec = cloud.deployments.get("acme/new").spec
    assert (spec.repository, spec.project, spec.is_automatic) == ("acme/new", "acme", True)
    for name in ("acme/new", "acme/old"):
        assert (await cloud.inference.find(OTHER, name)).name == "acme/new"


# ------------------------------------------------------------ rest and room


async def test_after_a_restart_what_is_not_pinned_is_idle_and_what_is_comes_up(tmp_path):
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        await cloud.deployments.create(ACME, wish("talk"))
        await cloud.deployments.create(ACME, wish("kept", is_pinned=True))
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        assert cloud.deployments.view(ACME, "talk").state == "idle"
        await until(lambda: cloud.deployments.view(ACME, "kept").state == "ready")
        assert cloud.deployments.view(ACME, "talk").state == "idle"
        await ask(cloud, ACME, "talk")


async def test_more_replicas_than_can_ever_fit_are_refused_with_the_numbers(tmp_path):
    async with open_cloud(settings(tmp_path, memory_bytes=256 * MIB)) as (cloud, _):
        with pytest.raises(Unavailable, match=r"30 x 64 = 1920 MiB .* 256 MiB .* At most 4 fit"):
            await cloud.deployments.create(ACME, wish("many", replicas=30))
        assert cloud.deployments.list(ADMIN) == []
        await cloud.deployments.create(ACME, wish("many"))
        with pytest.raises(Unavailable, match="At most 4 fit"):
            await cloud.deployments.change(ACME, "many", {"replicas": 5})


async def test_replicas_after_the_first_evict_no_other_model_and_the_state_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("yunmo.serving.runner._ROOM_SECONDS", 0.1)
    async with open_cloud(settings(tmp_path, memory_bytes=256 * MIB)) as (cloud, _):
        for name in ("first", "second"):
            await cloud.deployments.create(ACME, wish(name))
            await ask(cloud, ACME, name)
        await cloud.deployments.create(ACME, wish("many", replicas=4))
        await ask(cloud, ACME, "many")
        await until(lambda: "are free" in cloud.deployments.view(ACME, "many").reason)
        view = cloud.deployments.view(ACME, "many")
        assert (view.state, len(view.replicas)) == ("ready", 2)
        assert view.reason == "2 of 4 replicas are up: the next needs 64 MiB of memory, and 0 of 256 MiB are free"
        assert {cloud.deployments.view(ACME, name).state for name in ("first", "second")} == {"ready"}
        await cloud.deployments.delete(ACME, "first")
        await until(lambda: len(cloud.deployments.view(ACME, "many").replicas) == 3)
        await cloud.deployments.delete(ACME, "second")
        await until(lambda: len(cloud.deployments.view(ACME, "many").replicas) == 4)
        await until(lambda: cloud.deployments.view(ACME, "many").reason == "")


@pytest.fixture
def dying(monkeypatch):
    """Which starts of a worker end while it loads, by their number; and how many there have been."""
    starts, real = SimpleNamespace(count=0, die=range(0)), ProcessPlacement.start

    async def start(self, spec, on_progress):
        placed = await real(self, spec, on_progress)
        starts.count += 1
        if starts.count in starts.die:
            await placed.stop(0)
        return placed

    monkeypatch.setattr(ProcessPlacement, "start", start)
    return starts


async def test_a_further_replica_that_does_not_come_up_is_tried_again_later_and_later(tmp_path, monkeypatch, dying):
    waited = []
    monkeypatch.setattr("yunmo.serving.retries._backoff_seconds", lambda attempts: waited.append(attempts) or 0.05)
    dying.die = range(2, 9)
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        await cloud.deployments.create(ACME, wish("many", replicas=2))
        await ask(cloud, ACME, "many")
        await until(
            lambda: "1 of 2 replicas are up, the next could not be started (tried again in" in cloud.deployments.view(ACME, "many").reason
        )
        await ask(cloud, ACME, "many")
        await until(lambda: len(cloud.deployments.view(ACME, "many").replicas) == 2)
        await until(lambda: cloud.deployments.view(ACME, "many").reason == "")
        assert (dying.count, waited) == (9, [1, 2, 3, 4, 5, 6, 7])


async def test_what_changes_meanwhile_does_not_try_a_further_replica_before_its_time(tmp_path, monkeypatch, dying):
    monkeypatch.setattr("yunmo.serving.retries._backoff_seconds", lambda _attempts: 60.0)
    dying.die = range(2, 3)
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        await cloud.deployments.create(ACME, wish("many", replicas=2))
        await ask(cloud, ACME, "many")
        await until(lambda: "(tried again in 60 s)" in cloud.deployments.view(ACME, "many").reason)
        runner = cloud.deployments.get("many")
        settled, real = 0, runner._world.calibrations.settle

        async def settle(*args):
            nonlocal settled
            settled += 1
            return await real(*args)

        monkeypatch.setattr(runner._world.calibrations, "settle", settle)
        for turn in range(1, 4):
            runner.reconsider()
            await until(lambda wanted=turn: settled >= wanted)
        await ask(cloud, ACME, "many")
        assert dying.count == 2
        assert "(tried again in 60 s)" in cloud.deployments.view(ACME, "many").reason
        await cloud.deployments.change(ACME, "many", {"replicas": 3})  # a person's wish is tried at once
        await until(lambda: len(cloud.deployments.view(ACME, "many").replicas) == 3)
