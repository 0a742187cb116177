"""Trainings as jobs, with a real server's parts around them: real trainers, a real hub, real files."""

import asyncio
import hashlib
import json
import re

import msgspec
import pytest
from test_trainer import rows

from tiny_texts import bert
from yunmo.assembly import open_cloud
from yunmo.core.errors import InvalidRequest, NotFound, RepositoryNotFound
from yunmo.core.identity import Principal
from yunmo.core.tasks import Classify
from yunmo.core.training import Recipe
from yunmo.hub.cards import front_matter
from yunmo.hub.commits import AddFile, Change
from yunmo.settings import Settings
from yunmo.training.order import Order, Rows
from yunmo.training.state import Trained, TrainingState
from yunmo.training.trainings import phase

RECIPE = Recipe(method="classification", seed=3, epochs=2, batch_size=8, learning_rate=1e-3)
OWNER = Principal("acme", "key", frozenset({"read", "write", "infer"}))


async def one(data: bytes):
    yield data


@pytest.fixture
async def cloud(tmp_path):
    settings = Settings(data=tmp_path / "data", serving={"calibrate": False})
    async with open_cloud(settings) as (opened, _):
        yield opened


@pytest.fixture
async def base(cloud, tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("base")
    bert("BertModel", hidden_dropout_prob=0.1)(directory)
    prepared = await cloud.hub.publishing.prepare(OWNER, "acme/tiny", directory, "base")
    await cloud.hub.publishing.commits.database.write(
        lambda connection: cloud.hub.publishing.commit_in(connection, prepared, "A tiny base")
    )
    return "acme/tiny"


async def upload(cloud, data: bytes, name: str = "rows.jsonl") -> str:
    return (await cloud.files.add("acme", name, "fine-tune", one(data))).id


async def ended(cloud, job, seconds: float = 240):
    async with asyncio.timeout(seconds):
        return await cloud.jobs.wait("acme", job.id)


async def events(cloud, job):
    return await cloud.jobs.events("acme", job.id, limit=1000)


async def test_a_training_ends_as_a_model_that_can_be_called_by_name(cloud, base, tmp_path):
    order = Order(base=base, recipe=RECIPE, rows=Rows(file=await upload(cloud, rows(200))), suffix="tone")
    job = await cloud.trainings.submit(OWNER, order)
    assert phase(job) == "validating"
    job = await ended(cloud, job)
    assert job.error is None
    assert phase(job) == "succeeded"
    trained = msgspec.convert(job.result, Trained)
    assert trained.model == f"acme/tone-{job.id[:8]}"
    answering = await cloud.inference.begin(OWNER, trained.model, Classify(texts=("the cat is good",)))
    labels = await answering.whole()
    assert {each.label for each in labels.rows[0]} == {"good", "bad"}
    [kept] = trained.checkpoints
    assert kept.model.startswith(f"{trained.model}@")
    again = await (await cloud.inference.begin(OWNER, kept.model, Classify(texts=("the cat is good",)))).whole()
    assert again != labels
    table = (await cloud.files.get("acme", trained.result_file)).size
    assert table > 0
    told = await events(cloud, job)
    assert any(each.type == "metrics" and "train_loss" in each.data for each in told)
    assert any(each.type == "metrics" and "accuracy" in each.data for each in told)
    assert any("20 of 200 rows are kept back" in each.message for each in told)
    assert trained.certificate.is_passed
    assert await cloud.certificates.find(trained.commit) == trained.certificate
    assert not list((tmp_path / "data" / "training").iterdir()), "the workspace is gone"


async def test_an_operator_trains_for_a_project_and_its_private_result_is_certified(cloud, base):
    operator = Principal("admin", "key", frozenset({"admin"}))
    file = await cloud.files.add("admin", "rows.jsonl", "fine-tune", one(rows(100)))
    order = Order(base=base, recipe=RECIPE, rows=Rows(file=file.id), repository="acme/theirs")
    async with asyncio.timeout(240):
        job = await cloud.jobs.wait("admin", (await cloud.trainings.submit(operator, order)).id)
    assert job.error is None
    certificate = msgspec.convert(job.result, Trained).certificate
    assert certificate.is_passed, certificate.problem


async def test_a_job_does_what_its_key_may_do_and_no_more(cloud):
    for scopes, is_admin in (({"admin"}, True), ({"read", "write", "infer"}, False)):
        job = await cloud.jobs.submit(Principal("admin", "key", frozenset(scopes)), "nobody's kind", {})
        assert (await cloud.jobs.get("admin", job.id)).principal("read").is_admin is is_admin


async def test_the_result_says_what_it_is_made_of(cloud, base):
    data = rows(200)
    file = await upload(cloud, data, "tones.jsonl")
    job = await ended(cloud, await cloud.trainings.submit(OWNER, Order(base=base, recipe=RECIPE, rows=Rows(file=file))))
    trained = msgspec.convert(job.result, Trained)
    repository = await cloud.hub.repositories.find(OWNER, "model", trained.repository)
    page = await cloud.hub.files.all(repository, trained.commit)
    files = {item.path: item.entry for item in page.items}
    text = (await cloud.hub.files.read(files["README.md"], None)).decode()
    front = front_matter(text)
    assert (front["base_model"], front["pipeline_tag"], front["tags"]) == (base, "text-classification", ["yunmo", "classification"])
    digest = hashlib.sha256(data).hexdigest()
    assert "| training | `tones.jsonl` |" in text
    assert digest[:12] in text
    assert set(re.findall(r"!\[\w+\]\(([^)]+)\)", text)) == {path for path in files if path.startswith("plots/")} != set()
    provenance = json.loads(await cloud.hub.files.read(files["training.json"], None))
    assert provenance["base"]["model"] == base
    assert provenance["data"]["train"] == {"name": "tones.jsonl", "kind": "file", "rows": 200, "sha256": digest, "kept_back": 20}
    assert provenance["recipe"]["precision"] in {"fp32", "bf16"}, "the recipe as it was carried out"
    assert provenance["versions"]["transformers"]
    assert (provenance["job"], provenance["steps"], provenance["parity_samples"]) == (job.id, trained.step, 32)


async def test_problems_of_rows_are_told_with_line_and_field(cloud, base):
    bad = rows(3) + b'{"text": "x"}\n{"text": 3, "label": "good"}\nnot json\n{"text": "x", "label": "good", "wieght": 1}\n'
    job = await ended(cloud, await cloud.trainings.submit(OWNER, Order(base=base, recipe=RECIPE, rows=Rows(file=await upload(cloud, bad)))))
    assert phase(job) == "failed"
    assert job.error.param == "rows"
    assert "Line 4" in job.error.message
    told = [each.message for each in await events(cloud, job) if each.level == "error"]
    assert any("Line 5, field 'text'" in message for message in told)
    assert any("Line 6" in message and "JSON" in message for message in told)
    assert any("Line 7" in message and "wieght" in message for message in told)


async def test_rows_that_validate_what_was_learnt_and_rows_that_are_cut_are_warned_of(cloud, base):
    train, long = rows(40), json.dumps({"text": "the cat " * 100, "label": "good"}).encode() + b"\n"
    validation = b"".join(train.splitlines(keepends=True)[:3]) + rows(10, seed=9)
    order = Order(
        base=base,
        recipe=msgspec.structs.replace(RECIPE, max_tokens=16),
        rows=Rows(file=await upload(cloud, train + long)),
        validation=Rows(file=await upload(cloud, validation)),
    )
    job = await ended(cloud, await cloud.trainings.submit(OWNER, order))
    assert phase(job) == "succeeded", job.error
    warned = [each.message for each in await events(cloud, job) if each.level == "warning"]
    assert any("3 of 13 validation rows are training rows" in message for message in warned)
    assert any("longer than 16 tokens" in message for message in warned)


async def test_rows_come_from_a_data_set_of_the_hub_by_split_and_columns(cloud, base):
    records = [json.loads(line) for line in rows(40).splitlines()]
    table = "sentence,tone,more\n" + "".join(f"{each['text']},{each['label']},x\n" for each in records)
    lines = "\n".join(json.dumps({"sentence": each["text"], "tone": each["label"]}) for each in records[:10])
    await push_data_set(cloud, {"train.csv": table.encode(), "test-00000.jsonl": lines.encode()})
    columns = {"text": "sentence", "label": "tone"}
    order = Order(
        base=base,
        recipe=RECIPE,
        rows=Rows(repository="acme/tones", columns=columns),
        validation=Rows(repository="acme/tones@main", split="test", columns=columns),
    )
    job = await ended(cloud, await cloud.trainings.submit(OWNER, order))
    assert phase(job) == "succeeded", job.error
    state = msgspec.convert(job.checkpoint, TrainingState)
    assert (state.sources["train"].rows, state.sources["validation"].rows) == (40, 10)
    assert len(state.sources["train"].commit) == 40, "pinned"
    other = msgspec.structs.replace(order, rows=Rows(repository="acme/tones", split="none"))
    job = await ended(cloud, await cloud.trainings.submit(OWNER, other))
    assert "train.csv" in job.error.message, "what there is instead"


async def push_data_set(cloud, files: dict[str, bytes]) -> None:
    repository = await cloud.hub.repositories.create(OWNER, "dataset", "acme/tones", is_private=True)
    staging = cloud.hub.uploads.staging()
    added = [AddFile(name, await staging.add(content), len(content)) for name, content in files.items()]
    await staging.flush()
    await cloud.hub.commits.commit(OWNER, repository, "main", Change(title="Rows", operations=tuple(added)))


@pytest.mark.parametrize(("data", "said"), [(b"", "empty"), (b"\n\n", "empty"), (rows(10, labels=("good",)), "nothing to tell apart")])
async def test_rows_that_teach_nothing_are_refused(cloud, base, data, said):
    job = await ended(
        cloud, await cloud.trainings.submit(OWNER, Order(base=base, recipe=RECIPE, rows=Rows(file=await upload(cloud, data))))
    )
    assert phase(job) == "failed"
    assert said in job.error.message


async def test_a_base_or_rows_that_are_not_there_are_refused_at_once(cloud, base):
    file = await upload(cloud, rows(20))
    with pytest.raises(RepositoryNotFound):
        await cloud.trainings.submit(OWNER, Order(base="acme/none", recipe=RECIPE, rows=Rows(file=file)))
    with pytest.raises(NotFound):
        await cloud.trainings.submit(OWNER, Order(base=base, recipe=RECIPE, rows=Rows(file="file-none")))
    with pytest.raises(RepositoryNotFound):
        await cloud.trainings.submit(OWNER, Order(base=base, recipe=RECIPE, rows=Rows(repository="acme/none")))
    with pytest.raises(InvalidRequest):
        await cloud.trainings.submit(OWNER, Order(base=base, recipe=RECIPE, rows=Rows()))


async def test_fifty_submits_with_one_idempotency_key_make_one_job(cloud, base):
    order = Order(base=base, recipe=RECIPE, rows=Rows(file=await upload(cloud, rows(40))))
    jobs = await asyncio.gather(*(cloud.trainings.submit(OWNER, order, idempotency_key="same") for _ in range(50)))
    assert len({job.id for job in jobs}) == 1
    await ended(cloud, jobs[0])
    assert (await cloud.trainings.submit(OWNER, order, idempotency_key="same")).id == jobs[0].id, (
        "also after it has gone on as another kind"
    )
    assert len(await cloud.trainings.page("acme")) == 1
