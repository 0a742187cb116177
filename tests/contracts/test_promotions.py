"""A name moves to another revision without a failed request, and back; what was found to be served otherwise than trained does not."""

import asyncio
import datetime as dt

import httpx
import pytest

from hub_world import ACME, ADMIN, OTHER, principal, push
from yunmo.assembly import open_cloud
from yunmo.core.errors import Conflict, Forbidden, InvalidRequest, NotFound, YunmoError
from yunmo.core.tasks import Classify
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import ServingSettings, Settings
from yunmo.training.state import Certificate
from yunmo.training.store import CertificateStore
from yunmo.web.app import App
from yunmo.web.dialects.admin.dialect import AdminDialect
from yunmo.web.metrics import Metrics

HELLO = Classify(texts=("hello",))
PASSED = Certificate(samples=32, agreement=1.0, drift=0.01, is_passed=True, engine="onnx", precision="int8")
FAILED = Certificate(samples=32, agreement=0.5, drift=0.4, is_passed=False, problem="The model answers otherwise: agreement 0.5.")


def settings(tmp_path):
    return Settings(data=tmp_path, serving=ServingSettings(follow_seconds=0.05, calibrate=False))


@pytest.fixture
async def cloud(tmp_path):
    async with open_cloud(settings(tmp_path)) as (opened, _):
        yield opened


@pytest.fixture
async def revisions(cloud, tiny_model):
    """Three revisions of one model, oldest first."""
    return await pushed(cloud, tiny_model)


async def pushed(cloud, tiny_model):
    files = {path.name: path.read_bytes() for path in tiny_model("classify").iterdir()}
    repository = await cloud.hub.repositories.create(ACME, "model", "acme/m")
    return [(await push(cloud.hub, repository, files | {"notes.md": b"%d" % n}, title=f"{n}")).oid for n in range(3)]


async def ask(cloud, model, by=ACME):
    return await (await cloud.inference.begin(by, model, HELLO)).whole()


def serving(cloud, name):
    """The revisions of the replicas that are up."""
    return [replica.revision for replica in cloud.deployments.view(ADMIN, name).replicas]


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - a deployment has no event for tests
            await asyncio.sleep(0.01)


# ------------------------------------------------------------ there and back


async def test_a_name_stands_for_what_it_was_promoted_to_and_goes_back_and_forth(cloud, revisions):
    first, second, _ = revisions
    made = await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{first}")
    assert (made.model, made.previous, made.overridden) == (f"acme/m@{first}", None, None)
    moved = await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{second}")
    assert (moved.model, moved.previous) == (f"acme/m@{second}", f"acme/m@{first}")
    back = await cloud.promotions.back(ACME, "acme/support")
    assert (back.model, back.previous) == (f"acme/m@{first}", f"acme/m@{second}")
    assert (await cloud.promotions.back(ACME, "acme/support")).model == f"acme/m@{second}"
    assert await cloud.promotions.view(ACME, "acme/support") == moved
    await ask(cloud, "acme/support")
    await until(lambda: serving(cloud, "acme/support") == [second])


async def test_no_request_fails_while_a_name_moves(cloud, revisions):
    first, second, _ = revisions
    await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{first}")
    await ask(cloud, "acme/support")
    answered, is_over = [], asyncio.Event()

    async def client():
        while not is_over.is_set():
            await ask(cloud, "acme/support")
            answered.append(tuple(serving(cloud, "acme/support")))

    async with asyncio.TaskGroup() as group:
        group.create_task(client())
        await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{second}")
        await until(lambda: serving(cloud, "acme/support") == [second])
        await cloud.promotions.back(ACME, "acme/support")
        await until(lambda: serving(cloud, "acme/support") == [first])
        is_over.set()
    assert {(first,), (second,)} <= set(answered)
    assert () not in answered


async def test_a_name_without_a_revision_is_promoted_to_the_commit_that_main_is_now(cloud, revisions):
    await cloud.promotions.promote(ACME, "acme/support", "acme/m")
    await cloud.inference.find(ACME, "acme/m")  # this one follows main
    repository = await cloud.hub.repositories.find(ACME, "model", "acme/m")
    later = await push(cloud.hub, repository, {"notes.md": b"later"})
    await until(lambda: cloud.deployments.get("acme/m").spec.revision == later.oid)
    assert (await cloud.promotions.view(ACME, "acme/support")).model == f"acme/m@{revisions[-1]}"


