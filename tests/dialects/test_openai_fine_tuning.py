"""/v1/fine_tuning/jobs over a real queue, real files and a real hub: every state of a training in the vendor's words.

What a trainer does to its job is done here by hand, step by step, so that each state can be looked at.
"""

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub_world import open_hub, push
from yunmo.core.errors import Unauthenticated
from yunmo.core.identity import Principal
from yunmo.core.training import Recipe, TrainingEstimate
from yunmo.files.files import FileRules, Files
from yunmo.jobs import store
from yunmo.jobs.job import Failure, Job, Progress
from yunmo.jobs.queue import Jobs, QueueLimits
from yunmo.storage.blobs import DirectoryStore
from yunmo.storage.tables import now
from yunmo.training.data import TrainingData
from yunmo.training.state import CHECK_KIND, TRAIN_KIND, KeptModel, Trained, TrainingState
from yunmo.training.trainings import Trainings
from yunmo.training.workspaces import Workspaces
from yunmo.web.app import App
from yunmo.web.dialects.openai import fine_tuning
from yunmo.web.dialects.openai.dialect import OpenAIDialect
from yunmo.web.metrics import Metrics

JOBS = "/v1/fine_tuning/jobs"
OWNER = Principal("acme", "key-a", frozenset({"infer", "read", "write"}))
PRINCIPALS = {
    "owner": OWNER,
    "stranger": Principal("other", "key-o", frozenset({"infer", "read", "write"})),
    "caller": Principal("acme", "key-c", frozenset({"infer", "read"})),
}
JOB_KEYS = {
    *("id", "object", "created_at", "error", "estimated_finish", "fine_tuned_model", "finished_at", "hyperparameters", "integrations"),
    *("metadata", "method", "model", "organization_id", "result_files", "seed", "status", "trained_tokens", "training_file"),
    "validation_file",
}
ESTIMATE = TrainingEstimate(
    recipe=Recipe(method="supervised", epochs=3, batch_size=4, accumulation=2, learning_rate=2e-4, max_tokens=512, precision="bf16"),
    **dict.fromkeys(("rows", "validation_rows", "tokens", "steps", "memory_bytes", "disk_bytes", "parameters", "trained_parameters"), 9),
    step_seconds=0.1,
    seconds=1.0,
)


class Keys:
    async def identify(self, token):
        if token not in PRINCIPALS:
            raise Unauthenticated("This API key is unknown or revoked.")
        return PRINCIPALS[token]


@dataclass
class World:
    client: httpx.AsyncClient
    jobs: Jobs
    files: Files
    hub: object
    database: object
    file: str

    async def create(self, **fields):
        reply = await self.client.post(JOBS, json={"model": "acme/base", "training_file": self.file} | fields)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def look(self, made):
        return (await self.client.get(f"{JOBS}/{made['id']}")).json()

    # ------------------------------------------------------------ as a trainer does

    async def claim(self) -> Job:
        return await self.database.write(lambda connection: store.claim(connection, [CHECK_KIND, TRAIN_KIND], "trainer", 60, 10))

    async def check(self, job: Job) -> None:
        def write(connection):
            store.save(connection, job, msgspec.to_builtins(TrainingState(estimate=ESTIMATE)), None)
            store.put_back(connection, job, kind=TRAIN_KIND)

        await self.database.write(write)

    async def tell(self, job: Job, count: int) -> None:
        def write(connection):
            for number in range(count):
                store.tell(connection, job.id, "info", f"Step {number}", "metrics", {"step": number, "train_loss": 0.5})
            store.tell(connection, job.id, "warning", "It is slow.")

        await self.database.write(write)

    async def advance(self, job: Job) -> None:
        progress = Progress(1, 9, "steps", now() + timedelta(seconds=50))
        await self.database.write(lambda connection: store.renew(connection, job, 60, progress))

    async def end(self, job: Job, state: str, result=None, error: Failure | None = None) -> None:
        given = None if result is None else msgspec.to_builtins(result)
        assert await self.database.write(lambda connection: store.finish(connection, job, state, given, error, None))


@asynccontextmanager
async def opened(directory, key="owner"):
    async with open_hub(directory) as hub:
        database = hub.models.database
        files = Files(database, DirectoryStore(directory / "blobs"), FileRules(1 << 20, 1 << 24))
        jobs = Jobs(database, QueueLimits(waiting=50, running=4))
        trainings = Trainings(jobs, hub.models, TrainingData(files, hub), Workspaces(directory / "training"))
        tenancy = SimpleNamespace(keys=Keys())
        cloud = SimpleNamespace(hub=hub, files=files, jobs=jobs, trainings=trainings, tenancy=tenancy, inference=None)
        app = App(cloud, [OpenAIDialect(cloud)], Metrics())
        await hub.repositories.create(OWNER, "model", "acme/base")
        file = await files.add("acme", "rows.jsonl", "fine-tune", _one(b"{}\n"))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://yunmo", headers={"authorization": f"Bearer {key}"}) as client:
            yield World(client, jobs, files, hub, database, file.id)


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.setattr(fine_tuning, "CANCEL_SECONDS", 0.05)
    async with opened(tmp_path) as made:
        yield made


