"""Faults of a training, each shown to have happened: killed trainers, killed servers, full disks, no memory, lost leases."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import msgspec
import psutil
import pytest
from test_trainer import rows
from test_training_jobs import OWNER, RECIPE, ended, events, upload

from tiny_texts import bert
from yunmo.assembly import open_cloud
from yunmo.hub.publishing import Publishing
from yunmo.jobs import store
from yunmo.serving.memory import Claim
from yunmo.serving.use import Use
from yunmo.settings import Settings
from yunmo.training.order import Order, Rows
from yunmo.training.state import Trained, TrainingState
from yunmo.training.trainings import phase

LONG = msgspec.structs.replace(RECIPE, epochs=4, batch_size=2, accumulation=1, precision="fp32", checkpoint_seconds=0.1)


def settings(data: Path, **serving) -> Settings:
    return Settings(data=data, serving={"calibrate": False, **serving})


async def push_base(cloud, folder: Path) -> str:
    bert("BertModel", hidden_dropout_prob=0.1)(folder)
    prepared = await cloud.hub.publishing.prepare(OWNER, "acme/tiny", folder, "base")
    database = cloud.hub.publishing.commits.database
    await database.write(lambda connection: cloud.hub.publishing.commit_in(connection, prepared, "A tiny base"))
    return "acme/tiny"


async def submit(cloud, folder: Path, recipe=LONG, count: int = 100, **fields):
    base = await push_base(cloud, folder)
    return await cloud.trainings.submit(OWNER, Order(base=base, recipe=recipe, rows=Rows(file=await upload(cloud, rows(count))), **fields))


async def until_checkpoints(cloud, job, count: int, seconds: float = 60) -> Path:
    """The workspace, once the training has kept so many checkpoints."""
    checkpoints = folder_of(cloud, job) / "checkpoints"
    seen: set[str] = set()
    async with asyncio.timeout(seconds):
        while len(seen) < count:
            seen |= {path.name for path in checkpoints.glob("checkpoint-*")} if checkpoints.is_dir() else set()
            await asyncio.sleep(0.02)
    return checkpoints.parent


async def until(is_so, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - the disk tells nobody
            await asyncio.sleep(0.02)


def folder_of(cloud, job) -> Path:
    return DATA[id(cloud)] / "training" / job.id


DATA: dict[int, Path] = {}


def trainers() -> list[psutil.Process]:
    """This process's trainers: its children that live in a workspace."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "/training/" in child.cwd():
                found.append(child)
        except psutil.Error:
            continue
    return found


async def curve(cloud, job) -> list[tuple[int, float]]:
    """Every step's loss, by the table of results."""
    result = msgspec.convert((await cloud.jobs.get("acme", job.id)).result, Trained)
    file = await cloud.files.get("acme", result.result_file)
    lines = b"".join([piece async for piece in cloud.files.stream(file)]).decode().splitlines()[1:]
    return [(int(line.split(",")[0]), float(line.split(",")[1])) for line in lines]


@pytest.fixture
async def cloud(tmp_path):
    async with open_cloud(settings(tmp_path / "data")) as (opened, _):
        DATA[id(opened)] = tmp_path / "data"
        yield opened


async def test_a_killed_trainer_goes_on_from_its_checkpoint_with_the_same_curve(cloud, tmp_path):
    undisturbed = await ended(cloud, await submit(cloud, tmp_path / "base"))
    job = await cloud.trainings.submit(OWNER, msgspec.convert(undisturbed.input, Order))
    await until_checkpoints(cloud, job, 3)
    [trainer] = trainers()
    assert trainer.nice() == 19, "it gives way to whoever serves"
    trainer.send_signal(signal.SIGKILL)
    job = await ended(cloud, job)
    assert phase(job) == "succeeded", job.error
    told = [each.message for each in await events(cloud, job)]
    assert any("ended by itself" in message for message in told), "it was killed while it worked"
    assert job.attempt > undisturbed.attempt
    assert await curve(cloud, job) == await curve(cloud, undisturbed)
    assert not trainers()


