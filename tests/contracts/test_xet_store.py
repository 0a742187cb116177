"""The store of large files on SQLite with a directory, and on PostgreSQL with S3."""

import asyncio
import hashlib
import os
import random
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

import xet_building as client
from yunmo.core.errors import Forbidden, InsufficientStorage, InternalError, InvalidRequest, NotFound, TooLarge, Unauthenticated
from yunmo.core.identity import Principal
from yunmo.hub.large_store import LargeFileStore
from yunmo.hub.lfs import lfs_key
from yunmo.hub.store.tables import repository
from yunmo.hub.xet import store as rows
from yunmo.hub.xet.hashes import keyed_digest
from yunmo.hub.xet.reading import xorb_key
from yunmo.storage.blobs import DirectoryStore, S3Store
from yunmo.storage.database import open_database
from yunmo.storage.migrate import migrate

OURS, THEIRS, PUBLIC = 1, 2, 3
WRITER = Principal("acme", "k1", frozenset({"read", "write"}))
STRANGER = Principal("globex", "k2", frozenset({"read", "write"}))


class Clock:
    def __init__(self):
        self.time = datetime(2026, 11, 24, tzinfo=UTC)

    def __call__(self):
        return self.time


@pytest.fixture(params=["sqlite+directory", "postgresql+s3"])
async def large(request, tmp_path):
    if request.param == "sqlite+directory":
        url, blobs = f"sqlite:///{tmp_path}/yunmo.db", DirectoryStore(tmp_path / "blobs")
    else:
        url = request.getfixturevalue("postgresql_url")
        blobs = S3Store(request.getfixturevalue("s3_location"), tmp_path / "staging")
    database = open_database(url)
    migrate(database.engine)
    await database.write(_make_repositories)
    found = LargeFileStore(database, blobs, b"secret of the tests, 32 bytes...", Clock())
    yield found
    found.close()
    await database.close()


def _make_repositories(connection):
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    for identity, namespace, is_private in ((OURS, "acme", True), (THEIRS, "globex", True), (PUBLIC, "acme", False)):
        name = f"{namespace}/r{identity}"
        values = {"id": identity, "type": "model", "namespace": namespace, "name": f"r{identity}", "folded": name}
        connection.execute(repository.insert().values(**values, is_private=is_private, created_at=moment, updated_at=moment))


def some_xorb(seed, chunks=12):
    dice = random.Random(seed)
    return client.xorb_of([dice.randbytes(dice.randint(5_000, 60_000)) for _ in range(chunks)])


async def pieces_of(data, size=65_536):
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def push(large, file, repository_id=OURS, **lies):
    for xorb in {xorb.name: xorb for xorb, _, _ in file.terms}.values():
        await large.xet.xorb(xorb.name, pieces_of(xorb.body))
    await register(large, client.shard_of(file, **lies), repository_id)


async def register(large, shard, repository_id=OURS):
    return [progress async for progress in large.xet.shard(repository_id, shard)]


async def read(large, file, start=0, end=None):
    return b"".join([piece async for piece in large.stream(file, start, end)])


def access(large, repository_id=OURS, principal=WRITER, *, write=True):
    return large.access(large.grant(principal, repository_id, "", "", write).access_token, write=write)


async def test_a_pushed_file_is_known_and_read_back_whole_and_in_ranges(large, tmp_path):
    one, two = some_xorb(1), some_xorb(2)
    file = client.File([(one, 3, 12), (two, 0, 7), (one, 0, 2), (one, 3, 4)])
    await push(large, file)
    known = await large.known(OURS, file.sha256)
    assert (known.sha256, known.size, known.xet_hash) == (file.sha256, len(file.content), file.name)
    content = file.content
    assert await read(large, known) == content
    for start, end in ((0, 1), (len(content) - 1, None), (70_000, 70_001), (100_000, 400_000), (5, 5), (len(content), None)):
        assert await read(large, known, start, end) == content[start:end]
    await large.lay_out(known, tmp_path / "model.bin")
    assert (tmp_path / "model.bin").read_bytes() == content


