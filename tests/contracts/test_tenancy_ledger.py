"""The ledger and the audit log on both databases."""

import asyncio
import random
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core.errors import InvalidRequest, Unavailable
from yunmo.core.identity import Principal
from yunmo.core.usage import Usage
from yunmo.storage.database import open_database
from yunmo.storage.migrate import migrate
from yunmo.tenancy import store
from yunmo.tenancy.audit import Audit
from yunmo.tenancy.ledger import Ledger, UsageEvent

HOUR = 3600


class Clock:
    def __init__(self, now=1_800_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


class UnreliableDatabase:
    """A real database that fails before or after the commit, as the plan says."""

    def __init__(self, database, plan):
        self._database = database
        self._plan = iter(plan)
        self.failures = 0

    async def read(self, work):
        return await self._database.read(work)

    async def write(self, work):
        fate = next(self._plan, "works")
        if fate == "before":
            self.failures += 1
            raise Unavailable("lost before the commit")
        result = await self._database.write(work)
        if fate == "after":
            self.failures += 1
            raise Unavailable("lost after the commit")
        return result


def used(project="acme", key="key_1", model="ns/m", commit="c1", task="chat", is_aborted=False, **usage):
    return UsageEvent(project, key, model, commit, task, Usage(**usage), is_aborted)


async def test_what_was_recorded_is_summed_by_hour_key_model_commit_and_task(database):
    clock = Clock()
    ledger = Ledger(database, clock)
    ledger.record(used(input_tokens=3, output_tokens=5, cached_tokens=1))
    ledger.record(used(input_tokens=4, is_aborted=True))
    ledger.record(used(task="translate", characters=7))
    await ledger.flush()
    ledger.record(used(input_tokens=10))
    clock.now += HOUR
    ledger.record(used(task="transcribe", seconds=1.5))
    rows = await ledger.query("acme", group_by=("hour", "task"))
    hour = datetime.fromtimestamp(clock.now // HOUR * HOUR - HOUR, UTC)
    assert [(row.hour == hour, row.task, row.requests, row.input_tokens, row.characters, row.seconds, row.aborted) for row in rows] == [
        (True, "chat", 3, 17, 0, 0.0, 1),
        (True, "translate", 1, 0, 7, 0.0, 0),
        (False, "transcribe", 1, 0, 0, 1.5, 0),
    ]
    assert (rows[0].output_tokens, rows[0].cached_tokens, rows[0].model) == (5, 1, None)


async def test_a_project_sees_its_own_usage_and_the_operator_everybodys(database):
    ledger = Ledger(database, Clock())
    ledger.record(used("a", input_tokens=1))
    ledger.record(used("b", input_tokens=2))
    assert [row.input_tokens for row in await ledger.query("a")] == [1]
    assert [(row.project, row.input_tokens) for row in await ledger.query(group_by=("project",))] == [("a", 1), ("b", 2)]
    assert [row.input_tokens for row in await ledger.query(group_by=())] == [3]
    assert (await ledger.query("nobody", group_by=()))[0].requests == 0


async def test_since_and_until_cut_by_hour(database):
    clock = Clock()
    ledger = Ledger(database, clock)
    for _ in range(4):
        ledger.record(used(input_tokens=1))
        clock.now += HOUR
    first = datetime.fromtimestamp(1_800_000_000 // HOUR * HOUR, UTC)
    hours = [row.hour for row in await ledger.query(since=first.replace(hour=first.hour + 1), until=first.replace(hour=first.hour + 3))]
    assert [hour.hour for hour in hours] == [first.hour + 1, first.hour + 2]


async def test_an_unknown_group_is_refused(database):
    with pytest.raises(InvalidRequest, match="grouped by 'key_id; DROP'"):
        await Ledger(database).query(group_by=("key_id; DROP",))


async def test_a_flush_whose_end_was_unknown_counts_once(database):
    unreliable = UnreliableDatabase(database, ["after", "after", "before"])
    ledger = Ledger(unreliable, Clock())
    ledger.record(used(input_tokens=7))
    for _ in range(3):
        with pytest.raises(Unavailable):
            await ledger.flush()
    ledger.record(used(input_tokens=1))
    await ledger.flush()
    assert [(row.requests, row.input_tokens) for row in await ledger.query()] == [(2, 8)]
    assert unreliable.failures == 3


async def test_a_cancelled_flush_is_counted_once(database):
    ledger = Ledger(database, Clock())
    for number in range(20):
        ledger.record(used(input_tokens=1))
        flushing = asyncio.create_task(ledger.flush())
        for _ in range(number % 4):
            await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
    assert [row.requests for row in await ledger.query()] == [20]


async def test_two_ledgers_add_to_the_same_hour(database):
    ledgers = [Ledger(database, Clock()) for _ in range(4)]
    for _ in range(5):
        for ledger in ledgers:
            ledger.record(used(input_tokens=1))
        await asyncio.gather(*(ledger.flush() for ledger in ledgers))
    assert [row.requests for row in await ledgers[0].query()] == [20]


async def test_the_background_flush_writes_within_a_second_and_once_more_at_the_end(database):
    ledger = Ledger(database, Clock())
    running = asyncio.create_task(ledger.run())
    ledger.record(used(input_tokens=1))

    async def requests():
        return await database.read(lambda connection: connection.execute(sa.select(sa.func.sum(store.usage_table.c.requests))).scalar_one())

    async with asyncio.timeout(1.0):
        while await requests() != 1:  # noqa: ASYNC110  # polls a database
            await asyncio.sleep(0.02)
    ledger.record(used(input_tokens=1))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await requests() == 2


async def test_the_background_flush_outlives_a_failing_database(database):
    unreliable = UnreliableDatabase(database, ["before", "after"])
    ledger = Ledger(unreliable, Clock())
    ledger.record(used(input_tokens=1))
    running = asyncio.create_task(ledger.run())
    async with asyncio.timeout(10):
        while ledger._counting or ledger._flushing or unreliable.failures < 2:  # noqa: ASYNC110  # polls a database
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [row.requests for row in await ledger.query()] == [1]


async def test_old_flush_ids_are_forgotten(database):
    ledger = Ledger(database, Clock())
    await database.write(
        lambda connection: connection.execute(store.flush_table.insert().values(id="old", at=datetime(2020, 1, 1, tzinfo=UTC)))
    )
    ledger.record(used(input_tokens=1))
    await ledger.flush()
    ids = await database.read(lambda connection: connection.execute(sa.select(store.flush_table.c.id)).scalars().all())
    assert len(ids) == 1
    assert "old" not in ids


events = st.builds(
    used,
    project=st.sampled_from("ab"),
    key=st.sampled_from(["k1", "k2"]),
    model=st.sampled_from(["m1", "m2"]),
    commit=st.sampled_from(["c1", "c2"]),
    task=st.sampled_from(["chat", "embed"]),
    is_aborted=st.booleans(),
    input_tokens=st.integers(0, 10**9),
    output_tokens=st.integers(0, 10**9),
    seconds=st.integers(0, 10**6).map(lambda number: number / 1000),
)
fates = st.lists(st.sampled_from(["works", "before", "after"]), max_size=12)
histories = st.lists(st.one_of(events, st.just("flush"), st.just("hour")), max_size=40)


@settings(max_examples=40, deadline=None)
@given(histories, fates)
def test_the_sum_of_what_was_flushed_is_the_sum_of_what_was_recorded(tmp_path_factory, history, plan):
    asyncio.run(_play(tmp_path_factory.mktemp("ledger") / "x.db", history, plan))


async def _play(path, history, plan):
    database = open_database(f"sqlite:///{path}")
    migrate(database.engine)
    clock = Clock()
    ledger = Ledger(UnreliableDatabase(database, plan), clock)
    for step in history:
        if step == "hour":
            clock.now += HOUR
        elif step == "flush":
            await asyncio.gather(ledger.flush(), return_exceptions=True)
        else:
            ledger.record(step)
    recorded = [step for step in history if isinstance(step, UsageEvent)]
    while (await asyncio.gather(ledger.flush(), return_exceptions=True))[0] is not None:
        pass
    for task in ("chat", "embed"):
        mine = [event for event in recorded if event.task == task]
        row = next((row for row in await ledger.query(group_by=("task",)) if row.task == task), None)
        assert (row.requests if row else 0) == len(mine)
        assert (row.input_tokens if row else 0) == sum(event.usage.input_tokens for event in mine)
        assert (row.aborted if row else 0) == sum(event.is_aborted for event in mine)
        assert (row.seconds if row else 0) == pytest.approx(sum(event.usage.seconds for event in mine))
    await database.close()


async def test_the_audit_log_tells_who_did_what_newest_first(database):
    audit = Audit(database)
    principal = Principal("admin", "key_1", frozenset({"admin"}), "operator")
    for number in range(5):
        await audit.record(principal, "key.revoked", f"key_{number}", {"reason": "lost", "名": [1, None]})
    entries = await audit.list(limit=2)
    assert [entry.target for entry in entries] == ["key_4", "key_3"]
    assert (entries[0].project, entries[0].key_id, entries[0].key_name, entries[0].action) == ("admin", "key_1", "operator", "key.revoked")
    assert entries[0].detail == {"reason": "lost", "名": [1, None]}
    assert abs((entries[0].at - datetime.now(UTC)).total_seconds()) < 60
    assert [entry.target for entry in await audit.list(before=entries[-1].id)] == ["key_2", "key_1", "key_0"]
    with pytest.raises(InvalidRequest):
        await audit.list(limit=0)


async def test_audit_entries_written_at_once_are_all_kept(database):
    audit = Audit(database)
    principal = Principal("admin", "key_1", frozenset({"admin"}))
    numbers = list(range(60))
    random.Random(7).shuffle(numbers)
    await asyncio.gather(*(audit.record(principal, "x.done", str(number)) for number in numbers))
    assert {entry.target for entry in await audit.list(limit=1000)} == {str(number) for number in numbers}


async def test_token_totals_grow_with_every_record_and_survive_flushes(database):
    ledger = Ledger(database)
    ledger.record(used(input_tokens=3, output_tokens=1))
    assert ledger.token_totals() == {("ns/m", "chat"): (3, 1)}
    await ledger.flush()
    assert ledger.token_totals() == {("ns/m", "chat"): (3, 1)}
    ledger.record(used(input_tokens=2, output_tokens=2, key="key_2"))
    ledger.record(used(input_tokens=7, task="embed"))
    await ledger.flush()
    ledger.record(used(output_tokens=1))
    assert ledger.token_totals() == {("ns/m", "chat"): (5, 4), ("ns/m", "embed"): (7, 0)}