async def _one(content):
    yield content


# ------------------------------------------------------------ a job's life


async def test_a_new_job_has_every_field_and_shows_what_was_asked(world):
    method = {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 2, "beta": "auto", "lora": {"rank": 4}}}}
    made = await world.create(method=method, suffix="tone", seed=5, metadata={"who": "anna"}, validation_file=world.file)
    assert set(made) == JOB_KEYS
    assert made["id"].startswith("ftjob-")
    assert (made["object"], made["status"], made["model"], made["organization_id"]) == (
        "fine_tuning.job",
        "validating_files",
        "acme/base",
        "acme",
    )
    assert (made["seed"], made["metadata"]) == (5, {"who": "anna"})
    assert made["training_file"] == made["validation_file"] == world.file
    assert made["hyperparameters"] == {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    shown = {"n_epochs": 2, "batch_size": "auto", "learning_rate_multiplier": "auto", "beta": "auto", "lora": {"rank": 4}}
    assert made["method"] == {"type": "dpo", "dpo": {"hyperparameters": shown}}
    empty = ("error", "estimated_finish", "fine_tuned_model", "finished_at", "trained_tokens")
    assert [made[name] for name in empty] == [None] * 5
    assert made["result_files"] == made["integrations"] == []
    assert await world.look(made) == made


async def test_once_a_job_is_checked_it_shows_the_numbers_that_were_chosen(world):
    made = await world.create()
    await world.check(await world.claim())
    checked = await world.look(made)
    assert checked["status"] == "queued"
    assert checked["hyperparameters"] == {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0}
    block = checked["method"]["supervised"]["hyperparameters"]
    assert (block["precision"], block["max_tokens"], block["learning_rate"]) == ("bf16", 512, 2e-4)
    assert "beta" not in block


async def test_a_running_job_says_when_it_will_have_ended(world):
    made = await world.create()
    await world.check(await world.claim())
    job = await world.claim()
    await world.advance(job)
    running = await world.look(made)
    assert running["status"] == "running"
    assert 40 <= running["estimated_finish"] - now().timestamp() <= 51
    assert running["finished_at"] is None


async def test_a_job_that_succeeded_names_its_model_and_its_result_file(world):
    made = await world.create()
    await world.check(await world.claim())
    job = await world.claim()
    kept = [KeptModel(f"acme/tone@{n:040}", n, n / 3, {"loss": 1 / n, "token_accuracy": 0.5, "f1": 0.25}) for n in (3, 6)]
    trained = Trained(
        model="acme/tone",
        repository="acme/tone",
        commit="0" * 40,
        step=9,
        trained_tokens=1234,
        seconds=1.5,
        metrics={"loss": 0.1},
        checkpoints=kept,
        result_file="file-result",
    )
    await world.end(job, "succeeded", trained)
    done = await world.look(made)
    assert (done["status"], done["fine_tuned_model"], done["trained_tokens"]) == ("succeeded", "acme/tone", 1234)
    assert done["result_files"] == ["file-result"]
    assert done["finished_at"] >= done["created_at"]

    page = (await world.client.get(f"{JOBS}/{made['id']}/checkpoints")).json()
    assert [each["step_number"] for each in page["data"]] == [9, 6, 3]
    assert page["data"][0]["fine_tuned_model_checkpoint"] == "acme/tone"
    last = page["data"][2]
    assert set(last) == {
        *("id", "object", "created_at", "fine_tuned_model_checkpoint", "fine_tuning_job_id", "metrics", "step_number"),
    }
    assert (last["fine_tuned_model_checkpoint"], last["fine_tuning_job_id"]) == (kept[0].model, made["id"])
    loss, accuracy = pytest.approx(1 / 3), 0.5
    assert last["metrics"] == {
        "step": 3,
        "valid_loss": loss,
        "full_valid_loss": loss,
        "valid_mean_token_accuracy": accuracy,
        "full_valid_mean_token_accuracy": accuracy,
        "f1": 0.25,
    }
    one = (await world.client.get(f"{JOBS}/{made['id']}/checkpoints", params={"limit": 1, "after": page["data"][0]["id"]})).json()
    assert ([each["step_number"] for each in one["data"]], one["has_more"], one["first_id"]) == ([6], True, page["data"][1]["id"])


async def test_a_job_whose_rows_are_wrong_names_the_file_and_the_line(world):
    made = await world.create()
    failure = Failure("invalid_request", "Line 3, field 'messages': Expected `array`.", "rows")
    await world.end(await world.claim(), "failed", error=failure)
    failed = await world.look(made)
    assert failed["status"] == "failed"
    assert failed["error"] == {"code": "invalid_request", "message": failure.message, "param": "training_file"}
    assert (await world.client.get(f"{JOBS}/{made['id']}/checkpoints")).json()["data"] == []


async def test_a_job_is_paused_resumed_and_cancelled_in_states_that_the_vendor_knows(world):
    made = await world.create()
    path = f"{JOBS}/{made['id']}"
    assert (await world.client.post(f"{path}/pause")).json()["status"] == "queued"
    assert await world.claim() is None
    assert (await world.client.post(f"{path}/resume")).json()["status"] == "validating_files"
    await world.check(await world.claim())
    job = await world.claim()
    assert (await world.client.post(f"{path}/pause")).json()["status"] == "running"
    assert (await world.client.post(f"{path}/resume")).json()["status"] == "running"
    assert (await world.client.post(f"{path}/cancel")).json()["status"] == "running", "its trainer has not heard of it"
    refused = await world.client.post(f"{path}/resume")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    await world.end(job, "cancelled", {})
    assert (await world.client.post(f"{path}/cancel")).json()["status"] == "cancelled"
    other = await world.create()
    assert (await world.client.post(f"{JOBS}/{other['id']}/cancel")).json()["status"] == "cancelled"


# ------------------------------------------------------------ pages


async def test_events_come_newest_first_in_pages(world):
    made = await world.create()
    await world.tell(await world.claim(), 25)
    path = f"{JOBS}/{made['id']}/events"
    seen, after = [], None
    while True:
        page = (await world.client.get(path, params={"limit": 10} | ({} if after is None else {"after": after}))).json()
        assert page["object"] == "list"
        seen += page["data"]
        if not page["has_more"]:
            break
        after = page["data"][-1]["id"]
    assert len(seen) == len({each["id"] for each in seen}) == 26
    assert [each["data"].get("step") for each in seen] == [None, *range(24, -1, -1)]
    assert (seen[0]["level"], seen[0]["type"], seen[0]["message"]) == ("warn", "message", "It is slow.")
    assert (seen[1]["level"], seen[1]["type"], seen[1]["object"]) == ("info", "metrics", "fine_tuning.job.event")
    assert len((await world.client.get(path)).json()["data"]) == 20


async def test_jobs_are_listed_newest_first_and_found_by_their_metadata(world):
    made = [(await world.create(metadata={"n": str(n % 2), "of": "five"}))["id"] for n in range(5)]
    first = (await world.client.get(JOBS, params={"limit": 2})).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == ([made[4], made[3]], True)
    rest = (await world.client.get(JOBS, params={"after": made[3]})).json()
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == ([made[2], made[1], made[0]], False)
    odd = (await world.client.get(JOBS, params={"metadata[n]": "1", "metadata[of]": "five"})).json()
    assert [each["id"] for each in odd["data"]] == [made[3], made[1]]
    assert (await world.client.get(JOBS, params={"metadata[n]": "2"})).json()["data"] == []


@pytest.mark.parametrize(
    ("path", "query", "status", "param"),
    [
        ("", {"limit": "0"}, 400, "limit"),
        ("", {"limit": "101"}, 400, "limit"),
        ("", {"order": "asc"}, 400, "order"),
        ("", {"metadata": "null"}, 400, "metadata"),
        ("", {"after": "batch_1"}, 404, "fine_tuning_job_id"),
        ("/{id}/events", {"after": "1"}, 404, "after"),
        ("/{id}/events", {"after": "ftevent-1x"}, 404, "after"),
        ("/{id}/events", {"after": "ftevent-" + "9" * 40}, 404, "after"),
        ("/{id}/events", {"limit": "many"}, 400, "limit"),
        ("/{id}/checkpoints", {"after": "ftckpt-other-1"}, 404, "after"),
        ("/{id}/checkpoints", {"page": "2"}, 400, "page"),
        ("/job-1", {}, 404, "fine_tuning_job_id"),
        ("/ftjob-none", {}, 404, "id"),
    ],
)
async def test_a_wrong_question_is_refused(world, path, query, status, param):
    made = await world.create()
    reply = await world.client.get(JOBS + path.format(id=made["id"]), params=query)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)