async def test_a_xorb_is_stored_once(large):
    xorb = some_xorb(3)
    answers = await asyncio.gather(*(large.xet.xorb(xorb.name, pieces_of(xorb.body)) for _ in range(4)))
    assert sorted(answers) == [False, False, False, True]


async def test_a_file_is_known_only_to_the_repository_that_pushed_it(large):
    file = client.File([(some_xorb(4), 0, 12)])
    await push(large, file)
    assert await large.known(THEIRS, file.sha256) is None
    with pytest.raises(NotFound):
        await large.links.reconstruction(access(large, THEIRS, STRANGER), file.name, (0, None), "http://h", 2)
    with pytest.raises(NotFound):
        await large.adopt(OURS, file.sha256, THEIRS)
    await large.adopt(PUBLIC, file.sha256, OURS)
    assert (await large.known(PUBLIC, file.sha256)).xet_hash == file.name


async def test_who_only_knows_hashes_gets_nothing(large):
    file = client.File([(some_xorb(5), 0, 12)])
    await push(large, file)
    with pytest.raises(InvalidRequest, match="verification"):
        await register(large, client.shard_of(file, proof=os.urandom(32)), THEIRS)
    with pytest.raises(InvalidRequest, match="verification"):
        await register(large, client.shard_of(file, flags=1 << 30), THEIRS)
    assert await large.known(THEIRS, file.sha256) is None


@pytest.mark.parametrize("lie", [{"sha256": "a" * 64}, {"digest": bytes(31) + b"\1"}, {"lengths": 17}])
async def test_a_shard_that_lies_about_its_file_counts_for_nothing(large, lie):
    file = client.File([(some_xorb(6), 0, 12)])
    with pytest.raises(InvalidRequest):
        await push(large, file, **lie)
    assert await large.known(OURS, file.sha256) is None
    assert await large.known(OURS, "a" * 64) is None


async def test_one_bad_file_makes_the_whole_shard_count_for_nothing(large):
    xorb = some_xorb(7)
    good, bad = client.File([(xorb, 0, 5)]), client.File([(xorb, 5, 13)])
    await large.xet.xorb(xorb.name, pieces_of(xorb.body))
    with pytest.raises(InvalidRequest):
        await register(large, client.shard_of(good, bad))
    assert await large.known(OURS, good.sha256) is None


async def test_a_shard_that_names_missing_xorbs_is_refused(large):
    with pytest.raises(InvalidRequest, match="not stored"):
        await register(large, client.shard_of(client.File([(some_xorb(8), 0, 12)])))


async def test_a_second_push_of_known_content_needs_no_reading_back(large, monkeypatch):
    xorb = some_xorb(9)
    file = client.File([(xorb, 0, 12)])
    await push(large, file)
    monkeypatch.setattr(large.reader, "stream", None)
    await register(large, client.shard_of(file), THEIRS)
    assert (await large.known(THEIRS, file.sha256)).xet_hash == file.name
    with pytest.raises(InvalidRequest, match="sha256"):
        await register(large, client.shard_of(file, sha256="b" * 64), THEIRS)


async def test_nothing_of_a_cut_off_upload_remains(large):
    xorb = some_xorb(10)

    async def broken():
        yield xorb.body[:100_000]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await large.xet.xorb(xorb.name, broken())
    with pytest.raises(InvalidRequest):
        await large.xet.xorb(xorb.name, pieces_of(xorb.body[:-1]))
    with pytest.raises(InvalidRequest):
        await large.xet.xorb("../../../etc/passwd", pieces_of(xorb.body))
    assert await large._blobs.size(xorb_key(xorb.name)) is None
    assert list(large._blobs.staging.iterdir()) == []


async def test_a_body_past_the_limit_is_not_read_on(large):
    sent = 0

    async def endless():
        nonlocal sent
        chunk = client.record(0, bytes(131_072))
        while True:
            sent += len(chunk)
            yield chunk

    with pytest.raises(TooLarge):
        await large.xet.xorb("0" * 64, endless())
    assert sent < 70 * 1024 * 1024


