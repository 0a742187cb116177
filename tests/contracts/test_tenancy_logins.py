"""Logging devices in, on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from yunmo.core.errors import NotFound, Unauthenticated
from yunmo.core.identity import Limits
from yunmo.tenancy.logins import LoginKey
from yunmo.tenancy.tenancy import open_tenancy

START = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = START.timestamp()

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def tenancy(database, clock):
    opened = await open_tenancy(database, bytes(range(32)), clock=clock, monotonic=clock)
    await opened.projects.create("acme")
    return opened


async def log_in(tenancy, key):
    asked = tenancy.logins.ask("hf")
    await tenancy.logins.answer(key, asked.user_code, approves=True)
    return await tenancy.logins.collect(asked.device_code, "hf")


async def test_a_device_gets_a_key_of_its_own_in_the_same_project(tenancy):
    own = await tenancy.keys.create("acme", "laptop", ["read", "write"], Limits(requests_per_minute=7))
    made = await log_in(tenancy, own.key)
    assert made.key != own.key
    assert made.expires_in_seconds == 90 * 86400
    principal = await tenancy.keys.identify(made.key)
    assert (principal.project, principal.scopes) == ("acme", {"read", "write"})
    assert principal.limits == Limits(requests_per_minute=7)
    assert principal.key_name == "hf auth login acme 2026-11-23"
    (info,) = [each for each in await tenancy.keys.list("acme") if each.id == principal.key_id]
    assert info.expires_at == START + timedelta(days=90)


@pytest.mark.parametrize(
    ("scopes", "given"),
    [
        (["admin"], {"infer", "read", "write"}),
        (["admin", "read"], {"infer", "read", "write"}),
        (["infer"], {"infer"}),
        (["read"], {"read"}),
    ],
)
async def test_it_may_do_what_the_persons_key_may_except_to_administrate(tenancy, scopes, given):
    own = await tenancy.keys.create("acme", "x", scopes)
    made = await log_in(tenancy, own.key)
    principal = await tenancy.keys.identify(made.key)
    assert principal.scopes == given
    assert not principal.is_admin


async def test_the_audit_log_says_which_key_let_it_in(tenancy):
    own = await tenancy.keys.create("acme", "laptop", ["read"])
    made = await log_in(tenancy, own.key)
    (entry,) = await tenancy.audit.list()
    assert (entry.action, entry.project, entry.key_id, entry.key_name) == ("key.created", "acme", own.id, "laptop")
    assert entry.target == (await tenancy.keys.identify(made.key)).key_id
    assert entry.detail == {"project": "acme", "scopes": ["read"], "for": "hf auth login"}
    assert made.key not in repr(entry)


async def test_the_new_key_is_revoked_and_ends_like_any_other(tenancy, clock):
    own = await tenancy.keys.create("acme", "laptop", ["read"])
    first, second = await log_in(tenancy, own.key), await log_in(tenancy, own.key)
    await tenancy.keys.revoke((await tenancy.keys.identify(first.key)).key_id)
    with pytest.raises(Unauthenticated, match="revoked"):
        await tenancy.keys.identify(first.key)
    await tenancy.keys.identify(second.key)
    clock.now += 90 * 86400
    with pytest.raises(Unauthenticated, match="expired"):
        await tenancy.keys.identify(second.key)
    await tenancy.keys.identify(own.key)


async def test_it_ends_no_later_than_the_persons_key_even_through_other_devices(tenancy):
    end = START + timedelta(days=3)
    key = (await tenancy.keys.create("acme", "guest", ["read"], expires_at=end)).key
    for _ in range(3):
        made = await log_in(tenancy, key)
        assert made.expires_in_seconds == 3 * 86400
        key = made.key


async def test_nothing_is_made_before_a_person_has_answered_nor_when_denied(tenancy):
    own = await tenancy.keys.create("acme", "laptop", ["read"])
    asked = tenancy.logins.ask("hf")
    assert await tenancy.logins.collect(asked.device_code, "hf") == "authorization_pending"
    await tenancy.logins.answer(own.key, asked.user_code, approves=False)
    assert await tenancy.logins.collect(asked.device_code, "hf") == "access_denied"
    assert [each.id for each in await tenancy.keys.list("acme")] == [own.id]
    assert await tenancy.audit.list() == []


@pytest.mark.parametrize("key", ["", "ym_" + "x" * 43])
async def test_without_a_good_key_nobody_learns_whether_a_code_is_right(tenancy, key):
    asked = tenancy.logins.ask("hf")
    for code in (asked.user_code, "BBBB-BBBB"):
        for approves in (True, False):
            with pytest.raises(Unauthenticated):
                await tenancy.logins.answer(key, code, approves=approves)
    assert await tenancy.logins.collect(asked.device_code, "hf") == "authorization_pending"


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_key_that_ended_between_the_answer_and_the_collection_lets_nobody_in(tenancy, clock, how):
    own = await tenancy.keys.create("acme", "laptop", ["read"], expires_at=START + timedelta(seconds=60))
    asked = tenancy.logins.ask("hf")
    await tenancy.logins.answer(own.key, asked.user_code, approves=True)
    if how == "revoked":
        await tenancy.keys.revoke(own.id)
    else:
        clock.now += 60
    assert await tenancy.logins.collect(asked.device_code, "hf") == "access_denied"
    assert len(await tenancy.keys.list("acme")) == 1


async def test_of_many_who_collect_at_once_one_gets_a_key(tenancy):
    own = await tenancy.keys.create("acme", "laptop", ["read"])
    asked = tenancy.logins.ask("hf")
    await tenancy.logins.answer(own.key, asked.user_code, approves=True)
    collected = await asyncio.gather(*(tenancy.logins.collect(asked.device_code, "hf") for _ in range(20)))
    assert len([each for each in collected if isinstance(each, LoginKey)]) == 1
    assert [each for each in collected if not isinstance(each, LoginKey)] == ["invalid_grant"] * 19
    assert len(await tenancy.keys.list("acme")) == 2


async def test_a_key_can_be_looked_up_by_its_id_also_when_revoked(tenancy):
    own = await tenancy.keys.create("acme", "laptop", ["read"])
    assert (await tenancy.keys.get(own.id)).name == "laptop"
    revoked = await tenancy.keys.revoke(own.id)
    assert await tenancy.keys.get(own.id) == revoked
    with pytest.raises(NotFound, match="no API key 'key_nothing'"):
        await tenancy.keys.get("key_nothing")
