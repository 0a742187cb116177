"""The durable queue on real databases: each job is worked on by one worker at a time, and has its effect exactly once."""

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from yunmo.core.errors import Conflict, EngineFailed, InsufficientStorage, InvalidRequest, NotFound, Overloaded
from yunmo.core.identity import Principal
from yunmo.jobs import store
from yunmo.jobs.queue import Jobs, QueueLimits
from yunmo.jobs.runner import JobRunner, Rhythm
from yunmo.jobs.work import LeaseLost, Outcome, Work
from yunmo.storage.database import open_database
from yunmo.storage.migrate import migrate

ANNA = Principal("anna", "key-a", frozenset({"infer"}))
BERT = Principal("bert", "key-b", frozenset({"infer"}))
QUICK = Rhythm(lease=2.0, heartbeat=0.3, look=0.05, first_wait=0.01, longest_wait=0.02, tries=3)

# What a job does to the world; not part of the schema.
EFFECTS = sa.Table("effect", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("job", sa.String))


@pytest.fixture
async def jobs(database):
    EFFECTS.create(database.engine)
    return Jobs(database, QueueLimits(waiting=200, running=4))


class Doing:
    """A kind whose work is given by the test."""

    def __init__(self, work=None, *, name="do", slots=4):
        self.name = name
        self.slots = slots
        self.done = work or self.at_once
        self.begun = Counter()

    async def at_once(self, work):
        return self.outcome(work)

    async def run(self, work):
        self.begun[work.job.id] += 1
        return await self.done(work)

    async def cancelled(self, work):
        return Outcome({"cancelled_at": work.checkpoint})

    @staticmethod
    def outcome(work):
        return Outcome({"ok": work.job.input}, lambda connection: note(connection, work.job))


def note(connection, job):
    connection.execute(EFFECTS.insert().values(job=job.id))


async def effects(database):
    return await database.read(lambda connection: connection.execute(sa.select(EFFECTS.c.job)).scalars().all())


@contextlib.asynccontextmanager
async def working(jobs, database, *kinds, rhythm=QUICK):
    running = asyncio.create_task(JobRunner(jobs, database, {kind.name: kind for kind in kinds}, rhythm).run())
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def ended(jobs, job, seconds=20):
    return await asyncio.wait_for(jobs.wait(job.project, job.id), seconds)