async def test_a_damaged_xorb_is_noticed_and_never_served(large, tmp_path):
    xorb = some_xorb(11)
    file = client.File([(xorb, 0, 12)])
    await push(large, file)
    known = await large.known(OURS, file.sha256)
    body = bytearray(xorb.body)
    body[200_000] ^= 4
    await large._blobs.delete(xorb_key(xorb.name))
    await large._blobs.put(xorb_key(xorb.name), bytes(body))
    with pytest.raises(InternalError, match="damaged"):
        await read(large, known)
    with pytest.raises(InternalError, match="damaged"):
        await large.lay_out(known, tmp_path / "model.bin")
    assert list(tmp_path.glob("*model.bin*")) == []
    await large._blobs.delete(xorb_key(xorb.name))
    with pytest.raises(InternalError, match="damaged"):
        await read(large, known)
    answer = await large.dedup.answer(client.text_of(xorb.nodes[0][0]), access(large))
    assert xorb.digest not in answer, "whoever has the data must send it again"
    await push(large, file)
    assert await read(large, known) == file.content


async def test_links_open_exactly_their_bytes(large):
    xorb = some_xorb(12)
    file = client.File([(xorb, 2, 5), (xorb, 5, 9)])
    await push(large, file)
    answer = await large.links.reconstruction(access(large), file.name, (0, None), "http://host/cas/e1", 2)
    (entry,) = answer["xorbs"][xorb.name]
    (where,) = entry["ranges"]
    assert where["chunks"] == {"start": 2, "end": 9}, "ranges that touch are fetched at once"
    low, high = where["bytes"]["start"], where["bytes"]["end"] + 1
    ticket = entry["url"].removeprefix("http://host/cas/e1/xorbs/")
    linked = large.links.open(ticket, None)
    assert b"".join([piece async for piece in linked.pieces]) == xorb.body[low:high]
    part = large.links.open(ticket, (low + 10, low + 20))
    assert b"".join([piece async for piece in part.pieces]) == xorb.body[low + 10 : low + 20]
    for bounds in ((0, high), (low - 1, high), (high, high + 1), (0, None)):
        with pytest.raises(Forbidden):
            large.links.open(ticket, bounds)
    for forged in (ticket[:-2] + "AA", ticket.replace(".", ""), "", "x.y", large.grant(WRITER, OURS, "", "", True).access_token):
        with pytest.raises(Forbidden):
            large.links.open(forged, None)
    large._clock.time += timedelta(hours=1, seconds=1)
    with pytest.raises(Forbidden):
        large.links.open(ticket, None)


async def test_a_range_past_the_end_of_a_file_has_no_answer(large):
    file = client.File([(some_xorb(13), 0, 12)])
    await push(large, file)
    size = len(file.content)
    assert await large.links.reconstruction(access(large), file.name, (size, None), "", 2) is None
    last = await large.links.reconstruction(access(large), file.name, (size - 1, size + 99), "", 1)
    assert len(last["terms"]) == 1


async def test_tokens_expire_and_a_reading_one_does_not_write(large):
    token = large.grant(WRITER, OURS, "acme/r1", "model", write=False)
    assert large.access(token.access_token, write=False).repository_id == OURS
    with pytest.raises(Forbidden):
        large.access(token.access_token, write=True)
    for bad in ("", "nonsense", token.access_token[:-1], token.access_token + "A", "é" * 10, "." * 5000):
        with pytest.raises(Unauthenticated):
            large.access(bad, write=False)
    large._clock.time = datetime.fromtimestamp(token.expires_at, UTC)
    with pytest.raises(Unauthenticated):
        large.access(token.access_token, write=False)


