"""A directory becomes a revision in the transaction of whoever publishes it, or it does not, on real databases."""

import asyncio
import contextlib
import hashlib
from datetime import timedelta

import pytest

from hub_world import ACME, ADMIN, OTHER, principal, push
from yunmo.core.errors import Forbidden, InsufficientStorage, InvalidRequest, RepositoryNotFound
from yunmo.hub.hub import Hub, Rules
from yunmo.jobs import store as job_store
from yunmo.jobs.queue import Jobs, QueueLimits
from yunmo.jobs.runner import JobRunner, Rhythm
from yunmo.jobs.work import Outcome
from yunmo.storage.blobs import DirectoryStore
from yunmo.storage.tables import now

WEIGHTS = b"\x08\0\0\0\0\0\0\0{}      " + bytes(range(256)) * 400
MODEL = {"config.json": b'{"model_type": "bert"}', "model.safetensors": WEIGHTS, "plots/loss.png": b"\x89PNG\0", "README.md": b"# m\n"}


class Clock:
    def __init__(self):
        self.time = now()

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def hub(database, tmp_path, clock):
    return Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32, clock)


@pytest.fixture
def directory(tmp_path):
    return laid(tmp_path / "result", MODEL)


def laid(directory, files):
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


async def publish(hub, directory, key="job-1", name="acme/m", title="A model", by=ACME):
    prepared = await hub.publishing.prepare(by, name, directory, key)
    return await hub.commits.database.write(lambda connection: hub.publishing.commit_in(connection, prepared, title))


async def contents(hub, name="acme/m", revision="main"):
    repository = await hub.repositories.find(ACME, "model", name)
    page = await hub.files.all(repository, revision)
    return {item.path: await hub.files.read(item.entry, page.large.get(item.entry.sha256)) for item in page.items}


async def titles(hub, name="acme/m"):
    repository = await hub.repositories.find(ACME, "model", name)
    return [commit.title for commit in await hub.commits.history(repository, "main", 10)]


def stored(tmp_path, folder):
    return [path for path in (tmp_path / "blobs" / "objects" / folder).rglob("*") if path.is_file()]


# ------------------------------------------------------------ what is published


async def test_a_directory_becomes_a_revision_of_a_private_repository(hub, directory):
    commit = await publish(hub, directory)
    repository = await hub.repositories.find(ACME, "model", "acme/m")
    (newest, _) = await hub.commits.history(repository, "main", 2)
    assert repository.is_private
    assert (newest.oid, newest.title, newest.author) == (commit, "A model", "acme")
    found = await contents(hub)
    assert found.pop(".gitattributes")
    assert found == MODEL
    page = await hub.files.all(repository, commit)
    assert set(page.large) == {hashlib.sha256(MODEL[name]).hexdigest() for name in ("model.safetensors", "plots/loss.png")}


async def test_the_revision_holds_the_directorys_files_and_no_others(hub, directory, tmp_path):
    repository = await hub.repositories.create(ACME, "model", "acme/m")
    before = await push(hub, repository, {"old.txt": b"old", "README.md": b"# before\n", "plots": b"a file where a folder will be"})
    commit = await publish(hub, directory)
    assert set(await contents(hub)) == {*MODEL, ".gitattributes"}
    assert (await contents(hub, revision=before.oid))["old.txt"] == b"old"
    assert (await hub.commits.history(repository, commit, 2))[1].oid == before.oid
    assert not (await hub.repositories.find(ACME, "model", "acme/m")).is_private  # what is there stays as its owner made it