async def test_what_followed_a_branch_follows_it_again_after_going_back(cloud, revisions):
    await cloud.deployments.create(ACME, DeploymentSpec("acme/support", "acme", "acme/m", "", dt.datetime.now(dt.UTC), branch="main"))
    moved = await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{revisions[0]}")
    assert moved.previous == "acme/m@main"
    assert (await cloud.promotions.back(ACME, "acme/support")).model == "acme/m@main"
    assert cloud.deployments.get("acme/support").spec.branch == "main"


async def test_replicas_limits_and_the_models_options_stay(cloud, revisions):
    wish = DeploymentSpec(
        "acme/support",
        "acme",
        "acme/m",
        "",
        dt.datetime.now(dt.UTC),
        branch="main",
        replicas=2,
        is_pinned=True,
        options={"engine": "transformers"},
        limits={"requests_per_minute": 600},
    )
    await cloud.deployments.create(ACME, wish)
    await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{revisions[0]}")
    spec = cloud.deployments.get("acme/support").spec
    assert (spec.replicas, spec.is_pinned, spec.options, spec.limits) == (2, True, wish.options, wish.limits)
    assert (spec.revision, spec.branch, spec.project) == (revisions[0], None, "acme")


async def test_the_same_promotion_again_keeps_the_way_back(cloud, revisions):
    first, second, _ = revisions
    for commit in (first, second, second):
        moved = await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{commit}")
    assert moved.previous == f"acme/m@{first}"


async def test_the_way_back_outlives_the_server_and_ends_with_the_deployment(tmp_path, tiny_model):
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        first, second, _ = await pushed(cloud, tiny_model)
        for commit in (first, second):
            await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{commit}")
    async with open_cloud(settings(tmp_path)) as (cloud, _):
        assert (await cloud.promotions.back(ACME, "acme/support")).model == f"acme/m@{first}"
        await cloud.deployments.delete(ACME, "acme/support")
        await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{second}")
        with pytest.raises(NotFound, match="nothing to go back to"):
            await cloud.promotions.back(ACME, "acme/support")


# ------------------------------------------------------------ what is refused


async def test_a_revision_that_failed_its_certificate_is_not_promoted_unless_it_is_forced(cloud, revisions):
    first, second, third = revisions
    await cloud.certificates.save("acme/m", first, PASSED)
    await cloud.certificates.save("acme/m", second, FAILED)
    await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{first}")
    with pytest.raises(Conflict, match="answers otherwise"):
        await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{second}")
    assert (await cloud.promotions.view(ACME, "acme/support")).model == f"acme/m@{first}"
    forced = await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{second}", force=True)
    assert (forced.model, forced.overridden) == (f"acme/m@{second}", FAILED.problem)
    await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{third}")  # nobody has compared anything
    assert (await cloud.promotions.back(ACME, "acme/support")).model == f"acme/m@{second}"  # the way back is always open


async def test_nothing_changes_where_the_model_cannot_be_served(cloud, revisions):
    first, second, _ = revisions
    await cloud.hub.repositories.create(ACME, "model", "acme/empty")
    for commit in (first, second):
        await cloud.promotions.promote(ACME, "acme/support", f"acme/m@{commit}")
    for model in ("acme/empty", "acme/none", f"acme/m@{'0' * 40}"):
        with pytest.raises(YunmoError):
            await cloud.promotions.promote(ACME, "acme/support", model)
    found = await cloud.promotions.view(ACME, "acme/support")
    assert (found.model, found.previous) == (f"acme/m@{second}", f"acme/m@{first}")
    with pytest.raises(InvalidRequest, match="name"):
        await cloud.promotions.promote(ACME, "no name/at/all", f"acme/m@{first}")