async def until(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 (what is waited for is in the database)
            await asyncio.sleep(0.01)


# ------------------------------------------------------------ from submit to end


async def test_a_job_is_done_and_has_its_effect_in_the_same_transaction(jobs, database):
    kind = Doing()
    async with working(jobs, database, kind):
        job = await ended(jobs, await jobs.submit(ANNA, "do", {"n": 7}))
    assert (job.state, job.result, job.attempt, job.failures) == ("succeeded", {"ok": {"n": 7}}, 1, 1)
    assert job.started_at is not None
    assert job.finished_at >= job.started_at >= job.created_at
    assert await effects(database) == [job.id]


async def test_what_asks_for_a_job_happens_with_it_or_not_at_all(jobs, database):
    def refused(connection, job):
        note(connection, job)
        raise InvalidRequest("no")

    job = await jobs.submit(ANNA, "do", {}, effect=note)
    with pytest.raises(InvalidRequest):
        await jobs.submit(ANNA, "do", {}, effect=refused)
    assert await effects(database) == [job.id]
    assert len(await jobs.page("anna")) == 1


async def test_fifty_submits_with_one_idempotency_key_make_one_job(jobs):
    made = await asyncio.gather(*(jobs.submit(ANNA, "do", {"b": 1, "a": 2}, idempotency_key="once") for _ in range(50)))
    assert len({job.id for job in made}) == 1
    again = await jobs.submit(ANNA, "do", {"a": 2, "b": 1}, idempotency_key="once")
    assert again.id == made[0].id
    with pytest.raises(Conflict, match="another request"):
        await jobs.submit(ANNA, "do", {"a": 3}, idempotency_key="once")
    assert (await jobs.submit(BERT, "do", {"a": 3}, idempotency_key="once")).id != again.id
    assert (await jobs.submit(ANNA, "else", {"a": 3}, idempotency_key="once")).id != again.id


async def test_a_project_may_have_so_many_jobs_that_have_not_ended(database):
    jobs = Jobs(database, QueueLimits(waiting=2))
    first = await jobs.submit(ANNA, "do", {})
    await jobs.submit(ANNA, "do", {})
    with pytest.raises(Overloaded, match="2 jobs"):
        await jobs.submit(ANNA, "do", {})
    await jobs.submit(BERT, "do", {})
    await jobs.cancel("anna", first.id)
    await jobs.submit(ANNA, "do", {})


@pytest.mark.parametrize(("key", "priority"), [("", 0), ("k" * 256, 0), (None, 101), (None, -101)])
async def test_a_key_or_a_priority_that_cannot_be_is_refused(jobs, key, priority):
    with pytest.raises(InvalidRequest):
        await jobs.submit(ANNA, "do", {}, idempotency_key=key, priority=priority)


async def test_another_projects_job_is_not_there(jobs):
    job = await jobs.submit(ANNA, "do", {})
    for act in (jobs.get, jobs.cancel, jobs.pause, jobs.resume, jobs.events):
        with pytest.raises(NotFound):
            await act("bert", job.id)
    assert (await jobs.get(None, job.id)).id == job.id
    assert await jobs.page("bert") == []


async def test_pages_go_from_the_newest_on(jobs):
    made = [await jobs.submit(ANNA, kind, {}) for kind in ("do", "else", "do")]
    newest_first = [job.id for job in reversed(made)]
    first = await jobs.page("anna", limit=2)
    rest = await jobs.page("anna", after=first[-1].id)
    assert [job.id for job in first + rest] == newest_first
    assert [job.id for job in await jobs.page("anna", kinds=["else"])] == [made[1].id]
    await jobs.cancel("anna", made[0].id)
    assert [job.id for job in await jobs.page("anna", states=["cancelled"])] == [made[0].id]
    with pytest.raises(InvalidRequest):
        await jobs.page("anna", limit=0)
    with pytest.raises(NotFound):
        await jobs.page("anna", after="nothing")


# ------------------------------------------------------------ who is next


async def test_projects_take_turns_and_the_urgent_goes_first_among_a_projects_own(jobs, database):
    order = []

    async def write_down(work):
        order.append((work.job.project, work.job.input["n"]))
        return Outcome({})

    for n in range(3):
        await jobs.submit(ANNA, "do", {"n": n})
    await jobs.submit(ANNA, "do", {"n": "urgent"}, priority=5)
    last = [await jobs.submit(BERT, "do", {"n": n}) for n in range(2)][-1]
    async with working(jobs, database, Doing(write_down, slots=1)):
        await ended(jobs, last)
        await until(lambda: has_nothing_left(jobs))
    assert order == [("anna", "urgent"), ("bert", 0), ("anna", 0), ("bert", 1), ("anna", 1), ("anna", 2)]


async def has_nothing_left(jobs):
    return not await jobs.page(None, states=["queued", "running"])


async def test_a_project_has_at_most_so_many_jobs_running_and_others_are_not_held_up(database):
    jobs = Jobs(database, QueueLimits(running=2))
    most, running, release = Counter(), Counter(), asyncio.Event()

    async def hold(work):
        running[work.job.project] += 1
        most[work.job.project] = max(most[work.job.project], running[work.job.project])
        await release.wait()
        running[work.job.project] -= 1
        return Outcome({})

    for _ in range(5):
        await jobs.submit(ANNA, "do", {})
    async with working(jobs, database, Doing(hold, slots=10)):
        theirs = await jobs.submit(BERT, "do", {})
        await until(lambda: is_running(jobs, theirs))
        await until(lambda: has(running, {"anna": 2, "bert": 1}))
        release.set()
        await until(lambda: has_nothing_left(jobs))
    assert most == {"anna": 2, "bert": 1}


async def has(counted, expected):
    return counted == expected


async def is_running(jobs, job):
    return (await jobs.get(None, job.id)).state == "running"


# ------------------------------------------------------------ cancel, pause, go on


async def test_a_running_job_is_cancelled_at_once_and_its_kind_leaves_things_in_order(jobs, database):
    async def hang(work):
        await work.save({"at": 3})
        await asyncio.Event().wait()

    async with working(jobs, database, Doing(hang)):
        job = await jobs.submit(ANNA, "do", {})
        await until(lambda: has_checkpoint(jobs, job))
        assert (await jobs.cancel("anna", job.id)).wanted == "cancel"
        job = await ended(jobs, job, 5)
    assert (job.state, job.result) == ("cancelled", {"cancelled_at": {"at": 3}})
    assert (await jobs.cancel("anna", job.id)).state == "cancelled"
    with pytest.raises(Conflict, match="has cancelled"):
        await jobs.resume("anna", job.id)


async def has_checkpoint(jobs, job):
    return (await jobs.get(None, job.id)).checkpoint is not None


async def test_a_job_cancelled_by_another_process_ends_too(jobs, database):
    async def hang(_work):
        await asyncio.Event().wait()

    elsewhere = Jobs(database, jobs.limits)
    async with working(jobs, database, Doing(hang)):
        job = await jobs.submit(ANNA, "do", {})
        await until(lambda: is_running(jobs, job))
        await elsewhere.cancel("anna", job.id)
        assert (await ended(jobs, job, 5)).state == "cancelled"


async def test_a_job_that_waits_is_cancelled_without_a_worker_unless_it_has_begun(jobs, database):
    fresh = await jobs.submit(ANNA, "do", {})
    assert (await jobs.cancel("anna", fresh.id)).state == "cancelled"

    async def begin(work):
        await work.save({"at": 1})
        raise EngineFailed("later")

    kind = Doing(begin)
    begun = await jobs.submit(ANNA, "do", {})
    async with working(jobs, database, kind, rhythm=Rhythm(look=0.05, first_wait=60)):
        await until(lambda: has_checkpoint(jobs, begun))
        await until(lambda: is_queued(jobs, begun))
        await jobs.cancel("anna", begun.id)
        gone = await ended(jobs, begun)
    assert (gone.state, gone.result) == ("cancelled", {"cancelled_at": {"at": 1}})
    assert kind.begun[begun.id] == 1


async def is_queued(jobs, job):
    return (await jobs.get(None, job.id)).state == "queued"


async def test_a_paused_job_waits_at_its_checkpoint_and_goes_on_from_there(jobs, database):
    done = []

    async def count(work):
        for step in range((work.checkpoint or {"step": 0})["step"], 200):
            done.append(step)
            await asyncio.sleep(0.005)
            await work.save({"step": step + 1})
        return Outcome({})

    async with working(jobs, database, Doing(count)):
        job = await jobs.submit(ANNA, "do", {})
        await until(lambda: has_checkpoint(jobs, job))
        await jobs.pause("anna", job.id)
        await until(lambda: is_queued(jobs, job))
        paused = await jobs.get("anna", job.id)
        assert paused.is_paused
        assert 0 < paused.checkpoint["step"] < 200
        await asyncio.sleep(0.2)
        assert len(done) == paused.checkpoint["step"]
        await jobs.resume("anna", job.id)
        assert (await ended(jobs, job)).state == "succeeded"
    assert done == list(range(200))


async def test_a_queued_job_that_is_paused_is_not_claimed_until_it_is_resumed(jobs, database):
    job = await jobs.submit(ANNA, "do", {})
    await jobs.pause("anna", job.id)
    async with working(jobs, database, Doing()):
        other = await jobs.submit(ANNA, "do", {})
        await ended(jobs, other)
        assert (await jobs.get("anna", job.id)).is_paused
        await jobs.resume("anna", job.id)
        assert (await ended(jobs, job)).state == "succeeded"


async def test_a_stopping_server_gives_its_jobs_back_at_once(jobs, database):
    async def hang(_work):
        await asyncio.Event().wait()

    job = await jobs.submit(ANNA, "do", {})
    async with working(jobs, database, Doing(hang)):
        await until(lambda: is_running(jobs, job))
    given_back = await jobs.get("anna", job.id)
    assert (given_back.state, given_back.failures) == ("queued", 0)
    async with working(jobs, database, Doing(), rhythm=Rhythm(look=0.05)):
        assert (await ended(jobs, job, 5)).attempt == 2


# ------------------------------------------------------------ what goes wrong


async def test_what_may_pass_is_tried_again_later_and_what_may_not_fails_at_once(jobs, database):
    async def fail(work):
        if work.job.input["passes"] and work.job.attempt == 3:
            return Outcome({})
        raise (EngineFailed if work.job.input["passes"] else InvalidRequest)("broken")

    async with working(jobs, database, Doing(fail)):
        passing = await ended(jobs, await jobs.submit(ANNA, "do", {"passes": True}))
        final = await ended(jobs, await jobs.submit(ANNA, "do", {"passes": False}))
    assert (passing.state, passing.attempt, passing.error) == ("succeeded", 3, None)
    assert (final.state, final.attempt, final.error.code, final.error.message) == ("failed", 1, "invalid_request", "broken")
    assert "Attempt 1 failed" in (await jobs.events("anna", passing.id))[0].message


async def test_a_job_fails_after_so_many_tries_that_get_no_further(jobs, database):
    async def fail(work):
        if work.job.input["advances"]:
            step = (work.checkpoint or {"step": 0})["step"] + 1
            if step == 6:
                return Outcome({})
            await work.save({"step": step})
        raise EngineFailed("again")

    async with working(jobs, database, Doing(fail)):
        stuck = await ended(jobs, await jobs.submit(ANNA, "do", {"advances": False}))
        slow = await ended(jobs, await jobs.submit(ANNA, "do", {"advances": True}))
    assert (stuck.state, stuck.attempt, stuck.error.code) == ("failed", 3, "engine_failed")
    assert (slow.state, slow.attempt) == ("succeeded", 6)


async def test_a_bug_of_a_kind_or_of_its_effect_ends_no_other_job(jobs, database):
    async def break_down(work):
        if work.job.input["where"] == "run":
            raise ZeroDivisionError

        def broken(_connection):
            raise ZeroDivisionError

        return Outcome({}, broken)

    async with working(jobs, database, Doing(break_down), Doing(name="well")):
        broken = [await ended(jobs, await jobs.submit(ANNA, "do", {"where": where})) for where in ("run", "effect")]
        assert (await ended(jobs, await jobs.submit(ANNA, "well", {}))).state == "succeeded"
    assert [(job.state, job.error.code) for job in broken] == [("failed", "internal_error")] * 2
    assert "ZeroDivision" not in broken[0].error.message


async def test_a_full_disk_makes_the_job_wait_for_its_owner(jobs, database):
    is_full = True

    async def write(_work):
        if is_full:
            raise InsufficientStorage("The disk is full.")
        return Outcome({})

    async with working(jobs, database, Doing(write)):
        job = await jobs.submit(ANNA, "do", {})
        await until(lambda: is_paused(jobs, job))
        waiting = await jobs.get("anna", job.id)
        assert waiting.error.message == "The disk is full."
        assert "until it is resumed" in (await jobs.events("anna", job.id))[-1].message
        is_full = False
        await jobs.resume("anna", job.id)
        assert (await ended(jobs, job)).error is None


async def is_paused(jobs, job):
    return (await jobs.get(None, job.id)).is_paused


async def test_a_worker_that_lost_its_lease_changes_nothing_any_more(jobs, database):
    job = await jobs.submit(ANNA, "do", {})
    first = await database.write(lambda connection: store.claim(connection, ["do"], "one", -1.0, 4))
    assert await database.write(lambda connection: store.recover(connection, 3))
    second = await database.write(lambda connection: store.claim(connection, ["do"], "two", 60.0, 4))
    assert (first.id, second.id, second.fence) == (job.id, job.id, first.fence + 1)
    woken = Work(first, database, lambda: None)
    with pytest.raises(LeaseLost):
        await woken.save({"step": 9}, lambda connection: note(connection, first))
    with pytest.raises(LeaseLost):
        await woken.renew(30)
    assert not await database.write(lambda connection: store.finish(connection, first, "succeeded", {}, None, None))
    assert not await database.write(lambda connection: store.put_back(connection, first))
    assert (await jobs.get("anna", job.id)).checkpoint is None
    assert await effects(database) == []


async def test_a_lease_that_is_lost_while_working_ends_the_work_without_its_effect(jobs, database):
    stopped = asyncio.Event()

    async def hang(work):
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return Doing.outcome(work)

    async with working(jobs, database, Doing(hang, slots=1)):
        job = await jobs.submit(ANNA, "do", {})
        await until(lambda: is_running(jobs, job))
        await database.write(
            lambda connection: connection.execute(store.job_table.update().values(fence=store.job_table.c.fence + 1, owner="another"))
        )
        await asyncio.wait_for(stopped.wait(), 5)
    assert await effects(database) == []
    assert (await jobs.get("anna", job.id)).state == "running"  # the other one's


async def test_a_job_whose_workers_die_again_and_again_fails(jobs, database):
    job = await jobs.submit(ANNA, "do", {})
    for _ in range(3):
        assert await database.write(lambda connection: store.claim(connection, ["do"], "dies", -1.0, 4))
        await database.write(lambda connection: store.recover(connection, 3))
    job = await jobs.get("anna", job.id)
    assert (job.state, job.attempt) == ("failed", 3)
    assert "died 3 times" in job.error.message


async def test_a_server_that_is_alone_goes_on_at_once_with_what_another_left(jobs, database):
    job = await jobs.submit(ANNA, "do", {})
    assert await database.write(lambda connection: store.claim(connection, ["do"], "killed", 3600.0, 4))
    runner = JobRunner(jobs, database, {"do": Doing()}, QUICK, is_alone=True)
    running = asyncio.create_task(runner.run())
    assert (await ended(jobs, job, 5)).attempt == 2
    running.cancel()


# ------------------------------------------------------------ what is seen meanwhile


async def test_progress_and_events_are_followed_until_the_end(jobs, database):
    async def work_slowly(work):
        for step in range(5):
            work.advance(step, 5, "steps")
            await work.tell(f"step {step}", type_="metrics", data={"loss": 1 / (step + 1)})
            await asyncio.sleep(0.1)
        return Outcome({})

    seen = []
    async with working(jobs, database, Doing(work_slowly)):
        job = await jobs.submit(ANNA, "do", {})
        async with asyncio.timeout(10):
            seen = [each async for each in jobs.follow("anna", job.id)]
    told = [each for each in seen if hasattr(each, "message")]
    states = [each for each in seen if not hasattr(each, "message")]
    assert [event.data for event in told] == [{"loss": 1 / (step + 1)} for step in range(5)]
    assert states[-1].state == "succeeded"
    assert any(each.progress is not None and each.progress.total == 5 and each.progress.unit == "steps" for each in states)
    assert [event.message for event in await jobs.events("anna", job.id, after=told[2].id)] == ["step 3", "step 4"]
    assert [event.message for event in await jobs.latest_events("anna", job.id, limit=2)] == ["step 4", "step 3"]


async def test_jobs_that_ended_long_ago_are_forgotten_with_their_events(jobs, database):
    async def talk(work):
        await work.tell("hello")
        return Outcome({})

    async with working(jobs, database, Doing(talk)):
        job = await ended(jobs, await jobs.submit(ANNA, "do", {}))
    waiting = await jobs.submit(ANNA, "do", {})
    assert await database.write(lambda connection: store.delete_ended(connection, store.now(), 10)) == 1
    with pytest.raises(NotFound):
        await jobs.get("anna", job.id)
    assert (await jobs.get("anna", waiting.id)).state == "queued"


# ------------------------------------------------------------ under kill -9

PROGRAM = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from test_jobs import Doing, Jobs, JobRunner, QueueLimits, Rhythm
from yunmo.storage.database import open_database

async def main():
    database = open_database(sys.argv[1])
    kind = Doing(slots=8)
    await JobRunner(Jobs(database, QueueLimits(running=8)), database, {"do": kind}, Rhythm(lease=1.0, heartbeat=0.3, look=0.05, tries=1000)).run()

asyncio.run(main())
"""


def test_a_thousand_jobs_under_random_kills_have_exactly_one_effect_each(database_url):
    database = open_database(database_url)
    migrate(database.engine)
    EFFECTS.create(database.engine)
    made = asyncio.run(submit_many(database, 1000 if database.dialect == "sqlite" else 300))
    chance, kills = random.Random(20261130), 0
    command = [sys.executable, "-c", PROGRAM, database_url, str(Path(__file__).parent)]
    while (left := count_unfinished(database)) > 0:
        process = subprocess.Popen(command)
        enough = left - chance.randint(len(made) // 10, len(made) // 3)
        while count_unfinished(database) > max(0, enough):
            time.sleep(0.01)
        kills += enough > 0
        process.send_signal(signal.SIGKILL)
        process.wait()
    with database.engine.connect() as connection:
        assert sorted(connection.execute(sa.select(EFFECTS.c.job)).scalars()) == sorted(made)
        assert set(connection.execute(sa.select(store.job_table.c.state)).scalars()) == {"succeeded"}
    asyncio.run(database.close())
    assert kills >= 2


async def submit_many(database, count):
    jobs = Jobs(database, QueueLimits(waiting=2000))
    return [job.id for job in await asyncio.gather(*(jobs.submit(ANNA, "do", {"n": n}) for n in range(count)))]


def count_unfinished(database):
    with database.engine.connect() as connection:
        return store.count_unfinished(connection, "anna")
