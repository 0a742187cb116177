"""Evaluations as jobs: real files and jobs, a real model in one test, and answers that the tests choose in the others."""

import asyncio
import contextlib
import json

import msgspec
import pytest

from hub_world import ACME, OTHER, push
from yunmo.assembly import open_cloud
from yunmo.core.errors import InvalidRequest, NotFound, Unavailable
from yunmo.core.tasks import Classify, Label, Labels
from yunmo.files.files import FileRules, Files
from yunmo.hub.hub import Hub
from yunmo.jobs.queue import Jobs, QueueLimits
from yunmo.jobs.runner import JobRunner, Rhythm
from yunmo.settings import ServingSettings, Settings
from yunmo.storage.blobs import DirectoryStore
from yunmo.training.data import TrainingData
from yunmo.training.evaluate_work import EvaluateWork, Served
from yunmo.training.evaluation import Evaluated, Evaluation, Evaluations
from yunmo.training.order import Rows
from yunmo.training.workspaces import Workspaces

COMMIT = "a" * 40


async def one(data):
    yield data


def rows(count):
    return b"".join(b'{"text": "%d", "label": "%s"}\n' % (n, b"even" if n % 2 == 0 else b"odd") for n in range(count))


class Parity:
    """Says whether the text is an even number; of every seventh that it is odd."""

    def __init__(self):
        self.asked, self.commit, self.may_answer = [], COMMIT, asyncio.Event()
        self.may_answer.set()
        self.held = range(0)

    async def look(self, job, model):
        del job, model
        return Served(self.commit, ("classify",))

    async def ask(self, job, model, request):
        del job, model
        self.asked.append(request.texts[0])
        await self.may_answer.wait()
        number = int(request.texts[0])
        if number in self.held:
            await asyncio.Event().wait()
        if number == 13:
            raise InvalidRequest("Thirteen is too long.")
        label = "odd" if number % 2 or number % 7 == 0 else "even"
        return Labels(rows=((Label(label, 0.9),),))


class World:
    def __init__(self, database, tmp_path):
        store = DirectoryStore(tmp_path / "blobs")
        self.database, self.root = database, tmp_path / "work"
        self.files = Files(database, store, FileRules(10**9, 10**9))
        self.data = TrainingData(self.files, Hub(database, store, b"s" * 32))
        self.jobs = Jobs(database, QueueLimits())
        self.evaluations = Evaluations(self.jobs, self.data)
        self.model = Parity()

    async def submit(self, data, **changes):
        file = await self.files.add("acme", "rows.jsonl", "fine-tune", one(data))
        evaluation = {"model": "acme/m", "method": "classification", "rows": Rows(file=file.id)} | changes
        return await self.evaluations.submit(ACME, Evaluation(**evaluation))

    @contextlib.asynccontextmanager
    async def working(self):
        kind = EvaluateWork(self.model, self.data, self.files, Workspaces(self.root))
        rhythm = Rhythm(lease=30, heartbeat=10, look=0.02, first_wait=0.01, longest_wait=0.02)
        running = asyncio.create_task(JobRunner(self.jobs, self.database, {kind.name: kind}, rhythm).run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def ended(self, job):
        return await asyncio.wait_for(self.jobs.wait("acme", job.id), 30)

    async def read(self, file_id):
        file = await self.files.get("acme", file_id)
        return [json.loads(line) async for line in self.files.lines(file, 10**6)]


@pytest.fixture
def world(database, tmp_path):
    return World(database, tmp_path)


async def until(holds):
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - the answers of the test's model have no event
            await asyncio.sleep(0.01)


async def test_every_row_is_asked_once_and_the_metrics_and_wrong_answers_are_told(world):
    async with world.working():
        job = await world.ended(await world.submit(rows(100)))
    assert job.error is None
    result = msgspec.convert(job.result, Evaluated)
    assert sorted(world.model.asked, key=int) == [str(n) for n in range(100)]
    # 0, 14, 28 … 98 are said to be odd, and 13 was not answered
    assert (result.rows, result.failed, result.commit) == (100, 1, COMMIT)
    assert result.metrics["accuracy"] == pytest.approx(0.91)
    wrong = await world.read(result.wrong_file)
    assert [each["row"] for each in wrong] == [1, 14, 15, 29, 43, 57, 71, 85, 99]
    assert wrong[0] == {"row": 1, "right": "even", "found": "odd", "error": ""}
    assert wrong[1] == {"row": 14, "right": "odd", "found": None, "error": "Thirteen is too long."}
    assert list(world.root.iterdir()) == []


async def test_a_model_that_is_always_right_leaves_no_file(world):
    async with world.working():
        job = await world.ended(await world.submit(b'{"text": "1", "label": "odd"}\n\n{"text": "2", "label": "even"}\n'))
    assert job.result["metrics"] == {"accuracy": 1.0, "macro_f1": 1.0}
    assert job.result["wrong_file"] is None


async def test_an_evaluation_goes_on_where_the_server_stopped(world):
    job = await world.submit(rows(60))
    world.model.held = range(40, 60)
    async with world.working():
        await until(lambda: len(written(world)) == 40)
    answers = next(world.root.rglob("answers.jsonl"))
    answers.write_bytes(answers.read_bytes()[:-5])  # a crash in the middle of a line
    asked_before, world.model.held = len(world.model.asked), range(0)
    async with world.working():
        job = await world.ended(job)
    assert len(world.model.asked) - asked_before == 60 - 39
    assert job.result["rows"] == 60
    assert job.result["metrics"]["accuracy"] == pytest.approx(54 / 60)


def written(world):
    return [line for path in world.root.rglob("answers.jsonl") for line in path.read_bytes().splitlines()]


async def test_a_paused_evaluation_waits_and_goes_on(world):
    job = await world.submit(rows(200))
    world.model.may_answer.clear()
    async with world.working():
        await until(lambda: len(world.model.asked) == 16)
        await world.jobs.pause("acme", job.id)
        world.model.may_answer.set()
        async with asyncio.timeout(20):
            while not (await world.jobs.get("acme", job.id)).is_paused:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await world.jobs.resume("acme", job.id)
        assert (await world.ended(job)).result["rows"] == 200
    assert 200 <= len(world.model.asked) <= 216, "what was on its way may be asked again"


async def test_a_name_that_moves_meanwhile_fails_the_evaluation(world):
    job = await world.submit(rows(40))
    world.model.may_answer.clear()
    async with world.working():
        await until(lambda: len(world.model.asked) == 16)
        world.model.commit = "b" * 40
        world.model.may_answer.set()
        job = await world.ended(job)
    assert (job.state, job.error.code) == ("failed", "conflict")
    assert "has moved from aaaaaaaaaaaa to bbbbbbbbbbbb" in job.error.message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"text": "1", "label": "odd"}\n{"txet": "2", "label": "even"}\n', "Line 2"),
        (b"\n", "There are no rows"),
        (b'{"text": "13", "label": "odd"}\n', "has answered no row. The first: Thirteen"),
    ],
)
async def test_rows_that_cannot_be_asked_fail_with_the_reason(world, data, said):
    async with world.working():
        job = await world.ended(await world.submit(data))
    assert job.state == "failed"
    assert said in job.error.message