# ------------------------------------------------------------ what cannot be begun


async def test_a_job_is_refused_at_once_when_what_it_names_will_not_do(world):
    wrong = (await world.files.add("acme", "rows.jsonl", "batch", _one(b"{}"))).id
    theirs = (await world.files.add("other", "rows.jsonl", "fine-tune", _one(b"{}"))).id
    for change, status, param in [
        ({"training_file": wrong}, 400, "training_file"),
        ({"validation_file": wrong}, 400, "validation_file"),
        ({"training_file": theirs}, 404, "training_file"),
        ({"validation_file": "file-none"}, 404, "validation_file"),
        ({"training_file": "acme/none"}, 404, None),
        ({"model": "acme/none"}, 404, None),
        ({"repository": "other/mine"}, 403, "repository"),
        ({"method": {"type": "reinforcement"}}, 400, "method.type"),
        ({"integrations": [{"type": "wandb"}]}, 400, "integrations"),
        ({"hyperparameters": {"n_epoch": 1}}, 400, "hyperparameters.n_epoch"),
    ]:
        reply = await world.client.post(JOBS, json={"model": "acme/base", "training_file": world.file} | change)
        assert reply.status_code == status, (change, reply.text)
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert reply.json()["error"]["param"] == param
    assert (await world.client.get(JOBS)).json()["data"] == []