async def test_epochs_and_the_end_are_revisions_in_a_row_in_one_transaction(hub, directory, tmp_path):
    folders = [laid(tmp_path / f"step-{n}", {"model.safetensors": WEIGHTS + bytes([n])}) for n in range(2)]
    prepared = [await hub.publishing.prepare(ACME, "acme/m", folder, f"job-1/{folder.name}") for folder in (*folders, directory)]

    def end(connection):
        return [hub.publishing.commit_in(connection, each, f"Part {number}") for number, each in enumerate(prepared)]

    made = await hub.commits.database.write(end)
    assert len(set(made)) == 3
    assert await titles(hub) == ["Part 2", "Part 1", "Part 0", "initial commit"]
    assert (await contents(hub, revision=made[1]))["model.safetensors"] == WEIGHTS + b"\1"
    assert "config.json" not in await contents(hub, revision=made[1])


async def test_what_was_published_under_a_key_is_found_whatever_came_after_it(hub, directory, clock):
    commit = await publish(hub, directory)
    repository = await hub.repositories.find(ACME, "model", "acme/m")
    await push(hub, repository, {"notes.md": b"mine"})
    clock.time += timedelta(days=1)
    assert await publish(hub, directory) == commit
    assert await titles(hub) == ["add files", "A model", "initial commit"]
    assert await publish(hub, directory, key="job-2") != commit


async def test_a_model_that_is_the_same_as_before_is_a_revision_of_its_own(hub, directory):
    first = await publish(hub, directory, key="job-1")
    second = await publish(hub, directory, key="job-2")
    assert first != second
    assert await publish(hub, directory, key="job-1") == first


async def test_more_files_than_a_client_may_ask_about_at_once_are_published(hub, tmp_path):
    many = laid(tmp_path / "many", {f"f/{n}.txt": b"%d" % n for n in range(1001)})
    await publish(hub, many)
    assert len(await contents(hub)) == 1002


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize("is_folder", [False, True])
async def test_a_link_in_the_directory_is_refused_before_anything_is_made(hub, directory, tmp_path, is_folder):
    outside = tmp_path / "secrets"
    outside.mkdir()
    (outside / "key").write_text("secret")
    (directory / "link").symlink_to(outside if is_folder else outside / "key")
    with pytest.raises(InvalidRequest, match="'link' cannot be published"):
        await publish(hub, directory)
    with pytest.raises(RepositoryNotFound):
        await hub.repositories.find(ACME, "model", "acme/m")


async def test_an_empty_directory_is_refused(hub, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="nothing to publish"):
        await publish(hub, tmp_path / "empty")


@pytest.mark.parametrize("by", [OTHER, principal("acme", "read")])
async def test_nobody_publishes_into_a_namespace_that_is_not_theirs_to_write(hub, directory, by):
    with pytest.raises(Forbidden):
        await publish(hub, directory, by=by)


async def test_a_project_cannot_publish_more_than_it_may_store_uncommitted(database, tmp_path, directory):
    hub = Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32, rules=Rules(unnamed_bytes=1000))
    with pytest.raises(InsufficientStorage, match="unnamed_bytes"):
        await publish(hub, directory)
    assert await titles(hub) == ["initial commit"]


async def test_pickles_are_refused_where_only_safetensors_are_taken(database, tmp_path):
    hub = Hub(database, DirectoryStore(tmp_path / "blobs"), b"s" * 32, rules=Rules(safetensors_only=True))
    with pytest.raises(InvalidRequest, match="safetensors"):
        await publish(hub, laid(tmp_path / "pickled", {"pytorch_model.bin": b"\x80\x02}q\0."}))
    assert await titles(hub) == ["initial commit"]


async def test_a_repository_that_is_deleted_meanwhile_is_told(hub, directory):
    prepared = await hub.publishing.prepare(ACME, "acme/m", directory, "job-1")
    await hub.repositories.delete(ACME, "model", "acme/m")
    with pytest.raises(RepositoryNotFound, match="was deleted while"):
        await hub.commits.database.write(lambda connection: hub.publishing.commit_in(connection, prepared, "A model"))


# ------------------------------------------------------------ who publishes, and who only meant to