async def test_a_training_survives_the_end_of_its_server_and_no_trainer_outlives_it(tmp_path):
    data = tmp_path / "data"
    async with open_cloud(settings(data)) as (cloud, _):
        DATA[id(cloud)] = data
        job = await submit(cloud, tmp_path / "base")
        await until_checkpoints(cloud, job, 2)
        [trainer] = trainers()
    assert not trainer.is_running() or trainer.status() == psutil.STATUS_ZOMBIE
    async with open_cloud(settings(data)) as (cloud, _):
        DATA[id(cloud)] = data
        job = await ended(cloud, job)
        assert phase(job) == "succeeded", job.error
        assert [step for step, _ in await curve(cloud, job)] == list(range(1, 181)), "each step is there once"


async def test_pause_keeps_a_checkpoint_and_resume_goes_on_from_it(cloud, tmp_path):
    job = await submit(cloud, tmp_path / "base")
    await until_checkpoints(cloud, job, 1)
    await cloud.jobs.pause("acme", job.id)
    async with asyncio.timeout(20):
        while phase(job) != "paused" or job.state == "running":
            await asyncio.sleep(0.05)
            job = await cloud.jobs.get("acme", job.id)
    assert not trainers()
    done = job.progress.done
    assert 0 < done < 180
    await asyncio.sleep(1)
    assert (await cloud.jobs.get("acme", job.id)).progress.done == done, "nobody works on it"
    await cloud.jobs.resume("acme", job.id)
    job = await ended(cloud, job)
    assert phase(job) == "succeeded", job.error
    assert len(await curve(cloud, job)) == 180


async def test_cancel_ends_the_trainer_within_five_seconds_and_publishes_nothing(cloud, tmp_path):
    job = await submit(cloud, tmp_path / "base", msgspec.structs.replace(LONG, epochs=1000))
    workspace = await until_checkpoints(cloud, job, 1)
    await cloud.jobs.cancel("acme", job.id)
    async with asyncio.timeout(5):
        job = await cloud.jobs.wait("acme", job.id)
    assert phase(job) == "cancelled"
    assert not trainers()
    assert not workspace.exists()
    assert [each.full_name for each in await models(cloud)] == ["acme/tiny"]


def mount(*arguments: str, program: str = "mount") -> None:
    subprocess.run([program, *arguments], check=True)


async def models(cloud):
    from yunmo.hub.store.repositories import Listing

    return await cloud.hub.repositories.list(OWNER, Listing("model", "acme", limit=10))


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted by root only")
async def test_a_full_disk_pauses_the_job_with_its_reason_and_leaves_the_checkpoint_before(cloud, tmp_path):
    disk = DATA[id(cloud)] / "training"
    disk.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk))
    try:
        job = await submit(cloud, tmp_path / "base", msgspec.structs.replace(LONG, epochs=8))
        workspace = await until_checkpoints(cloud, job, 2)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        async with asyncio.timeout(60):
            while not job.is_paused:
                await asyncio.sleep(0.05)
                job = await cloud.jobs.get("acme", job.id)
        assert job.error.code == "insufficient_storage"
        assert "disk is full" in job.error.message
        kept = sorted(workspace.glob("checkpoints/checkpoint-*"))
        assert kept
        assert all((path / "trainer_state.json").exists() and (path / "optimizer.pt").exists() for path in kept)
        filler.unlink()
        await cloud.jobs.resume("acme", job.id)
        job = await ended(cloud, job, 120)
        assert phase(job) == "succeeded", job.error
    finally:
        mount(str(disk), program="umount")


async def test_memory_that_no_training_could_do_with_is_told(tmp_path):
    async with open_cloud(settings(tmp_path / "data", memory_bytes=64 * 1024 * 1024)) as (cloud, _):
        job = await ended(cloud, await submit(cloud, tmp_path / "base"))
    assert phase(job) == "failed"
    assert "serving.memory_bytes" in job.error.message