async def test_deduplication_answers_cover_whole_files_of_readable_repositories_only(large):
    one, two = some_xorb(14), some_xorb(15)
    file = client.File([(one, 0, 12), (two, 0, 12)])
    await push(large, file)
    first = client.text_of(one.nodes[0][0])
    assert await large.dedup.answer(first, access(large, THEIRS, STRANGER)) is None
    assert await large.dedup.answer(first, access(large, OURS, STRANGER)) is not None
    answer = await large.dedup.answer(first, access(large, PUBLIC))
    assert one.digest in answer
    assert two.digest in answer, "a client asks for one chunk in a thousand: it must learn of the whole file"
    key = answer[-200:][72:104]
    assert all(keyed_digest(key, digest) in answer for xorb in (one, two) for digest, _ in xorb.nodes)
    assert await large.dedup.answer(client.text_of(one.nodes[1][0]), access(large)) is None
    await large.adopt(PUBLIC, file.sha256, OURS)
    assert await large.dedup.answer(first, access(large, THEIRS, STRANGER)) is not None


async def test_unused_xorbs_go_away_after_28_days_and_come_back_when_needed_before(large):
    kept, needed, gone = (client.File([(some_xorb(seed), 0, 12)]) for seed in (16, 17, 18))
    for file in (kept, needed, gone):
        await push(large, file)
    orphan = some_xorb(19)
    await large._blobs.put(xorb_key(orphan.name), orphan.body)
    forgotten = rows.large_files.c.sha256.in_([needed.sha256, gone.sha256])
    await large._database.write(lambda connection: connection.execute(rows.large_files.delete().where(forgotten)))
    assert await large.collect() == 0
    first = client.text_of(needed.terms[0][0].nodes[0][0])
    assert await large.dedup.answer(first, access(large)) is None, "what waits for its removal is not offered"
    large._clock.time += timedelta(days=27)
    assert await large.collect() == 0
    await register(large, client.shard_of(needed))
    large._clock.time += timedelta(days=2)
    assert await large.collect() == 2
    assert [await large._blobs.size(xorb_key(file.terms[0][0].name)) is None for file in (kept, needed, gone)] == [False, False, True]
    assert await large._blobs.size(xorb_key(orphan.name)) is None
    for file in (kept, needed):
        assert await read(large, await large.known(OURS, file.sha256)) == file.content
    with pytest.raises(InvalidRequest, match="not stored"):
        await register(large, client.shard_of(gone))
    await push(large, gone)
    assert await read(large, await large.known(OURS, gone.sha256)) == gone.content


async def test_deleting_a_repository_forgets_what_it_may_refer_to(large):
    file = client.File([(some_xorb(20), 0, 12)])
    await push(large, file)
    await large._database.write(lambda connection: connection.execute(repository.delete().where(repository.c.id == OURS)))
    assert await large._database.read(lambda connection: connection.execute(sa.select(rows.large_files)).first()) is None


async def test_a_file_that_comes_in_for_a_deleted_repository_is_refused(large):
    with pytest.raises(NotFound, match="deleted"):
        await push(large, client.File([(some_xorb(22), 0, 12)]), 99)
    with pytest.raises(NotFound, match="deleted"):
        await send_lfs(large, b"some bytes", repository_id=99)


async def send_lfs(large, data, *, repository_id=OURS, claimed=None, in_parts=False, upload=None, project=None):
    sha256 = claimed or hashlib.sha256(data).hexdigest()
    upload = upload or await large.lfs.begin(repository_id, sha256, len(data), project, in_parts=in_parts)
    if upload.whole:
        return await large.put_lfs(upload.whole, pieces_of(data))
    for at, ticket in enumerate(upload.parts):
        await large.put_lfs(ticket, pieces_of(data[at * upload.part_bytes : (at + 1) * upload.part_bytes]))
    return await large.complete_lfs(upload.completion)