async def test_only_the_names_own_project_moves_it_and_learns_what_it_was(cloud, revisions):
    first, second, _ = revisions
    for commit in (first, second):
        await cloud.promotions.promote(ACME, "support", f"acme/m@{commit}")
    for act in (cloud.promotions.back, cloud.promotions.view):
        with pytest.raises(NotFound):
            await act(OTHER, "support")
    for commit in (first, second):
        with pytest.raises(Conflict, match="taken by another project"):
            await cloud.promotions.promote(OTHER, "support", f"acme/m@{commit}")
    with pytest.raises(Forbidden):
        await cloud.promotions.promote(OTHER, "acme/other", f"acme/m@{first}")
    with pytest.raises(Forbidden):
        await cloud.promotions.back(principal("acme", "read", "infer"), "support")
    with pytest.raises(Forbidden):
        await cloud.promotions.promote(principal("acme", "read", "infer"), "support", f"acme/m@{second}")
    assert (await cloud.promotions.promote(ADMIN, "support", f"acme/m@{first}")).previous == f"acme/m@{second}"
    assert cloud.deployments.get("support").spec.project == "acme"


async def test_a_name_that_was_never_promoted_has_no_way_back(cloud, revisions):
    del revisions
    await cloud.inference.find(ACME, "acme/m")
    with pytest.raises(NotFound, match="has not been promoted"):
        await cloud.promotions.back(ACME, "acme/m")
    assert (await cloud.promotions.view(ACME, "acme/m")).previous is None
    with pytest.raises(NotFound):
        await cloud.promotions.back(ACME, "acme/nothing")


# ------------------------------------------------------------ over HTTP


async def test_promotions_over_http_show_certificates_and_are_audited(cloud, revisions):
    first, second, _ = revisions
    await cloud.certificates.save("acme/m", first, PASSED)
    await cloud.certificates.save("acme/m", second, FAILED)
    await cloud.tenancy.projects.create("acme")
    key = await cloud.tenancy.keys.create("acme", "ci", ("read", "write", "infer"))
    app, bearer = App(cloud, [AdminDialect(cloud, Metrics())], Metrics()), {"authorization": f"Bearer {key.key}"}
    one = "/admin/deployments/acme%2Fsupport"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://yunmo", headers=bearer) as client:
        made = (await client.post(f"{one}/promote", json={"model": f"acme/m@{first}"})).json()
        assert made == {
            "name": "acme/support",
            "model": f"acme/m@{first}",
            "commit": first,
            "previous": None,
            "certificate": {
                "samples": 32,
                "agreement": 1.0,
                "drift": 0.01,
                "is_passed": True,
                "engine": "onnx",
                "precision": "int8",
                "problem": "",
            },
        }
        refused = await client.post(f"{one}/promote", json={"model": f"acme/m@{second}"})
        assert refused.status_code == 409
        assert "agreement 0.5" in refused.json()["error"]["message"]
        assert (await client.post(f"{one}/promote", json={"model": f"acme/m@{second}", "force": True})).status_code == 200
        assert (await client.post(f"{one}/promote-back")).json()["model"] == f"acme/m@{first}"
        assert (await client.get(f"{one}/promotion")).json()["previous"] == f"acme/m@{second}"
        assert (await client.post(f"{one}/promote", json={"model": 1})).status_code == 400
        assert (await client.post(f"{one}/promote", json={"modell": "x"})).status_code == 400
    acts = {entry.action: entry.detail for entry in reversed(await cloud.tenancy.audit.list()) if entry.target == "acme/support"}
    assert acts["deployment.promoted"]["overridden"] == FAILED.problem
    assert acts["deployment.promoted_back"] == {"model": f"acme/m@{first}", "previous": f"acme/m@{second}"}


# ------------------------------------------------------------ certificates


async def test_a_certificate_is_kept_and_replaced(database):
    store = CertificateStore(database)
    assert await store.find("a" * 40) is None
    assert await store.problem("acme/m", "a" * 40) is None
    await store.save("acme/m", "a" * 40, FAILED)
    assert await store.find("a" * 40) == FAILED
    assert await store.problem("acme/m", "a" * 40) == FAILED.problem
    await store.save("acme/m", "a" * 40, PASSED)
    assert await store.problem("acme/m", "a" * 40) is None


async def test_a_model_that_nothing_could_be_compared_of_is_not_held_back(database):
    store = CertificateStore(database)
    await store.save("acme/m", "a" * 40, Certificate(samples=0, agreement=0, drift=0, is_passed=False, problem="No answers."))
    assert await store.problem("acme/m", "a" * 40) is None
