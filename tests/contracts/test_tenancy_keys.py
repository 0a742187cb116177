"""Projects and keys on both databases."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from yunmo.core.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from yunmo.core.identity import Limits
from yunmo.tenancy import store
from yunmo.tenancy.tenancy import open_tenancy

PEPPER = bytes(range(32))


class Clock:
    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


class CountingDatabase:
    """Counts the reads that reach a real database."""

    def __init__(self, database):
        self._database = database
        self.reads = 0

    async def read(self, work):
        self.reads += 1
        return await self._database.read(work)

    async def write(self, work):
        return await self._database.write(work)


@pytest.fixture
async def tenancy(database):
    opened = await open_tenancy(database, PEPPER)
    await opened.projects.create("acme")
    return opened


async def test_creating_a_project_again_returns_the_same(tenancy):
    first = await tenancy.projects.create("acme")
    assert await tenancy.projects.create("acme") == first
    assert await tenancy.projects.get("ACME") == first
    assert [project.name for project in await tenancy.projects.list()] == ["acme", "admin"]


async def test_a_project_that_differs_only_in_case_is_a_conflict(tenancy):
    with pytest.raises(Conflict, match="'acme' already"):
        await tenancy.projects.create("Acme")


async def test_many_who_create_one_project_at_once_all_get_it(tenancy):
    made = await asyncio.gather(*(tenancy.projects.create("rush") for _ in range(20)))
    assert len(set(made)) == 1


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", ".a", "a.", "a--b", "a..b", "a/b", "a b", "ü", "a\n", "x" * 97, "api", "Datasets", "v1", "admin", "Library"]
)
async def test_a_name_that_cannot_be_a_namespace_is_refused(tenancy, name):
    with pytest.raises(InvalidRequest):
        await tenancy.projects.create(name)


@pytest.mark.parametrize("name", ["a", "A.b_c-d", "x" * 96, "a_-b", "0"])
async def test_every_namespace_can_be_a_project(tenancy, name):
    assert (await tenancy.projects.create(name)).name == name


async def test_only_the_operator_makes_the_library(tenancy):
    assert (await tenancy.projects.create("library", by_operator=True)).name == "library"
    with pytest.raises(InvalidRequest):
        await tenancy.projects.create("api", by_operator=True)


async def test_an_unknown_project_is_said(tenancy):
    with pytest.raises(NotFound, match="no project 'nobody'"):
        await tenancy.projects.get("nobody")
    with pytest.raises(NotFound, match="no project 'nobody'"):
        await tenancy.keys.create("nobody", "x", ["infer"])


async def test_a_created_key_identifies_its_project_scopes_and_limits(tenancy):
    limits = Limits(requests_per_minute=5, concurrent_requests=2)
    created = await tenancy.keys.create("ACME", "laptop", ["read", "infer"], limits)
    principal = await tenancy.keys.identify(created.key)
    assert (principal.project, principal.key_id, principal.key_name) == ("acme", created.id, "laptop")
    assert principal.scopes == {"infer", "read"}
    assert principal.limits == limits
    assert created.key.startswith("ym_")
    assert len(created.key) == 46


async def test_no_key_is_stored_in_the_clear(tenancy, database):
    created = await tenancy.keys.create("acme", "laptop", ["infer"])
    row = await database.read(lambda connection: dict(store.find_key(connection, created.id)))
    assert created.key not in repr(row)
    assert created.key[7:] not in repr(row)
    assert created.key not in repr(await tenancy.keys.list())


async def test_with_another_pepper_no_key_is_known(tenancy, database):
    created = await tenancy.keys.create("acme", "laptop", ["infer"])
    other = await open_tenancy(database, bytes(32))
    with pytest.raises(Unauthenticated):
        await other.keys.identify(created.key)


@pytest.mark.parametrize("token", ["", "ym_", "x" * 46, "x" * 100_000, "\udcff", "é", "a\0b"])
async def test_an_unknown_key_is_refused(tenancy, token):
    with pytest.raises(Unauthenticated, match="Invalid credentials"):
        await tenancy.keys.identify(token)


async def test_every_key_is_known_after_a_restart_without_a_read(tenancy, database):
    created = [await tenancy.keys.create("acme", f"k{number}", ["infer"]) for number in range(50)]
    counting = CountingDatabase(database)
    restarted = await open_tenancy(counting, PEPPER)
    counting.reads = 0
    for key in created:
        assert (await restarted.keys.identify(key.key)).key_id == key.id
    assert counting.reads == 0


async def test_a_revoked_key_is_refused_at_once_here(tenancy):
    created = await tenancy.keys.create("acme", "laptop", ["infer"])
    await tenancy.keys.identify(created.key)
    revoked = await tenancy.keys.revoke(created.id)
    with pytest.raises(Unauthenticated):
        await tenancy.keys.identify(created.key)
    assert (await tenancy.keys.revoke(created.id)).revoked_at == revoked.revoked_at
    with pytest.raises(NotFound):
        await tenancy.keys.revoke("key_nothing")


async def test_a_read_that_began_before_a_revocation_does_not_bring_the_key_back(tenancy, database):
    created = await tenancy.keys.create("acme", "laptop", ["infer"])
    stale = await database.read(lambda connection: store.find_key(connection, created.id))
    await tenancy.keys.revoke(created.id)
    tenancy.keys._learn(stale)
    with pytest.raises(Unauthenticated):
        await tenancy.keys.identify(created.key)


async def test_a_revocation_elsewhere_is_in_force_within_a_second(tenancy, database):
    elsewhere = await open_tenancy(database, PEPPER)
    created = await tenancy.keys.create("acme", "laptop", ["infer"])
    running = asyncio.create_task(elsewhere.run())
    assert (await elsewhere.keys.identify(created.key)).key_id == created.id
    await tenancy.keys.revoke(created.id)
    begun = time.monotonic()
    while time.monotonic() < begun + 10:
        try:
            await elsewhere.keys.identify(created.key)
        except Unauthenticated:
            break
        await asyncio.sleep(0.01)
    assert time.monotonic() - begun < 1.0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_the_refresh_goes_on_after_the_database_was_away(database):
    class Failing(CountingDatabase):
        async def read(self, work):
            self.reads += 1
            if self.reads == 2:
                raise Unauthenticated("any of our errors")
            return await self._database.read(work)

    failing = Failing(database)
    tenancy = await open_tenancy(failing, PEPPER)
    running = asyncio.create_task(tenancy.keys.run())
    async with asyncio.timeout(10):
        while failing.reads < 4:
            assert not running.done()
            await asyncio.sleep(0.01)
    running.cancel()


async def test_an_expired_key_is_refused(database):
    clock = Clock()
    tenancy = await open_tenancy(database, PEPPER, clock=clock)
    await tenancy.projects.create("acme")
    created = await tenancy.keys.create("acme", "guest", ["infer"], expires_at=datetime.now(UTC) + timedelta(hours=1))
    await tenancy.keys.identify(created.key)
    clock.now += 3601
    with pytest.raises(Unauthenticated, match="expired"):
        await tenancy.keys.identify(created.key)


async def test_a_key_is_listed_for_a_week_after_its_end_and_then_forgotten(database):
    clock = Clock()
    tenancy = await open_tenancy(database, PEPPER, clock=clock)
    elsewhere = await open_tenancy(database, PEPPER, clock=clock)
    await tenancy.projects.create("acme")
    end = datetime.fromtimestamp(clock.now, UTC) + timedelta(hours=1)
    job = await tenancy.keys.create("acme", "job", ["read"], expires_at=end)
    await elsewhere.keys.identify(job.key)
    lasting = await tenancy.keys.create("acme", "lasting", ["read"])
    latest = await tenancy.keys.create("acme", "latest", ["read"], expires_at=end)
    clock.now += 3600 + timedelta(days=6).total_seconds()
    await tenancy.keys.forget_ended()
    assert {key.id for key in await tenancy.keys.list("acme")} == {job.id, lasting.id, latest.id}
    clock.now += timedelta(days=2).total_seconds()
    await tenancy.keys.forget_ended()
    await elsewhere.keys.forget_ended()
    assert {key.id for key in await tenancy.keys.list("acme")} == {lasting.id, latest.id}, "the latest change keeps the count of changes"
    for keys in (tenancy.keys, elsewhere.keys):
        with pytest.raises(Unauthenticated):
            await keys.identify(job.key)
    another = await tenancy.keys.create("acme", "another", ["read"])
    await elsewhere.keys.refresh()
    assert (await elsewhere.keys.identify(another.key)).key_id == another.id
    assert (await tenancy.keys.identify(lasting.key)).key_id == lasting.id
    await tenancy.keys.forget_ended()
    assert {key.id for key in await tenancy.keys.list("acme")} == {lasting.id, another.id}


async def test_a_flood_of_bad_keys_does_not_reach_the_database(tenancy, database):
    counting = CountingDatabase(database)
    flooded = await open_tenancy(counting, PEPPER, clock=Clock())
    counting.reads = 0
    for number in range(5000):
        with pytest.raises(Unauthenticated):
            await flooded.keys.identify(f"ym_bad_{number}")
    for _ in range(1000):
        with pytest.raises(Unauthenticated):
            await flooded.keys.identify("ym_the_same_bad_one")
    assert counting.reads <= 20
    assert len(flooded.keys._unknown) <= 20
    good = await tenancy.keys.create("acme", "laptop", ["infer"])
    await flooded.keys.refresh()
    assert (await flooded.keys.identify(good.key)).key_id == good.id


async def test_the_memory_of_bad_keys_is_bounded(database):
    clock = Clock()
    tenancy = await open_tenancy(database, PEPPER, clock=clock)
    tenancy.keys._unknown.update({number.to_bytes(32): clock.now for number in range(10_000)})
    with pytest.raises(Unauthenticated):
        await tenancy.keys.identify("ym_bad")
    assert len(tenancy.keys._unknown) == 1


async def test_the_operators_key_is_adopted_once_and_replaced_by_its_successor(tenancy, database):
    scopes = ["infer", "read", "write", "admin"]
    first = await tenancy.keys.adopt("the-operators-own-key", "admin", scopes, "operator")
    assert await tenancy.keys.adopt("the-operators-own-key", "admin", scopes, "operator") == first
    principal = await tenancy.keys.identify("the-operators-own-key")
    assert principal.is_admin
    assert principal.project == "admin"
    await tenancy.keys.adopt("another-key-of-the-operator", "admin", scopes, "operator")
    with pytest.raises(Unauthenticated):
        await tenancy.keys.identify("the-operators-own-key")
    assert (await tenancy.keys.identify("another-key-of-the-operator")).is_admin
    again = await tenancy.keys.adopt("the-operators-own-key", "admin", scopes, "operator")
    assert again.id == first.id
    assert (await (await open_tenancy(database, PEPPER)).keys.identify("the-operators-own-key")).is_admin
    assert "operators" not in repr(await tenancy.keys.list())


async def test_a_short_key_is_not_adopted(tenancy):
    with pytest.raises(InvalidRequest, match="16"):
        await tenancy.keys.adopt("password", "admin", ["admin"], "operator")


async def test_default_limits_hold_for_keys_without_their_own_but_not_for_admins(database):
    tenancy = await open_tenancy(database, PEPPER, default_limits=Limits(10, 1000, 4))
    await tenancy.projects.create("acme")
    plain = await tenancy.keys.create("acme", "a", ["infer"], Limits(tokens_per_minute=5))
    admin = await tenancy.keys.create("admin", "b", ["admin"])
    assert (await tenancy.keys.identify(plain.key)).limits == Limits(10, 5, 4)
    assert (await tenancy.keys.identify(admin.key)).limits == Limits()


@pytest.mark.parametrize(
    ("scopes", "limits", "name"),
    [([], None, "x"), (["root"], None, "x"), (["infer"], Limits(0), "x"), (["infer"], Limits(None, -1), "x"), (["infer"], None, "x" * 201)],
)
async def test_a_key_that_cannot_be_is_refused(tenancy, scopes, limits, name):
    with pytest.raises(InvalidRequest):
        await tenancy.keys.create("acme", name, scopes, limits)


async def test_the_list_shows_a_projects_keys_oldest_first(tenancy):
    await tenancy.projects.create("other")
    first = await tenancy.keys.create("acme", "one", ["infer"])
    await tenancy.keys.create("other", "two", ["infer"])
    await tenancy.keys.revoke(first.id)
    assert [(key.name, key.revoked_at is None) for key in await tenancy.keys.list()] == [("one", False), ("two", True)]
    assert [key.name for key in await tenancy.keys.list("other")] == ["two"]
    assert (await tenancy.keys.list("acme"))[0].hint == first.key[:7]


def test_a_short_pepper_is_refused():
    from yunmo.tenancy.keys import Keys

    with pytest.raises(ValueError, match="pepper"):
        Keys(None, b"short", Limits())
