"""What `Database` promises on SQLite and on PostgreSQL."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from yunmo.core.errors import InsufficientStorage, Unavailable
from yunmo.storage import database as database_module
from yunmo.storage import writers
from yunmo.storage.database import open_database
from yunmo.storage.tables import Time

TABLES = sa.MetaData()
word = sa.Table("word", TABLES, sa.Column("text", sa.String, primary_key=True), sa.Column("count", sa.Integer, nullable=False))
pair = sa.Table("pair", TABLES, sa.Column("first", sa.String, primary_key=True), sa.Column("second", sa.String, unique=True))
moment = sa.Table("moment", TABLES, sa.Column("id", sa.Integer, primary_key=True), sa.Column("at", Time))


@pytest.fixture
async def words(empty_database):
    TABLES.create_all(empty_database.engine)
    return empty_database


def put(text, count=1):
    return lambda connection: connection.execute(word.insert().values(text=text, count=count))


def texts(connection):
    return set(connection.execute(sa.select(word.c.text)).scalars())


def held(database):
    """Work that waits inside its transaction, with the events that say it has begun and let it go."""
    begun, released = threading.Event(), threading.Event()

    def work(_connection):
        begun.set()
        assert released.wait(30)

    return work, begun, released


async def test_what_was_written_can_be_read_and_the_result_comes_back(words):
    assert await words.write(lambda connection: connection.execute(sa.select(sa.literal(7))).scalar_one()) == 7
    await words.write(put("a"))
    assert await words.read(texts) == {"a"}


async def test_a_write_that_raises_leaves_nothing_and_its_error_reaches_the_caller(words):
    def work(connection):
        put("a")(connection)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await words.write(work)
    assert await words.read(texts) == set()


async def test_a_read_that_writes_changes_nothing(words):
    await words.read(put("a"))
    assert await words.read(texts) == set()


async def test_failing_work_does_not_harm_the_others_in_its_group(words):
    work, begun, released = held(words)
    first = asyncio.create_task(words.write(work))
    assert await asyncio.to_thread(begun.wait, 30)
    await_all = [asyncio.create_task(words.write(put("same" if number % 5 == 0 else f"w{number}"))) for number in range(50)]
    await asyncio.sleep(0)
    released.set()
    await first
    results = await asyncio.gather(*await_all, return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    assert len(failed) == 9
    assert all(isinstance(error, sa.exc.IntegrityError) for error in failed)
    assert await words.read(texts) == {"same", *(f"w{number}" for number in range(50) if number % 5)}


async def test_work_that_spoils_the_whole_transaction_does_not_harm_the_others(words):
    work, begun, released = held(words)
    first = asyncio.create_task(words.write(work))
    assert await asyncio.to_thread(begun.wait, 30)
    spoiling = asyncio.create_task(words.write(lambda connection: connection.exec_driver_sql("ROLLBACK") and put("lost")(connection)))
    others = [asyncio.create_task(words.write(put(f"w{number}"))) for number in range(10)]
    await asyncio.sleep(0)
    released.set()
    await asyncio.gather(first, *others)
    await asyncio.gather(spoiling, return_exceptions=True)
    assert {f"w{number}" for number in range(10)} <= await words.read(texts)


async def test_two_hundred_concurrent_writers_lose_no_increment(words):
    await words.write(put("n", 0))

    def increment(connection):
        count = connection.execute(sa.select(word.c.count)).scalar_one()  # read, then write: needs serial order
        connection.execute(word.update().values(count=count + 1))

    await asyncio.gather(*(words.write(increment) for _ in range(200)))
    assert await words.read(lambda connection: connection.execute(sa.select(word.c.count)).scalar_one()) == 200


async def test_a_slow_writer_comes_through_among_quick_ones_that_never_stop(words):
    await words.write(put("n", 0))
    is_done = asyncio.Event()
    runs = []

    def increment_slowly(connection):
        runs.append(time.monotonic())
        count = connection.execute(sa.select(word.c.count)).scalar_one()
        time.sleep(0.05)  # long enough for the others to change what was read, whenever they may
        connection.execute(word.update().values(count=count + 1000))

    def increment(connection):
        connection.execute(word.update().values(count=word.c.count + 1))

    async def hurry() -> int:
        count = 0
        while not is_done.is_set():
            await words.write(increment)
            count += 1
        return count

    hurrying = [asyncio.create_task(hurry()) for _ in range(3)]
    await asyncio.sleep(0.05)
    await words.write(increment_slowly)
    is_done.set()
    quick = sum(await asyncio.gather(*hurrying))
    assert len(runs) <= 2  # once among the others, once alone
    assert await words.read(lambda connection: connection.execute(sa.select(word.c.count)).scalar_one()) == quick + 1000


async def test_insert_if_missing_has_one_winner_without_locks(words):
    def insert_if_missing(connection):
        if connection.execute(sa.select(word).where(word.c.text == "once")).first() is None:
            put("once")(connection)
            return True
        return False

    won = await asyncio.gather(*(words.write(insert_if_missing) for _ in range(40)))
    assert won.count(True) == 1


async def test_who_looks_by_one_unique_column_is_not_surprised_by_another(words):
    def insert_if_missing(connection):
        if connection.execute(sa.select(pair).where(pair.c.second == "b")).first() is None:
            connection.execute(pair.insert().values(first="a", second="b"))

    for _ in range(5):
        await asyncio.gather(*(words.write(insert_if_missing) for _ in range(20)))
        await words.write(lambda connection: connection.execute(pair.delete()))


async def test_a_true_violation_reaches_the_caller(words):
    await words.write(put("a"))
    with pytest.raises(sa.exc.IntegrityError):
        await words.write(put("a"))


async def test_a_read_sees_one_consistent_state_while_writes_go_on(words):
    await words.write(put("a", 0))
    has_read, may_read_on = threading.Event(), threading.Event()

    def read_twice(connection):
        before = connection.execute(sa.select(word.c.count)).scalar_one()
        has_read.set()
        assert may_read_on.wait(30)
        return before, connection.execute(sa.select(word.c.count)).scalar_one()

    reading = asyncio.create_task(words.read(read_twice))
    assert await asyncio.to_thread(has_read.wait, 30)
    await words.write(lambda connection: connection.execute(word.update().values(count=1)))
    may_read_on.set()
    assert await reading == (0, 0)


async def test_a_cancelled_caller_leaves_the_writer_at_work(words):
    work, begun, released = held(words)
    first = asyncio.create_task(words.write(work))
    assert await asyncio.to_thread(begun.wait, 30)
    waiting = [asyncio.create_task(words.write(put(f"w{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    for task in [first, *waiting]:
        task.cancel()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    released.set()
    await words.write(put("after"))
    assert "after" in await words.read(texts)


async def test_a_failed_database_is_said_as_unavailable(words):
    with pytest.raises(Unavailable, match="cannot be used"):
        await words.write(
            lambda _connection: (_ for _ in ()).throw(sa.exc.OperationalError("x", {}, Exception("server closed the connection")))
        )
    await words.write(put("after"))


async def test_a_closed_database_refuses_work_and_closing_finishes_what_was_handed_in(database_url):
    database = open_database(database_url)
    await asyncio.to_thread(TABLES.create_all, database.engine)
    writes = [asyncio.create_task(database.write(put(f"w{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*writes)
    with pytest.raises(RuntimeError):
        await database.write(put("late"))
    again = open_database(database_url)
    assert len(await again.read(texts)) == 20
    await again.close()


async def test_waiting_writes_share_one_commit_on_sqlite(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    TABLES.create_all(database.engine)
    commits = []
    sa.event.listen(database.engine, "commit", commits.append)
    work, begun, released = held(database)
    first = asyncio.create_task(database.write(work))
    assert await asyncio.to_thread(begun.wait, 30)
    others = [asyncio.create_task(database.write(put(f"w{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    released.set()
    await asyncio.gather(first, *others)
    await database.close()
    assert len(commits) == 2


async def test_a_full_sqlite_disk_is_said_and_later_writes_work(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    TABLES.create_all(database.engine)
    pages = await database.write(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    await database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}"))
    with pytest.raises(InsufficientStorage, match="disk"):
        await database.write(put("x" * 100_000))
    await database.write(put("small"))
    assert await database.read(texts) == {"small"}
    await database.close()


@pytest.mark.parametrize("at_commit", [False, True])
async def test_a_disk_that_fails_ends_the_process_so_that_nothing_false_is_promised(tmp_path, monkeypatch, at_commit):
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    ended = []
    monkeypatch.setattr(writers.os, "_exit", ended.append)
    if at_commit:
        sa.event.listen(database.engine, "commit", lambda _connection: _raise_io_error())
    with pytest.raises(Unavailable):
        await database.write(lambda _connection: None if at_commit else _raise_io_error())
    assert ended == [70]
    await database.close()


def _raise_io_error():
    raise sa.exc.OperationalError("COMMIT", {}, Exception("disk I/O error"))


def test_an_old_sqlite_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, "SAFE_SQLITE", (99, 0, 0))
    with pytest.raises(RuntimeError, match="corrupt"):
        open_database(f"sqlite:///{tmp_path}/x.db")


async def test_sqlite_keeps_every_commit_on_disk(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/x.db")
    for work in (database.read, database.write):
        pragmas = [
            await work(lambda connection, name=name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
        assert pragmas == ["wal", 2, 1]
    await database.close()


async def test_moments_come_back_exactly_and_sort(words):
    given_moments = [datetime(2026, 11, 23, 1, 2, 3, number, UTC) for number in (0, 1, 333_333, 999_999)]
    elsewhere = datetime(2026, 11, 24, tzinfo=timezone(timedelta(hours=8)))
    await words.write(lambda connection: connection.execute(moment.insert(), [{"at": at} for at in [*given_moments, elsewhere]]))
    found = await words.read(lambda connection: connection.execute(sa.select(moment.c.at).order_by(moment.c.at)).scalars().all())
    assert found == [*given_moments, elsewhere]


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_moment_survives_its_column(at):
    kind = Time()
    assert kind.process_result_value(kind.process_bind_param(at, None), None) == at


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(TypeError):
        Time().process_bind_param(datetime(2026, 1, 1), None)  # noqa: DTZ001  # the point of the test
