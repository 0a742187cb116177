"""What deployments answer: to whom they show what, which options they refuse, and how soon a new name is known."""

import datetime as dt
import json

import httpx
import msgspec
import pytest

from hub_world import ACME, ADMIN, OTHER, push
from yunmo.assembly import open_cloud
from yunmo.core.engine import Plan
from yunmo.core.errors import InvalidRequest, ModelNotFound, Unavailable
from yunmo.core.identity import Principal
from yunmo.core.tasks import Classify
from yunmo.engines.llama_cpp.kind import kind as llama_cpp
from yunmo.engines.onnx.kind import kind as onnx
from yunmo.engines.transformers.kind import kind as transformers
from yunmo.engines.whisper.kind import kind as whisper
from yunmo.serving.specification import DeploymentSpec, public_reason
from yunmo.settings import Settings
from yunmo.web.app import App
from yunmo.web.dialects.admin.dialect import AdminDialect
from yunmo.web.metrics import Metrics

FOR_ALL = {"name", "repository", "revision", "state", "reason", "progress", "engine", "tasks"}
HELLO = Classify(texts=("hello",))


@pytest.fixture
async def cloud(tmp_path):
    async with open_cloud(Settings(data=tmp_path)) as (opened, _):
        yield opened


def echo(name="talk", project="acme", **options):
    return DeploymentSpec(name, project, "echo", "", dt.datetime.now(dt.UTC), options=options)


def fields(view):
    return set(json.loads(msgspec.json.encode(view)))


async def test_strangers_see_what_answers_and_the_project_and_the_operator_how(cloud):
    await cloud.deployments.create(ACME, echo(slots=3))
    assert fields(cloud.deployments.view(OTHER, "talk")) == FOR_ALL
    assert [fields(view) for view in cloud.deployments.list(OTHER)] == [FOR_ALL]
    for one in (ACME, ADMIN):
        view = cloud.deployments.view(one, "talk")
        assert (view.project, view.plan.slots, view.replicas_wanted) == ("acme", 3, 1)
        assert fields(view) == fields(cloud.deployments.list(one)[0]) > FOR_ALL


async def test_the_details_are_left_out_over_http_too(cloud):
    await cloud.deployments.create(ACME, echo())
    app = App(cloud, [AdminDialect(cloud, Metrics())], Metrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://yunmo") as client:

        async def get(project, path):
            await cloud.tenancy.projects.create(project)
            key = (await cloud.tenancy.keys.create(project, "reader", ("read",))).key
            return (await client.get(path, headers={"authorization": f"Bearer {key}"})).json()

        assert set(await get("other", "/admin/deployments/talk")) == FOR_ALL
        assert set((await get("other", "/admin/deployments"))["data"][0]) == FOR_ALL
        assert {"plan", "replicas", "project"} < set(await get("acme", "/admin/deployments/talk"))


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("cannot read /srv/yunmo/cache/models/x.gguf.\nThe end of its log\nsecret", "cannot read (a file of the server)"),
        ('File "/opt/lib/a.py", line 3 (/tmp/y/z)', 'File "(a file of the server)", line 3 ((a file of the server))'),
        ("'acme/model' needs an engine: see https://example.com/a/b", "'acme/model' needs an engine: see https://example.com/a/b"),
    ],
)
def test_a_reason_for_strangers_has_no_paths_and_no_log(reason, shown):
    assert public_reason(reason) == shown


async def test_a_caller_of_a_failed_model_is_told_no_log(cloud):
    await cloud.deployments.create(ACME, echo())
    runner = cloud.deployments.get("talk")
    runner.state, runner.reason, runner._failed_at = "failed", "no room in /srv/data/x\nthe log", float("inf")
    with pytest.raises(Unavailable) as refused:
        await cloud.inference.begin(OTHER, "talk", HELLO)
    assert refused.value.message == "'talk' cannot answer: no room in (a file of the server)"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"delay_seconds": "x"}, "delay_seconds"),
        ({"delay_seconds": -1}, "delay_seconds"),
        ({"tasks": 5}, "tasks"),
        ({"tasks": []}, "tasks"),
        ({"tasks": ["dance"]}, "tasks"),
        ({"memory_bytes": -1}, "memory_bytes"),
        ({"crash_on": 7}, "crash_on"),
        ({"colour": "red"}, "colour"),
        ({"options": {"colour": "red"}}, "colour"),
        ({"options": 5}, "options"),
        ({"slots": "many"}, "slots"),
        ({"engine": ["echo"]}, "engine"),
    ],
)
async def test_an_option_that_cannot_be_is_refused_by_its_name_before_anything_is_kept(cloud, options, name):
    with pytest.raises(InvalidRequest) as refused:
        await cloud.deployments.create(ACME, echo(**options))
    assert name in refused.value.message
    assert cloud.deployments.list(ADMIN) == []


