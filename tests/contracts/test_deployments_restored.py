"""What was deployed is known again before the first request, and is brought up once."""

import datetime as dt

from yunmo.assembly import open_cloud
from yunmo.core.tasks import Classify
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import Settings


async def test_a_restarted_cloud_knows_its_deployments_at_once(tmp_path):
    settings = Settings(data=tmp_path)
    async with open_cloud(settings) as (cloud, key):
        admin = await cloud.tenancy.keys.identify(key.text)
        await cloud.deployments.create(admin, _echo("first"))
    async with open_cloud(settings) as (cloud, key):
        admin = await cloud.tenancy.keys.identify(key.text)
        assert [view.name for view in cloud.deployments.list(admin)] == ["first"]
        answering = await cloud.inference.begin(admin, "first", Classify(texts=("hello",)))
        assert (await answering.whole()).rows[0][0].label == "hello"


async def test_a_deployment_made_while_the_cloud_opens_has_one_life(tmp_path):
    async with open_cloud(Settings(data=tmp_path)) as (cloud, key):
        admin = await cloud.tenancy.keys.identify(key.text)
        await cloud.deployments.create(admin, _echo("talk"))
        made = cloud.deployments.get("talk")
        answering = await cloud.inference.begin(admin, "talk", Classify(texts=("hello",)))
        await answering.whole()
        assert cloud.deployments.get("talk") is made
        assert len(cloud.deployments.view(admin, "talk").replicas) == 1


def _echo(name):
    return DeploymentSpec(name, "admin", "echo", "", dt.datetime.now(dt.UTC))