async def test_rows_may_be_a_data_set_of_the_hub(world):
    data = await world.hub.repositories.create(OWNER, "dataset", "acme/rows")
    await push(world.hub, data, {"rows.jsonl": b"{}\n"}, by=OWNER)
    assert (await world.create(training_file="acme/rows@main"))["training_file"] == "acme/rows@main"
    named = await world.create(training_file=None, training_data={"repository": "acme/rows", "path": "rows.jsonl"})
    assert named["training_file"] == "acme/rows"


async def test_the_same_idempotency_key_makes_one_job(world):
    body, headers = {"model": "acme/base", "training_file": world.file}, {"idempotency-key": "once"}
    made = {(await world.client.post(JOBS, json=body, headers=headers)).json()["id"] for _ in range(4)}
    assert len(made) == 1
    other = await world.client.post(JOBS, json=body | {"seed": 2}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")


async def test_strangers_see_no_job_and_a_key_that_may_not_write_orders_none(world):
    made = await world.create()
    theirs, callers = {"authorization": "Bearer stranger"}, {"authorization": "Bearer caller"}
    for method, path in [
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/events"),
        ("GET", "/checkpoints"),
    ]:
        assert (await world.client.request(method, f"{JOBS}/{made['id']}{path}", headers=theirs)).status_code == 404
    assert (await world.client.get(JOBS, headers=theirs)).json()["data"] == []
    body = {"model": "acme/base", "training_file": world.file}
    assert (await world.client.post(JOBS, json=body, headers=callers)).status_code == 403
    assert (await world.client.get(f"{JOBS}/{made['id']}", headers=callers)).status_code == 200


# ------------------------------------------------------------ deleting a model


async def test_a_model_of_ones_own_is_deleted_by_its_name_alone(world):
    gone = await world.client.delete("/v1/models/acme/base", headers={"authorization": "Bearer stranger"})
    assert gone.status_code == 403
    assert (await world.client.delete("/v1/models/acme/base", headers={"authorization": "Bearer caller"})).status_code == 403
    checkpoint = await world.client.delete(f"/v1/models/acme/base@{'0' * 40}")
    assert (checkpoint.status_code, checkpoint.json()["error"]["param"]) == (400, "model")
    gone = await world.client.delete("/v1/models/acme/base")
    assert (gone.status_code, gone.json()) == (200, {"id": "acme/base", "object": "model", "deleted": True})
    assert (await world.client.delete("/v1/models/acme/base")).status_code == 404
    assert (await world.client.delete("/v1/models/acme%2Fbase")).status_code == 404


# ------------------------------------------------------------ anything at all


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(st.characters(codec="utf-8"), max_size=10) | st.just("acme/base"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["model", "training_file", "validation_file", "suffix", "seed", "method", "hyperparameters", "metadata", "x"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(FIELDS, VALUES, max_size=3) | VALUES, st.text(st.characters(codec="utf-8"), max_size=10))
async def test_no_body_and_no_query_is_ever_our_error(world, body, text):
    if isinstance(body, dict):
        body = {"model": "acme/base", "training_file": world.file} | body
    queries = [{name: text} for name in ("after", "limit", "metadata[a]", f"metadata[{text}]", text)]
    created = await world.client.post(JOBS, content=json.dumps(body).encode())
    for reply in (created, *[await world.client.get(JOBS, params=query) for query in queries]):
        assert reply.status_code in {200, 400, 403, 404}, reply.text
        assert reply.status_code == 200 or set(reply.json()["error"]) == {"message", "type", "param", "code"}