async def test_a_change_to_an_option_that_cannot_be_is_refused_and_changes_nothing(cloud):
    await cloud.deployments.create(ACME, echo(delay_seconds=0.5))
    with pytest.raises(InvalidRequest, match="'dealy_seconds'; it has: tasks, delay_seconds"):
        await cloud.deployments.change(ACME, "talk", {"options": {"dealy_seconds": 1}})
    assert cloud.deployments.get("talk").spec.options == {"delay_seconds": 0.5}


@pytest.mark.parametrize(
    ("kind", "good", "bad", "said"),
    [
        (onnx, {"options": {"head": "embed"}, "precision": "int8"}, {"options": {"head": "dance"}}, "'head'"),
        (onnx, {"options": {"head": "embed"}}, {"options": {"head": "embed"}, "precision": "int4"}, "fp32, int8"),
        (onnx, {"options": {"head": "embed"}}, {"options": {"head": "embed", "tasks": ["embed"]}}, "'tasks'; it has: head"),
        (llama_cpp, {"options": {"file": "a.gguf", "kv_unified": True}}, {"options": {"kv_unified": "yes"}}, "'kv_unified'"),
        (llama_cpp, {"options": {"pooling": "mean"}}, {"options": {"poling": "mean"}}, "it has: file, embedding, pooling"),
        (whisper, {"options": {"beams": 2}, "precision": "int8"}, {"options": {"beams": 0}}, "'beams'"),
        (whisper, {"precision": "float32"}, {"precision": "q8"}, "'q8'"),
        (transformers, {"options": {"family": "decoder", "tasks": ["generate"]}}, {"options": {"family": "decoders"}}, "'decoders'"),
        (transformers, {"precision": "bf16"}, {"options": {"family": "decoder", "tasks": ["detect"]}}, "'detect'; it has: chat"),
    ],
)
def test_every_engine_refuses_what_it_does_not_know_and_names_what_it_does(kind, good, bad, said):
    kind.check(Plan(engine=kind.name, **good))
    with pytest.raises(InvalidRequest, match=said):
        kind.check(Plan(engine=kind.name, **bad))


async def test_a_name_that_was_unknown_is_known_as_soon_as_it_is_pushed_deployed_or_an_alias(cloud):
    async def call(name):
        return await (await cloud.inference.begin(ACME, name, HELLO)).whole()

    for name in ("acme/new", "nick", "talk"):
        with pytest.raises(ModelNotFound):
            await call(name)
    await cloud.deployments.create(ACME, echo("talk"))
    assert (await call("talk")).rows[0][0].label == "hello"
    repository = await cloud.hub.repositories.create(ACME, "model", "acme/new")
    await push(cloud.hub, repository, {"config.json": b"{}"})
    with pytest.raises(InvalidRequest, match="No engine here knows 'acme/new'"):  # found; that it is nothing to run is another matter
        await call("acme/new")
    with pytest.raises(ModelNotFound):
        await call("nick")
    await cloud.hub.repositories.alias(ADMIN, "model", "nick", "acme/new")
    with pytest.raises(InvalidRequest, match="No engine here knows 'acme/new'"):
        await call("nick")


async def test_asking_for_an_unknown_name_again_and_again_does_not_read_the_database_each_time(cloud, monkeypatch):
    database = cloud.hub.models.database
    reads, read = [], database.read
    monkeypatch.setattr(database, "read", lambda work: (reads.append(work), read(work))[1])
    for _ in range(200):
        with pytest.raises(ModelNotFound):
            await cloud.inference.find(ACME, "no/such")
    assert 1 <= len(reads) < 20


async def test_what_the_operator_may_use_is_not_remembered_for_others_of_its_project(cloud):
    repository = await cloud.hub.repositories.create(ACME, "model", "acme/secret", is_private=True)
    await push(cloud.hub, repository, {"config.json": b"{}"})
    plain = Principal(project=ADMIN.project, key_id="plain", scopes=frozenset({"infer"}))
    with pytest.raises(ModelNotFound):
        await cloud.inference.find(plain, "acme/secret")
    with pytest.raises(InvalidRequest, match="No engine"):
        await cloud.inference.find(ADMIN, "acme/secret")
    with pytest.raises(ModelNotFound):
        await cloud.inference.find(plain, "acme/secret")
