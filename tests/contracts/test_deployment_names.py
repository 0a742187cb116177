"""Whose a deployment's name is, whom a model's name leads to, and what a repeated deployment keeps."""

import datetime as dt
import json

import httpx
import msgspec
import pytest

from hub_world import ACME, ADMIN, OTHER, push
from yunmo.assembly import open_cloud
from yunmo.core.errors import Conflict, Forbidden
from yunmo.core.identity import Principal
from yunmo.core.tasks import Classify
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings
from yunmo.web.app import App
from yunmo.web.dialects.admin.dialect import AdminDialect
from yunmo.web.metrics import Metrics

THIRD = Principal(project="third", key_id="third", scopes=frozenset({"infer", "read", "write"}))
HELLO = Classify(texts=("hello",))


@pytest.fixture
async def cloud(tmp_path):
    async with open_cloud(Settings(data=tmp_path, serving=ServingSettings(calibrate=False))) as (opened, _):
        yield opened


@pytest.fixture
def files(tiny_model):
    return {path.name: path.read_bytes() for path in tiny_model("classify").iterdir()}


def wish(name, repository="echo", project="acme", **fields):
    return DeploymentSpec(name, project, repository, "", dt.datetime.now(dt.UTC), **fields)


async def pushed(cloud, name, files, by=ACME):
    repository = await cloud.hub.repositories.create(by, "model", name)
    await push(cloud.hub, repository, files, by=by)
    return repository


@pytest.mark.parametrize("name", ["other/mine", "library/mine", f"other/mine@{'a' * 40}"])
async def test_a_project_cannot_deploy_under_another_projects_namespace(cloud, name):
    with pytest.raises(Forbidden, match="--name acme/mine"):
        await cloud.deployments.create(ACME, wish(name))
    assert cloud.deployments.get(name) is None
    await cloud.deployments.create(ADMIN, wish(name, project="admin"))
    assert cloud.deployments.get(name).spec.project == "admin"


async def test_a_projects_own_namespace_and_a_free_bare_name_are_its_own_and_the_first_keeps_it(cloud):
    await cloud.deployments.create(ACME, wish("acme/mine"))
    await cloud.deployments.create(ACME, wish("mine"))
    with pytest.raises(Conflict, match="taken by another project"):
        await cloud.deployments.create(OTHER, wish("mine", project="other"))
    await cloud.deployments.create(ACME, wish("mine", replicas=2))
    assert cloud.deployments.get("mine").spec.replicas == 2


async def test_a_bare_name_never_shadows_what_leads_to_anothers_model_already(cloud, files):
    await pushed(cloud, "other/model", files, by=OTHER)
    await pushed(cloud, "library/small", files, by=ADMIN)
    await cloud.hub.repositories.alias(ADMIN, "model", "nick", "other/model")
    for name in ("nick", "small", "moderation"):
        with pytest.raises((Conflict, Forbidden), match=f"--name acme/{name}"):
            await cloud.deployments.create(ACME, wish(name))
    await cloud.deployments.create(OTHER, wish("nick", "other/model", project="other"))
    await cloud.deployments.create(ADMIN, wish("moderation", project="admin"))


async def test_a_call_by_repository_goes_to_its_owners_deployment_and_never_to_anothers(cloud, files):
    await pushed(cloud, "acme/model", files)
    await cloud.deployments.create(OTHER, wish("captor", "acme/model", project="other", branch="main", limits={"requests_per_minute": 1}))
    found = await cloud.inference.find(THIRD, "acme/model")
    assert (found.name, found.owner) == ("acme/model", "acme")
    assert cloud.deployments.get("acme/model").spec.is_automatic
    await cloud.deployments.delete(ADMIN, "acme/model")
    assert "acme/model" in {served.name for served in await cloud.inference.models(THIRD)}
    await cloud.deployments.create(ACME, wish("fast", "acme/model", branch="main"))
    assert (await cloud.inference.find(THIRD, "acme/model")).name == "fast"


async def test_a_call_to_the_library_goes_to_the_operators_deployment(cloud, files):
    await pushed(cloud, "library/small", files, by=ADMIN)
    await cloud.deployments.create(OTHER, wish("captor", "library/small", project="other", branch="main"))
    await cloud.deployments.create(ADMIN, wish("big-small", "library/small", project="admin", branch="main"))
    assert (await cloud.inference.find(THIRD, "small")).name == "big-small"


async def test_over_http_a_repeated_deployment_keeps_what_is_not_given(cloud):
    app = App(cloud, [AdminDialect(cloud, Metrics())], Metrics())
    await cloud.tenancy.projects.create("acme")
    keys = {
        project: (await cloud.tenancy.keys.create(project, "k", scopes)).key
        for project, scopes in (("acme", ("read", "write")), ("admin", ("admin",)))
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://yunmo") as client:

        async def deploy(project="acme", **fields):
            headers = {"authorization": f"Bearer {keys[project]}"}
            reply = await client.post("/admin/deployments", json={"model": "echo", "name": "talk", **fields}, headers=headers)
            assert reply.status_code == 201, reply.text
            return reply.json()

        first = await deploy(pinned=True, replicas=2, options={"slots": 3}, limits={"requests_per_minute": 60})
        assert first["limits"] == {"requests_per_minute": 60, "tokens_per_minute": None, "concurrent_requests": None}
        again = await deploy(project="admin")
        spec = cloud.deployments.get("talk").spec
        assert (spec.project, spec.is_pinned, spec.replicas, spec.options) == ("acme", True, 2, {"slots": 3})
        assert again["limits"] == first["limits"]
        changed = await deploy(pinned=False, replicas=1, options={}, limits={"requests_per_minute": None, "concurrent_requests": 5})
        assert (changed["is_pinned"], changed["replicas_wanted"], cloud.deployments.get("talk").spec.options) == (False, 1, {})
        assert changed["limits"] == {"requests_per_minute": None, "tokens_per_minute": None, "concurrent_requests": 5}


async def test_limits_are_shown_to_the_project_and_the_operator_alone(cloud):
    await cloud.deployments.create(ACME, wish("talk", limits={"tokens_per_minute": 7}))
    for one in (ACME, ADMIN):
        assert cloud.deployments.view(one, "talk").limits.tokens_per_minute == 7
    assert "limits" not in json.loads(msgspec.json.encode(cloud.deployments.view(OTHER, "talk")))


async def test_a_name_that_gets_another_model_does_not_keep_the_old_ones_revision_and_options(cloud, files):
    await pushed(cloud, "acme/model", files)
    await cloud.deployments.create(ACME, wish("name", options={"slots": 3}, is_pinned=True))
    keeping = ("branch", "revision", "options", "is_pinned", "replicas")
    await cloud.deployments.create(ACME, wish("name", "acme/model", branch="main"), keeping=keeping)
    spec = cloud.deployments.get("name").spec
    assert (spec.repository, spec.branch, spec.options, spec.is_pinned) == ("acme/model", "main", {}, True)
