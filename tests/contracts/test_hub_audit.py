"""What is done to whole repositories and to who may read them is in the audit log, whoever's dialect it came through."""

import pytest

from hub_world import ACME, ADMIN, OTHER
from yunmo.assembly import open_cloud
from yunmo.core.errors import Forbidden, RepositoryNotFound
from yunmo.settings import Settings


@pytest.fixture
async def cloud(tmp_path):
    async with open_cloud(Settings(data=tmp_path)) as (opened, _):
        yield opened


async def log(cloud):
    return [(entry.project, entry.action, entry.target, dict(entry.detail)) for entry in reversed(await cloud.tenancy.audit.list())]


async def test_each_act_on_a_repository_is_recorded_once_with_who_did_it(cloud):
    repositories = cloud.hub.repositories
    for type_ in ("model", "dataset"):
        await repositories.create(ACME, type_, "acme/thing")
    await repositories.change_settings(ACME, "model", "acme/thing", is_private=True)
    gated = await repositories.change_settings(ACME, "model", "acme/thing", is_private=False, gated="manual")
    await cloud.hub.access.ask(OTHER, gated)
    await cloud.hub.access.decide(ACME, gated, "other", "rejected")
    await cloud.hub.access.grant(ACME, gated, "third")
    await repositories.alias(ADMIN, "model", "nick", "acme/thing")
    await repositories.remove_alias(ADMIN, "model", "nick")
    await repositories.set_disabled(ADMIN, "dataset", "acme/thing", is_disabled=True)
    await repositories.set_disabled(ADMIN, "dataset", "acme/thing", is_disabled=False)
    await cloud.hub.erasure.erase(ACME, gated, ["0" * 64], rewrites_history=True)
    await repositories.move(ACME, "model", "acme/thing", "acme/renamed")
    await repositories.delete(ADMIN, "model", "acme/renamed")
    assert await log(cloud) == [
        ("acme", "repository.changed", "acme/thing", {"type": "model", "is_private": True}),
        ("acme", "repository.changed", "acme/thing", {"type": "model", "is_private": False, "gated": "manual"}),
        ("acme", "access.rejected", "acme/thing", {"type": "model", "project": "other"}),
        ("acme", "access.granted", "acme/thing", {"type": "model", "project": "third"}),
        ("admin", "alias.set", "nick", {"type": "model", "repository": "acme/thing"}),
        ("admin", "alias.removed", "nick", {"type": "model"}),
        ("admin", "repository.disabled", "acme/thing", {"type": "dataset"}),
        ("admin", "repository.enabled", "acme/thing", {"type": "dataset"}),
        ("acme", "repository.files_erased", "acme/thing", {"type": "model", "files": 1, "replaced_commits": 0}),
        ("acme", "repository.moved", "acme/thing", {"type": "model", "to": "acme/renamed"}),
        ("admin", "repository.deleted", "acme/renamed", {"type": "model"}),
    ]


async def test_what_was_refused_is_not_recorded_as_done(cloud):
    await cloud.hub.repositories.create(ACME, "model", "acme/thing")
    with pytest.raises(Forbidden):
        await cloud.hub.repositories.delete(OTHER, "model", "acme/thing")
    with pytest.raises(RepositoryNotFound):
        await cloud.hub.repositories.move(ACME, "model", "acme/nothing", "acme/other")
    assert await log(cloud) == []
