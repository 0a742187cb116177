"""Large files that are taken out of a repository, with the commits that named them, on every database."""

import hashlib
import os
from datetime import timedelta

import pytest

from hub_world import ACME, OTHER, push
from yunmo.core.errors import EntryNotFound, Forbidden, InvalidRequest, RevisionNotFound
from yunmo.hub.commits import AddLargeFile, Change, RemoveFile
from yunmo.hub.files import Where
from yunmo.hub.hub import Hub
from yunmo.hub.lfs import lfs_key
from yunmo.storage.blobs import DirectoryStore
from yunmo.storage.tables import now

SECRET, OPEN = os.urandom(30_000), os.urandom(20_000)


def sha256_of(content):
    return hashlib.sha256(content).hexdigest()


class Clock:
    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return now() + self.ahead


@pytest.fixture
async def hub(database, tmp_path):
    return Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32, Clock())


async def pieces(content):
    yield content


async def add(hub, repository, path, content, *, revision="main", by=ACME, title="large", removed=(), as_proposal=False):
    upload = await hub.large.lfs.begin(repository.id, sha256_of(content), len(content), by.project, in_parts=False)
    await hub.large.put_lfs(upload.whole, pieces(content))
    operations = (AddLargeFile(path, sha256_of(content)), *map(RemoveFile, removed))
    return await hub.commits.commit(by, repository, revision, Change(title=title, operations=operations), as_proposal=as_proposal)


@pytest.fixture
async def repository(hub):
    """Six commits on main: the secret comes with the third and goes with the sixth; it is in a pull request and under a tag too."""
    made = await hub.repositories.create(ACME, "model", "acme/m")
    await push(hub, made, {"a.txt": b"a"}, title="second")
    await add(hub, made, "deep/down/secret.bin", SECRET, title="third")
    await add(hub, made, "deep/open.bin", OPEN, title="fourth")
    await hub.refs.create(ACME, made, "refs/tags/", "v1", None)
    await add(hub, made, "copy.bin", SECRET, revision="main", by=OTHER, title="proposed", as_proposal=True)
    await push(hub, made, {"b.txt": b"b"}, title="fifth")
    change = Change(title="sixth", operations=(RemoveFile("deep/down/secret.bin"),))
    await hub.commits.commit(ACME, made, "main", change)
    return made


async def paths(hub, repository, revision="main"):
    return {item.path for item in (await hub.files.all(repository, revision)).items} - {".gitattributes"}


async def test_no_commit_names_an_erased_file_and_everything_else_is_as_it_was(hub, repository):
    before = await hub.commits.history(repository, "main", 100)
    tagged, proposed = [await hub.refs.resolve(repository, each) for each in ("v1", "refs/pr/1")]
    assert await hub.erasure.erase(ACME, repository, [sha256_of(SECRET), "0" * 64], rewrites_history=True) == 5
    after = await hub.commits.history(repository, "main", 100)
    told = ("title", "message", "author", "created_at")
    assert [[getattr(each, name) for name in told] for each in after] == [[getattr(each, name) for name in told] for each in before]
    assert [each.oid for each in after[-2:]] == [each.oid for each in before[-2:]], "what came before the file stays"
    for gone in (*before[:-2], tagged, proposed):
        with pytest.raises(RevisionNotFound):
            await hub.refs.resolve(repository, gone.oid)
    assert await paths(hub, repository) == {"a.txt", "b.txt", "deep/open.bin"}
    assert await paths(hub, repository, "v1") == {"a.txt", "deep/open.bin"}
    assert await paths(hub, repository, after[3].oid) == {"a.txt"}, "a folder that is left empty goes"
    opened = await hub.files.open(ACME, Where("model", "acme/m", "main"), "deep/open.bin")
    assert await hub.files.read(opened.entry, opened.large) == OPEN
    assert [held.path for held in await hub.erasure.list(ACME, repository)] == ["deep/open.bin"]
    assert await hub.erasure.erase(ACME, repository, [sha256_of(SECRET)], rewrites_history=True) == 0