async def test_a_server_that_is_away_fails_the_attempt_and_not_the_rows(world, monkeypatch):
    async def away(job, model):
        raise Unavailable("It is being loaded.")

    monkeypatch.setattr(world.model, "look", away)
    async with world.working():
        job = await world.ended(await world.submit(rows(3)))
    assert (job.state, job.error.code) == ("failed", "unavailable")
    assert world.model.asked == []


async def test_rows_of_another_project_are_not_there(world):
    file = await world.files.add("acme", "rows.jsonl", "fine-tune", one(rows(2)))
    with pytest.raises(NotFound):
        await world.evaluations.submit(OTHER, Evaluation(model="m", method="classification", rows=Rows(file=file.id)))


async def test_a_cancelled_evaluation_leaves_nothing(world):
    job = await world.submit(rows(40))
    world.model.may_answer.clear()
    async with world.working():
        await until(lambda: len(world.model.asked) == 16)
        await world.jobs.cancel("acme", job.id)
        job = await world.ended(job)
    assert job.state == "cancelled"
    assert list(world.root.iterdir()) == []


async def test_a_real_model_is_evaluated_as_clients_would_find_it(tmp_path, tiny_model):
    settings = Settings(data=tmp_path, serving=ServingSettings(calibrate=False))
    async with open_cloud(settings) as (cloud, _):
        files = {path.name: path.read_bytes() for path in tiny_model("classify").iterdir()}
        repository = await cloud.hub.repositories.create(ACME, "model", "acme/m")
        commit = (await push(cloud.hub, repository, files)).oid
        texts = [f"text number {n}" for n in range(20)]
        said = []
        for text in texts:
            answer = await (await cloud.inference.begin(ACME, "acme/m", Classify(texts=(text,)))).whole()
            said.append(answer.rows[0][0].label)
        labels = [*said[:15], *("another" for _ in range(5))]
        data = b"".join(json.dumps({"text": text, "label": label}).encode() + b"\n" for text, label in zip(texts, labels, strict=True))
        file = await cloud.files.add("acme", "rows.jsonl", "fine-tune", one(data))
        evaluation = Evaluation(model="acme/m", method="classification", rows=Rows(file=file.id))
        job = await asyncio.wait_for(cloud.jobs.wait("acme", (await cloud.evaluations.submit(ACME, evaluation)).id), 120)
        assert job.error is None
        assert (job.result["commit"], job.result["metrics"]["accuracy"], job.result["failed"]) == (commit, 0.75, 0)