class Training:
    """A job that publishes with a checkpoint, and waits before it for the test."""

    name, slots = "train", 1

    def __init__(self, hub, directory):
        self.hub, self.directory = hub, directory
        self.is_prepared, self.may_end, self.has_tried = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self, work):
        prepared = await self.hub.publishing.prepare(ACME, "acme/m", self.directory, work.job.id)
        self.is_prepared.set()
        await self.may_end.wait()

        def publish(connection):
            return {"commit": self.hub.publishing.commit_in(connection, prepared, "A model")}

        try:
            await work.save(publish)
        finally:
            self.has_tried.set()
        return Outcome(work.checkpoint)

    async def cancelled(self, work):
        return Outcome({})


@contextlib.asynccontextmanager
async def working(jobs, database, kind):
    rhythm = Rhythm(lease=30, heartbeat=10, look=0.02)
    running = asyncio.create_task(JobRunner(jobs, database, {kind.name: kind}, rhythm).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_job_publishes_with_its_checkpoint_and_tells_the_commit(hub, database, directory):
    jobs, kind = Jobs(database, QueueLimits()), Training(hub, directory)
    kind.may_end.set()
    async with working(jobs, database, kind):
        job = await asyncio.wait_for(jobs.wait("acme", (await jobs.submit(ACME, "train", {})).id), 20)
    repository = await hub.repositories.find(ACME, "model", "acme/m")
    assert job.result == {"commit": (await hub.commits.history(repository, "main", 1))[0].oid}
    assert await titles(hub) == ["A model", "initial commit"]


async def test_whoever_has_lost_the_jobs_lease_publishes_nothing(hub, database, directory):
    jobs, kind = Jobs(database, QueueLimits()), Training(hub, directory)
    job = await jobs.submit(ACME, "train", {})
    async with working(jobs, database, kind):
        await asyncio.wait_for(kind.is_prepared.wait(), 20)
        await database.write(lambda connection: job_store.put_back(connection, job_of(connection, job.id)))
        taken = await database.write(lambda connection: job_store.claim(connection, ["train"], "another", 30, 4))
        kind.may_end.set()
        await asyncio.wait_for(kind.has_tried.wait(), 20)
    assert await titles(hub) == ["initial commit"]
    found = await jobs.get("acme", job.id)
    assert (found.state, found.result, found.fence) == ("running", None, taken.fence)
    # the one who has it now publishes, once
    prepared = await hub.publishing.prepare(ACME, "acme/m", directory, job.id)
    await database.write(lambda connection: hub.publishing.commit_in(connection, prepared, "A model"))
    assert await titles(hub) == ["A model", "initial commit"]


def job_of(connection, job_id):
    return job_store.find(connection, None, job_id)


async def test_what_a_crash_leaves_between_the_bytes_and_the_commit_is_collected(hub, directory, clock, tmp_path):
    await hub.publishing.prepare(ACME, "acme/m", directory, "job-1")
    assert await titles(hub) == ["initial commit"]
    assert len(stored(tmp_path, "lfs")) == 2
    clock.time += timedelta(hours=13)
    assert await hub.garbage.collect() == 2  # config.json and README.md
    clock.time += timedelta(days=29)
    await hub.large.collect()
    assert stored(tmp_path, "lfs") == []
    assert await hub.large.unnamed.check("acme", 1) is None
    await publish(hub, directory)
    assert {**await contents(hub)} | {".gitattributes": b""} == {**MODEL, ".gitattributes": b""}


async def test_a_published_revision_survives_every_sweep(hub, directory, clock):
    commit = await publish(hub, directory)
    for _ in range(3):
        clock.time += timedelta(days=30)
        await hub.garbage.collect()
        await hub.large.collect()
    assert (await contents(hub, revision=commit))["model.safetensors"] == WEIGHTS


async def test_an_administrator_publishes_into_the_library(hub, directory):
    await publish(hub, directory, name="library/m", by=ADMIN)
    repository = await hub.repositories.find(ADMIN, "model", "library/m")
    assert (await hub.commits.history(repository, "main", 1))[0].author == "admin"
