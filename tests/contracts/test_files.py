"""Files on real databases and object stores: owned, immutable, counted, and gone when their time is over."""

import hashlib
from datetime import timedelta

import pytest
import sqlalchemy as sa

from yunmo.core.errors import Conflict, InsufficientStorage, InvalidRequest, NotFound, TooLarge
from yunmo.files import store as rows
from yunmo.files.files import FileRules, Files
from yunmo.storage.tables import now


@pytest.fixture
def files(database, store):
    return Files(database, store, FileRules(file_bytes=5000, project_bytes=8000))


async def pieces(*parts):
    for part in parts:
        yield part


async def add(files, data=b"one\ntwo\n", *, project="anna", filename="a.jsonl", purpose="batch", keep_seconds=None):
    return await files.add(project, filename, purpose, pieces(data), keep_seconds)


async def content(files, file):
    return b"".join([piece async for piece in files.stream(file)])


async def keys(store):
    return [key async for key in store.keys("files")]


async def test_a_file_is_kept_as_it_came_and_is_its_projects_own(files):
    file = await files.add("anna", "数据.jsonl", "fine-tune", pieces(b"on", b"e\n", b"two"))
    assert (file.filename, file.purpose, file.size, file.expires_at) == ("数据.jsonl", "fine-tune", 7, None)
    assert await files.get("anna", file.id) == file
    assert await content(files, file) == b"one\ntwo"
    with pytest.raises(NotFound):
        await files.get("bert", file.id)
    with pytest.raises(NotFound):
        await files.delete("bert", file.id)


async def test_lines_are_read_whatever_the_pieces_and_a_long_one_is_refused(files):
    file = await add(files, b"one\r\n\ntwo\nthree")
    assert [line async for line in files.lines(file, 5)] == [b"one", b"", b"two", b"three"]
    with pytest.raises(InvalidRequest, match="Line 4"):
        _ = [line async for line in files.lines(file, 4)]


async def test_pages_go_either_way_and_may_have_one_purpose(files):
    made = [await add(files, purpose=purpose) for purpose in ("batch", "vision", "batch")]
    ids = [file.id for file in made]
    assert [file.id for file in await files.page("anna")] == ids[::-1]
    assert [file.id for file in await files.page("anna", newest_first=False, limit=2)] == ids[:2]
    assert [file.id for file in await files.page("anna", newest_first=False, after=ids[0])] == ids[1:]
    assert [file.id for file in await files.page("anna", after=ids[1])] == ids[:1]
    assert [file.id for file in await files.page("anna", purpose="vision")] == [ids[1]]
    assert await files.page("bert") == []


async def test_a_deleted_file_is_gone_at_once_and_its_bytes_at_the_next_sweep(files, store):
    file, other = await add(files), await add(files)
    await files.delete("anna", file.id)
    with pytest.raises(NotFound):
        await files.get("anna", file.id)
    await files.sweep()
    assert await keys(store) == [other.key]


async def test_a_file_whose_time_is_over_is_not_there(files, store, database):
    file = await add(files, keep_seconds=3600)
    assert file.expires_at - file.created_at == timedelta(hours=1)
    await files.sweep()
    assert await files.get("anna", file.id) == file
    await database.write(lambda connection: connection.execute(rows.file_table.update().values(expires_at=now())))
    with pytest.raises(NotFound):
        await files.get("anna", file.id)
    assert await files.page("anna") == []
    await files.sweep()
    assert await keys(store) == []


@pytest.mark.parametrize("seconds", [0, 3599, 30 * 24 * 3600 + 1])
async def test_a_time_that_cannot_be_is_refused(files, seconds):
    with pytest.raises(InvalidRequest, match="expire"):
        await add(files, keep_seconds=seconds)


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb"])
async def test_a_name_that_cannot_be_is_refused(files, name):
    with pytest.raises(InvalidRequest, match="name"):
        await add(files, filename=name)


async def test_limits_hold_for_one_file_and_for_all_of_a_project(files, store):
    with pytest.raises(TooLarge):
        await add(files, b"x" * 5001)
    await add(files, b"x" * 5000)
    with pytest.raises(InsufficientStorage, match=r"jobs\.project_bytes"):
        await add(files, b"x" * 3001)
    await add(files, b"x" * 3000)
    await add(files, b"x" * 5000, project="bert")
    assert not list(store.staging.iterdir())


async def test_bytes_that_a_crash_left_without_a_row_are_swept_away_after_a_day(files, store, monkeypatch):
    await files.prepare("anna", "a", "batch", pieces(b"stray"))
    kept = await add(files)
    await files.sweep()
    assert len(await keys(store)) == 2
    later = now() + timedelta(days=2)
    monkeypatch.setattr("yunmo.files.files.now", lambda: later)
    fresh = Files(files._database, store)
    await fresh.sweep()
    assert await keys(store) == [kept.key]