async def test_a_pull_request_can_still_be_merged_after_its_history_was_rewritten(hub, repository):
    change = Change(title="more", operations=(AddLargeFile("again.bin", sha256_of(OPEN)),))
    await hub.commits.commit(OTHER, repository, "refs/pr/1", change)
    await hub.erasure.erase(ACME, repository, [sha256_of(SECRET)], rewrites_history=True)
    await hub.discussions.merge(ACME, repository, 1)
    assert await paths(hub, repository) == {"a.txt", "b.txt", "deep/open.bin", "again.bin"}
    thread = await hub.discussions.get(repository, 1)
    for event in thread.events:
        if event.kind == "commit":
            assert await hub.refs.resolve(repository, event.detail)


async def test_large_files_are_listed_with_a_path_that_they_have_or_had(hub, repository):
    unnamed = os.urandom(1000)
    upload = await hub.large.lfs.begin(repository.id, sha256_of(unnamed), 1000, "acme", in_parts=False)
    await hub.large.put_lfs(upload.whole, pieces(unnamed))
    listed = {held.file.sha256: (held.path, held.is_on_main) for held in await hub.erasure.list(ACME, repository)}
    assert listed.pop(sha256_of(SECRET)) in {("deep/down/secret.bin", False), ("copy.bin", False)}
    assert listed == {sha256_of(OPEN): ("deep/open.bin", True), sha256_of(unnamed): (sha256_of(unnamed), False)}
    assert [held.path for held in await hub.erasure.list(OTHER, repository)] == ["deep/open.bin"], "the rest is its owner's to know"


async def test_without_rewriting_the_commits_stay_and_the_bytes_cannot_be_read(hub, repository):
    head = await hub.refs.resolve(repository, "v1")
    await hub.erasure.erase(ACME, repository, [sha256_of(SECRET)], rewrites_history=False)
    assert await hub.refs.resolve(repository, "v1") == head
    assert "deep/down/secret.bin" in await paths(hub, repository, "v1")
    with pytest.raises(EntryNotFound):
        await hub.files.open(ACME, Where("model", "acme/m", "v1"), "deep/down/secret.bin")
    await hub.overviews.of(repository, await hub.files.all(repository, "v1"))
    await add(hub, repository, "restored.bin", SECRET)
    opened = await hub.files.open(ACME, Where("model", "acme/m", "v1"), "deep/down/secret.bin")
    assert await hub.files.read(opened.entry, opened.large) == SECRET


async def test_the_bytes_leave_the_disk_when_no_repository_has_them_any_more(hub, repository):
    other = await hub.copies.duplicate(OTHER, repository, "other/copy", is_private=False)
    key = lfs_key(sha256_of(OPEN))
    await hub.erasure.erase(ACME, repository, [sha256_of(OPEN)], rewrites_history=True)
    for kept_by_another in (True, False):
        if not kept_by_another:
            await hub.erasure.erase(OTHER, other, [sha256_of(OPEN)], rewrites_history=True)
        for _ in range(2):
            await hub.large.collect()
            assert await hub.blobs.objects.size(key) is not None
            hub.large._clock.ahead += timedelta(days=15)
        await hub.large.collect()
        assert (await hub.blobs.objects.size(key) is not None) == kept_by_another


async def test_only_the_owner_erases_and_only_what_is_named_properly(hub, repository):
    with pytest.raises(Forbidden):
        await hub.erasure.erase(OTHER, repository, [sha256_of(SECRET)], rewrites_history=True)
    for bad in (["x"], ["A" * 64], ["0" * 64] * 1001):
        with pytest.raises(InvalidRequest, match="sha256"):
            await hub.erasure.erase(ACME, repository, bad, rewrites_history=True)
    assert await hub.erasure.list(ACME, repository)


async def test_commits_that_come_while_the_history_is_rewritten_are_rewritten_too(hub, repository, monkeypatch):
    read = hub.erasure.database.read

    async def read_and_be_overtaken(work):
        found = await read(work)
        monkeypatch.undo()
        await add(hub, repository, "late.bin", SECRET, title="late")
        return found

    monkeypatch.setattr(hub.erasure.database, "read", read_and_be_overtaken)
    await hub.erasure.erase(ACME, repository, [sha256_of(SECRET)], rewrites_history=True)
    assert (await hub.commits.history(repository, "main", 1))[0].title == "late"
    assert "late.bin" not in await paths(hub, repository)