async def test_too_little_memory_for_a_step_is_told_with_a_smaller_setting(tmp_path):
    async with open_cloud(settings(tmp_path / "data", memory_bytes=1024**3)) as (cloud, _):
        huge = msgspec.structs.replace(RECIPE, batch_size=4096, accumulation=1, recomputes=False)
        job = await ended(cloud, await submit(cloud, tmp_path / "base", huge, count=5000))
    assert phase(job) == "failed"
    assert "memory" in job.error.message
    assert "accumulation 2" in job.error.message


async def test_one_who_lost_the_lease_publishes_nothing(cloud, tmp_path, monkeypatch):
    base = await push_base(cloud, tmp_path / "base")
    prepare, database = Publishing.prepare, cloud.hub.publishing.commits.database
    taken: list[str] = []

    async def prepared_too_late(self, *arguments):
        ready = await prepare(self, *arguments)
        another = store.job_table.update().values(fence=10**6, owner="another")
        await database.write(lambda connection: connection.execute(another))
        taken.append(ready.repository.full_name)
        return ready

    monkeypatch.setattr(Publishing, "prepare", prepared_too_late)
    order = Order(base=base, recipe=RECIPE, rows=Rows(file=await upload(cloud, rows(100))), repository="acme/new")
    await cloud.trainings.submit(OWNER, order)
    await until(lambda: len(taken) == 2)
    await until(lambda: not trainers())
    await asyncio.sleep(2)
    assert set(taken) == {"acme/new"}
    [made] = [each for each in await models(cloud) if each.full_name == "acme/new"]
    assert await head(cloud, made) == 1, "the repository is there, and empty"


async def head(cloud, repository) -> int:
    return len(await cloud.hub.commits.history(repository, "main", 10))


async def test_a_training_gives_its_memory_to_a_model_that_is_asked_for_and_goes_on_later(cloud, tmp_path, monkeypatch):
    monkeypatch.setattr("yunmo.training.train_work._GAVE_WAY_SECONDS", 1.0)
    monkeypatch.setattr("yunmo.training.train_work._WAIT_SECONDS", 1.0)
    job = await submit(cloud, tmp_path / "base")
    await until_checkpoints(cloud, job, 1)
    memory = cloud.system._memory
    model = Claim("acme/asked", memory.total_bytes - 64 * 1024 * 1024, Use(), lambda: False, memory.release)
    await memory.take(model, 30)
    assert not trainers(), "it has left before its memory was given away"
    await asyncio.sleep(3)
    job = await cloud.jobs.get("acme", job.id)
    assert phase(job) == "queued"
    assert 0 < job.progress.done < 180
    await memory.release(model)
    job = await ended(cloud, job)
    assert phase(job) == "succeeded", job.error
    assert len(await curve(cloud, job)) == 180
    told = [each.message for each in await events(cloud, job)]
    assert any("needs the memory" in message for message in told)
    assert sum("waits for" in message for message in told) == 1, "said once, however often it looks"


async def test_a_workspace_that_is_gone_is_made_again(tmp_path):
    data = tmp_path / "data"
    async with open_cloud(settings(data)) as (cloud, _):
        DATA[id(cloud)] = data
        job = await submit(cloud, tmp_path / "base")
        await until_checkpoints(cloud, job, 1)
    shutil.rmtree(data / "training" / job.id)
    async with open_cloud(settings(data)) as (cloud, _):
        job = await ended(cloud, job)
        assert phase(job) == "succeeded", job.error
        assert any("begins anew" in each.message for each in await events(cloud, job))


async def test_workspaces_of_jobs_that_have_ended_are_swept(tmp_path):
    data = tmp_path / "data"
    (data / "training" / "0123456789abcdef01234567").mkdir(parents=True)
    async with open_cloud(settings(data)):
        await until(lambda: not list((data / "training").iterdir()))


def test_a_state_without_an_estimate_is_one_that_has_not_been_checked():
    assert msgspec.convert({}, TrainingState).estimate is None