# ------------------------------------------------------------ in parts


async def test_parts_become_a_file_in_the_order_that_is_given(files, store):
    upload = await files.begin("anna", "b.jsonl", "user_data", 6, keep_seconds=3600)
    second = await files.add_part("anna", upload.id, pieces(b"def"))
    first = await files.add_part("anna", upload.id, pieces(b"ab", b"c"))
    md5 = hashlib.md5(b"abcdef").hexdigest()
    done = await files.complete("anna", upload.id, [first.id, second.id], md5)
    assert (done.status, done.file.filename, done.file.size) == ("completed", "b.jsonl", 6)
    assert done.file.expires_at is not None
    assert await content(files, await files.get("anna", done.file.id)) == b"abcdef"
    await files.sweep()
    assert await keys(store) == [done.file.key]
    for act in (files.add_part("anna", upload.id, pieces(b"x")), files.complete("anna", upload.id, []), files.give_up("anna", upload.id)):
        with pytest.raises(Conflict, match="completed"):
            await act


async def test_an_upload_must_be_what_was_announced(files):
    upload = await files.begin("anna", "b", "vision", 4)
    part = await files.add_part("anna", upload.id, pieces(b"abc"))
    with pytest.raises(InvalidRequest, match="announced"):
        await files.add_part("anna", upload.id, pieces(b"de"))
    for wrong in ([part.id], ["part_x"], []):
        with pytest.raises(InvalidRequest):
            await files.complete("anna", upload.id, wrong)
    last = await files.add_part("anna", upload.id, pieces(b"d"))
    with pytest.raises(InvalidRequest, match="MD5"):
        await files.complete("anna", upload.id, [part.id, last.id], "0" * 32)
    with pytest.raises(NotFound):
        await files.add_part("bert", upload.id, pieces(b"d"))
    for size in (0, 5001):
        with pytest.raises(InvalidRequest):
            await files.begin("anna", "b", "vision", size)


async def test_an_upload_that_is_given_up_or_late_leaves_nothing(files, store, database):
    given_up, late = [await files.begin("anna", "b", "vision", 3) for _ in range(2)]
    for upload in (given_up, late):
        await files.add_part("anna", upload.id, pieces(b"abc"))
    assert (await files.give_up("anna", given_up.id)).status == "cancelled"
    await database.write(lambda connection: connection.execute(rows.upload_table.update().values(expires_at=now())))
    with pytest.raises(Conflict, match="expired"):
        await files.add_part("anna", late.id, pieces(b""))
    await files.sweep()
    assert (await files.upload("anna", late.id)).status == "expired"
    assert await keys(store) == []
    assert await database.read(lambda connection: rows.sum_sizes(connection, "anna")) == 0


# ------------------------------------------------------------ as a job goes on


async def test_a_draft_grows_with_its_job_and_is_a_file_once(files, store, database):
    draft = await files.draft("anna", "out.jsonl", "batch_output")
    for data in (b"one\n", b"two\n"):
        part = await files.prepare_part(draft.id, data)
        await database.write(lambda connection: files.append(connection, part))  # noqa: B023
    lost = await files.prepare_part(draft.id, b"never told\n")
    assert b"".join([piece async for piece in files.read_draft("anna", draft.id)]) == b"one\ntwo\n"
    again, file = await files.join("anna", draft.id)
    assert await files.page("anna") == []
    await database.write(lambda connection: files.publish(connection, again, file))
    assert await content(files, (await files.page("anna"))[0]) == b"one\ntwo\n"
    with pytest.raises(Conflict):
        await database.write(lambda connection: files.publish(connection, again, file))
    await files.sweep()
    assert set(await keys(store)) == {file.key, lost.key}  # the lost part's turn comes after a day


async def test_an_empty_draft_becomes_no_file(files, database):
    draft = await files.draft("anna", "out.jsonl", "batch_output")
    again, file = await files.join("anna", draft.id)
    assert file is None
    await database.write(lambda connection: files.publish(connection, again, file))
    assert await files.page("anna") == []
    assert await database.read(lambda connection: connection.execute(sa.select(rows.part_table)).all()) == []


async def test_a_part_has_at_most_its_limit(files, monkeypatch):
    monkeypatch.setattr("yunmo.files.files.PART_BYTES", 4)
    upload = await files.begin("anna", "b", "vision", 10)
    with pytest.raises(TooLarge):
        await files.add_part("anna", upload.id, pieces(b"abcde"))
    assert (await files.add_part("anna", upload.id, pieces(b"abcd"))).size == 4