async def test_an_lfs_object_is_checked_kept_and_read_back(large, tmp_path):
    data = os.urandom(3_000_000)
    sha256 = hashlib.sha256(data).hexdigest()
    await send_lfs(large, data)
    known = await large.known(OURS, sha256)
    assert known.xet_hash is None
    assert await read(large, known, 1_000_000, 2_500_000) == data[1_000_000:2_500_000]
    await large.lay_out(known, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    assert await large.known(THEIRS, sha256) is None
    assert await large.open_lfs(large.link_lfs(OURS, sha256)) == known
    stored = large._blobs.local_path(lfs_key(sha256))
    if stored is not None:
        assert stored.stat().st_nlink == 2, "a laid out object is a link, not a copy"


async def test_lfs_bytes_that_do_not_match_count_for_nothing(large):
    data = os.urandom(100_000)
    with pytest.raises(InvalidRequest, match="sha256"):
        await send_lfs(large, data, claimed="c" * 64)
    with pytest.raises(TooLarge):
        await large.put_lfs((await large.lfs.begin(OURS, hashlib.sha256(data).hexdigest(), 5, in_parts=False)).whole, pieces_of(data))
    for bad in ("../" * 10, "A" * 64, ""):
        with pytest.raises(InvalidRequest):
            await large.lfs.begin(OURS, bad, 5, in_parts=False)
    with pytest.raises(Forbidden):
        await large.put_lfs("no.ticket", pieces_of(data))
    assert list(large._blobs.staging.iterdir()) == []


async def test_an_lfs_object_may_come_in_parts_in_any_order_and_twice(large, monkeypatch):
    monkeypatch.setattr("yunmo.hub.lfs.PART_BYTES", 400_000)
    data = os.urandom(1_000_001)
    sha256 = hashlib.sha256(data).hexdigest()
    upload = await large.lfs.begin(OURS, sha256, len(data), in_parts=True)
    assert len(upload.parts) == 3
    with pytest.raises(InvalidRequest, match="No part"):
        await large.complete_lfs(upload.completion)
    for at in (2, 0, 2):
        await large.put_lfs(upload.parts[at], pieces_of(data[at * 400_000 : (at + 1) * 400_000]))
    with pytest.raises(InvalidRequest, match="sha256"):
        await large.complete_lfs(upload.completion)
    await send_lfs(large, data, upload=upload)
    await large.complete_lfs(upload.completion)
    assert await read(large, await large.known(OURS, sha256)) == data


async def test_lfs_content_that_came_over_xet_is_not_kept_twice(large):
    file = client.File([(some_xorb(21), 0, 12)])
    await push(large, file)
    await send_lfs(large, file.content, repository_id=THEIRS)
    assert (await large.known(THEIRS, file.sha256)).xet_hash == file.name
    assert await large._blobs.size(lfs_key(file.sha256)) is None


async def test_a_damaged_lfs_object_is_never_laid_out(large, tmp_path):
    data = os.urandom(50_000)
    sha256 = hashlib.sha256(data).hexdigest()
    await send_lfs(large, data)
    await large._blobs.delete(lfs_key(sha256))
    await large._blobs.put(lfs_key(sha256), data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InternalError, match="damaged"):
        await large.lay_out(await large.known(OURS, sha256), tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_a_project_can_upload_only_so_much_that_no_commit_names(large):
    one, two, three = some_xorb(41), some_xorb(42), some_xorb(43)
    large.unnamed.limit_bytes = len(one.body) + len(two.body)
    assert await large.xet.xorb(one.name, pieces_of(one.body), "acme")
    assert await large.xet.xorb(two.name, pieces_of(two.body), "acme")
    assert not await large.xet.xorb(one.name, pieces_of(one.body), "acme")
    with pytest.raises(InsufficientStorage, match=r"'acme' has uploaded .* no commit names"):
        await large.xet.xorb(three.name, pieces_of(three.body), "acme")
    assert await large._blobs.size(xorb_key(three.name)) is None
    assert await large.xet.xorb(three.name, pieces_of(three.body), "globex")

    file = client.File([(one, 0, 12)])
    await register(large, client.shard_of(file))
    known = await large.known(OURS, file.sha256)
    assert await unnamed(large) == len(one.body) + len(two.body)
    await large._database.write(lambda connection: large.settle_in(connection, known))
    assert await unnamed(large) == len(two.body)
    four = some_xorb(44, chunks=2)
    assert await large.xet.xorb(four.name, pieces_of(four.body), "acme")
    assert await unnamed(large) == len(two.body) + len(four.body)


async def test_what_was_removed_is_charged_to_nobody_and_a_revived_xorb_to_who_revives_it(large):
    xorb = some_xorb(45)
    await large.xet.xorb(xorb.name, pieces_of(xorb.body), "acme")
    await large.collect()
    assert await large.xet.xorb(xorb.name, pieces_of(xorb.body), "globex")
    assert (await unnamed(large), await unnamed(large, "globex")) == (0, len(xorb.body))
    await large.collect()
    large._clock.time += timedelta(days=29)
    await large.collect()
    assert await unnamed(large, "globex") == 0


async def settle(large, data):
    known = await large.known(OURS, hashlib.sha256(data).hexdigest())
    await large._database.write(lambda connection: large.settle_in(connection, known))


async def test_git_lfs_objects_count_against_the_same_allowance_until_a_commit_names_them(large):
    xorb, one, two = some_xorb(51), os.urandom(300_000), os.urandom(200_000)
    large.unnamed.limit_bytes = len(xorb.body) + 400_000
    await large.xet.xorb(xorb.name, pieces_of(xorb.body), "acme")
    ticket = await large.lfs.begin(OURS, hashlib.sha256(two).hexdigest(), len(two), "acme", in_parts=False)
    await send_lfs(large, one, project="acme")
    assert await unnamed(large) == len(xorb.body) + 300_000
    for again in (send_lfs(large, two, project="acme"), large.put_lfs(ticket.whole, pieces_of(two))):
        with pytest.raises(InsufficientStorage, match=r"'acme' has uploaded .* no commit names"):
            await again
    assert await large._blobs.size(lfs_key(hashlib.sha256(two).hexdigest())) is None
    await send_lfs(large, one, project="acme")  # what is there takes no space again
    await send_lfs(large, two, project="globex", repository_id=THEIRS)
    await settle(large, one)
    assert (await unnamed(large), await unnamed(large, "globex")) == (len(xorb.body), 200_000)
    await send_lfs(large, two, project="acme")
    assert (await unnamed(large), await unnamed(large, "globex")) == (len(xorb.body), 200_000)


async def test_parts_that_wait_for_their_end_count_too(large, monkeypatch):
    monkeypatch.setattr("yunmo.hub.lfs.PART_BYTES", 400_000)
    large.unnamed.limit_bytes = 1_100_000
    uploads = []
    for _ in range(2):
        data = os.urandom(1_000_000)
        sha256 = hashlib.sha256(data).hexdigest()
        uploads.append((data, await large.lfs.begin(OURS, sha256, len(data), "acme", in_parts=True)))
    (first, begun), (second, other) = uploads
    await large.put_lfs(begun.parts[0], pieces_of(first[:400_000]))
    await large.put_lfs(other.parts[0], pieces_of(second[:400_000]))
    with pytest.raises(InsufficientStorage):
        await large.put_lfs(other.parts[1], pieces_of(second[400_000:800_000]))
    theirs = os.urandom(1_000_000)
    await send_lfs(large, theirs, project="globex", in_parts=True)
    assert await large.known(OURS, hashlib.sha256(theirs).hexdigest()) is not None


async def test_git_lfs_objects_that_no_commit_names_are_deleted_after_four_weeks_and_others_stay(large):
    kept, left = os.urandom(10_000), os.urandom(20_000)
    for data in (kept, left):
        await send_lfs(large, data, project="acme")
    await settle(large, kept)
    await large.collect()
    assert await unnamed(large) == 20_000
    large._clock.time += timedelta(days=40)
    await large.collect()
    assert await unnamed(large) == 0
    for data, is_there in ((kept, True), (left, False)):
        sha256 = hashlib.sha256(data).hexdigest()
        assert (await large.known(OURS, sha256) is not None) == is_there
        assert (await large._blobs.size(lfs_key(sha256)) is not None) == is_there


async def unnamed(large, project="acme"):
    return await large._database.read(lambda connection: rows.unnamed_bytes(connection, project))
