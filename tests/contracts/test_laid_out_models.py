"""The cache forgets the revisions that no deployment wants any more, and no others."""

import asyncio
import os
import time
from dataclasses import replace

import pytest

from hub_world import ACME, push
from yunmo.assembly import open_cloud
from yunmo.core.tasks import Classify
from yunmo.serving.laid_out import LaidOut
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings
from yunmo.storage.tables import now

UNWANTED = "ab" * 20
LONG = 8 * 24 * 3600


def age(*folders, seconds=LONG):
    moment = time.time() - seconds
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder, (moment, moment))


def laid_out(data):
    return {f"{path.parent.name}/{path.name}" for folder in ("models", "derived") for path in (data / "cache" / folder).iterdir()}


async def test_old_revisions_go_and_the_loaded_one_stays_and_answers(tmp_path, tiny_model):
    settings = Settings(data=tmp_path, serving=ServingSettings(follow_seconds=0.1, calibrate=False))
    files = {path.name: path.read_bytes() for path in tiny_model("classify").iterdir()}
    async with open_cloud(settings) as (cloud, key):
        admin = await cloud.tenancy.keys.identify(key.text)
        repository = await cloud.hub.repositories.create(ACME, "model", "acme/tiny")
        first = await push(cloud.hub, repository, files)
        deployment = DeploymentSpec("tiny", "admin", "acme/tiny", "", now(), branch="main")
        await cloud.deployments.create(admin, deployment)
        await ask(cloud, admin, "tiny")
        second = await push(cloud.hub, repository, {"README.md": b"second"})
        runner = cloud.deployments.get("tiny")
        await until(lambda: {replica.revision for replica in runner.view().replicas} == {second.oid})

        models = tmp_path / "cache" / "models"
        age(models / second.oid, models / first.oid, tmp_path / "cache" / "derived" / first.oid)
        age(models / UNWANTED, seconds=60)
        (models / f".gone-{UNWANTED}-1" / "left by a crash").mkdir(parents=True)
        (models / "not a revision").mkdir()
        age(models / "not a revision")
        assert await cloud.deployments.sweep() >= 3
        assert not {each for each in laid_out(tmp_path) if first.oid in each or ".gone" in each}
        assert {f"models/{second.oid}", f"models/{UNWANTED}", "models/not a revision"} <= laid_out(tmp_path)
        assert time.time() - (models / second.oid).stat().st_mtime < 60
        await ask(cloud, admin, "tiny")

        await cloud.deployments.delete(admin, "tiny")
        assert await cloud.deployments.sweep() == 0
        age(models / second.oid)
        assert await cloud.deployments.sweep() >= 1
        assert f"models/{second.oid}" not in laid_out(tmp_path)
        await cloud.deployments.create(admin, replace(deployment, name="again"))
        await ask(cloud, admin, "again")
        assert (models / second.oid / "config.json").exists()


async def test_a_revision_in_hand_is_wanted_until_the_next_one_is(tmp_path):
    async with open_cloud(Settings(data=tmp_path)) as (cloud, key):
        admin = await cloud.tenancy.keys.identify(key.text)
        await cloud.deployments.create(admin, DeploymentSpec("talk", "admin", "echo", "", now()))
        await ask(cloud, admin, "talk")
        runner = cloud.deployments.get("talk")
        runner.spec = replace(runner.spec, revision=UNWANTED)
        assert runner.revisions() == {"builtin", UNWANTED}


async def test_a_removal_that_was_broken_off_is_finished_by_the_next(tmp_path, monkeypatch):
    age(tmp_path / "models" / UNWANTED)
    (tmp_path / "models" / UNWANTED / "weights").write_bytes(b"x")
    age(tmp_path / "models" / UNWANTED)
    sweeper = LaidOut(tmp_path, LONG / 2)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupted)
        with pytest.raises(Killed):
            await sweeper.sweep(set)
    assert [path.name[:6] for path in (tmp_path / "models").iterdir()] == [".gone-"]
    assert await sweeper.sweep(lambda: {UNWANTED}) == 1
    assert not list((tmp_path / "models").iterdir())


class Killed(BaseException):
    """Ends the work at this point, like a crash."""


def interrupted(path):
    raise Killed


async def until(is_so):
    async with asyncio.timeout(60):
        while not is_so():  # noqa: ASYNC110 - a deployment has no event for it
            await asyncio.sleep(0.05)


async def ask(cloud, principal, name):
    answering = await cloud.inference.begin(principal, name, Classify(texts=("the movie is good",)))
    assert (await answering.whole()).rows[0][0].label
